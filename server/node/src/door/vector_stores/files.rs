//! The files in a vector store.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::{
    ChunkingStrategy, Deleted, ListOrder, ListedStatus, StaticChunking, VectorSearchContent,
    VectorStoreFile, VectorStoreFileContent, VectorStoreFileError, VectorStoreFileList,
    VectorStoreFileRequest, VectorStoreFileUpdate,
};
use kwaainet_store::{VectorFileRecord, VectorFileStatus};
use serde_json::Value;

use super::{attributes, context_of, find, find_live};
use crate::door::body::ApiJson;
use crate::door::paging::{ListQuery, SHORT, page_of};
use crate::door::path::{ApiPath, ApiQuery};
use crate::door::{ApiError, App, files, params};
use crate::indexing;

/// Files of one store, and of one request.
const FILES_MAX: u64 = 5_000;
pub(super) const FILES_AT_ONCE_MAX: usize = 500;
/// OpenAI's limits.
const CHUNK_TOKENS: (i64, i64) = (100, 4_096);

/// Puts a file into a vector store, where it is read in the background.
#[utoipa::path(
    post,
    path = "/v1/vector_stores/{vector_store_id}/files",
    tag = "vector stores",
    operation_id = "createVectorStoreFile",
    params(("vector_store_id" = String, Path, description = "The vector store's id.")),
    request_body = VectorStoreFileRequest,
    responses((status = 200, description = "The file in the store.", body = VectorStoreFile))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<VectorStoreFileRequest>,
) -> Result<Json<VectorStoreFile>, ApiError> {
    let store = find_live(&app, &principal, &id).await?;
    let file = params::required(request.file_id, "file_id")?;
    let common = Common {
        attributes: attributes::check(request.attributes, "attributes")?,
        chunking: chunking(request.chunking_strategy, context_of(&app, &store.model))?,
        file_batch: None,
    };
    let ids = vec![file.clone()];
    let records = records(&app, &principal, &store.id, ids, &common).await;
    let records = records.map_err(|error| error.renamed("file_ids[0]", "file_id"))?;
    let put = put(&app, &principal, &records).await;
    put.map_err(|error| error.renamed("file_ids", "file_id"))?;
    let made = records.first().map(wire).map(Json);
    made.ok_or_else(|| ApiError::internal("a file that was put in is not there"))
}

/// Lists the files in a vector store.
#[utoipa::path(
    get,
    path = "/v1/vector_stores/{vector_store_id}/files",
    tag = "vector stores",
    operation_id = "listVectorStoreFiles",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("after" = Option<String>, Query, description = "Go on after this file."),
        ("before" = Option<String>, Query, description = "End before this file."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if not given."),
        ("order" = inline(Option<ListOrder>), Query, description = "`desc` (newest first, the default) or `asc`."),
        ("filter" = inline(Option<ListedStatus>), Query, description = "Only `in_progress`, `completed`, `failed` or `cancelled`."),
    ),
    responses((status = 200, description = "A page of files.", body = VectorStoreFileList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<VectorStoreFileList>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    listed(&app, &store.id, None, &query).await.map(Json)
}

/// A page of a store's files, of one batch of them if it is named.
pub(super) async fn listed(
    app: &App,
    store: &str,
    file_batch: Option<&str>,
    query: &ListQuery,
) -> Result<VectorStoreFileList, ApiError> {
    let page = query.page(SHORT)?;
    let status = query.filter.as_deref().map(status).transpose()?;
    let listed = app
        .store
        .vector_files(store, file_batch, status, &page)
        .await?;
    Ok(page_of!(VectorStoreFileList, query.found(listed)?, wire))
}

/// Shows a file in a vector store.
#[utoipa::path(
    get,
    path = "/v1/vector_stores/{vector_store_id}/files/{file_id}",
    tag = "vector stores",
    operation_id = "retrieveVectorStoreFile",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("file_id" = String, Path, description = "The file's id."),
    ),
    responses((status = 200, description = "The file in the store.", body = VectorStoreFile))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, file)): ApiPath<(String, String)>,
) -> Result<Json<VectorStoreFile>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    Ok(Json(wire(&inside(&app, &store.id, &file).await?)))
}

/// Changes the attributes of a file in a vector store.
#[utoipa::path(
    post,
    path = "/v1/vector_stores/{vector_store_id}/files/{file_id}",
    tag = "vector stores",
    operation_id = "updateVectorStoreFile",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("file_id" = String, Path, description = "The file's id."),
    ),
    request_body = VectorStoreFileUpdate,
    responses((status = 200, description = "The file in the store.", body = VectorStoreFile))
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, file)): ApiPath<(String, String)>,
    ApiJson(request): ApiJson<VectorStoreFileUpdate>,
) -> Result<Json<VectorStoreFile>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    let mut found = inside(&app, &store.id, &file).await?;
    let given = params::required(request.attributes, "attributes")?;
    found.attributes = attributes::check(given, "attributes")?;
    let written = found.attributes.as_deref();
    app.store
        .set_vector_file_attributes(&store.id, &file, written)
        .await?;
    Ok(Json(wire(&found)))
}

/// Takes a file out of a vector store. The file itself stays.
#[utoipa::path(
    delete,
    path = "/v1/vector_stores/{vector_store_id}/files/{file_id}",
    tag = "vector stores",
    operation_id = "deleteVectorStoreFile",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("file_id" = String, Path, description = "The file's id."),
    ),
    responses((status = 200, description = "It is out.", body = Deleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, file)): ApiPath<(String, String)>,
) -> Result<Json<Deleted>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    if !app.store.delete_vector_file(&store.id, &file).await? {
        return Err(files::missing(&file, "file_id"));
    }
    Ok(Json(Deleted {
        id: file,
        object: "vector_store.file.deleted",
        deleted: true,
    }))
}

/// Gives the text that was read from a file in a vector store.
#[utoipa::path(
    get,
    path = "/v1/vector_stores/{vector_store_id}/files/{file_id}/content",
    tag = "vector stores",
    operation_id = "retrieveVectorStoreFileContent",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("file_id" = String, Path, description = "The file's id."),
    ),
    responses((status = 200, description = "The text.", body = VectorStoreFileContent))
)]
pub(crate) async fn content(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, file)): ApiPath<(String, String)>,
) -> Result<Json<VectorStoreFileContent>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    inside(&app, &store.id, &file).await?;
    let file = files::find(&app, principal.id(), &file, "file_id").await?;
    let text = indexing::text::of_file(&app, &file.id, &file.filename).await;
    let text = text.map_err(|trouble| {
        let (code, message) = (Some("unsupported_file"), trouble.to_string());
        ApiError::bad_request(code, message)
    })?;
    Ok(Json(VectorStoreFileContent {
        object: "vector_store.file_content.page",
        data: vec![VectorSearchContent { kind: "text", text }],
        has_more: false,
        next_page: None,
    }))
}

/// What files that are put in together share.
pub(super) struct Common {
    pub(super) attributes: Option<String>,
    pub(super) chunking: Option<(u32, u32)>,
    pub(super) file_batch: Option<String>,
}

/// The files as they will stand in the store, if all of them are the principal's.
pub(super) async fn records(
    app: &App,
    principal: &Principal,
    store: &str,
    ids: Vec<String>,
    common: &Common,
) -> Result<Vec<VectorFileRecord>, ApiError> {
    if ids.len() > FILES_AT_ONCE_MAX {
        let message = format!("Invalid 'file_ids': more than {FILES_AT_ONCE_MAX}.");
        let code = "array_above_max_length";
        return Err(ApiError::invalid("file_ids", code, message));
    }
    let mut records = Vec::with_capacity(ids.len());
    for (index, id) in ids.into_iter().enumerate() {
        let found = app.store.file(principal.id(), &id).await?;
        let param = format!("file_ids[{index}]");
        let file = found.ok_or_else(|| files::missing(&id, &param))?;
        records.push(VectorFileRecord {
            store: store.to_owned(),
            file: file.id,
            file_batch: common.file_batch.clone(),
            key: principal.key().cloned(),
            status: VectorFileStatus::InProgress,
            error: None,
            attributes: common.attributes.clone(),
            chunking: common.chunking,
            bytes: 0,
            created_at_ms: app.clock.unix_ms(),
        });
    }
    Ok(records)
}

/// Puts files into a store and wakes who reads them.
pub(super) async fn put(
    app: &App,
    principal: &Principal,
    records: &[VectorFileRecord],
) -> Result<(), ApiError> {
    let Some(first) = records.first() else {
        return Ok(());
    };
    files::require_room(app, principal.id(), "file_ids").await?;
    let put = app
        .store
        .put_vector_files(principal.id(), records, FILES_MAX);
    if !put.await? {
        let message = format!("A vector store holds at most {FILES_MAX} files, all of them yours.");
        let code = Some("vector_store_full");
        return Err(ApiError::bad_request(code, message));
    }
    let now = app.clock.unix_ms();
    app.store.touch_vector_store(&first.store, now).await?;
    app.bells.indexing.ring();
    Ok(())
}

/// Serde would take arrays for these objects.
fn strategy(value: Value) -> Option<ChunkingStrategy> {
    let is_sound = value.is_object() && value.get("static").is_none_or(Value::is_object);
    serde_json::from_value(value).ok().filter(|_| is_sound)
}

/// Tokens of a piece and how many of them are shared, for a model with this context; none where they are
/// the node's to choose and the model is not known yet.
pub(super) fn chunking(
    given: Option<Value>,
    context: Option<u32>,
) -> Result<Option<(u32, u32)>, ApiError> {
    let at = "chunking_strategy";
    let strategy = match given {
        None | Some(Value::Null) => ChunkingStrategy::Auto,
        Some(value) => strategy(value).ok_or_else(|| {
            let message = format!(
                "Invalid '{at}': expected {{\"type\": \"auto\"}}, or 'static' with its two numbers."
            );
            ApiError::invalid(at, "invalid_value", message)
        })?,
    };
    let fixed = match strategy {
        ChunkingStrategy::Auto => {
            let context = context.map(|context| context as usize);
            let sizes = context.map(|context| indexing::sizes(None, context));
            return Ok(sizes.map(|(tokens, shared)| (tokens as u32, shared as u32)));
        }
        ChunkingStrategy::Static { fixed } => fixed,
    };
    let param = "chunking_strategy.static.max_chunk_size_tokens";
    let most = params::integer(Some(fixed.max_chunk_size_tokens), param, CHUNK_TOKENS)?;
    let most = most.unwrap_or(CHUNK_TOKENS.0);
    if let Some(context) = context.filter(|context| most > i64::from(*context)) {
        let message = format!(
            "Invalid '{param}': the embedding model of this node takes {context} tokens at most."
        );
        return Err(ApiError::invalid(param, "integer_above_max_value", message));
    }
    let param = "chunking_strategy.static.chunk_overlap_tokens";
    let shared = params::integer(Some(fixed.chunk_overlap_tokens), param, (0, most / 2))?;
    Ok(Some((most as u32, shared.unwrap_or(0) as u32)))
}

fn status(name: &str) -> Result<VectorFileStatus, ApiError> {
    let known = VectorFileStatus::ALL.into_iter();
    let mut named = known.filter(|status| status.as_str() == name);
    named.next().ok_or_else(|| {
        let message =
            "Invalid 'filter': it must be 'in_progress', 'completed', 'failed' or 'cancelled'.";
        ApiError::invalid("filter", "invalid_value", message)
    })
}

async fn inside(app: &App, store: &str, file: &str) -> Result<VectorFileRecord, ApiError> {
    let found = app.store.vector_file(store, file).await?;
    found.ok_or_else(|| files::missing(file, "file_id"))
}

fn wire(file: &VectorFileRecord) -> VectorStoreFile {
    let error = |(code, message): &(String, String)| VectorStoreFileError {
        code: code.clone(),
        message: message.clone(),
    };
    let fixed = |(tokens, shared)| ChunkingStrategy::Static {
        fixed: StaticChunking {
            max_chunk_size_tokens: i64::from(tokens),
            chunk_overlap_tokens: i64::from(shared),
        },
    };
    VectorStoreFile {
        id: file.file.clone(),
        object: "vector_store.file",
        usage_bytes: file.bytes,
        created_at: file.created_at_ms / 1_000,
        vector_store_id: file.store.clone(),
        status: file.status.as_str(),
        last_error: file.error.as_ref().map(error),
        chunking_strategy: file.chunking.map_or(ChunkingStrategy::Auto, fixed),
        attributes: attributes::read(file.attributes.as_ref()),
    }
}
