//! Anthropic's words for what went wrong, and its one status that nobody else has.

use axum::http::StatusCode;
use kwaainet_openapi::{AnthropicError, AnthropicErrorBody};

use crate::door::ApiError;

/// The body of an answer that is no success.
pub(crate) fn body(error: &ApiError, request_id: Option<&str>) -> AnthropicErrorBody {
    AnthropicErrorBody {
        kind: "error",
        error: object(error),
        request_id: request_id.map(str::to_owned),
    }
}

/// The error itself.
pub(crate) fn object(error: &ApiError) -> AnthropicError {
    let kind = match error.status().as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    AnthropicError {
        kind,
        message: error.sentence(),
    }
}

/// The status of an answer: a node that is full is 529 here.
pub(crate) fn status(error: &ApiError) -> StatusCode {
    match error.status() {
        StatusCode::SERVICE_UNAVAILABLE => {
            StatusCode::from_u16(529).expect("a status has three digits")
        }
        status => status,
    }
}
