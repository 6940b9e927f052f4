//! Receipts at rest: append-only, one row for each admitted job.

use kwaainet_core::Receipt;
use sqlx::Row;

use crate::privacy::ERASED;
use crate::{Store, StoreError};

impl Store {
    /// Writes receipts, and when their keys were last used, in one transaction. A receipt that is
    /// already there is left as it is, so a batch may be written again after a failure. Whoever was erased while his work
    /// was under way has no name in it.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn record(&self, receipts: &[Receipt]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        for receipt in receipts {
            let footprint = receipt.footprint;
            let carbon = footprint.and_then(|took| took.carbon);
            sqlx::query(
                "INSERT INTO receipts (job, principal, key, model, work, backend, outcome,
                     prompt_tokens, cached_tokens, completion_tokens,
                     admitted_at_ms, queued_ms, first_token_ms, duration_ms, continued,
                     energy_uj, energy_method, energy_uncertainty, machine_us,
                     operational_ng, embodied_ng, grid_evidence)
                 VALUES (?1,
                     IIF((?3 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM api_keys WHERE id = ?3))
                         OR (?2 LIKE 'did:%' AND NOT EXISTS (SELECT 1 FROM accounts WHERE did = ?2)), ?23, ?2),
                     (SELECT id FROM api_keys WHERE id = ?3),
                     ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)
                 ON CONFLICT (job) DO NOTHING",
            )
            .bind(receipt.job.as_str())
            .bind(receipt.principal.as_str())
            .bind(receipt.key.as_ref().map(|key| key.as_str()))
            .bind(receipt.model.as_str())
            .bind(receipt.work)
            .bind(receipt.backend.as_ref().map(|backend| backend.as_str()))
            .bind(receipt.outcome.as_str())
            .bind(receipt.usage.prompt_tokens)
            .bind(receipt.usage.cached_tokens)
            .bind(receipt.usage.completion_tokens)
            .bind(receipt.admitted_at_ms)
            .bind(whole(receipt.queued_ms))
            .bind(receipt.first_token_ms.map(whole))
            .bind(whole(receipt.duration_ms))
            .bind(receipt.continued)
            .bind(footprint.map(|took| whole(took.energy_uj)))
            .bind(footprint.map(|took| took.method.as_str()))
            .bind(footprint.map(|took| took.uncertainty_percent))
            .bind(footprint.map(|took| whole(took.machine_us)))
            .bind(carbon.map(|cost| whole(cost.operational_ng)))
            .bind(carbon.map(|cost| whole(cost.embodied_ng)))
            .bind(carbon.map(|cost| cost.evidence.as_str()))
            .bind(ERASED)
            .execute(&mut *transaction)
            .await?;
            if let Some(key) = &receipt.key {
                sqlx::query(
                    "UPDATE api_keys SET last_used_at_ms = MAX(COALESCE(last_used_at_ms, 0), ?)
                     WHERE id = ?",
                )
                .bind(receipt.admitted_at_ms)
                .bind(key.as_str())
                .execute(&mut *transaction)
                .await?;
            }
        }
        transaction.commit().await?;
        Ok(())
    }

    /// How many receipts there are, by outcome: done, error, cancelled.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receipt_counts(&self) -> Result<[u64; 3], StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) FILTER (WHERE outcome = 'done') AS done,
                    COUNT(*) FILTER (WHERE outcome = 'error') AS error,
                    COUNT(*) FILTER (WHERE outcome = 'cancelled') AS cancelled
             FROM receipts",
        )
        .fetch_one(&self.readers)
        .await?;
        let count = |name| row.try_get::<i64, _>(name).map(|n| n.max(0) as u64);
        Ok([count("done")?, count("error")?, count("cancelled")?])
    }
}

/// SQLite has signed integers only; no duration and no amount comes near their end.
pub(crate) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{JobId, Outcome, Usage};

    #[tokio::test]
    async fn a_batch_written_twice_counts_once() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&dir.path().join("node.db"))
            .await
            .expect("it opens");
        let receipt = |outcome| Receipt {
            job: JobId::random(),
            principal: "owner".into(),
            key: None,
            model: "m".into(),
            work: "generate",
            backend: Some("candle".into()),
            continued: 0,
            outcome,
            usage: Usage::default(),
            admitted_at_ms: 1,
            queued_ms: 2,
            first_token_ms: None,
            duration_ms: u64::MAX,
            footprint: None,
        };
        let batch = [
            receipt(Outcome::Done),
            receipt(Outcome::Cancelled),
            receipt(Outcome::Cancelled),
        ];
        store.record(&batch).await.expect("it is written");
        store.record(&batch).await.expect("again");
        let counts = store.receipt_counts().await.expect("it answers");
        assert_eq!(counts, [1, 0, 2]);
    }
}
