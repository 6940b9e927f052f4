//! `GET /v1/models` and `GET /v1/models/{model}`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use kwaainet_core::{Candidate, ModelId, ModelKind, RouteError};
use kwaainet_openapi::{Model, ModelList, ModelPlaces};

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
    // A model that several backends serve is listed once, as its first one has it.
    let mut known: HashMap<&ModelId, usize> = HashMap::new();
    let mut listed: Vec<Vec<&Candidate>> = Vec::new();
    for candidate in snapshot.candidates.iter().filter(|c| is_there(c)) {
        match known.get(&candidate.model.id) {
            Some(at) => listed[*at].push(candidate),
            None => {
                known.insert(&candidate.model.id, listed.len());
                listed.push(vec![candidate]);
            }
        }
    }
    Json(ModelList {
        object: "list",
        data: listed.iter().filter_map(|serving| wire(serving)).collect(),
    })
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
    let all = snapshot.candidates.iter();
    let serving = all.filter(|c| c.model.id.as_str() == model && is_there(c));
    let missing = || RouteError::ModelNotFound(ModelId::new(model));
    let found = wire(&serving.collect::<Vec<_>>());
    Ok(found.map(Json).ok_or_else(missing)?)
}

/// A node that is gone serves nothing; what is here or at an upstream only takes no work for a while.
pub(crate) fn is_there(candidate: &Candidate) -> bool {
    candidate.place.peer().is_none() || candidate.unavailable.is_none()
}

/// A model as the first of those has it who serve it.
fn wire(serving: &[&Candidate]) -> Option<Model> {
    let candidate = serving.first()?;
    Some(Model {
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
        kwaai: places(serving),
    })
}

fn places(serving: &[&Candidate]) -> ModelPlaces {
    let mut places: Vec<&str> = serving.iter().map(|c| c.place.as_str()).collect();
    let is_here = usize::from(places.contains(&"local"));
    let peers: HashSet<_> = serving
        .iter()
        .filter_map(|c| Some(c.place.peer()?.node))
        .collect();
    places.sort_unstable();
    places.dedup();
    ModelPlaces {
        places,
        nodes: u32::try_from(is_here + peers.len()).unwrap_or(u32::MAX),
    }
}
