//! Reads a JSON request body: bounded in size and time, every failure in OpenAI's shape.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use kwaainet_core::AdmissionError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::dialect::Dialect;
use super::objects::Objects;
use super::{ApiError, App};

/// A request body that was read whole and understood.
pub(crate) struct ApiJson<T>(pub(crate) T);

/// When to come again if too many bodies are read at once.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long a client may take from one piece of a body to the next.
pub(crate) const PIECE_MAX: Duration = Duration::from_secs(30);
/// And for all of it.
const BODY_MAX: Duration = Duration::from_secs(120);
/// A body that is too large is read on and thrown away up to here, since a client that is still
/// writing would see its connection break instead of the answer.
const DISCARD_BYTES_MAX: usize = 128 << 20;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for ApiJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        if !is_curl_to_ollama(&parts) {
            require_json(&parts.headers)?;
        }
        let max = app.body_bytes_max;
        let declared = declared(&parts.headers).unwrap_or(max).min(max);
        let _place = place(&app.body_budget, declared).await?;
        parse(&read_whole(&parts.headers, body, max).await?).map(Self)
    }
}

/// Refuses what a page in a browser could send without asking first.
pub(crate) fn require_json_of_pages(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(header::ORIGIN) {
        require_json(headers)?;
    }
    Ok(())
}

/// Reads a body of at most so many bytes.
pub(crate) async fn read_whole(
    headers: &HeaderMap,
    body: Body,
    max: usize,
) -> Result<Vec<u8>, ApiError> {
    let bytes = tokio::time::timeout(BODY_MAX, read(headers, body, max)).await;
    bytes.map_err(|_| too_slow())?
}

/// Room for a body of this size among those that are read and parsed at once; `budget` counts kibibytes.
pub(crate) async fn place(
    budget: &Semaphore,
    bytes: usize,
) -> Result<SemaphorePermit<'_>, ApiError> {
    let kibibytes = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
    let place = budget.acquire_many(kibibytes);
    let full = || {
        ApiError::from(AdmissionError::Overloaded {
            retry_after: RETRY_AFTER,
        })
    };
    let place = tokio::time::timeout(PIECE_MAX, place).await;
    place.map_err(|_| full())?.map_err(|_| full())
}

pub(crate) fn declared(headers: &HeaderMap) -> Option<usize> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

pub(crate) fn too_slow() -> ApiError {
    let message = "the request body did not come in time";
    ApiError::refused(
        StatusCode::REQUEST_TIMEOUT,
        Some("request_timeout"),
        message,
    )
}

/// Ollama's users write `curl -d '{…}'`, which calls everything a form. A page in a browser could send
/// a form too, but then it says whence it comes, and `auth` refuses foreign pages.
fn is_curl_to_ollama(parts: &Parts) -> bool {
    Dialect::of(parts.uri.path()) == Dialect::Ollama && !parts.headers.contains_key(header::ORIGIN)
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let essence = given.split(';').next().unwrap_or("").trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = format!("the Content-Type must be 'application/json', not '{essence}'");
    let code = Some("unsupported_content_type");
    Err(ApiError::bad_request(code, message))
}

async fn read(headers: &HeaderMap, mut body: Body, max: usize) -> Result<Vec<u8>, ApiError> {
    let declared = declared(headers).unwrap_or(0);
    let mut bytes = Vec::with_capacity(declared.min(max));
    let mut fits = declared <= max;
    while fits {
        let piece = tokio::time::timeout(PIECE_MAX, body.frame()).await;
        let piece = piece.map_err(|_| too_slow())?;
        match piece {
            None => return Ok(bytes),
            Some(Err(_)) => {
                let message = "the request body ended early";
                return Err(ApiError::bad_request(None, message));
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    fits = bytes.len() + data.len() <= max;
                    if fits {
                        bytes.extend_from_slice(data);
                    }
                }
            }
        }
    }
    let message = format!("the request body is larger than {max} bytes");
    Err(too_large(headers, body, message).await)
}

/// Turns away a body that is too large.
pub(crate) async fn too_large(headers: &HeaderMap, body: Body, message: String) -> ApiError {
    // A client that asked first ("Expect: 100-continue") has sent nothing yet and will not.
    if !headers.contains_key(header::EXPECT) {
        let discarding = tokio::time::timeout(DISCARD_TIME_MAX, discard(body));
        discarding.await.unwrap_or_default();
    }
    let code = Some("request_too_large");
    ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, code, message)
}

async fn discard(mut body: Body) {
    let mut seen = 0;
    while let Some(Ok(frame)) = body.frame().await {
        seen += frame.data_ref().map_or(0, |data| data.len());
        if seen > DISCARD_BYTES_MAX {
            return;
        }
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        if error.is_data() {
            wrong_type(&path, &error.to_string())
        } else {
            not_json(&error)
        }
    })?;
    json.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Reads a request that was JSON already.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Objects(value)).map_err(|error| {
        let path = error.path().to_string();
        wrong_type(&path, &error.into_inner().to_string())
    })
}

/// An answer as JSON that is not sent yet. It goes through text, since a 32-bit number would else be
/// widened and come out with digits that it does not have.
pub(crate) fn to_value<T: Serialize>(answer: &T) -> Value {
    let text = serde_json::to_string(answer).expect("wire types have string keys only");
    serde_json::from_str(&text).expect("what was written as JSON is JSON")
}

fn not_json(error: &serde_json::Error) -> ApiError {
    let (line, column) = (error.line(), error.column());
    let message = format!(
        "the request body is not valid JSON (line {line}, column {column}); \
         it must be UTF-8, complete, and not nested deeper than 128 levels"
    );
    ApiError::bad_request(None, message)
}

/// Turns serde's sentence into OpenAI's, without the caller's own words in it.
fn wrong_type(path: &str, error: &str) -> ApiError {
    let refuse = |code, message: String| match path {
        "." => ApiError::bad_request(Some(code), message),
        param => ApiError::invalid(param, code, message),
    };
    let what = if path == "." {
        "the request body"
    } else {
        path
    };
    let at = error.rfind(" at line ").unwrap_or(error.len());
    let words = error[..at]
        .strip_prefix("invalid type: ")
        .and_then(|rest| rest.split_once(", expected "));
    let Some((found, expected)) = words else {
        let reason = error[..at].split(['`', '"']).next().unwrap_or("").trim();
        return refuse(
            "invalid_value",
            format!("Invalid value for '{what}': {reason}."),
        );
    };
    let found = match found {
        f if f.starts_with("string") => "a string",
        f if f.starts_with("integer") => "an integer",
        f if f.starts_with("floating") => "a decimal",
        f if f.starts_with("boolean") => "a boolean",
        f if f.starts_with("sequence") => "an array",
        f if f.starts_with("map") => "an object",
        _ => "null",
    };
    let expected = match expected {
        "f64" | "f32" => "a number",
        "i64" | "u32" | "u64" => "an integer",
        "a sequence" => "an array",
        e if e.starts_with("struct") || e == "a map" => "an object",
        e if e.starts_with("a boolean") => "a boolean",
        _ => "a string",
    };
    let message =
        format!("Invalid type for '{what}': expected {expected}, but got {found} instead.");
    refuse("invalid_type", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_openapi::ChatRequest;

    fn refused(body: &str) -> (String, Option<String>, Option<String>) {
        let error = parse::<ChatRequest>(body.as_bytes()).expect_err("it is wrong");
        let body = error.body().error;
        (body.message, body.param, body.code)
    }

    #[test]
    fn a_wrong_type_names_the_field_and_both_types() {
        let (message, param, code) = refused(r#"{"model":"m","temperature":"hot"}"#);
        assert_eq!(
            message,
            "Invalid type for 'temperature': expected a number, but got a string instead."
        );
        assert_eq!(param.as_deref(), Some("temperature"));
        assert_eq!(code.as_deref(), Some("invalid_type"));

        let (message, param, _) = refused(r#"{"messages":[{"role":7}]}"#);
        assert_eq!(param.as_deref(), Some("messages[0].role"));
        assert!(
            message.contains("expected a string, but got an integer"),
            "{message}"
        );

        let (message, ..) = refused(r#"{"messages":"hi"}"#);
        assert!(
            message.contains("expected an array, but got a string"),
            "{message}"
        );
        let (message, ..) = refused(r#"{"stream":1}"#);
        assert!(
            message.contains("expected a boolean, but got an integer"),
            "{message}"
        );
        let (message, ..) = refused(r#"{"n":1.5}"#);
        assert!(
            message.contains("expected an integer, but got a decimal"),
            "{message}"
        );
        let (message, ..) = refused("[1]");
        assert!(message.contains("'the request body'"), "{message}");
        let (message, param, _) = refused(r#"{"tools":[["function",null]]}"#);
        assert_eq!(param.as_deref(), Some("tools[0]"));
        assert!(
            message.contains("expected an object, but got an array"),
            "{message}"
        );
    }

    #[test]
    fn what_is_not_json_says_where() {
        for body in ["", "{", "{\"a\":1}}", "{'a':1}", "\u{0}"] {
            let (message, param, code) = refused(body);
            assert!(message.contains("not valid JSON (line"), "{message}");
            assert_eq!((param, code), (None, None));
        }
        let error = parse::<ChatRequest>(b"{\"model\":\"\xff\"}").expect_err("not UTF-8");
        assert!(error.body().error.message.contains("must be UTF-8"));
        let deep = "[".repeat(1000);
        assert!(parse::<ChatRequest>(format!("{{\"x\":{deep}").as_bytes()).is_err());
    }
}
