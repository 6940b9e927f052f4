//! Who of this node holds what about whom. Each part that keeps something about people is one [`Holder`]; what is
//! exported and erased is the sum of them.

mod identity;
mod peers;
mod storage;

use std::sync::Arc;

use futures_util::FutureExt;
use kwaainet_audit::{Erased, Held, Holder, HolderError};
use kwaainet_core::{BoxFuture, Clock, PrincipalId};
use kwaainet_store::{AuditFilter, ErasableTable, Page, Store, StoreError};
use serde_json::{Value, json};

use crate::identity::Desk;
use crate::rewards::storage_source;
use crate::vault::Vault;

/// Things that one holder tells in one export.
const ITEMS_MAX: u32 = 10_000;

/// The holders of this node, in the order in which they erase: what refers to something before that.
pub(crate) fn holders(
    store: &Store,
    storage: &crate::storage::Storage,
    vault: &Arc<Vault>,
    desk: &Arc<Desk>,
    clock: &Arc<dyn Clock>,
) -> Vec<Arc<dyn Holder>> {
    let table = |name, table| {
        let store = store.clone();
        Arc::new(Table { name, table, store }) as Arc<dyn Holder>
    };
    vec![
        Arc::new(Kept(store.clone())),
        table("batches", ErasableTable::Batches),
        table("vector_stores", ErasableTable::VectorStores),
        Arc::new(Files {
            store: store.clone(),
            vault: Arc::clone(vault),
        }),
        Arc::new(storage::Storage {
            documents: storage.documents.clone(),
            blobs: Arc::clone(&storage.blobs),
        }),
        Arc::new(Work(store.clone())),
        Arc::new(peers::Peers(store.clone())),
        Arc::new(identity::Identity {
            store: store.clone(),
            desk: Arc::clone(desk),
        }),
        Arc::new(Keys {
            store: store.clone(),
            clock: Arc::clone(clock),
        }),
        Arc::new(AuditLog(store.clone())),
    ]
}

fn failed(error: StoreError) -> HolderError {
    HolderError(error.to_string())
}

fn gone(count: usize) -> Erased {
    Erased {
        erased: count as u64,
        anonymized: 0,
    }
}

/// What was found, and whether that is all.
fn held(items: Vec<Value>) -> Held {
    Held {
        truncated: items.len() >= ITEMS_MAX as usize,
        items,
    }
}

/// JSON that the store keeps as text.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

/// Responses and conversations.
struct Kept(Store);

impl Holder for Kept {
    fn name(&self) -> &'static str {
        "responses_and_conversations"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let kept = self.0.kept_of(&PrincipalId::new(subject), ITEMS_MAX).await;
            let items = kept.map_err(failed)?.into_iter().map(|kept| {
                json!({
                    "id": kept.id,
                    "kind": kept.kind,
                    "created_at_ms": kept.created_at_ms,
                    "body": parsed(&kept.body),
                    "items": kept.items.iter().map(|item| parsed(item)).collect::<Vec<_>>(),
                })
            });
            Ok(held(items.collect()))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        erase_table(&self.0, ErasableTable::Kept, subject)
    }
}

fn erase_table<'a>(
    store: &'a Store,
    table: ErasableTable,
    subject: &'a str,
) -> BoxFuture<'a, Result<Erased, HolderError>> {
    async move {
        let ids = store.erase_rows(table, &PrincipalId::new(subject)).await;
        Ok(gone(ids.map_err(failed)?.len()))
    }
    .boxed()
}

/// Batches, or vector stores.
struct Table {
    name: &'static str,
    table: ErasableTable,
    store: Store,
}

impl Holder for Table {
    fn name(&self) -> &'static str {
        self.name
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let (principal, page) = (PrincipalId::new(subject), everything());
            let items: Vec<Value> = match self.table {
                ErasableTable::Batches => {
                    let batches = self.store.batches(&principal, &page).await.map_err(failed)?;
                    let batches = batches.map(|listed| listed.items).unwrap_or_default();
                    batches.iter().map(|batch| json!({"id": batch.id, "input_file": batch.input_file, "endpoint": batch.endpoint})).collect()
                }
                _ => {
                    let stores = self.store.vector_stores(&principal, &page).await.map_err(failed)?;
                    let stores = stores.map(|listed| listed.items).unwrap_or_default();
                    stores.iter().map(|store| json!({"id": store.id, "name": store.name})).collect()
                }
            };
            Ok(held(items))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        erase_table(&self.store, self.table, subject)
    }
}

fn everything() -> Page {
    Page {
        after: None,
        before: None,
        limit: ITEMS_MAX,
        newest_first: false,
    }
}

/// Files. What is in them is told by `/v1/files`, since it may be far too large for one answer.
struct Files {
    store: Store,
    vault: Arc<Vault>,
}

impl Holder for Files {
    fn name(&self) -> &'static str {
        "files"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let principal = PrincipalId::new(subject);
            let files = self.store.files(&principal, None, &everything()).await;
            let files = files.map_err(failed)?.map(|listed| listed.items);
            let items = files.unwrap_or_default().into_iter().map(|file| {
                json!({
                    "id": file.id,
                    "filename": file.filename,
                    "purpose": file.purpose,
                    "bytes": file.bytes,
                    "created_at_ms": file.created_at_ms,
                    "content": format!("/v1/files/{}/content", file.id),
                })
            });
            Ok(held(items.collect()))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            let principal = PrincipalId::new(subject);
            let ids = self
                .store
                .erase_rows(ErasableTable::Files, &principal)
                .await;
            let ids = ids.map_err(failed)?;
            for id in &ids {
                let shredded = self.vault.shred(id).await;
                shredded.map_err(|error| HolderError(format!("a file: {error}")))?;
            }
            Ok(gone(ids.len()))
        }
        .boxed()
    }
}

/// Receipts, what they cost the climate, and accounts: kept for what is owed, without the name.
struct Work(Store);

impl Holder for Work {
    fn name(&self) -> &'static str {
        "receipts_and_accounts"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let principal = PrincipalId::new(subject);
            let receipts = self
                .0
                .receipts_of(&principal, ITEMS_MAX)
                .await
                .map_err(failed)?;
            let receipts = receipts.into_iter().map(|receipt| {
                json!({
                    "kind": "receipt",
                    "job": receipt.job,
                    "model": receipt.model,
                    "work": receipt.work,
                    "outcome": receipt.outcome,
                    "prompt_tokens": receipt.tokens.0,
                    "completion_tokens": receipt.tokens.1,
                    "admitted_at_ms": receipt.admitted_at_ms,
                    "duration_ms": receipt.duration_ms,
                    "energy_uj": receipt.energy_uj,
                    "carbon_ng": receipt.operational_ng,
                })
            });
            let mut items: Vec<Value> = receipts.collect();
            let accounts = self.0.ledger_accounts(Some(subject), None, ITEMS_MAX).await;
            items.extend(accounts.map_err(failed)?.iter().map(|account| {
                json!({
                    "kind": "account",
                    "id": account.id.to_string(),
                    "account": account.kind.name(),
                    "balance_micro_vda": account.balance(),
                })
            }));
            Ok(held(items))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            // The meter is gone already, so nothing is paid twice.
            let forgotten = self.0.forget_accrued(&storage_source(subject)).await;
            forgotten.map_err(failed)?;
            let rows = self.0.anonymize(&PrincipalId::new(subject)).await;
            Ok(Erased {
                erased: 0,
                anonymized: rows.map_err(failed)?,
            })
        }
        .boxed()
    }
}

/// The API key that the subject is.
struct Keys {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Holder for Keys {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let Some(id) = subject.strip_prefix("key:") else {
                return Ok(Held::default());
            };
            let key = self.store.key(&id.into()).await.map_err(failed)?;
            let items = key.into_iter().map(|key| {
                json!({
                    "id": key.id.as_str(),
                    "name": key.name,
                    "scopes": key.scopes.to_string(),
                    "created_at_ms": key.created_at_ms,
                    "expires_at_ms": key.expires_at_ms,
                    "revoked_at_ms": key.revoked_at_ms,
                    "last_used_at_ms": key.last_used_at_ms,
                })
            });
            Ok(held(items.collect()))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            let Some(id) = subject.strip_prefix("key:") else {
                return Ok(Erased::default());
            };
            let is_gone = self.store.erase_key(id, self.clock.unix_ms()).await;
            Ok(gone(usize::from(is_gone.map_err(failed)?)))
        }
        .boxed()
    }
}

/// What the audit log says of the subject: it goes with its key.
struct AuditLog(Store);

impl Holder for AuditLog {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn export<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Held, HolderError>> {
        async move {
            let filter = AuditFilter {
                subject: Some(subject.to_owned()),
                ..AuditFilter::default()
            };
            let records = self.0.audit_entries(&filter, 0, ITEMS_MAX).await;
            let items = records.map_err(failed)?.into_iter().filter_map(|record| {
                let opened = record.sealed.open(record.key.as_ref()?).ok()?;
                Some(json!({
                    "index": record.index,
                    "at_ms": record.sealed.at_ms,
                    "action": record.sealed.action.as_str(),
                    "outcome": record.sealed.outcome.name(),
                    "actor": opened.actor,
                    "resource": opened.resource,
                    "details": opened.details,
                }))
            });
            Ok(held(items.collect()))
        }
        .boxed()
    }

    fn erase<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Erased, HolderError>> {
        async move {
            let entries = self.0.forget_audit_subject(subject).await.map_err(failed)?;
            Ok(gone(entries as usize))
        }
        .boxed()
    }
}
