use serde::Serialize;
use utoipa::ToSchema;

/// `GET /healthz`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
    /// The program's version.
    pub version: &'static str,
}

/// `GET /readyz`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether requests are served now.
    pub ready: bool,
    /// Why not, if not.
    pub reason: Option<String>,
}
