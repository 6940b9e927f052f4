//! The task that writes receipts. It alone takes them from the channel, in batches, each in one
//! transaction; a full channel shows as 503 at the door.

use std::time::Duration;

use kwaainet_core::Receipt;
use kwaainet_store::{Store, StoreError};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Receipts that may wait to be written, besides one place for each running or waiting job.
pub(crate) const BACKLOG: usize = 8_192;
const BATCH_MAX: usize = 256;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Tries for one batch once the node is shutting down and nobody can send more.
const LAST_TRIES: usize = 5;

/// Writes receipts until every sender is gone and all are written.
pub(crate) async fn run(store: Store, metrics: Metrics, mut inbox: mpsc::Receiver<Receipt>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while inbox.recv_many(&mut batch, BATCH_MAX).await > 0 {
        insist(&inbox, batch.len(), || store.record(&batch)).await;
        for receipt in batch.drain(..) {
            metrics.receipt(&receipt);
            tracing::info!(
                job = %receipt.job,
                principal = %receipt.principal,
                model = ?receipt.model,
                outcome = receipt.outcome.as_str(),
                prompt_tokens = receipt.usage.prompt_tokens,
                completion_tokens = receipt.usage.completion_tokens,
                queued_ms = receipt.queued_ms,
                first_token_ms = receipt.first_token_ms,
                duration_ms = receipt.duration_ms,
                "job over"
            );
        }
    }
}

/// Writes a batch, trying again until it is written: while it is not, the channel fills and the
/// door closes, so nothing piles up. Only a node that is shutting down gives up.
pub(crate) async fn insist<T, F>(inbox: &mpsc::Receiver<T>, count: usize, write: impl Fn() -> F)
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut pause = RETRY_FIRST;
    let mut last_tries = LAST_TRIES;
    while let Err(error) = write().await {
        tracing::error!(%error, receipts = count, "the ledger cannot be written");
        if inbox.is_closed() || inbox.sender_strong_count() == 0 {
            last_tries -= 1;
            if last_tries == 0 {
                tracing::error!(receipts = count, "receipts are lost");
                return;
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}
