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
use super::constraints::Demands;
use super::footprint::Figures;
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
    demands: Demands,
    ApiJson(request): ApiJson<EmbeddingRequest>,
) -> Result<(Figures, Json<EmbeddingList>), ApiError> {
    let asked = Asked::parse(request, demands)?;
    let (list, figures) = whole(&app, principal, asked, Priority::Interactive).await?;
    Ok((figures, Json(list)))
}

/// Where a request would go.
pub(crate) fn job(body: Value, demands: Demands) -> Result<Job, ApiError> {
    Ok(Asked::parse(body::from_value(body)?, demands)?.job)
}

/// The answer to a request that came in a batch.
pub(crate) async fn answer(
    app: &App,
    principal: Principal,
    body: Value,
    priority: Priority,
) -> Result<Value, ApiError> {
    let asked = Asked::parse(body::from_value(body)?, Demands::default())?;
    let (list, _) = whole(app, principal, asked, priority).await?;
    Ok(body::to_value(&list))
}

/// A request that was found to be sound.
struct Asked {
    job: Job,
    format: EncodingFormat,
}

impl Asked {
    fn parse(request: EmbeddingRequest, demands: Demands) -> Result<Self, ApiError> {
        unsupported::check_embedding(&request.other)?;
        let model = params::model(request.model)?;
        let constraints = demands.with(request.kwaai)?;
        let inputs = inputs(request.input)?;
        let range = (1, i64::from(u32::MAX));
        let dimensions = params::integer(request.dimensions, "dimensions", range)?;
        params::user(request.user)?;
        let work = Work::Embed {
            inputs,
            dimensions: dimensions.map(|keep| keep as u32),
        };
        Ok(Self {
            job: Job::new(JobId::random(), model, work).within(constraints),
            format: request.encoding_format.unwrap_or_default(),
        })
    }
}

async fn whole(
    app: &App,
    principal: Principal,
    asked: Asked,
    priority: Priority,
) -> Result<(EmbeddingList, Figures), ApiError> {
    let Asked { job, format } = asked;
    let model = job.model.clone();
    let counted = app.hallway.embed_counted(principal, job, priority).await?;
    let (embeddings, footprint) = counted;
    let data = (0_u32..)
        .zip(embeddings.vectors)
        .map(|(index, vector)| Embedding {
            object: "embedding",
            index,
            embedding: write(vector, format),
        });
    let list = EmbeddingList {
        object: "list",
        data: data.collect(),
        model: model.to_string(),
        usage: EmbeddingUsage {
            prompt_tokens: embeddings.prompt_tokens,
            total_tokens: embeddings.prompt_tokens,
        },
    };
    Ok((list, Figures(footprint)))
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
