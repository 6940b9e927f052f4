//! What is known of somebody as an account, and what is open with him.

use std::sync::Arc;

use futures_util::FutureExt;
use kwaainet_audit::{Erased, Held, Holder, HolderError};
use kwaainet_core::BoxFuture;
use kwaainet_store::Store;
use serde_json::json;

use super::{ITEMS_MAX, failed, held};
use crate::identity::Desk;

/// Accounts, links, sessions, passkeys, credentials that were shown or issued, and challenges that are open.
pub(super) struct Identity {
    pub(super) store: Store,
    pub(super) desk: Arc<Desk>,
}

impl Holder for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let items = self.store.identity_items(subject, ITEMS_MAX).await;
            let items = items.map_err(failed)?.into_iter().map(|item| {
                json!({
                    "kind": item.kind,
                    "id": item.id,
                    "at_ms": item.at_ms,
                    "said": item.said,
                })
            });
            let mut items: Vec<_> = items.collect();
            items.extend((self.desk.open_with(subject) > 0).then(
                || json!({"kind": "open_challenges", "count": self.desk.open_with(subject)}),
            ));
            Ok(held(items))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            let open = self.desk.forget(subject);
            let erased = self.store.erase_identity(subject).await;
            let (gone, anonymized) = erased.map_err(failed)?;
            Ok(Erased {
                erased: gone + open as u64,
                anonymized,
            })
        }
        .boxed()
    }
}
