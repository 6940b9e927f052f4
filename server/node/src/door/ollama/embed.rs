//! `POST /api/embed`, and `POST /api/embeddings`, its older form.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{
    Constraints, EmbedInput, Embeddings, Job, JobId, ModelId, Principal, Priority, Work,
};
use kwaainet_openapi::{
    OllamaEmbedRequest, OllamaEmbedding, OllamaEmbeddingRequest, OllamaEmbeddings,
};
use serde_json::Value;

use super::{named, not_found};
use crate::door::body::ApiJson;
use crate::door::constraints::Demands;
use crate::door::footprint::Figures;
use crate::door::{ApiError, App, params};

/// As at OpenAI's door.
const INPUTS_MAX: usize = 2_048;

/// Makes a vector of each text.
#[utoipa::path(
    post,
    path = "/api/embed",
    tag = "ollama",
    operation_id = "ollamaEmbed",
    request_body = OllamaEmbedRequest,
    responses((status = 200, description = "The vectors.", body = OllamaEmbeddings))
)]
pub(crate) async fn embed(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<OllamaEmbedRequest>,
) -> Result<(Figures, Json<OllamaEmbeddings>), ApiError> {
    let came = app.clock.monotonic();
    let constraints = demands.with(request.kwaai)?;
    let named = named(&app.hallway, request.model)?;
    let texts = texts(request.input)?;
    let dimensions = (1, i64::from(u32::MAX));
    let dimensions = params::integer(request.dimensions, "dimensions", dimensions)?;
    let asked = Asked {
        model: named.id,
        texts,
        dimensions: dimensions.map(|keep| keep as u32),
        constraints,
    };
    let (embeddings, figures) = vectors(&app, principal, asked).await?;
    let took = app.clock.monotonic().saturating_sub(came).as_nanos();
    let answer = OllamaEmbeddings {
        model: named.asked,
        embeddings: embeddings.vectors,
        total_duration: u64::try_from(took).unwrap_or(u64::MAX),
        load_duration: 0,
        prompt_eval_count: embeddings.prompt_tokens,
    };
    Ok((figures, Json(answer)))
}

/// Makes a vector of one text.
#[utoipa::path(
    post,
    path = "/api/embeddings",
    tag = "ollama",
    operation_id = "ollamaEmbedding",
    request_body = OllamaEmbeddingRequest,
    responses((status = 200, description = "The vector.", body = OllamaEmbedding))
)]
pub(crate) async fn embedding(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    ApiJson(request): ApiJson<OllamaEmbeddingRequest>,
) -> Result<(Figures, Json<OllamaEmbedding>), ApiError> {
    let constraints = demands.with(request.kwaai)?;
    let named = named(&app.hallway, request.model)?;
    let text = request.prompt.filter(|text| !text.is_empty());
    let asked = Asked {
        model: named.id,
        texts: text.into_iter().collect(),
        dimensions: None,
        constraints,
    };
    let (mut embeddings, figures) = vectors(&app, principal, asked).await?;
    let answer = OllamaEmbedding {
        embedding: embeddings.vectors.pop().unwrap_or_default(),
    };
    Ok((figures, Json(answer)))
}

fn texts(input: Option<Value>) -> Result<Vec<String>, ApiError> {
    let texts = match params::required(input, "input")? {
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![text],
        input => serde_json::from_value::<Vec<String>>(input).map_err(|_| {
            let message = "Invalid type for 'input': expected a string or an array of strings.";
            ApiError::invalid("input", "invalid_type", message)
        })?,
    };
    if texts.len() > INPUTS_MAX {
        let message = format!("Invalid 'input': more than {INPUTS_MAX} inputs.");
        return Err(ApiError::invalid(
            "input",
            "array_above_max_length",
            message,
        ));
    }
    if let Some(empty) = texts.iter().position(String::is_empty) {
        let param = format!("input[{empty}]");
        let message = format!("Invalid '{param}': it is empty.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    Ok(texts)
}

struct Asked {
    model: ModelId,
    texts: Vec<String>,
    dimensions: Option<u32>,
    constraints: Constraints,
}

/// No texts make no vectors, if only the model is here.
async fn vectors(
    app: &App,
    principal: Principal,
    asked: Asked,
) -> Result<(Embeddings, Figures), ApiError> {
    let Asked { model, texts, .. } = asked;
    if texts.is_empty() {
        let snapshot = app.hallway.snapshot();
        let mut candidates = snapshot.candidates.iter();
        if !candidates.any(|candidate| candidate.model.id == model) {
            return Err(not_found(&model));
        }
        let none = Embeddings {
            vectors: Vec::new(),
            prompt_tokens: 0,
        };
        return Ok((none, Figures(None)));
    }
    let job = Job::new(
        JobId::random(),
        model,
        Work::Embed {
            inputs: texts.into_iter().map(EmbedInput::Text).collect(),
            dimensions: asked.dimensions,
        },
    )
    .within(asked.constraints);
    let counted = app
        .hallway
        .embed_counted(principal, job, Priority::Interactive);
    let (embeddings, footprint) = counted.await?;
    Ok((embeddings, Figures(footprint)))
}
