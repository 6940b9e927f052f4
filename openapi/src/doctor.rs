use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was looked at, and how it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DoctorReport {
    /// `kwaai.doctor`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Whether nothing is broken.
    pub ok: bool,
    /// One thing each.
    pub data: Vec<DoctorFinding>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorFinding {
    /// What: `listen`, `address`, `relay`, `lan`, `peer` and the like.
    pub about: String,
    /// `good`, `note` for what is worth knowing, `bad` for what is broken.
    pub grade: String,
    /// One sentence.
    pub says: String,
    /// What to do, if there is anything to do.
    #[schema(required = true)]
    pub advice: Option<String>,
}
