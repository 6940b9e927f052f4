//! The Responses API: `POST /v1/responses` and what becomes of the responses that are kept.
//!
//! A request is checked ([`request`]), what it refers to is looked up ([`context`]), and each of its jobs
//! ([`course`]) goes the way of all jobs; [`writer`] makes the response and its events out of what comes back, [`run`] keeps
//! it. The words of a response lie in the database only if it is stored.

mod background;
mod context;
mod course;
mod fields;
mod items;
mod kept;
mod replay;
mod request;
mod run;
mod stored;
mod tools;
mod wire;
mod writer;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use kwaainet_core::{Job, Principal, Priority};
use kwaainet_openapi::{InputTokens, ResponseEvent, ResponseObject, ResponseRequest};
use kwaainet_store::{Store, StoreError};
use serde_json::Value;

pub use background::Background;
pub(super) use context::resolve;
pub(super) use items::{new_id, read};
pub(super) use kept::{item, kept};
pub(crate) use stored::{
    __path_cancel, __path_delete, __path_input_items, __path_retrieve, cancel, delete, input_items,
    retrieve,
};
pub(super) use stored::{list, seeker};

use super::body::{self, ApiJson};
use super::constraints::Demands;
use super::footprint::Figures;
use super::{ApiError, App, params, stream};
use course::Course;
use kept::Findings;
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
    demands: Demands,
    ApiJson(request): ApiJson<ResponseRequest>,
) -> Result<Response, ApiError> {
    let (asked, object) = Asked::parse(request, demands, app.clock.unix_ms())?;
    let (is_stream, is_background) = (asked.stream, object.background);
    let (run, job) = prepare(&app, principal, asked, object).await?;
    if is_background {
        return background::start(app, run, job, is_stream).await;
    }
    let events = run.course.begin(&app, job).await?;
    let served_by = events.as_ref().map(stream::served_by);
    let answer = match is_stream {
        true => run.streamed(app, events),
        false => {
            let (response, took) = run.whole(&app, events).await?;
            let answer = (served_by, Figures(took), Json(response));
            return Ok(answer.into_response());
        }
    };
    Ok((served_by, answer).into_response())
}

/// The answer to a request that came in a batch.
pub(super) async fn answer(
    app: &App,
    principal: Principal,
    body: Value,
    priority: Priority,
) -> Result<Value, ApiError> {
    let request = body::from_value(body)?;
    let (mut asked, object) = Asked::parse(request, Demands::default(), app.clock.unix_ms())?;
    params::not_in_a_batch("stream", asked.stream)?;
    params::not_in_a_batch("background", object.background)?;
    asked.params.priority = priority;
    let (run, job) = prepare(app, principal, asked, object).await?;
    let events = run.course.begin(app, job).await?;
    let (response, _) = run.whole(app, events).await?;
    Ok(body::to_value(&response))
}

/// Looks up what the request refers to. Gives the response and its first generation.
async fn prepare(
    app: &App,
    principal: Principal,
    mut asked: Asked,
    object: ResponseObject,
) -> Result<(Run, Job), ApiError> {
    let said = context::gather(app, &principal, &mut asked).await?;
    let course = Course::new(app, principal, asked, said).await?;
    let job = course.job(app, &[]).await?;
    Ok((Run::new(app, course, object)?, job))
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
    demands: Demands,
    ApiJson(request): ApiJson<ResponseRequest>,
) -> Result<Json<InputTokens>, ApiError> {
    let (mut asked, _) = Asked::parse(request, demands, app.clock.unix_ms())?;
    let said = context::gather(&app, &principal, &mut asked).await?;
    let chat = context::prompt(&app, &principal, &asked, &said.all()).await?;
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
        let state = run::state(writer.object(), &[], &Findings::new());
        store.update_response(id, &state).await?;
    }
    Ok(unfinished.len())
}
