//! `POST /v1/tokenize` and `POST /v1/detokenize`.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{Conversation, Principal, Tokenized};
use kwaainet_openapi::{DetokenizeRequest, Detokenized, TokenizeRequest, Tokens};

use super::body::ApiJson;
use super::constraints::Demands;
use super::{ApiError, App, chat, params, unsupported};

/// Gives the token ids of a text or a conversation.
#[utoipa::path(
    post,
    path = "/v1/tokenize",
    tag = "models",
    operation_id = "tokenize",
    request_body = TokenizeRequest,
    responses((status = 200, description = "The token ids.", body = Tokens))
)]
pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<TokenizeRequest>,
) -> Result<Json<Tokens>, ApiError> {
    unsupported::check_tokenize(&request.other)?;
    let model = params::model(request.model)?;
    let constraints = demands.with(request.kwaai)?;
    let tools = chat::tools(request.tools.unwrap_or_default())?;
    if request.messages.is_none() && !tools.is_empty() {
        let message = "'tools' go with 'messages' only.";
        return Err(ApiError::invalid("tools", "invalid_value", message));
    }
    let text = match (request.prompt, request.messages) {
        (Some(text), None) => Tokenized::Text {
            text,
            add_special: request.add_special_tokens.unwrap_or(true),
            parse_special: request.parse_special_tokens.unwrap_or(true),
        },
        (None, Some(messages)) => Tokenized::Chat(Conversation {
            messages: chat::messages(Some(messages))?,
            tools,
            ..Conversation::default()
        }),
        _ => {
            let message = "Give either 'prompt' or 'messages'.";
            return Err(ApiError::invalid("prompt", "invalid_value", message));
        }
    };
    let (backend, _permit) = app.hallway.question(&principal, &model, &constraints)?;
    let tokens = backend.tokenize(model, text).await?;
    Ok(Json(Tokens {
        count: tokens.ids.len() as u32,
        tokens: tokens.ids,
        max_model_len: tokens.context,
    }))
}

/// Gives the text of token ids.
#[utoipa::path(
    post,
    path = "/v1/detokenize",
    tag = "models",
    operation_id = "detokenize",
    request_body = DetokenizeRequest,
    responses((status = 200, description = "The text.", body = Detokenized))
)]
pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<DetokenizeRequest>,
) -> Result<Json<Detokenized>, ApiError> {
    let model = params::model(request.model)?;
    let constraints = demands.with(request.kwaai)?;
    let ids = params::required(request.tokens, "tokens")?;
    let (backend, _permit) = app.hallway.question(&principal, &model, &constraints)?;
    let prompt = backend.detokenize(model, ids).await?;
    Ok(Json(Detokenized { prompt }))
}
