//! What somebody keeps in databases and blobs.

use std::sync::Arc;

use futures_util::FutureExt;
use kwaainet_audit::{Erased, Held, Holder, HolderError};
use kwaainet_core::{BoxFuture, PrincipalId};
use kwaainet_store::{DocumentStore, StoreError};
use serde_json::{Value, json};

use super::{ITEMS_MAX, failed, held};
use crate::blobs::Blobs;

/// Databases with all that is in them, blobs, uploads, how much that was, and where others let him in.
pub(super) struct Storage {
    pub(super) documents: DocumentStore,
    pub(super) blobs: Arc<Blobs>,
}

impl Storage {
    async fn items(&self, owner: &PrincipalId) -> Result<Vec<Value>, StoreError> {
        let mut items = Vec::new();
        for database in self.documents.databases(owner).await? {
            let name = database.name.as_str();
            items.push(match database.owner == *owner {
                true => json!({
                    "kind": "database",
                    "name": name,
                    "mode": database.mode.as_str(),
                    "created_at_ms": database.created_at_ms,
                    "documents": database.docs,
                    "bytes": database.bytes,
                    "content": format!("/v1/storage/databases/{}/export", in_path(name)),
                }),
                false => json!({"kind": "membership", "database": name}),
            });
        }
        for blob in self.documents.blobs(owner, "", ITEMS_MAX).await? {
            items.push(json!({
                "kind": "blob",
                "hash": blob.hash,
                "bytes": blob.bytes,
                "created_at_ms": blob.created_at_ms,
                "content": format!("/v1/storage/blobs/{}", blob.hash),
            }));
        }
        let uploads = self.documents.uploads(owner).await?.into_iter();
        items.extend(uploads.map(|id| json!({"kind": "upload", "id": id})));
        if let Some(meter) = self.documents.meter_of(owner).await? {
            items.push(json!({
                "kind": "usage",
                "bytes": meter.bytes,
                "byte_seconds": meter.byte_seconds,
                "metered_at_ms": meter.metered_at_ms,
            }));
        }
        Ok(items)
    }
}

/// A database's name as a part of a URL's path.
fn in_path(name: &str) -> String {
    name.replace('/', "%2F").replace('+', "%2B")
}

impl Holder for Storage {
    fn name(&self) -> &'static str {
        "storage"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let items = self.items(&PrincipalId::new(subject)).await;
            Ok(held(items.map_err(failed)?))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            let owner = PrincipalId::new(subject);
            let _settling = self.blobs.settling().await;
            let erased = self.documents.erase_owner(&owner).await.map_err(failed)?;
            for name in &erased.files {
                let shredded = self.blobs.shred(name).await;
                shredded.map_err(|error| HolderError(format!("a blob's file: {error}")))?;
            }
            self.documents.rewrite().await.map_err(failed)?;
            Ok(Erased {
                erased: erased.databases
                    + erased.memberships
                    + erased.blobs
                    + u64::from(erased.metered),
                anonymized: 0,
            })
        }
        .boxed()
    }
}
