//! Responses that are kept: `GET`, `DELETE`, cancel, and their input items.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::stream as streams;
use kwaainet_core::Principal;
use kwaainet_openapi::{Deleted, ListOrder, ResponseEvent, ResponseItemList, ResponseObject};
use kwaainet_store::{KeptItem, KeptResponse, Listed, Seeker};
use serde::Deserialize;

use super::kept::item;
use super::run::framed;
use super::writer::Cut;
use super::{background, replay};
use crate::door::paging::{ListQuery, SHORT};
use crate::door::path::{ApiPath, ApiQuery};
use crate::door::stream::{Framing, streamed};
use crate::door::{ApiError, App};

/// Gives a response, or its events once more.
#[utoipa::path(
    get,
    path = "/v1/responses/{response_id}",
    tag = "responses",
    operation_id = "retrieveResponse",
    params(
        ("response_id" = String, Path, description = "The response's id."),
        ("stream" = Option<bool>, Query, description = "Its events, live while it is made."),
        ("starting_after" = Option<u64>, Query,
            description = "With `stream`: only events with a higher sequence number."),
    ),
    responses((status = 200, description = "The response; with `stream`, its events.", content(
        (ResponseObject = "application/json"),
        (ResponseEvent = "text/event-stream"),
    )))
)]
pub(crate) async fn retrieve(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<Telling>,
) -> Result<Response, ApiError> {
    let Some(from) = query.starting()? else {
        let (object, _) = load(&app, &principal, &id).await?;
        return Ok(Json(object).into_response());
    };
    // First the log: a response that ends between the two questions is then found in the database.
    if let Some(log) = app.background.log(principal.id(), &id) {
        return Ok(background::follow(log, from));
    }
    let (object, cuts) = load(&app, &principal, &id).await?;
    let events = replay::replay(object, &cuts).into_iter().skip(from);
    Ok(streamed(
        Framing::Events,
        streams::iter(events.map(|event| framed(&event))),
    ))
}

/// Erases a response and its words, and stops it if it is being made.
#[utoipa::path(
    delete,
    path = "/v1/responses/{response_id}",
    tag = "responses",
    operation_id = "deleteResponse",
    params(("response_id" = String, Path, description = "The response's id.")),
    responses((status = 200, description = "It is gone.", body = Deleted))
)]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Deleted>, ApiError> {
    let who = seeker(&app, &principal);
    if !app.store.erase_response(who, &id).await? {
        return Err(missing(&id));
    }
    app.background.stop(principal.id(), &id).await;
    Ok(Json(Deleted {
        id,
        object: "response",
        deleted: true,
    }))
}

/// Stops a background response. One that is over is given as it is.
#[utoipa::path(
    post,
    path = "/v1/responses/{response_id}/cancel",
    tag = "responses",
    operation_id = "cancelResponse",
    params(("response_id" = String, Path, description = "The response's id.")),
    responses((status = 200, description = "The response.", body = ResponseObject))
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<ResponseObject>, ApiError> {
    let (object, _) = load(&app, &principal, &id).await?;
    if !object.background {
        let message = "Only a response that was created with 'background' can be cancelled.";
        return Err(ApiError::invalid("response_id", "invalid_value", message));
    }
    app.background.stop(principal.id(), &id).await;
    let (object, _) = load(&app, &principal, &id).await?;
    Ok(Json(object))
}

/// Lists what a response was asked with.
#[utoipa::path(
    get,
    path = "/v1/responses/{response_id}/input_items",
    tag = "responses",
    operation_id = "listInputItems",
    params(
        ("response_id" = String, Path, description = "The response's id."),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 100,
            description = "Items of a page; 20 if not given."),
        ("order" = inline(Option<ListOrder>), Query, description = "`asc`, or `desc` if not given."),
        ("after" = Option<String>, Query, description = "The item before the page."),
    ),
    responses((status = 200, description = "The items.", body = ResponseItemList))
)]
pub(crate) async fn input_items(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<ListQuery>,
) -> Result<Json<ResponseItemList>, ApiError> {
    let page = query.page(SHORT)?;
    load(&app, &principal, &id).await?;
    let listed = app.store.kept_items(&id, &page).await?;
    Ok(Json(list(&query.found(listed)?)?))
}

/// Who asks, and when.
pub(in crate::door) fn seeker<'a>(app: &App, principal: &'a Principal) -> Seeker<'a> {
    Seeker {
        principal: principal.id(),
        now_ms: app.clock.unix_ms(),
    }
}

/// A page of items in the wire's form.
pub(in crate::door) fn list(listed: &Listed<KeptItem>) -> Result<ResponseItemList, ApiError> {
    let data: Vec<_> = listed.items.iter().map(item).collect::<Result<_, _>>()?;
    Ok(ResponseItemList {
        object: "list",
        first_id: listed.items.first().map(|item| item.id.clone()),
        last_id: listed.items.last().map(|item| item.id.clone()),
        data,
        has_more: listed.has_more,
    })
}

fn missing(id: &str) -> ApiError {
    let message = format!("Response with id '{id}' not found.");
    ApiError::not_found("response_id", "response_not_found", message)
}

/// Whether a response's events are asked for, and which.
#[derive(Deserialize)]
pub(crate) struct Telling {
    stream: Option<String>,
    starting_after: Option<String>,
    include_obfuscation: Option<String>,
}

impl Telling {
    /// The number of the first event that is asked for, if events are.
    fn starting(&self) -> Result<Option<usize>, ApiError> {
        let stream = flag(self.stream.as_deref(), "stream")?;
        if flag(self.include_obfuscation.as_deref(), "include_obfuscation")? {
            return Err(wrong("include_obfuscation", "'false'"));
        }
        let after = match &self.starting_after {
            None => None,
            Some(text) => {
                let number: Option<u32> = text.parse().ok();
                Some(number.ok_or_else(|| wrong("starting_after", "a number of an event"))?)
            }
        };
        match (stream, after) {
            (false, Some(_)) => Err(wrong("starting_after", "'stream' to be true with it")),
            (false, None) => Ok(None),
            (true, after) => Ok(Some(after.map_or(0, |after| after as usize + 1))),
        }
    }
}

fn flag(text: Option<&str>, param: &str) -> Result<bool, ApiError> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong(param, "'true' or 'false'")),
    }
}

fn wrong(param: &str, expected: &str) -> ApiError {
    let message = format!("Invalid '{param}': expected {expected}.");
    ApiError::invalid(param, "invalid_value", message)
}

async fn load(
    app: &App,
    principal: &Principal,
    id: &str,
) -> Result<(ResponseObject, Vec<Cut>), ApiError> {
    let found = app.store.response(seeker(app, principal), id).await?;
    read(&found.ok_or_else(|| missing(id))?)
}

fn read(kept: &KeptResponse) -> Result<(ResponseObject, Vec<Cut>), ApiError> {
    let malformed = |_| ApiError::internal("a kept response is malformed");
    let mut object: ResponseObject = serde_json::from_str(&kept.body).map_err(malformed)?;
    object.output = kept.output.iter().map(item).collect::<Result<_, _>>()?;
    let cuts = serde_json::from_str(&kept.cuts).map_err(malformed)?;
    Ok((object, cuts))
}
