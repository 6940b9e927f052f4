//! Which models there are: `GET /api/tags`, `GET /api/ps`, `POST /api/show`; and that somebody is
//! here: `GET /api/version`, `GET /`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kwaainet_core::{Candidate, ModelFacts, ModelKind};
use kwaainet_openapi::{
    OllamaDetails, OllamaModel, OllamaModelRequest, OllamaModels, OllamaShown, OllamaVersion,
};
use serde_json::Value;

use super::{named, not_found, rfc3339};
use crate::door::body::ApiJson;
use crate::door::models::is_there;
use crate::door::{ApiError, App};
use crate::shelf::About;

/// The version of Ollama whose API this is; clients ask for it to learn what they may use.
const VERSION: &str = "0.12.11";
/// A model leaves when its place is needed, not at a time.
const NEVER: &str = "9999-12-31T23:59:59Z";
/// In place of a hash that is not known; clients cut and show it.
const NO_DIGEST: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Says that somebody is here, in the words that clients of Ollama look for.
#[utoipa::path(
    get,
    path = "/",
    tag = "ollama",
    operation_id = "ollamaRunning",
    responses((status = 200, description = "Always.", body = String, content_type = "text/plain"))
)]
pub(crate) async fn running() -> &'static str {
    "Ollama is running"
}

/// Which of Ollama's APIs this is.
#[utoipa::path(
    get,
    path = "/api/version",
    tag = "ollama",
    operation_id = "ollamaVersion",
    responses((status = 200, description = "The version.", body = OllamaVersion))
)]
pub(crate) async fn version() -> Json<OllamaVersion> {
    Json(OllamaVersion { version: VERSION })
}

/// Lists what can be asked for.
#[utoipa::path(
    get,
    path = "/api/tags",
    tag = "ollama",
    operation_id = "ollamaTags",
    responses((status = 200, description = "The models.", body = OllamaModels))
)]
pub(crate) async fn tags(State(app): State<Arc<App>>) -> Json<OllamaModels> {
    let models = facts(&app);
    let models = models.iter().map(|facts| model(&app, facts)).collect();
    Json(OllamaModels { models })
}

/// Lists what is in memory.
#[utoipa::path(
    get,
    path = "/api/ps",
    tag = "ollama",
    operation_id = "ollamaPs",
    responses((status = 200, description = "The models.", body = OllamaModels))
)]
pub(crate) async fn ps(State(app): State<Arc<App>>) -> Json<OllamaModels> {
    let facts = facts(&app);
    let loaded = facts.iter().filter(|facts| facts.loaded);
    let models = loaded.map(|facts| OllamaModel {
        expires_at: Some(NEVER.to_owned()),
        size_vram: Some(0),
        context_length: facts.context,
        ..model(&app, facts)
    });
    let models = models.collect();
    Json(OllamaModels { models })
}

/// Tells all about a model.
#[utoipa::path(
    post,
    path = "/api/show",
    tag = "ollama",
    operation_id = "ollamaShow",
    request_body = OllamaModelRequest,
    responses((status = 200, description = "All about it.", body = OllamaShown))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ApiJson(request): ApiJson<OllamaModelRequest>,
) -> Result<Json<OllamaShown>, ApiError> {
    let named = named(&app.hallway, request.model.or(request.name))?;
    let mut facts = facts(&app).into_iter();
    let facts = facts.find(|facts| facts.id == named.id);
    let facts = facts.ok_or_else(|| not_found(&named.id))?;
    let about = about(&app, &facts);
    let family = about.architecture.as_deref().unwrap_or("unknown");
    let mut model_info = BTreeMap::from([("general.architecture".to_owned(), Value::from(family))]);
    if let Some(context) = facts.context.or(about.context) {
        model_info.insert(format!("{family}.context_length"), Value::from(context));
    }
    Ok(Json(OllamaShown {
        license: about.licence.clone().unwrap_or_default(),
        modelfile: String::new(),
        parameters: String::new(),
        template: String::new(),
        details: details(&about),
        model_info,
        capabilities: match facts.kind {
            ModelKind::Embed => vec!["embedding"],
            ModelKind::Transcribe => vec!["audio"],
            ModelKind::Generate | ModelKind::Unknown => vec!["completion", "tools"],
        },
        modified_at: rfc3339(facts.created * 1_000),
    }))
}

/// Each model once, as its first backend has it.
fn facts(app: &App) -> Vec<ModelFacts> {
    let snapshot = app.hallway.snapshot();
    let mut all: Vec<ModelFacts> = Vec::new();
    let there = snapshot.candidates.iter().filter(|c| is_there(c));
    for Candidate { model, .. } in there {
        // Nothing of Ollama's API takes speech.
        let is_for_speech = model.kind == ModelKind::Transcribe;
        if !is_for_speech && all.iter().all(|known| known.id != model.id) {
            all.push(model.clone());
        }
    }
    all
}

fn about(app: &App, facts: &ModelFacts) -> About {
    let shelf = app.shelf.as_ref();
    shelf
        .and_then(|shelf| shelf.about(&facts.id))
        .unwrap_or_default()
}

fn model(app: &App, facts: &ModelFacts) -> OllamaModel {
    let about = about(app, facts);
    OllamaModel {
        name: facts.id.to_string(),
        model: facts.id.to_string(),
        modified_at: rfc3339(facts.created * 1_000),
        size: about.bytes,
        details: details(&about),
        digest: about.digest.unwrap_or_else(|| NO_DIGEST.to_owned()),
        expires_at: None,
        size_vram: None,
        context_length: None,
    }
}

fn details(about: &About) -> OllamaDetails {
    let stem = about.file.strip_suffix(".gguf");
    OllamaDetails {
        format: match stem {
            Some(_) => "gguf".to_owned(),
            None if about.file.is_empty() => String::new(),
            None => "safetensors".to_owned(),
        },
        family: about.architecture.clone().unwrap_or_default(),
        families: about.architecture.iter().cloned().collect(),
        quantization_level: stem.and_then(quantization).unwrap_or_default().to_owned(),
        ..OllamaDetails::default()
    }
}

/// The format of the weights, which names of GGUF files end with by custom: `model.Q4_K_M`.
fn quantization(stem: &str) -> Option<&str> {
    let last = stem.rsplit(['.', '-']).next()?;
    let digits = last.trim_start_matches(['I', 'Q', 'F', 'B', 'q', 'f', 'b', 'i']);
    let is_format = last.len() > digits.len() && digits.starts_with(|c: char| c.is_ascii_digit());
    is_format.then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_weights_is_read_from_the_files_name() {
        for (stem, expected) in [
            ("SmolLM2-135M-Instruct.Q4_1", Some("Q4_1")),
            ("model-q4_k_m", Some("q4_k_m")),
            ("model.IQ2_XS", Some("IQ2_XS")),
            ("model.BF16", Some("BF16")),
            ("llama-7B", None),
            ("model", None),
        ] {
            assert_eq!(quantization(stem), expected, "{stem}");
        }
    }
}
