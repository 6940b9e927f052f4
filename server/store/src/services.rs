//! Signed receipts between nodes, of both sides. What they say, others know; here they are bytes with a place in
//! a chain.

mod keep;
mod reconciled;

#[cfg(test)]
mod tests;

use kwaainet_core::NodeId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::members::node;
use crate::{Store, StoreError};

pub use reconciled::{ServiceChanges, ServiceCursor};

/// One receipt, or a checkpoint of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Of its bytes.
    pub hash: [u8; 32],
    /// What it is about.
    pub place: ServicePlace,
    /// Where in the chain; 0 for a checkpoint.
    pub number: i64,
    /// The hash of the one before in the chain.
    pub previous: [u8; 32],
    /// The request's id.
    pub request: [u8; 16],
    /// Signed by the server.
    pub receipt: Vec<u8>,
    /// Signed by the asker, if it was.
    pub counter: Option<Vec<u8>>,
    /// The other side handed it over.
    pub returned: bool,
}

/// Which statement about which stream. Receipts are listed in the order of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePlace {
    /// Who served.
    pub server: NodeId,
    /// Who asked.
    pub asker: NodeId,
    /// Which chain of these two.
    pub chain: i64,
    /// Which stream of the chain.
    pub stream: i64,
    /// Which statement about the stream; of them the highest counts.
    pub revision: i64,
}

/// What this node saw of a request for which it has no receipt that it could sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRecord {
    /// Who served.
    pub server: NodeId,
    /// The request's id.
    pub request: [u8; 16],
    /// Of the request.
    pub request_hash: [u8; 32],
    /// The model's digest.
    pub model: Option<[u8; 32]>,
    /// Tokens of the prompt,
    pub prompt_tokens: u32,
    /// those of them that were cached,
    pub cached_tokens: u32,
    /// and of the answer.
    pub completion_tokens: u32,
    /// Milliseconds since 1970.
    pub began_ms: i64,
    /// Milliseconds.
    pub duration_ms: i64,
    /// Of all that came.
    pub transcript_hash: [u8; 32],
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
    /// What was seen without a receipt.
    Claim(ClaimRecord),
}

const COLUMNS: &str = "hash, server, asker, chain, stream, revision, number, previous, request,
    receipt, counter, returned";
/// The same where other tables are read too.
pub(crate) const OF_SERVICES: &str = "services.hash, services.server, services.asker, services.chain, services.stream, \
    services.revision, services.number, services.previous, services.request, services.receipt, services.counter, \
    services.returned";

impl Store {
    /// Writes receipts, counter-signatures and claims in one transaction. What is already there, contradicts what is
    /// there, or is superseded by it is left out, so a batch may be written again after a failure.
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
                ServiceEntry::Receipt(record) => {
                    keep::receipt(&mut transaction, record, now_ms).await?;
                }
                ServiceEntry::Counter { hash, counter } => {
                    keep::counter(&mut transaction, hash, counter).await?;
                }
                ServiceEntry::Claim(claim) => keep::claim(&mut transaction, claim).await?,
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// A page of receipts in the order of their places: those after the last page's last one, of one other node or of
    /// all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn services(
        &self,
        peer: Option<NodeId>,
        after: Option<ServicePlace>,
        limit: u32,
    ) -> Result<Vec<ServiceRecord>, StoreError> {
        let after = after.unwrap_or(ServicePlace {
            server: NodeId([0; 32]),
            asker: NodeId([0; 32]),
            chain: -1,
            stream: 0,
            revision: 0,
        });
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM services
             WHERE (server, asker, chain, stream, revision) > (?1, ?2, ?3, ?4, ?5)
                 AND (?6 IS NULL OR server = ?6 OR asker = ?6)
             ORDER BY server, asker, chain, stream, revision LIMIT ?7"
        )))
        .bind(after.server.0.as_slice())
        .bind(after.asker.0.as_slice())
        .bind(after.chain)
        .bind(after.stream)
        .bind(after.revision)
        .bind(peer.as_ref().map(|peer| peer.0.as_slice()))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// The last receipt of each chain's pair, checkpoints aside: of every node that this one ever had as a member, as
    /// its asker and as its server.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn last_services(&self, own: NodeId) -> Result<Vec<ServiceRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM services WHERE hash IN (
                 SELECT (SELECT hash FROM services
                         WHERE server = ?1 AND asker = members.node AND number > 0
                         ORDER BY chain DESC, number DESC LIMIT 1) FROM members
                 UNION ALL
                 SELECT (SELECT hash FROM services
                         WHERE server = members.node AND asker = ?1 AND number > 0
                         ORDER BY chain DESC, number DESC LIMIT 1) FROM members)"
        )))
        .bind(own.0.as_slice())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Begins a chain: a number that is larger than any that was begun before, and not less than `least`. It is
    /// written before it is told, so that none is ever used twice.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_chain(&self, least: i64) -> Result<i64, StoreError> {
        let row = sqlx::query("UPDATE service_book SET chain = MAX(chain + 1, ?) RETURNING chain")
            .bind(least)
            .fetch_one(&self.writer)
            .await?;
        Ok(row.try_get("chain")?)
    }

    /// A page of what this node saw without a receipt, in the order of server and request: what follows the last
    /// page's last one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claims(
        &self,
        after: Option<(NodeId, [u8; 16])>,
        limit: u32,
    ) -> Result<Vec<ClaimRecord>, StoreError> {
        let (server, request) = after.unwrap_or((NodeId([0; 32]), [0; 16]));
        let rows = sqlx::query(
            "SELECT * FROM claims WHERE (server, request) > (?, ?)
             ORDER BY server, request LIMIT ?",
        )
        .bind(server.0.as_slice())
        .bind(request.as_slice())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(claim).collect()
    }
}

pub(crate) fn record(row: &SqliteRow) -> Result<ServiceRecord, StoreError> {
    Ok(ServiceRecord {
        hash: bytes(row, "hash")?,
        place: ServicePlace {
            server: node(row, "server")?,
            asker: node(row, "asker")?,
            chain: row.try_get("chain")?,
            stream: row.try_get("stream")?,
            revision: row.try_get("revision")?,
        },
        number: row.try_get("number")?,
        previous: bytes(row, "previous")?,
        request: bytes(row, "request")?,
        receipt: row.try_get("receipt")?,
        counter: row.try_get("counter")?,
        returned: row.try_get("returned")?,
    })
}

fn claim(row: &SqliteRow) -> Result<ClaimRecord, StoreError> {
    let model: Option<Vec<u8>> = row.try_get("model")?;
    let model = model.map(|model| model.try_into());
    Ok(ClaimRecord {
        server: node(row, "server")?,
        request: bytes(row, "request")?,
        request_hash: bytes(row, "request_hash")?,
        model: model
            .transpose()
            .map_err(|_| StoreError::Malformed("model"))?,
        prompt_tokens: row.try_get("prompt_tokens")?,
        cached_tokens: row.try_get("cached_tokens")?,
        completion_tokens: row.try_get("completion_tokens")?,
        began_ms: row.try_get("began_ms")?,
        duration_ms: row.try_get("duration_ms")?,
        transcript_hash: bytes(row, "transcript_hash")?,
    })
}

/// A column of so many bytes.
fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::Malformed(column))
}
