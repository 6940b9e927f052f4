//! Identities that were verified for somebody, until they are accrued and after.

use kwaainet_core::PrincipalId;
use sqlx::Row;

use crate::{Store, StoreError};

/// Which identity was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerificationKind {
    /// What a credential or a presentation says of somebody.
    Identity,
    /// That an account on a chain is somebody's whose other name is known.
    MultiChain,
}

impl VerificationKind {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::MultiChain => "multi_chain",
        }
    }
}

/// One that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerificationRecord {
    /// Counts them.
    pub seq: i64,
    /// Who asked.
    pub principal: String,
    /// What was verified.
    pub kind: VerificationKind,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

impl Store {
    /// Notes that an identity was verified for somebody.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn note_verification(
        &self,
        principal: &PrincipalId,
        kind: VerificationKind,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO verifications (principal, kind, at_ms) VALUES (?, ?, ?)")
            .bind(principal.as_str())
            .bind(kind.name())
            .bind(now_ms)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Those after this one, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn verifications_after(
        &self,
        after: i64,
        limit: u32,
    ) -> Result<Vec<VerificationRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, principal, kind, at_ms FROM verifications WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let records = rows.iter().map(|row| {
            Ok(VerificationRecord {
                seq: row.try_get("seq")?,
                principal: row.try_get("principal")?,
                kind: match row.try_get("kind")? {
                    "identity" => VerificationKind::Identity,
                    "multi_chain" => VerificationKind::MultiChain,
                    _ => return Err(StoreError::Malformed("verification")),
                },
                at_ms: row.try_get("at_ms")?,
            })
        });
        records.collect()
    }
}
