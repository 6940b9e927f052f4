//! Files that are put into a vector store together.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{Principal, random_id};
use kwaainet_openapi::{
    ListOrder, ListedStatus, VectorStoreFileBatch, VectorStoreFileBatchRequest,
    VectorStoreFileList, VectorStoreFileRequest,
};
use kwaainet_store::VectorFileBatch;

use super::files::{self, Common};
use super::{attributes, context_of, counts, find, find_live};
use crate::door::body::ApiJson;
use crate::door::paging::ListQuery;
use crate::door::path::{ApiPath, ApiQuery};
use crate::door::{ApiError, App, params};

/// Puts files into a vector store together.
#[utoipa::path(
    post,
    path = "/v1/vector_stores/{vector_store_id}/file_batches",
    tag = "vector stores",
    operation_id = "createVectorStoreFileBatch",
    params(("vector_store_id" = String, Path, description = "The vector store's id.")),
    request_body = VectorStoreFileBatchRequest,
    responses((status = 200, description = "The files, which are read in the background.", body = VectorStoreFileBatch))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<VectorStoreFileBatchRequest>,
) -> Result<Json<VectorStoreFileBatch>, ApiError> {
    let store = find_live(&app, &principal, &id).await?;
    let context = context_of(&app, &store.model);
    let batch = format!("vsfb_{}", random_id());
    let records = match (request.file_ids, request.files) {
        (Some(_), Some(_)) => {
            let message = "Give either 'file_ids' or 'files', not both.";
            return Err(ApiError::invalid("files", "invalid_value", message));
        }
        (ids, None) => {
            let ids = params::required(ids, "file_ids")?;
            let common = Common {
                attributes: attributes::check(request.attributes, "attributes")?,
                chunking: files::chunking(request.chunking_strategy, context)?,
                file_batch: Some(batch.clone()),
            };
            files::records(&app, &principal, &store.id, ids, &common).await?
        }
        (None, Some(given)) => {
            one_by_one(&app, &principal, &store.id, given, (&batch, context)).await?
        }
    };
    if records.is_empty() {
        let message = "Invalid 'file_ids': empty array. Expected at least one file.";
        return Err(ApiError::invalid("file_ids", "empty_array", message));
    }
    let now = app.clock.unix_ms();
    app.store
        .insert_vector_file_batch(&batch, &store.id, now)
        .await?;
    files::put(&app, &principal, &records).await?;
    Ok(Json(wire(&inside(&app, &store.id, &batch).await?)))
}

/// Files of which each has attributes and a strategy of its own.
async fn one_by_one(
    app: &App,
    principal: &Principal,
    store: &str,
    given: Vec<VectorStoreFileRequest>,
    (batch, context): (&str, Option<u32>),
) -> Result<Vec<kwaainet_store::VectorFileRecord>, ApiError> {
    if given.len() > files::FILES_AT_ONCE_MAX {
        let message = format!("Invalid 'files': more than {}.", files::FILES_AT_ONCE_MAX);
        return Err(ApiError::invalid(
            "files",
            "array_above_max_length",
            message,
        ));
    }
    let mut records = Vec::with_capacity(given.len());
    for (index, file) in given.into_iter().enumerate() {
        let id = params::required(file.file_id, "files.file_id")?;
        let at = format!("files[{index}].attributes");
        let common = Common {
            attributes: attributes::check(file.attributes, &at)?,
            chunking: files::chunking(file.chunking_strategy, context)?,
            file_batch: Some(batch.to_owned()),
        };
        let one = files::records(app, principal, store, vec![id], &common).await;
        let param = format!("files[{index}].file_id");
        records.extend(one.map_err(|error| error.renamed("file_ids[0]", &param))?);
    }
    Ok(records)
}

/// Shows how far the files are that were put in together.
#[utoipa::path(
    get,
    path = "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}",
    tag = "vector stores",
    operation_id = "retrieveVectorStoreFileBatch",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("batch_id" = String, Path, description = "The id that they were given."),
    ),
    responses((status = 200, description = "The files.", body = VectorStoreFileBatch))
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, batch)): ApiPath<(String, String)>,
) -> Result<Json<VectorStoreFileBatch>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    Ok(Json(wire(&inside(&app, &store.id, &batch).await?)))
}

/// Calls off what is not yet read.
#[utoipa::path(
    post,
    path = "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel",
    tag = "vector stores",
    operation_id = "cancelVectorStoreFileBatch",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("batch_id" = String, Path, description = "The id that they were given."),
    ),
    responses((status = 200, description = "The files.", body = VectorStoreFileBatch))
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, batch)): ApiPath<(String, String)>,
) -> Result<Json<VectorStoreFileBatch>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    inside(&app, &store.id, &batch).await?;
    app.store
        .cancel_vector_file_batch(&store.id, &batch)
        .await?;
    Ok(Json(wire(&inside(&app, &store.id, &batch).await?)))
}

/// Lists files that were put in together.
#[utoipa::path(
    get,
    path = "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files",
    tag = "vector stores",
    operation_id = "listFilesInVectorStoreBatch",
    params(
        ("vector_store_id" = String, Path, description = "The vector store's id."),
        ("batch_id" = String, Path, description = "The id that they were given."),
        ("after" = Option<String>, Query, description = "Go on after this file."),
        ("before" = Option<String>, Query, description = "End before this file."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100, description = "At most so many; 20 if not given."),
        ("order" = inline(Option<ListOrder>), Query, description = "`desc` (newest first, the default) or `asc`."),
        ("filter" = inline(Option<ListedStatus>), Query, description = "Only `in_progress`, `completed`, `failed` or `cancelled`."),
    ),
    responses((status = 200, description = "A page of files.", body = VectorStoreFileList))
)]
pub(crate) async fn list_files(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, batch)): ApiPath<(String, String)>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<VectorStoreFileList>, ApiError> {
    let store = find(&app, &principal, &id).await?;
    inside(&app, &store.id, &batch).await?;
    files::listed(&app, &store.id, Some(&batch), &query)
        .await
        .map(Json)
}

async fn inside(app: &App, store: &str, batch: &str) -> Result<VectorFileBatch, ApiError> {
    let found = app.store.vector_file_batch(store, batch).await?;
    found.ok_or_else(|| {
        let message = format!("No file batch found with id '{batch}'.");
        ApiError::not_found("batch_id", "file_batch_not_found", message)
    })
}

fn wire(batch: &VectorFileBatch) -> VectorStoreFileBatch {
    let file_counts = counts(batch.counts);
    let status = if file_counts.in_progress > 0 {
        "in_progress"
    } else if file_counts.cancelled > 0 {
        "cancelled"
    } else if file_counts.failed > 0 && file_counts.completed == 0 {
        "failed"
    } else {
        "completed"
    };
    VectorStoreFileBatch {
        id: batch.id.clone(),
        object: "vector_store.files_batch",
        created_at: batch.created_at_ms / 1_000,
        vector_store_id: batch.store.clone(),
        status,
        file_counts,
    }
}
