//! `POST /v1/embeddings`.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use data_encoding::BASE64;
use kwaainet_core::{EmbedInput, Job, JobId, Principal, Priority, Work};
use kwaainet_openapi::{
    Embedding, EmbeddingInput, EmbeddingList, EmbeddingRequest, EmbeddingUsage, EmbeddingVector,
    EncodingFormat,
};
use serde_json::Value;

use super::body::{self, ApiJson};
use super::{ApiError, App, params, unsupported};

/// OpenAI's limit.
const INPUTS_MAX: usize = 2_048;

/// Makes a vector of each input.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    tag = "inference",
    operation_id = "createEmbedding",
    request_body = EmbeddingRequest,
    responses((status = 200, description = "The vectors.", body = EmbeddingList))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<EmbeddingRequest>,
) -> Result<Json<EmbeddingList>, ApiError> {
    Ok(Json(
        whole(&app, principal, request, Priority::Interactive).await?,
    ))
}

/// The answer to a request that came in a batch.
pub(crate) async fn answer(
    app: &App,
    principal: Principal,
    body: Value,
    priority: Priority,
) -> Result<Value, ApiError> {
    let request = body::from_value(body)?;
    let list = whole(app, principal, request, priority).await?;
    Ok(body::to_value(&list))
}

async fn whole(
    app: &App,
    principal: Principal,
    request: EmbeddingRequest,
    priority: Priority,
) -> Result<EmbeddingList, ApiError> {
    unsupported::check_embedding(&request.other)?;
    let model = params::model(request.model)?;
    let inputs = inputs(request.input)?;
    let dimensions = params::integer(request.dimensions, "dimensions", (1, i64::from(u32::MAX)))?;
    params::user(request.user)?;
    let job = Job::new(
        JobId::random(),
        model.clone(),
        Work::Embed {
            inputs,
            dimensions: dimensions.map(|keep| keep as u32),
        },
    );
    let embeddings = app.hallway.embed_as(principal, job, priority).await?;
    let format = request.encoding_format.unwrap_or_default();
    let data = (0_u32..)
        .zip(embeddings.vectors)
        .map(|(index, vector)| Embedding {
            object: "embedding",
            index,
            embedding: write(vector, format),
        });
    Ok(EmbeddingList {
        object: "list",
        data: data.collect(),
        model: model.to_string(),
        usage: EmbeddingUsage {
            prompt_tokens: embeddings.prompt_tokens,
            total_tokens: embeddings.prompt_tokens,
        },
    })
}

fn inputs(input: Option<Value>) -> Result<Vec<EmbedInput>, ApiError> {
    let input = params::required(input, "input")?;
    let inputs: Vec<_> = match serde_json::from_value(input) {
        Ok(EmbeddingInput::Text(text)) => vec![EmbedInput::Text(text)],
        Ok(EmbeddingInput::Texts(texts)) => texts.into_iter().map(EmbedInput::Text).collect(),
        Ok(EmbeddingInput::Tokens(ids)) => vec![EmbedInput::Tokens(ids)],
        Ok(EmbeddingInput::TokenLists(l)) => l.into_iter().map(EmbedInput::Tokens).collect(),
        Err(_) => {
            let message = "Invalid type for 'input': expected a string, an array of strings, an \
                           array of token ids, or an array of those.";
            return Err(ApiError::invalid("input", "invalid_type", message));
        }
    };
    if inputs.is_empty() {
        let message = "Invalid 'input': empty array. Expected at least one input.";
        return Err(ApiError::invalid("input", "empty_array", message));
    }
    if inputs.len() > INPUTS_MAX {
        let message = format!("Invalid 'input': more than {INPUTS_MAX} inputs.");
        return Err(ApiError::invalid(
            "input",
            "array_above_max_length",
            message,
        ));
    }
    let empty = inputs.iter().position(|input| match input {
        EmbedInput::Text(text) => text.is_empty(),
        EmbedInput::Tokens(ids) => ids.is_empty(),
    });
    if let Some(i) = empty {
        let param = if inputs.len() == 1 {
            "input".to_owned()
        } else {
            format!("input[{i}]")
        };
        let message = format!("Invalid '{param}': it is empty.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    Ok(inputs)
}

fn write(vector: Vec<f32>, format: EncodingFormat) -> EmbeddingVector {
    match format {
        EncodingFormat::Float => EmbeddingVector::Float(vector),
        EncodingFormat::Base64 => {
            let bytes: Vec<u8> = vector.into_iter().flat_map(f32::to_le_bytes).collect();
            EmbeddingVector::Base64(BASE64.encode(&bytes))
        }
    }
}
