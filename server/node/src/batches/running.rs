//! Runs what is left of a batch's lines, a few at a time.

use std::time::Duration;

use axum::http::StatusCode;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kwaainet_core::{Principal, Usage, random_id};
use kwaainet_openapi::{BatchOutputError, BatchResponse};
use kwaainet_store::{BatchLine, BatchRecord, BatchStatus};
use serde_json::Value;

use super::lines::{self, Lines, Request};
use super::{Trouble, fault, unreadable};
use crate::door::{self, ApiError, App};

/// Lines of one batch at once.
const LINES_AT_ONCE: usize = 4;
/// Lines that are given up in one step.
const GIVEN_UP_AT_ONCE: usize = 500;
/// How often it is looked whether the batch is still wanted, besides before each line.
const LOOK: Duration = Duration::from_secs(5);
/// Rests between tries of a line that the node has no place for.
const REST: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(15));
/// Tries of a line whose upstream fails, or that nobody may serve who is there.
const UPSTREAM_TRIES: u32 = 3;

/// Runs lines until all are done or the batch is to end otherwise; says how it ends.
pub(super) async fn lines(app: &App, batch: &BatchRecord) -> Result<BatchStatus, Trouble> {
    let mut input = Remaining::new(app, batch).await?;
    let mut bell = app.bells.batches.listen();
    let mut under_way = FuturesUnordered::new();
    let mut done = Vec::new();
    let mut room = room(app, batch).await?;
    loop {
        let recorded: Vec<BatchLine> = std::mem::take(&mut done);
        if !recorded.is_empty() {
            let recording = app.store.record_lines(&batch.id, &recorded);
            meanwhile(&mut under_way, &mut done, recording).await?;
            let bytes: usize = recorded.iter().map(|line| line.output.len()).sum();
            room = room.saturating_sub(bytes as u64);
        }
        let standing = standing(app, batch, room);
        let principal = match meanwhile(&mut under_way, &mut done, standing).await? {
            Standing::Runs(principal) => principal,
            Standing::Ends(status, said_of_the_rest) => {
                // What is under way is dropped, and thereby stopped.
                drop(under_way);
                app.store.record_lines(&batch.id, &done).await?;
                if let Some(error) = said_of_the_rest {
                    give_up(app, batch, &error).await?;
                }
                return Ok(status);
            }
        };
        while under_way.len() + done.len() < LINES_AT_ONCE {
            let next = meanwhile(&mut under_way, &mut done, input.next()).await?;
            let Some(request) = next else {
                break;
            };
            under_way.push(one(app, principal.clone(), &batch.endpoint, request));
        }
        if !done.is_empty() {
            continue;
        }
        tokio::select! {
            line = under_way.next() => match line {
                Some(line) => done.push(line),
                None => return Ok(BatchStatus::Completed),
            },
            () = bell.rings() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Waits for something while the lines go on: one of them may hold the database that it needs.
async fn meanwhile<T>(
    under_way: &mut FuturesUnordered<impl Future<Output = BatchLine>>,
    done: &mut Vec<BatchLine>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            value = &mut work => return value,
            Some(line) = under_way.next() => done.push(line),
        }
    }
}

/// Bytes that the answers may still have. Looked for once, since the principal's files change seldom.
async fn room(app: &App, batch: &BatchRecord) -> Result<u64, Trouble> {
    let there = app.store.bytes_of(&batch.principal).await?;
    let answers = app.store.line_bytes(&batch.id).await?;
    let max = app.vault.limits().principal_bytes;
    Ok(max.saturating_sub(there).saturating_sub(answers))
}

/// Whether a batch still runs, and as whom; or how it ends, and what is said of the lines that are left.
enum Standing {
    Runs(Principal),
    Ends(BatchStatus, Option<BatchOutputError>),
}

async fn standing(app: &App, batch: &BatchRecord, room: u64) -> Result<Standing, Trouble> {
    let found = app.store.batch(&batch.principal, &batch.id).await?;
    if found.is_none_or(|now| now.status == BatchStatus::Cancelling) {
        return Ok(Standing::Ends(BatchStatus::Cancelled, None));
    }
    let message = "The API key that the batch was made with is expired or revoked.";
    let principal = door::returning(app, &batch.principal, batch.key.as_ref()).await?;
    let principal = principal.ok_or_else(|| fault("invalid_api_key", message))?;
    if app.clock.unix_ms() >= batch.expires_at_ms {
        let error = BatchOutputError {
            code: "batch_expired",
            message: "This request could not be executed before the completion window expired.",
        };
        return Ok(Standing::Ends(BatchStatus::Expired, Some(error)));
    }
    if room == 0 {
        let error = BatchOutputError {
            code: "storage_limit_exceeded",
            message: "Your files and vector stores leave no room for this answer.",
        };
        return Ok(Standing::Ends(BatchStatus::Completed, Some(error)));
    }
    Ok(Standing::Runs(principal))
}

/// The lines that have no answer yet.
struct Remaining<'a> {
    lines: Lines,
    done: std::collections::HashSet<u32>,
    endpoint: &'a str,
}

impl<'a> Remaining<'a> {
    async fn new(app: &App, batch: &'a BatchRecord) -> Result<Self, Trouble> {
        let file = app
            .vault
            .open(&batch.input_file)
            .await
            .map_err(unreadable)?;
        Ok(Self {
            lines: Lines::new(file, app.body_bytes_max),
            done: app.store.lines_done(&batch.id).await?,
            endpoint: &batch.endpoint,
        })
    }

    async fn next(&mut self) -> Result<Option<Request>, Trouble> {
        while let Some(line) = self.lines.next().await? {
            if self.done.contains(&line.number) {
                continue;
            }
            // It was sound when the batch began, so only a smaller limit can make it fail now.
            let request = line.read(self.endpoint);
            return request
                .map(Some)
                .map_err(|error| Trouble::Fault(vec![error]));
        }
        Ok(None)
    }
}

/// The answer to one line, however long it takes to be let in.
async fn one(app: &App, principal: Principal, endpoint: &str, request: Request) -> BatchLine {
    let mut tries = 0;
    let mut rest = REST.0;
    let answer = loop {
        let body = request.body.clone();
        // In a box: what every endpoint's answer needs is large.
        let answer = Box::pin(door::batch_answer(app, principal.clone(), endpoint, body)).await;
        let Err(error) = &answer else { break answer };
        match error.status() {
            // Whoever could serve it may be back soon; it may also be that nobody ever can.
            _ if error.is_no_route() => {
                if tries >= UPSTREAM_TRIES {
                    break answer;
                }
                tries += 1;
            }
            // The node is full, or a model is not there for now.
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {}
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT if tries < UPSTREAM_TRIES => {
                tries += 1;
            }
            _ => break answer,
        }
        let told = error.retry_after().unwrap_or(rest);
        tokio::time::sleep(told.clamp(REST.0, REST.1)).await;
        rest = (rest * 2).min(REST.1);
    };
    line(request, answer)
}

fn line(request: Request, answer: Result<Value, ApiError>) -> BatchLine {
    let (status, body, usage) = match answer {
        Ok(body) => (StatusCode::OK, body.clone(), usage(&body)),
        Err(error) => {
            error.record();
            let body = door::to_value(&error.body());
            (error.status(), body, Usage::default())
        }
    };
    let mut output = lines::output(request.custom_id);
    output.response = Some(BatchResponse {
        status_code: status.as_u16(),
        request_id: format!("req_{}", random_id()),
        body,
    });
    BatchLine {
        line: request.number,
        good: status == StatusCode::OK,
        output: door::to_value(&output).to_string(),
        usage,
    }
}

/// What an answer says of its tokens, under the names that responses have for them or those that all
/// others have.
fn usage(body: &Value) -> Usage {
    let tokens = |names: [&str; 2]| {
        let mut counts = names.iter().filter_map(|name| body.pointer(name)?.as_u64());
        let count = counts.next().unwrap_or(0);
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    Usage {
        prompt_tokens: tokens(["/usage/prompt_tokens", "/usage/input_tokens"]),
        cached_tokens: tokens([
            "/usage/prompt_tokens_details/cached_tokens",
            "/usage/input_tokens_details/cached_tokens",
        ]),
        completion_tokens: tokens(["/usage/completion_tokens", "/usage/output_tokens"]),
    }
}

/// Says of every line without an answer why it has none.
async fn give_up(app: &App, batch: &BatchRecord, error: &BatchOutputError) -> Result<(), Trouble> {
    let mut input = Remaining::new(app, batch).await?;
    let mut given_up = Vec::new();
    loop {
        let next = input.next().await?;
        let over = next.is_none();
        if let Some(request) = next {
            let mut output = lines::output(request.custom_id);
            output.error = Some(error.clone());
            given_up.push(BatchLine {
                line: request.number,
                good: false,
                output: door::to_value(&output).to_string(),
                usage: Usage::default(),
            });
        }
        if over || given_up.len() == GIVEN_UP_AT_ONCE {
            app.store.record_lines(&batch.id, &given_up).await?;
            given_up.clear();
        }
        if over {
            return Ok(());
        }
    }
}
