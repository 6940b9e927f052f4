//! `GET /v1/models` and `GET /v1/models/{model}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kwaainet_core::{Candidate, ModelId, ModelKind, RouteError};
use kwaainet_openapi::{Model, ModelList};

use super::path::ApiPath;
use super::{ApiError, App};

/// Lists what can be asked for.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "models",
    operation_id = "listModels",
    responses((status = 200, description = "The models.", body = ModelList))
)]
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<ModelList> {
    let snapshot = app.hallway.snapshot();
    let mut data: Vec<Model> = Vec::new();
    for candidate in &snapshot.candidates {
        // A model that several backends serve is listed once, as its first one has it.
        if data
            .iter()
            .all(|model| model.id != candidate.model.id.as_str())
        {
            data.push(wire(candidate));
        }
    }
    let object = "list";
    Json(ModelList { object, data })
}

/// Shows one model.
#[utoipa::path(
    get,
    path = "/v1/models/{model}",
    tag = "models",
    operation_id = "retrieveModel",
    params(("model" = String, Path, description = "The model's name.")),
    responses((status = 200, description = "The model.", body = Model))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    ApiPath(model): ApiPath<String>,
) -> Result<Json<Model>, ApiError> {
    find(&app, &model)
}

/// Shows one model whose name has a slash.
#[utoipa::path(
    get,
    path = "/v1/models/{owner}/{name}",
    tag = "models",
    operation_id = "retrieveOwnedModel",
    params(
        ("owner" = String, Path, description = "The name up to the slash."),
        ("name" = String, Path, description = "The name after it."),
    ),
    responses((status = 200, description = "The model.", body = Model))
)]
pub(crate) async fn show_owned(
    State(app): State<Arc<App>>,
    ApiPath((owner, name)): ApiPath<(String, String)>,
) -> Result<Json<Model>, ApiError> {
    find(&app, &format!("{owner}/{name}"))
}

fn find(app: &App, model: &str) -> Result<Json<Model>, ApiError> {
    let snapshot = app.hallway.snapshot();
    let found = snapshot
        .candidates
        .iter()
        .find(|candidate| candidate.model.id.as_str() == model);
    let missing = || RouteError::ModelNotFound(ModelId::new(model));
    Ok(found.map(wire).map(Json).ok_or_else(missing)?)
}

fn wire(candidate: &Candidate) -> Model {
    Model {
        id: candidate.model.id.to_string(),
        object: "model",
        created: candidate.model.created,
        owned_by: candidate.backend.to_string(),
        kind: match candidate.model.kind {
            ModelKind::Generate => "generate",
            ModelKind::Embed => "embed",
            ModelKind::Transcribe => "transcribe",
            ModelKind::Unknown => "unknown",
        },
        context_length: candidate.model.context,
        loaded: candidate.model.loaded,
    }
}
