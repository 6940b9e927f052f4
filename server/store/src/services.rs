//! Signed receipts between nodes, of both sides. What they say, others know; here they are bytes with a place in
//! a chain.

use kwaainet_core::NodeId;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::members::node;
use crate::{Store, StoreError};

/// One receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Of its bytes.
    pub hash: [u8; 32],
    /// Who served.
    pub server: NodeId,
    /// Who asked.
    pub asker: NodeId,
    /// Which chain of these two.
    pub chain: i64,
    /// Where in the chain.
    pub number: i64,
    /// Signed by the server.
    pub receipt: Vec<u8>,
    /// Signed by the asker, if it was.
    pub counter: Option<Vec<u8>>,
}

/// Something to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceEntry {
    /// A receipt.
    Receipt(ServiceRecord),
    /// The counter-signature under one that was written before.
    Counter {
        /// The receipt's.
        hash: [u8; 32],
        /// Signed by the asker.
        counter: Vec<u8>,
    },
}

/// The columns of a record where other tables are read too.
pub(crate) const OF_SERVICES: &str = "services.hash, services.server, services.asker, services.chain, \
    services.number, services.receipt, services.counter";
const COLUMNS: &str = "seq, hash, server, asker, chain, number, receipt, counter";

impl Store {
    /// Writes receipts and counter-signatures in one transaction. What is already there is left as it is, so a batch
    /// may be written again after a failure.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn record_services(
        &self,
        entries: &[ServiceEntry],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        for entry in entries {
            match entry {
                ServiceEntry::Receipt(record) => insert(&mut transaction, record, now_ms).await?,
                ServiceEntry::Counter { hash, counter } => {
                    sqlx::query(
                        "UPDATE services SET counter = COALESCE(counter, ?) WHERE hash = ?",
                    )
                    .bind(counter)
                    .bind(hash.as_slice())
                    .execute(&mut *transaction)
                    .await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A page of receipts in the order in which they were written: those after the last page's last number (0 for the
    /// first page), of one other node or of all. Each comes with its number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services(
        &self,
        peer: Option<NodeId>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<(i64, ServiceRecord)>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM services
             WHERE seq > ?1 AND (?2 IS NULL OR server = ?2 OR asker = ?2) ORDER BY seq LIMIT ?3"
        )))
        .bind(after)
        .bind(peer.as_ref().map(|peer| peer.0.as_slice()))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let numbered = |row: &SqliteRow| Ok((row.try_get("seq")?, record(row)?));
        rows.iter().map(numbered).collect()
    }

    /// The last receipt of each chain's pair: of every node that this one ever had as a member, as its asker and as
    /// its server.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_services(&self, own: NodeId) -> Result<Vec<ServiceRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM services WHERE seq IN (
                 SELECT (SELECT seq FROM services WHERE server = ?1 AND asker = members.node
                         ORDER BY chain DESC, number DESC LIMIT 1) FROM members
                 UNION ALL
                 SELECT (SELECT seq FROM services WHERE server = members.node AND asker = ?1
                         ORDER BY chain DESC, number DESC LIMIT 1) FROM members)"
        )))
        .bind(own.0.as_slice())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    record: &ServiceRecord,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO services (hash, server, asker, chain, number, kept_at_ms, receipt, counter)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(record.hash.as_slice())
    .bind(record.server.0.as_slice())
    .bind(record.asker.0.as_slice())
    .bind(record.chain)
    .bind(record.number)
    .bind(now_ms)
    .bind(&record.receipt)
    .bind(record.counter.as_deref())
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) fn record(row: &SqliteRow) -> Result<ServiceRecord, StoreError> {
    let hash: Vec<u8> = row.try_get("hash")?;
    Ok(ServiceRecord {
        hash: hash.try_into().map_err(|_| StoreError::Malformed("hash"))?,
        server: node(row, "server")?,
        asker: node(row, "asker")?,
        chain: row.try_get("chain")?,
        number: row.try_get("number")?,
        receipt: row.try_get("receipt")?,
        counter: row.try_get("counter")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::Tier;

    const OWN: NodeId = NodeId([1; 32]);
    const PEER: NodeId = NodeId([2; 32]);
    const OTHER: NodeId = NodeId([3; 32]);

    fn service(server: NodeId, asker: NodeId, chain: i64, number: i64) -> ServiceRecord {
        let hash = [server.0[0], asker.0[0], chain as u8, number as u8];
        ServiceRecord {
            hash: hash.repeat(8).try_into().expect("32 bytes"),
            server,
            asker,
            chain,
            number,
            receipt: vec![number as u8],
            counter: None,
        }
    }

    async fn store_with(services: &[ServiceRecord]) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db"))
            .await
            .expect("it opens");
        let entries: Vec<_> = services
            .iter()
            .cloned()
            .map(ServiceEntry::Receipt)
            .collect();
        // Twice, as after a failure that was none.
        for _ in 0..2 {
            let kept = store.record_services(&entries, 5).await;
            kept.expect("they are written");
        }
        (dir, store)
    }

    #[tokio::test]
    async fn receipts_are_kept_once_and_countersigned_once() {
        let first = service(OWN, PEER, 1, 1);
        let mut fork = first.clone();
        fork.hash = [9; 32];
        let (_dir, store) = store_with(&[first.clone(), fork]).await;
        for counter in [b"first", b"other"] {
            let entry = ServiceEntry::Counter {
                hash: first.hash,
                counter: counter.to_vec(),
            };
            let kept = store.record_services(&[entry], 6).await;
            kept.expect("it is written");
        }
        let kept = store.services(None, 0, 10).await.expect("it answers");
        let counter = Some(b"first".to_vec());
        assert_eq!(kept, [(1, ServiceRecord { counter, ..first })]);
    }

    #[tokio::test]
    async fn pages_go_on_where_the_last_one_ended() {
        let mut services: Vec<_> = (1..=5).map(|n| service(OWN, PEER, 1, n)).collect();
        services.insert(2, service(OTHER, OWN, 1, 1));
        let (_dir, store) = store_with(&services).await;
        let mut found = Vec::new();
        let mut after = 0;
        loop {
            let page = store.services(None, after, 2).await.expect("it answers");
            let Some((last, _)) = page.last() else { break };
            after = *last;
            found.extend(page.into_iter().map(|(_, service)| service));
        }
        assert_eq!(found, services);
        let of_other = store.services(Some(OTHER), 0, 10).await;
        let of_other = of_other.expect("it answers");
        assert_eq!(of_other.len(), 1);
        assert_eq!(of_other[0].1, services[2]);
    }

    #[tokio::test]
    async fn the_last_ones_are_found_by_chain_and_number_even_of_removed_members() {
        let services = [
            service(OWN, PEER, 2, 1),
            service(OWN, PEER, 1, 9),
            service(PEER, OWN, 1, 1),
            service(PEER, OWN, 1, 2),
            service(OWN, OTHER, 7, 7),
        ];
        let (_dir, store) = store_with(&services).await;
        assert!(store.last_services(OWN).await.expect("none").is_empty());
        for node in [PEER, OTHER] {
            let joined = store.join_member(node, Tier::T1, b"", b"", 1).await;
            joined.expect("it is written");
        }
        assert!(store.remove_member(OTHER, 2).await.expect("it answers"));
        let mut last = store.last_services(OWN).await.expect("it answers");
        last.sort_by_key(|service| service.receipt.clone());
        let expected = [&services[0], &services[3], &services[4]];
        assert_eq!(last.iter().collect::<Vec<_>>(), expected);
    }
}
