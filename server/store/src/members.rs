//! Members of the federation, and where this node itself may be reached. What an address is, others know.

use std::fmt;

use kwaainet_core::{NodeId, Tier};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError};

/// A node that this one talks to.
#[derive(Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Which.
    pub node: NodeId,
    /// How far it is trusted.
    pub tier: Tier,
    /// Where it was last.
    pub address: Vec<u8>,
    /// The ticket to show it, until it has let this node in.
    pub ticket: Option<Vec<u8>>,
    /// When it became one: milliseconds since 1970.
    pub joined_at_ms: i64,
    /// When it was first spoken to, or last from another address.
    pub met_at_ms: Option<i64>,
}

impl fmt::Debug for MemberRecord {
    /// Without the ticket, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberRecord")
            .field("node", &self.node)
            .field("tier", &self.tier)
            .field("shows_ticket", &self.ticket.is_some())
            .field("joined_at_ms", &self.joined_at_ms)
            .field("met_at_ms", &self.met_at_ms)
            .finish_non_exhaustive()
    }
}

const COLUMNS: &str = "node, tier, address, ticket, joined_at_ms, met_at_ms";

impl Store {
    /// All members, in the order in which they came.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members(&self) -> Result<Vec<MemberRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM members WHERE removed_at_ms IS NULL ORDER BY joined_at_ms, node"
        )))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Makes a member of the node behind a ticket, or gives a member this tier and ticket.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn join_member(
        &self,
        node: NodeId,
        tier: Tier,
        address: &[u8],
        ticket: &[u8],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO members (node, tier, address, ticket, joined_at_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (node) DO UPDATE SET tier = excluded.tier, address = excluded.address,
                 ticket = excluded.ticket, removed_at_ms = NULL,
                 joined_at_ms = IIF(removed_at_ms IS NULL, joined_at_ms, excluded.joined_at_ms),
                 met_at_ms = IIF(removed_at_ms IS NULL, met_at_ms, NULL)",
        )
        .bind(node.0.as_slice())
        .bind(tier.number())
        .bind(address)
        .bind(ticket)
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Makes a member of a node by the owner's word alone, or gives a member this tier. An empty address leaves the
    /// known one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn trust_member(
        &self,
        node: NodeId,
        tier: Tier,
        address: &[u8],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO members (node, tier, address, joined_at_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT (node) DO UPDATE SET tier = excluded.tier,
                 address = IIF(excluded.address = x'', address, excluded.address),
                 joined_at_ms = IIF(removed_at_ms IS NULL, joined_at_ms, excluded.joined_at_ms),
                 met_at_ms = IIF(removed_at_ms IS NULL, met_at_ms, NULL),
                 removed_at_ms = NULL",
        )
        .bind(node.0.as_slice())
        .bind(tier.number())
        .bind(address)
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Keeps where a member is and that it has let this node in, so that no ticket need be shown any more. An empty
    /// address leaves the known one; nothing is written where nothing is new.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn met_member(
        &self,
        node: NodeId,
        address: Option<&[u8]>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE members SET address = COALESCE(?2, address), ticket = NULL, met_at_ms = ?3
             WHERE node = ?1 AND removed_at_ms IS NULL
                 AND (met_at_ms IS NULL OR ticket IS NOT NULL OR address IS NOT COALESCE(?2, address))",
        )
        .bind(node.0.as_slice())
        .bind(address)
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Ends a membership; `false` if the node is no member. No invitation from before lets it in again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_member(&self, node: NodeId, now_ms: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE members SET removed_at_ms = ?, ticket = NULL WHERE node = ? AND removed_at_ms IS NULL",
        )
        .bind(now_ms)
        .bind(node.0.as_slice())
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps a node out that is no member and never was, whoever introduces it; `false` if it was one or is kept out
    /// already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refuse_member(&self, node: NodeId, now_ms: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO members (node, tier, address, joined_at_ms, removed_at_ms)
             VALUES (?1, 3, x'', ?2, ?2) ON CONFLICT (node) DO NOTHING",
        )
        .bind(node.0.as_slice())
        .bind(now_ms)
        .execute(&self.writer)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps where this node may be reached now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_node_address(&self, address: &[u8]) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO node_address (only_one, address) VALUES (1, ?)
             ON CONFLICT (only_one) DO UPDATE SET address = excluded.address
             WHERE address IS NOT excluded.address",
        )
        .bind(address)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Where this node could be reached when it last ran; none if it never said so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn node_address(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let row = sqlx::query("SELECT address FROM node_address")
            .fetch_optional(&self.readers)
            .await?;
        Ok(row.map(|row| row.try_get("address")).transpose()?)
    }
}

pub(crate) fn record(row: &SqliteRow) -> Result<MemberRecord, StoreError> {
    Ok(MemberRecord {
        node: node(row, "node")?,
        tier: tier(row)?,
        address: row.try_get("address")?,
        ticket: row.try_get("ticket")?,
        joined_at_ms: row.try_get("joined_at_ms")?,
        met_at_ms: row.try_get("met_at_ms")?,
    })
}

pub(crate) fn node(row: &SqliteRow, column: &str) -> Result<NodeId, StoreError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    let bytes = bytes
        .try_into()
        .map_err(|_| StoreError::Malformed("node"))?;
    Ok(NodeId(bytes))
}

pub(crate) fn tier(row: &SqliteRow) -> Result<Tier, StoreError> {
    let number = u8::try_from(row.try_get::<i64, _>("tier")?).ok();
    let tier = number.and_then(Tier::of_number);
    tier.ok_or(StoreError::Malformed("tier"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId([1; 32]);

    #[tokio::test]
    async fn a_member_is_kept_met_and_removed_and_a_second_process_sees_it() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let store = Store::open(&path).await.expect("it opens");
        let other = Store::open(&path).await.expect("it opens twice");
        let joined = store.join_member(NODE, Tier::T1, b"here", b"ticket", 5);
        joined.await.expect("it is written");
        let mut member = MemberRecord {
            node: NODE,
            tier: Tier::T1,
            address: b"here".to_vec(),
            ticket: Some(b"ticket".to_vec()),
            joined_at_ms: 5,
            met_at_ms: None,
        };
        let members = other.members().await.expect("it answers");
        assert_eq!(members, [member.clone()]);

        other.met_member(NODE, None, 6).await.expect("it is met");
        other.met_member(NODE, None, 7).await.expect("nothing new");
        (member.ticket, member.met_at_ms) = (None, Some(6));
        let members = store.members().await.expect("it answers");
        assert_eq!(members, [member.clone()]);
        let moved = store.met_member(NODE, Some(b"there"), 8);
        moved.await.expect("it moved");
        (member.address, member.met_at_ms) = (b"there".to_vec(), Some(8));
        assert_eq!(store.members().await.expect("it answers"), [member]);

        assert!(store.remove_member(NODE, 9).await.expect("it answers"));
        assert!(!store.remove_member(NODE, 9).await.expect("it answers"));
        assert!(other.members().await.expect("it answers").is_empty());
        store.met_member(NODE, None, 10).await.expect("it is gone");
        assert!(store.members().await.expect("it answers").is_empty());

        let joined = store.join_member(NODE, Tier::T0, b"here", b"new", 11);
        joined.await.expect("it is written");
        let members = store.members().await.expect("it answers");
        assert_eq!(members[0].tier, Tier::T0);
        assert_eq!((members[0].joined_at_ms, members[0].met_at_ms), (11, None));
    }

    #[tokio::test]
    async fn the_nodes_own_address_is_the_last_one_said() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let store = Store::open(&path).await.expect("it opens");
        assert_eq!(store.node_address().await.expect("it answers"), None);
        for address in [&b"one"[..], b"two", b"two"] {
            store.set_node_address(address).await.expect("it is kept");
        }
        let address = store.node_address().await.expect("it answers");
        assert_eq!(address.as_deref(), Some(&b"two"[..]));
    }
}
