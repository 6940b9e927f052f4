//! What is kept of another node: receipts of work between the two, and words about whose member it is.

use futures_util::FutureExt;
use kwaainet_audit::{Erased, Held, Holder, HolderError};
use kwaainet_core::{BoxFuture, NodeId};
use kwaainet_store::Store;
use serde_json::json;

use super::{ITEMS_MAX, failed, held};

/// Receipts, claims, introductions. Who is a member is the owner's decision and stays.
pub(super) struct Peers(pub(super) Store);

fn node(subject: &str) -> Option<NodeId> {
    subject.strip_prefix("peer:")?.parse().ok()
}

impl Holder for Peers {
    fn name(&self) -> &'static str {
        "peers"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let Some(node) = node(subject) else {
                return Ok(Held::default());
            };
            let items = self.0.peer_items(node, ITEMS_MAX).await.map_err(failed)?;
            let items = items
                .into_iter()
                .map(|item| json!({"kind": item.kind, "id": item.id, "at_ms": item.at_ms}));
            Ok(held(items.collect()))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            let Some(node) = node(subject) else {
                return Ok(Erased::default());
            };
            let erased = self.0.erase_peer(node).await.map_err(failed)?;
            Ok(Erased {
                erased,
                anonymized: 0,
            })
        }
        .boxed()
    }
}
