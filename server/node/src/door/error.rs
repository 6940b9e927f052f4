//! Every error that a caller sees, in OpenAI's shape. The one place that maps ours to theirs.
//! Paths of other protocols say the same in their own words, see `dialect`.
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
pub struct ApiError(Box<Fields>);

#[derive(Clone, Debug)]
struct Fields {
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
const NO_ROUTE: &str = "no_route";

impl ApiError {
    /// A 400 that names the field at fault.
    pub fn invalid(
        param: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, Some(code), message).at(param)
    }

    /// A 400 for a field that must be there.
    pub(crate) fn missing(param: impl Into<String>) -> Self {
        let param = param.into();
        let message = format!("Missing required parameter: '{param}'.");
        Self::invalid(param, "missing_required_parameter", message)
    }

    /// A request that is wrong as a whole: a 400.
    pub fn bad_request(code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, code, message)
    }

    /// The same with another status.
    pub fn refused(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(status, INVALID, code, message)
    }

    /// A 404 for something that is not the model; `param` says which field names it.
    pub fn not_found(
        param: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::NOT_FOUND, INVALID, Some(code), message).at(param)
    }

    /// A fault of ours. The caller learns only that there was one.
    pub fn internal(log: impl Into<String>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let message = "the node failed to process the request; its log says why";
        Self::new(status, SERVER, Some("internal_error"), message).logged_as(log)
    }

    /// A 502: somebody whom the node depends on failed.
    pub(crate) fn upstream(message: impl Into<String>) -> Self {
        let status = StatusCode::BAD_GATEWAY;
        Self::new(status, SERVER, Some("upstream_error"), message)
    }

    /// A 503 for what this node cannot do as it was started: its owner has to help, and not its log.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, SERVER, Some(code), message).after(Duration::from_secs(3_600))
    }

    /// A 401: somebody did not show that he is who he says.
    pub(crate) fn unproven(code: &'static str, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, Some(code), message)
    }

    /// A 403 for who is known and may not.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::refused(
            StatusCode::FORBIDDEN,
            Some("insufficient_permissions"),
            message,
        )
    }

    /// The status it is sent with.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// When it may be better, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether somebody could serve the request, but nobody who fulfils what it demands.
    pub(crate) fn is_no_route(&self) -> bool {
        self.0.code == Some(NO_ROUTE)
    }

    /// The object that the caller sees.
    pub fn body(&self) -> ErrorBody {
        ErrorBody {
            error: ErrorObject {
                message: self.0.message.clone(),
                kind: self.0.kind.to_owned(),
                param: self.0.param.clone(),
                code: self.0.code.map(str::to_owned),
            },
        }
    }

    /// The sentence for the caller, with the field at fault where it would not tell it.
    pub(crate) fn sentence(&self) -> String {
        match &self.0.param {
            Some(param) if !self.0.message.contains(param) => {
                format!("{param}: {}", self.0.message)
            }
            _ => self.0.message.clone(),
        }
    }

    /// Writes what is ours to know to our log. Called once, where the error leaves.
    pub fn record(&self) {
        let error = &self.0;
        let log = error.log.as_deref().unwrap_or(&error.message);
        let (status, code) = (error.status.as_u16(), error.code.unwrap_or("-"));
        if error.status.is_server_error() && (error.retry_after.is_none() || error.log.is_some()) {
            tracing::error!(status, code, "{log}");
        } else {
            // The message may hold the caller's own words, so only its kind is logged.
            tracing::debug!(
                status,
                code,
                param = error.param.as_deref(),
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
        Self(Box::new(Fields {
            status,
            kind,
            code,
            param: None,
            message: message.into(),
            retry_after: None,
            log: None,
        }))
    }

    /// A 503 that says when to come again.
    pub(crate) fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, SERVER, Some("overloaded"), message).after(retry_after)
    }

    /// The same where a field has another name.
    pub(crate) fn renamed(self, from: &str, to: &str) -> Self {
        if self.0.param.as_deref() == Some(from) {
            return self.at(to);
        }
        self
    }

    /// The same for a field that stands within another one.
    pub(crate) fn within(mut self, at: &str) -> Self {
        if let Some(field) = self.0.param.take() {
            let param = format!("{at}.{field}");
            let message = &self.0.message;
            self.0.message = message.replace(&format!("'{field}"), &format!("'{param}"));
            self.0.param = Some(param);
        }
        self
    }

    fn at(mut self, param: impl Into<String>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    fn after(mut self, retry_after: Duration) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    fn logged_as(mut self, log: impl Into<String>) -> Self {
        self.0.log = Some(log.into());
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.record();
        let mut response = (self.status(), Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.0.retry_after {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        // For the protocols that say it otherwise.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let message = error.to_string();
        match error {
            AuthError::MissingKey | AuthError::InvalidKey => {
                Self::refused(StatusCode::UNAUTHORIZED, Some("invalid_api_key"), message)
            }
            AuthError::InvalidSession => Self::unproven("invalid_session", message),
            AuthError::Capability(_) => Self::unproven("invalid_capability", message),
            AuthError::MissingScope(_) => {
                let code = Some("insufficient_permissions");
                Self::refused(StatusCode::FORBIDDEN, code, message)
            }
            AuthError::ForeignHost | AuthError::ForeignOrigin => {
                let code = Some("foreign_origin");
                Self::refused(StatusCode::FORBIDDEN, code, message)
            }
        }
    }
}

impl From<kwaainet_store::StoreError> for ApiError {
    fn from(error: kwaainet_store::StoreError) -> Self {
        Self::internal(error.to_string())
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
            AdmissionError::TooMany { retry_after, .. } => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                Self::new(status, "requests", Some("rate_limit_exceeded"), message)
                    .after(retry_after)
            }
        }
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::ModelNotFound(_) => model_not_found(message),
            RouteError::WrongKind { .. } => Self::invalid("model", "unsupported_value", message),
            RouteError::Unavailable { dropped, .. } => {
                let reasons = dropped.iter().map(|one| (&one.backend, &one.reason));
                let log = format!("{message}: {:?}", reasons.collect::<Vec<_>>());
                Self::busy(message, Duration::from_secs(5)).logged_as(log)
            }
            RouteError::Unfulfilled { .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, SERVER, Some(NO_ROUTE), message)
                    .at("kwaai")
                    .after(Duration::from_secs(5))
            }
        }
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let message = error.to_string();
        match error {
            BackendError::ModelNotFound(_) => model_not_found(message),
            BackendError::ContextOverflow { param, .. }
            | BackendError::InputTooLong { param, .. } => {
                Self::invalid(param, "context_length_exceeded", message)
            }
            BackendError::AudioTooLong { .. } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                INVALID,
                Some("audio_too_long"),
                message,
            )
            .at("file"),
            BackendError::Unsupported { param, .. } => {
                Self::invalid(param, "unsupported_parameter", message)
            }
            BackendError::Invalid { param, .. } => Self::invalid(param, "invalid_value", message),
            BackendError::Busy { retry_after, .. } => Self::busy(message, retry_after),
            BackendError::Upstream { .. } => Self::upstream(message),
            BackendError::Timeout { .. } => {
                let code = Some("upstream_timeout");
                Self::new(StatusCode::GATEWAY_TIMEOUT, SERVER, code, message)
            }
            BackendError::Internal(log) => Self::internal(log),
        }
    }
}

fn model_not_found(message: String) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        INVALID,
        Some("model_not_found"),
        message,
    )
    .at("model")
}
