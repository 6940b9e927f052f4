//! The Responses API: `POST /v1/responses` and what becomes of the responses that are kept.
//!
//! A request is checked ([`request`]), what it refers to is looked up ([`context`]), and the job goes the
//! way of all jobs; [`writer`] makes the response and its events out of what comes back, [`run`] keeps
//! it. The words of a response lie in the database only if it is stored.

mod background;
mod context;
mod fields;
mod items;
mod page;
mod replay;
mod request;
mod run;
mod stored;
mod tools;
mod wire;
mod writer;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use kwaainet_core::{Job, JobId, Principal, Prompt, Work};
use kwaainet_openapi::{InputTokens, ResponseEvent, ResponseObject, ResponseRequest};
use kwaainet_store::{Store, StoreError};

pub use background::Background;
pub(super) use context::{item, kept, resolve, store_failed};
pub(super) use fields::metadata;
pub(super) use items::{new_id, read};
pub(super) use page::{Parameters, list, page, parameters, wrong};
pub(super) use stored::seeker;
pub(crate) use stored::{
    __path_cancel, __path_delete, __path_input_items, __path_retrieve, cancel, delete, input_items,
    retrieve,
};

use super::body::ApiJson;
use super::{ApiError, App};
use request::Asked;
use run::Run;
use writer::{Ending, Writer};

/// Answers a text or items.
#[utoipa::path(
    post,
    path = "/v1/responses",
    tag = "responses",
    operation_id = "createResponse",
    request_body = ResponseRequest,
    responses((status = 200, description = "The response; with `stream`, its events.", content(
        (ResponseObject = "application/json"),
        (ResponseEvent = "text/event-stream"),
    )))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<ResponseRequest>,
) -> Result<Response, ApiError> {
    let mut asked = Asked::parse(request, app.clock.unix_ms())?;
    let said = context::gather(&app, &principal, &mut asked).await?;
    let chat = context::prompt(&app, &principal, &asked, &said).await?;
    let job = Job {
        id: JobId::random(),
        model: asked.model,
        work: Work::Generate {
            prompts: vec![Prompt::Chat(chat)],
            params: asked.params,
        },
    };
    let is_background = asked.object.background;
    let run = Run::new(&app, principal.clone(), asked.object, &said.input)?;
    if is_background {
        return background::start(app, principal, run, job, asked.stream).await;
    }
    let events = app.hallway.generate(principal, job).await;
    let events = events.map_err(context::refused)?;
    match asked.stream {
        true => Ok(run.streamed(app, events)),
        false => run.whole(&app, events).await,
    }
}

/// Counts the tokens of the prompt that a request would make.
#[utoipa::path(
    post,
    path = "/v1/responses/input_tokens",
    tag = "responses",
    operation_id = "countInputTokens",
    request_body = ResponseRequest,
    responses((status = 200, description = "How many.", body = InputTokens))
)]
pub(crate) async fn input_tokens(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiJson(request): ApiJson<ResponseRequest>,
) -> Result<Json<InputTokens>, ApiError> {
    let mut asked = Asked::parse(request, app.clock.unix_ms())?;
    let said = context::gather(&app, &principal, &mut asked).await?;
    let chat = context::prompt(&app, &principal, &asked, &said).await?;
    Ok(Json(InputTokens {
        object: "response.input_tokens",
        input_tokens: context::length(&app, &principal, &asked, chat).await?,
    }))
}

/// Ends the responses that an earlier process left unfinished: nobody makes them any more.
///
/// # Errors
/// When the database fails.
pub(crate) async fn end_unfinished(store: &Store, now_ms: i64) -> Result<usize, StoreError> {
    let unfinished = store.unfinished_responses().await?;
    for (id, body) in &unfinished {
        let object: Result<ResponseObject, _> = serde_json::from_str(body);
        let object = object.map_err(|_| StoreError::Malformed("response"))?;
        let mut writer = Writer::new(object);
        writer.settle(Ending::Stopped, now_ms);
        let state = run::state(writer.object(), &[]);
        store.update_response(id, &state).await?;
    }
    Ok(unfinished.len())
}
