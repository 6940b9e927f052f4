//! What was encrypted for a node's old key is encrypted for the new one before that takes its place. Only while no node
//! runs on the data.

use kwaainet_identity::NodeKey;
use kwaainet_store::{DocumentStore, StoreError};

use super::{node_recipient, sharing_key, wrapped};
use crate::config::Config;

/// Databases that are looked at together.
const PAGE: u32 = 500;

/// Encrypts the keys of databases that the old key opens for the new one, too; how many those are. Can be done again.
///
/// # Errors
/// When the file of documents fails.
pub(crate) async fn share_with_next(
    config: &Config,
    old: &NodeKey,
    new: &NodeKey,
) -> Result<u64, StoreError> {
    if !config.documents().exists() {
        return Ok(0);
    }
    let (documents, group) = DocumentStore::open(&config.documents()).await?;
    let shared = share(&documents, old, new).await;
    drop(documents);
    // Nobody writes documents: it closes the file.
    group.run(|_| {}).await;
    shared
}

async fn share(documents: &DocumentStore, old: &NodeKey, new: &NodeKey) -> Result<u64, StoreError> {
    let (old, next) = (sharing_key(old), sharing_key(new));
    let from = node_recipient(&old);
    let (mut after, mut count) = (0, 0);
    loop {
        let page = documents.wraps_of(&from, after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(count);
        };
        after = *last;
        for (database, kept) in &page {
            let key = old.unwrap_key(kept, &from);
            let key = key.map_err(|_| StoreError::Malformed("key of a database"))?;
            let wrap = wrapped(&key, next.public(), node_recipient(&next));
            documents.share(*database, wrap.as_slice()).await?;
            count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::PrincipalId;
    use kwaainet_storage::{DataKey, Mode};
    use kwaainet_store::NewDatabase;

    #[tokio::test]
    async fn the_next_key_opens_what_the_old_one_opened() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (documents, group) = DocumentStore::open(&dir.path().join("storage.db"))
            .await
            .expect("it opens");
        let (old, new) = (NodeKey::generate(), NodeKey::generate());
        let from = sharing_key(&old);
        let owner = PrincipalId::operator();
        for n in 0..3 {
            let key = DataKey::generate();
            let database = NewDatabase {
                owner: owner.clone(),
                name: format!("d{n}").parse().expect("it is a name"),
                mode: Mode::Private,
                created_at_ms: 1,
                wrap: wrapped(&key, from.public(), node_recipient(&from)),
            };
            assert!(
                documents
                    .create_database(&database)
                    .await
                    .expect("it answers")
            );
        }
        for _ in 0..2 {
            let shared = share(&documents, &old, &new).await.expect("it answers");
            assert_eq!(shared, 3, "it can be done again");
        }
        let next = sharing_key(&new);
        for database in documents.databases(&owner).await.expect("it answers") {
            let both = [
                (&from, node_recipient(&from)),
                (&next, node_recipient(&next)),
            ];
            for (key, recipient) in both {
                let kept = documents.wrapped(database.key, &recipient).await;
                let kept = kept.expect("it answers").expect("it is there");
                assert!(key.unwrap_key(&kept, &recipient).is_ok());
            }
        }
        drop((documents, group));
    }
}
