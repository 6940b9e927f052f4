//! Words about who is whose member. What they say and whether they are good, others know.

use kwaainet_core::NodeId;
use sqlx::Row;

use crate::members::node;
use crate::{Store, StoreError};

/// Words that are kept at most.
const WORDS_MAX: i64 = 16_384;
/// Removed members that are told of at most, the last ones first.
const REMOVED_MAX: i64 = 4_096;

/// A node's word about another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntroductionRecord {
    /// Whose.
    pub by: NodeId,
    /// About whom.
    pub node: NodeId,
    /// From then on it says nothing: milliseconds since 1970.
    pub until_ms: i64,
    /// Signed.
    pub word: Vec<u8>,
    /// Where the node was last.
    pub address: Vec<u8>,
}

impl Store {
    /// All words that are kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn introductions(&self) -> Result<Vec<IntroductionRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM introductions ORDER BY introducer, node LIMIT ?")
            .bind(WORDS_MAX)
            .fetch_all(&self.readers)
            .await?;
        let records = rows.iter().map(|row| {
            Ok(IntroductionRecord {
                by: node(row, "introducer")?,
                node: node(row, "node")?,
                until_ms: row.try_get("until_ms")?,
                word: row.try_get("word")?,
                address: row.try_get("address")?,
            })
        });
        records.collect()
    }

    /// Keeps words in one transaction, each in the place of an earlier one of the same node about the same node, and
    /// drops those that say nothing any more.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn keep_introductions(
        &self,
        records: &[IntroductionRecord],
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        for record in records {
            sqlx::query(
                "INSERT INTO introductions (introducer, node, until_ms, word, address)
                 VALUES (?, ?, ?, ?, ?)
                 ON CONFLICT (introducer, node) DO UPDATE SET until_ms = excluded.until_ms,
                     word = excluded.word, address = excluded.address",
            )
            .bind(record.by.0.as_slice())
            .bind(record.node.0.as_slice())
            .bind(record.until_ms)
            .bind(record.word.as_slice())
            .bind(record.address.as_slice())
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("DELETE FROM introductions WHERE until_ms <= ?")
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Nodes whose membership was ended and that did not become members again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn removed_members(&self) -> Result<Vec<NodeId>, StoreError> {
        let rows = sqlx::query(
            "SELECT node FROM members WHERE removed_at_ms IS NOT NULL
             ORDER BY removed_at_ms DESC LIMIT ?",
        )
        .bind(REMOVED_MAX)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| node(row, "node")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::Tier;

    fn record(by: u8, node: u8, until_ms: i64, word: &[u8]) -> IntroductionRecord {
        IntroductionRecord {
            by: NodeId([by; 32]),
            node: NodeId([node; 32]),
            until_ms,
            word: word.to_vec(),
            address: vec![1],
        }
    }

    #[tokio::test]
    async fn the_last_word_of_each_about_each_is_kept_until_it_says_nothing() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db"))
            .await
            .expect("it opens");
        let [first, other, last] = [
            record(1, 2, 10, b"first"),
            record(2, 1, 20, b"other"),
            record(1, 2, 30, b"last"),
        ];
        let kept = store.keep_introductions(&[first, other.clone()], 5).await;
        kept.expect("they are kept");
        let kept = store
            .keep_introductions(std::slice::from_ref(&last), 6)
            .await;
        kept.expect("it is kept");
        let words = store.introductions().await.expect("it answers");
        assert_eq!(words, [last.clone(), other]);
        store
            .keep_introductions(&[], 20)
            .await
            .expect("it is tidied");
        assert_eq!(store.introductions().await.expect("it answers"), [last]);
    }

    #[tokio::test]
    async fn who_was_removed_is_told_until_it_is_a_member_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db"))
            .await
            .expect("it opens");
        let node = NodeId([1; 32]);
        for tier in [Tier::T1, Tier::T0] {
            let trusted = store.trust_member(node, tier, b"here", 1).await;
            trusted.expect("it is written");
            let removed = store.removed_members().await.expect("it answers");
            assert!(removed.is_empty());
            let members = store.members().await.expect("it answers");
            assert_eq!((members[0].tier, members[0].ticket.is_none()), (tier, true));
            assert!(store.remove_member(node, 2).await.expect("it answers"));
            let removed = store.removed_members().await.expect("it answers");
            assert_eq!(removed, [node]);
        }
        let other = NodeId([2; 32]);
        assert!(store.refuse_member(other, 3).await.expect("it answers"));
        assert!(!store.refuse_member(other, 4).await.expect("it answers"));
        let removed = store.removed_members().await.expect("it answers");
        assert_eq!(removed, [other, node]);
        assert!(store.members().await.expect("it answers").is_empty());
    }
}
