//! `/v1/conversations` and their items. What they hold is the user's: it belongs to the principal that
//! made it, expires when it was not used for long, and is erased on request.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::Principal;
use kwaainet_openapi::{
    Conversation, ConversationItemsRequest, ConversationRequest, ConversationUpdate, Deleted,
    ListOrder, ResponseItem, ResponseItemList,
};
use kwaainet_store::{Added, ConversationLimits, KeptItem, Listed};
use serde_json::Value;

use super::body::ApiJson;
use super::paging::{ListQuery, SHORT};
use super::path::{ApiPath, ApiQuery};
use super::responses as shared;
use super::{ApiError, App, params};

/// How much one conversation may be.
pub(super) const LIMITS: ConversationLimits = ConversationLimits {
    items_max: 2_000,
    bytes_max: 4 << 20,
};
/// The name of a conversation in the URL.
const ID: &str = "conversation_id";
/// OpenAI's limit for one request.
const ITEMS_AT_ONCE_MAX: usize = 20;

/// Makes a conversation.
#[utoipa::path(
    post,
    path = "/v1/conversations",
    tag = "conversations",
    operation_id = "createConversation",
    request_body = ConversationRequest,
    responses((status = 200, description = "The conversation.", body = Conversation))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<ConversationRequest>,
) -> Result<Json<Conversation>, ApiError> {
    let metadata = params::metadata(request.metadata)?;
    let items = kept(&app, &principal, request.items.unwrap_or_default()).await?;
    let (id, who) = (shared::new_id("conv"), shared::seeker(&app, &principal));
    let (until, body) = (app.keeps_until_ms(), body(&metadata));
    let insert = app
        .store
        .insert_conversation(who, &id, &body, &items, until);
    insert.await?;
    Ok(Json(Conversation {
        id,
        object: "conversation",
        created_at: who.now_ms / 1_000,
        metadata,
    }))
}

/// Shows a conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}",
    tag = "conversations",
    operation_id = "retrieveConversation",
    params(("conversation_id" = String, Path, description = "The conversation's id.")),
    responses((status = 200, description = "The conversation.", body = Conversation))
)]
pub(crate) async fn retrieve(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Conversation>, ApiError> {
    find(&app, &principal, id).await.map(Json)
}

/// Changes a conversation's metadata.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}",
    tag = "conversations",
    operation_id = "updateConversation",
    params(("conversation_id" = String, Path, description = "The conversation's id.")),
    request_body = ConversationUpdate,
    responses((status = 200, description = "The conversation.", body = Conversation))
)]
pub(crate) async fn update(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<ConversationUpdate>,
) -> Result<Json<Conversation>, ApiError> {
    let metadata = params::required(request.metadata, "metadata")?;
    let metadata = params::metadata(metadata)?;
    let (who, until) = (shared::seeker(&app, &principal), app.keeps_until_ms());
    let body = body(&metadata);
    let update = app.store.update_conversation(who, &id, &body, until);
    if !update.await? {
        return Err(missing(&id, ID));
    }
    find(&app, &principal, id).await.map(Json)
}

/// Erases a conversation and its items. Responses that belong to it stay.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation_id}",
    tag = "conversations",
    operation_id = "deleteConversation",
    params(("conversation_id" = String, Path, description = "The conversation's id.")),
    responses((status = 200, description = "It is gone.", body = Deleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Deleted>, ApiError> {
    let who = shared::seeker(&app, &principal);
    if !app.store.erase_conversation(who, &id).await? {
        return Err(missing(&id, ID));
    }
    Ok(Json(Deleted {
        id,
        object: "conversation.deleted",
        deleted: true,
    }))
}

/// Adds items to a conversation.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/items",
    tag = "conversations",
    operation_id = "createConversationItems",
    params(("conversation_id" = String, Path, description = "The conversation's id.")),
    request_body = ConversationItemsRequest,
    responses((status = 200, description = "What was added.", body = ResponseItemList))
)]
pub(crate) async fn create_items(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiJson(request): ApiJson<ConversationItemsRequest>,
) -> Result<Json<ResponseItemList>, ApiError> {
    let items = params::required(request.items, "items")?;
    if items.is_empty() {
        let message = "Invalid 'items': empty array. Expected at least one item.";
        return Err(ApiError::invalid("items", "empty_array", message));
    }
    let items = kept(&app, &principal, items).await?;
    let (who, until) = (shared::seeker(&app, &principal), app.keeps_until_ms());
    let added = app
        .store
        .extend_conversation(who, &id, &items, LIMITS, until);
    match added.await? {
        Added::Done => {
            let has_more = false;
            Ok(Json(shared::list(&Listed { items, has_more })?))
        }
        Added::Missing => Err(missing(&id, ID)),
        Added::Full => Err(full("items")),
    }
}

/// Lists a conversation's items.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/items",
    tag = "conversations",
    operation_id = "listConversationItems",
    params(
        ("conversation_id" = String, Path, description = "The conversation's id."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Items of a page; 20 if not given."),
        ("order" = inline(Option<ListOrder>), Query, description = "`asc`, or `desc` if not given."),
        ("after" = Option<String>, Query, description = "The item before the page."),
    ),
    responses((status = 200, description = "The items.", body = ResponseItemList))
)]
pub(crate) async fn list_items(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<ResponseItemList>, ApiError> {
    let page = query.page(SHORT)?;
    let Conversation { id, .. } = find(&app, &principal, id).await?;
    let listed = app.store.kept_items(&id, &page).await?;
    Ok(Json(shared::list(&query.found(listed)?)?))
}

/// Shows one item.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/items/{item_id}",
    tag = "conversations",
    operation_id = "retrieveConversationItem",
    params(
        ("conversation_id" = String, Path, description = "The conversation's id."),
        ("item_id" = String, Path, description = "The item's id."),
    ),
    responses((status = 200, description = "The item.", body = ResponseItem))
)]
pub(crate) async fn retrieve_item(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, item)): ApiPath<(String, String)>,
) -> Result<Json<ResponseItem>, ApiError> {
    let who = shared::seeker(&app, &principal);
    let found = app.store.conversation_item(who, &id, &item).await?;
    let found = found.ok_or_else(|| missing_item(&id, &item))?;
    Ok(Json(shared::item(&found)?))
}

/// Erases one item.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation_id}/items/{item_id}",
    tag = "conversations",
    operation_id = "deleteConversationItem",
    params(
        ("conversation_id" = String, Path, description = "The conversation's id."),
        ("item_id" = String, Path, description = "The item's id."),
    ),
    responses((status = 200, description = "The conversation.", body = Conversation))
)]
pub(crate) async fn delete_item(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath((id, item)): ApiPath<(String, String)>,
) -> Result<Json<Conversation>, ApiError> {
    let who = shared::seeker(&app, &principal);
    let erased = app.store.erase_conversation_item(who, &id, &item).await?;
    if !erased {
        return Err(missing_item(&id, &item));
    }
    find(&app, &principal, id).await.map(Json)
}

/// A conversation that can take no more.
pub(super) fn full(param: &'static str) -> ApiError {
    let (items, bytes) = (LIMITS.items_max, LIMITS.bytes_max);
    let message = format!("A conversation holds at most {items} items and {bytes} bytes.");
    ApiError::invalid(param, "conversation_too_long", message)
}

/// Items of a request, checked, in the form in which they are kept.
async fn kept(
    app: &App,
    principal: &Principal,
    items: Vec<Value>,
) -> Result<Vec<KeptItem>, ApiError> {
    if items.len() > ITEMS_AT_ONCE_MAX {
        let message = format!("Invalid 'items': at most {ITEMS_AT_ONCE_MAX} at a time.");
        let code = "array_above_max_length";
        return Err(ApiError::invalid("items", code, message));
    }
    let given = shared::read(items, "items")?;
    let items = shared::resolve(app, principal, given).await?;
    Ok(items.iter().map(shared::kept).collect())
}

fn body(metadata: &BTreeMap<String, String>) -> String {
    serde_json::to_string(metadata).expect("its keys are strings")
}

async fn find(app: &App, principal: &Principal, id: String) -> Result<Conversation, ApiError> {
    let who = shared::seeker(app, principal);
    let found = app.store.conversation(who, &id).await?;
    let found = found.ok_or_else(|| missing(&id, ID))?;
    let malformed = |_| ApiError::internal("kept metadata are malformed");
    Ok(Conversation {
        id,
        object: "conversation",
        created_at: found.created_at_ms / 1_000,
        metadata: serde_json::from_str(&found.body).map_err(malformed)?,
    })
}

/// There is no such conversation; `param` is the field that names it.
pub(super) fn missing(id: &str, param: &str) -> ApiError {
    let message = format!("Conversation with id '{id}' not found.");
    ApiError::not_found(param, "conversation_not_found", message)
}

fn missing_item(conversation: &str, item: &str) -> ApiError {
    let message = format!("Item with id '{item}' not found in conversation '{conversation}'.");
    ApiError::not_found("item_id", "item_not_found", message)
}
