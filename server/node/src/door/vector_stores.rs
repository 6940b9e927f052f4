//! `/v1/vector_stores`: what can be searched. Files in them are read by [`crate::indexing`].

mod attributes;
pub(crate) mod batches;
pub(crate) mod files;
pub(crate) mod filters;
pub(crate) mod search;

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{ModelKind, Principal, random_id};
use kwaainet_openapi::{
    Deleted, FileCounts, ListOrder, VectorStore, VectorStoreExpiry, VectorStoreList,
    VectorStoreRequest, VectorStoreUpdate,
};
use kwaainet_store::{VectorFileCounts, VectorStoreRecord};

use super::body::{self, ApiJson};
use super::paging::{ListQuery, SHORT, page_of};
use super::path::{ApiPath, ApiQuery};
use super::{ApiError, App, params};

/// Vector stores of one principal.
const STORES_MAX: u32 = 1_000;
/// OpenAI's limits.
const NAME_BYTES_MAX: usize = 512;
const DAYS: (i64, i64) = (1, 365);

/// Makes a vector store.
#[utoipa::path(
    post,
    path = "/v1/vector_stores",
    tag = "vector stores",
    operation_id = "createVectorStore",
    request_body = VectorStoreRequest,
    responses((status = 200, description = "The vector store.", body = VectorStore))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<VectorStoreRequest>,
) -> Result<Json<VectorStore>, ApiError> {
    let now = app.clock.unix_ms();
    let model = embedder(&app)?;
    let store = VectorStoreRecord {
        id: format!("vs_{}", random_id()),
        principal: principal.id().clone(),
        name: short(request.name.unwrap_or_default(), "name")?,
        description: request
            .description
            .map(|text| short(text, "description"))
            .transpose()?,
        metadata: metadata(request.metadata)?,
        model: model.name,
        expires_after_days: request.expires_after.map(days).transpose()?,
        created_at_ms: now,
        last_active_at_ms: now,
        counts: VectorFileCounts::default(),
        bytes: 0,
    };
    let common = files::Common {
        attributes: None,
        chunking: files::chunking(request.chunking_strategy, model.context)?,
        file_batch: None,
    };
    let ids = request.file_ids.unwrap_or_default();
    let records = files::records(&app, &principal, &store.id, ids, &common).await?;
    if !app.store.insert_vector_store(&store, STORES_MAX).await? {
        let message = format!("You have {STORES_MAX} vector stores, which is the limit.");
        let code = Some("vector_store_limit_exceeded");
        return Err(ApiError::bad_request(code, message));
    }
    files::put(&app, &principal, &records).await?;
    Ok(Json(wire(&app, &find(&app, &principal, &store.id).await?)))
}

/// Lists vector stores.
#[utoipa::path(
    get,
    path = "/v1/vector_stores",
    tag = "vector stores",
    operation_id = "listVectorStores",
    params(
        ("after" = Option<String>, Query, description = "Go on after this vector store."),
        ("before" = Option<String>, Query, description = "End before this vector store."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if not given."),
        ("order" = inline(Option<ListOrder>), Query, description = "`desc` (newest first, the default) or `asc`."),
    ),
    responses((status = 200, description = "A page of vector stores.", body = VectorStoreList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<VectorStoreList>, ApiError> {
    let page = query.page(SHORT)?;
    let listed = app.store.vector_stores(principal.id(), &page).await?;
    let listed = query.found(listed)?;
    Ok(Json(page_of!(VectorStoreList, listed, |store| wire(
        &app, store
    ))))
}

/// Shows a vector store.
#[utoipa::path(
    get,
    path = "/v1/vector_stores/{vector_store_id}",
    tag = "vector stores",
    operation_id = "retrieveVectorStore",
    params(("vector_store_id" = String, Path, description = "The vector store's id.")),
    responses((status = 200, description = "The vector store.", body = VectorStore))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<VectorStore>, ApiError> {
    Ok(Json(wire(&app, &find(&app, &principal, &id).await?)))
}

/// Changes a vector store's name, metadata or expiry.
#[utoipa::path(
    post,
    path = "/v1/vector_stores/{vector_store_id}",
    tag = "vector stores",
    operation_id = "updateVectorStore",
    params(("vector_store_id" = String, Path, description = "The vector store's id.")),
    request_body = VectorStoreUpdate,
    responses((status = 200, description = "The vector store.", body = VectorStore))
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<VectorStoreUpdate>,
) -> Result<Json<VectorStore>, ApiError> {
    let mut store = find(&app, &principal, &id).await?;
    if let Some(name) = request.name {
        store.name = short(name, "name")?;
    }
    if let Some(expiry) = request.expires_after {
        store.expires_after_days = expiry.map(days).transpose()?;
    }
    if let Some(given) = request.metadata {
        store.metadata = metadata(given)?;
    }
    app.store.update_vector_store(&store).await?;
    Ok(Json(wire(&app, &store)))
}

/// Deletes a vector store. The files themselves stay.
#[utoipa::path(
    delete,
    path = "/v1/vector_stores/{vector_store_id}",
    tag = "vector stores",
    operation_id = "deleteVectorStore",
    params(("vector_store_id" = String, Path, description = "The vector store's id.")),
    responses((status = 200, description = "It is gone.", body = Deleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Deleted>, ApiError> {
    if !app.store.delete_vector_store(principal.id(), &id).await? {
        return Err(missing(&id));
    }
    Ok(Json(Deleted {
        id,
        object: "vector_store.deleted",
        deleted: true,
    }))
}

/// The model that makes vectors on this node.
struct Embedder {
    name: String,
    /// In tokens, where known.
    context: Option<u32>,
}

/// The first that is there. Not a peer's: what is indexed has to be found again when that has left.
fn embedder(app: &App) -> Result<Embedder, ApiError> {
    let snapshot = app.hallway.snapshot();
    let first = snapshot.candidates.iter().find(|candidate| {
        let is_own = candidate.place.peer().is_none();
        is_own && candidate.model.kind == ModelKind::Embed && candidate.unavailable.is_none()
    });
    let first = first.ok_or_else(|| {
        let message = "This node has no model that makes embeddings, which vector stores need.";
        let code = Some("no_embedding_model");
        ApiError::bad_request(code, message)
    })?;
    Ok(Embedder {
        name: first.model.id.to_string(),
        context: first.model.context,
    })
}

/// What is known of a store's model.
fn context_of(app: &App, model: &str) -> Option<u32> {
    let snapshot = app.hallway.snapshot();
    let mut candidates = snapshot.candidates.iter();
    candidates.find_map(|c| c.model.context.filter(|_| c.model.id.as_str() == model))
}

/// The principal's vector store.
async fn find(app: &App, principal: &Principal, id: &str) -> Result<VectorStoreRecord, ApiError> {
    let found = app.store.vector_store(principal.id(), id).await?;
    found.ok_or_else(|| missing(id))
}

/// The same, if its time is not over.
pub(crate) async fn find_live(
    app: &App,
    principal: &Principal,
    id: &str,
) -> Result<VectorStoreRecord, ApiError> {
    let store = find(app, principal, id).await?;
    if store.is_expired(app.clock.unix_ms()) {
        let message = format!("The vector store '{id}' is expired.");
        let code = Some("vector_store_expired");
        return Err(ApiError::bad_request(code, message));
    }
    Ok(store)
}

fn missing(id: &str) -> ApiError {
    let message = format!("Vector store with id '{id}' not found.");
    ApiError::not_found("vector_store_id", "vector_store_not_found", message)
}

fn short(text: String, param: &'static str) -> Result<String, ApiError> {
    if text.len() > NAME_BYTES_MAX {
        let message = format!("Invalid '{param}': at most {NAME_BYTES_MAX} bytes.");
        return Err(ApiError::invalid(param, "string_above_max_length", message));
    }
    Ok(text)
}

fn metadata(
    given: Option<std::collections::BTreeMap<String, String>>,
) -> Result<Option<String>, ApiError> {
    let is_given = given.is_some();
    let checked = params::metadata(given)?;
    Ok(is_given.then(|| body::to_value(&checked).to_string()))
}

fn days(expiry: VectorStoreExpiry) -> Result<u32, ApiError> {
    let param = "expires_after.anchor";
    if params::required(expiry.anchor, param)? != "last_active_at" {
        let message = format!("Invalid '{param}': it must be 'last_active_at'.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    let param = "expires_after.days";
    let days = params::required(expiry.days, param)?;
    let days = params::integer(Some(days), param, DAYS)?;
    Ok(days.map_or(1, |days| days as u32))
}

fn counts(counts: VectorFileCounts) -> FileCounts {
    FileCounts {
        in_progress: counts.in_progress,
        completed: counts.completed,
        failed: counts.failed,
        cancelled: counts.cancelled,
        total: counts.in_progress + counts.completed + counts.failed + counts.cancelled,
    }
}

fn wire(app: &App, store: &VectorStoreRecord) -> VectorStore {
    let status = if store.is_expired(app.clock.unix_ms()) {
        "expired"
    } else if store.counts.in_progress > 0 {
        "in_progress"
    } else {
        "completed"
    };
    VectorStore {
        id: store.id.clone(),
        object: "vector_store",
        created_at: store.created_at_ms / 1_000,
        name: store.name.clone(),
        description: store.description.clone(),
        usage_bytes: store.bytes,
        file_counts: counts(store.counts),
        status,
        expires_after: store.expires_after_days.map(|days| VectorStoreExpiry {
            anchor: Some("last_active_at".to_owned()),
            days: Some(i64::from(days)),
        }),
        expires_at: store.expires_at_ms().map(|ms| ms / 1_000),
        last_active_at: store.last_active_at_ms / 1_000,
        metadata: store
            .metadata
            .as_ref()
            .and_then(|text| serde_json::from_str(text).ok()),
        model: store.model.clone(),
    }
}
