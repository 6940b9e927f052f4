//! `GET /v1/kwaai/peers`: the nodes that this one works with, as they are now.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{ModelKind, Principal, Scope};
use kwaainet_federation::{PeerState, PeerView};
use kwaainet_openapi::{PeerList, PeerLoad, PeerModel, PeerObject};

use super::{ApiError, App};

/// Lists the members of the federation.
#[utoipa::path(
    get,
    path = "/v1/kwaai/peers",
    tag = "node",
    operation_id = "listPeers",
    responses((status = 200, description = "All members; none on a node that works alone.", body = PeerList))
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
) -> Result<Json<PeerList>, ApiError> {
    principal.require(Scope::Inference)?;
    let views = app.peers.as_ref().map(|peers| Arc::clone(&peers.borrow()));
    Ok(Json(PeerList {
        object: "list",
        node: app.node.map(|node| node.to_string()),
        data: views.iter().flat_map(|v| v.iter()).map(peer).collect(),
    }))
}

fn peer(view: &PeerView) -> PeerObject {
    let facts = &view.facts;
    let load = &facts.load;
    PeerObject {
        object: "kwaai.peer",
        id: view.node.to_string(),
        state: match view.state {
            PeerState::Connecting => "connecting",
            PeerState::Alive => "alive",
            PeerState::Distant => "distant",
            PeerState::Suspect => "suspect",
            PeerState::Wedged => "wedged",
            PeerState::Draining => "draining",
            PeerState::Down => "down",
        },
        reason: view.reason.clone(),
        tier: facts.tier.to_string(),
        introduced_by: view.introduced_by.map(|node| node.to_string()),
        version: view.version.clone(),
        region: facts.region.clone(),
        price: facts.price,
        g_per_kwh: facts.grid.map(|grid| grid.g_per_kwh),
        rtt_ms: facts.rtt.as_secs_f64() * 1e3,
        path: match facts.relayed {
            true => "relayed",
            false => "direct",
        },
        load: PeerLoad {
            running: load.running,
            queued: load.queued,
            queued_prefill_tokens: load.queued_prefill_tokens,
            prefill_rate: load.prefill_rate,
            decode_rate: load.decode_rate,
            ours: facts.ours,
        },
        models: view
            .models
            .iter()
            .map(|model| PeerModel {
                id: model.id.to_string(),
                kind: match model.kind {
                    ModelKind::Generate => "generate",
                    ModelKind::Embed => "embed",
                    ModelKind::Transcribe => "transcribe",
                    ModelKind::Unknown => "unknown",
                },
                loaded: model.loaded,
                context: model.context,
                digest: model.digest.map(|digest| digest.to_string()),
                numerics: model.numerics.as_ref().map(|class| class.0.to_string()),
            })
            .collect(),
    }
}
