//! Every error that a caller sees, in OpenAI's shape. The one place that maps ours to theirs.
//!
//! An error has two messages: one for the caller, and one for our log where they differ. It is
//! logged once, when it becomes a response.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kwaainet_core::{AdmissionError, AuthError, BackendError, JobError, RouteError};
use kwaainet_openapi::{ErrorBody, ErrorObject};

/// An error on its way to the caller.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after: Option<Duration>,
    /// For us, if there is more to say than the caller may hear.
    log: Option<String>,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl ApiError {
    /// A 400 that names the field at fault.
    pub fn invalid(
        param: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::new(StatusCode::BAD_REQUEST, INVALID, Some(code), message)
        }
    }

    /// A request that is wrong as a whole.
    pub fn bad_request(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, INVALID, code, message)
    }

    /// A fault of ours. The caller learns only that there was one.
    pub fn internal(log: impl Into<String>) -> Self {
        Self {
            log: Some(log.into()),
            ..Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                SERVER,
                Some("internal_error"),
                "the node failed to process the request; its log says why",
            )
        }
    }

    /// The status it is sent with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The object that the caller sees.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorObject {
                message: self.message.clone(),
                kind: self.kind.to_owned(),
                param: self.param.clone(),
                code: self.code.map(str::to_owned),
            },
        }
    }

    /// Writes what is ours to know to our log. Called once, where the error leaves.
    pub fn record(&self) {
        let log = self.log.as_deref().unwrap_or(&self.message);
        let (status, code) = (self.status.as_u16(), self.code.unwrap_or("-"));
        if self.status.is_server_error() && self.retry_after.is_none() {
            tracing::error!(status, code, "{log}");
        } else {
            // The message may hold the caller's own words, so only its kind is logged.
            tracing::debug!(
                status,
                code,
                param = self.param.as_deref(),
                "request refused"
            );
        }
    }

    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind,
            code,
            param: None,
            message: message.into(),
            retry_after: None,
            log: None,
        }
    }

    fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self {
            retry_after: Some(retry_after),
            ..Self::new(status, SERVER, Some("overloaded"), message)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.record();
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::MissingKey | AuthError::InvalidKey => {
                Self::bad_request(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
            }
            AuthError::MissingScope(_) => {
                let code = Some("insufficient_permissions");
                Self::bad_request(StatusCode::FORBIDDEN, code, message)
            }
            AuthError::ForeignHost | AuthError::ForeignOrigin => {
                let code = Some("foreign_origin");
                Self::bad_request(StatusCode::FORBIDDEN, code, message)
            }
        }
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Admission(error) => error.into(),
            JobError::Route(error) => error.into(),
            JobError::Backend(error) => error.into(),
        }
    }
}

impl From<AdmissionError> for ApiError {
    fn from(error: AdmissionError) -> Self {
        let message = error.to_string();
        match error {
            AdmissionError::Overloaded { retry_after } => Self::busy(message, retry_after),
            AdmissionError::Draining => Self::busy(message, Duration::from_secs(5)),
            AdmissionError::TooMany { retry_after, .. } => Self {
                retry_after: Some(retry_after),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "requests",
                    Some("rate_limit_exceeded"),
                    message,
                )
            },
        }
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::ModelNotFound(_) => model_not_found(message),
            RouteError::WrongKind { .. } => Self::invalid("model", "unsupported_value", message),
            RouteError::Unavailable { dropped, .. } => Self {
                log: Some(format!("{message}: {dropped:?}")),
                ..Self::busy(message, Duration::from_secs(5))
            },
        }
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let message = error.to_string();
        match error {
            BackendError::ModelNotFound(_) => model_not_found(message),
            BackendError::ContextOverflow { param, .. } => {
                Self::invalid(param, "context_length_exceeded", message)
            }
            BackendError::Unsupported { param, .. } => {
                Self::invalid(param, "unsupported_parameter", message)
            }
            BackendError::Invalid { param, .. } => Self::invalid(param, "invalid_value", message),
            BackendError::Busy { retry_after, .. } => Self::busy(message, retry_after),
            BackendError::Upstream { .. } => Self::new(
                StatusCode::BAD_GATEWAY,
                SERVER,
                Some("upstream_error"),
                message,
            ),
            BackendError::Timeout { .. } => {
                let code = Some("upstream_timeout");
                Self::new(StatusCode::GATEWAY_TIMEOUT, SERVER, code, message)
            }
            BackendError::Internal(log) => Self::internal(log),
        }
    }
}

fn model_not_found(message: String) -> ApiError {
    ApiError {
        param: Some("model".to_owned()),
        ..ApiError::new(
            StatusCode::NOT_FOUND,
            INVALID,
            Some("model_not_found"),
            message,
        )
    }
}
