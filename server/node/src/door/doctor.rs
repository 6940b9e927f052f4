//! `GET /v1/kwaai/doctor`: what is the matter with the way to the other nodes. It names addresses, so it is for
//! whoever may see how the node is doing.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{Principal, Scope};
use kwaainet_iroh::{Finding, Grade};
use kwaainet_openapi::{DoctorFinding, DoctorReport};

use super::{ApiError, App};

/// Says how this node is reached and how it reaches each member, or why not.
#[utoipa::path(
    get,
    path = "/v1/kwaai/doctor",
    tag = "node",
    operation_id = "examineNode",
    responses((status = 200, description = "What was looked at: how it is, and what to do.", body = DoctorReport))
)]
pub(crate) async fn examine(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<DoctorReport>, ApiError> {
    principal.require(Scope::Metrics)?;
    Ok(Json(report(app.network.findings())))
}

/// In the API's words.
pub(crate) fn report(findings: Vec<Finding>) -> DoctorReport {
    DoctorReport {
        object: "kwaai.doctor",
        ok: findings.iter().all(|found| found.grade != Grade::Bad),
        data: findings.into_iter().map(finding).collect(),
    }
}

fn finding(finding: Finding) -> DoctorFinding {
    DoctorFinding {
        about: finding.about.to_owned(),
        grade: match finding.grade {
            Grade::Good => "good",
            Grade::Note => "note",
            Grade::Bad => "bad",
        }
        .to_owned(),
        says: finding.says,
        advice: finding.advice,
    }
}
