//! Writes a batch's files and ends it.

use kwaainet_store::{BatchEnd, BatchRecord, BatchStatus, FileRecord};

use super::Trouble;
use crate::door::App;
use crate::vault::Kept;

/// Answers that are read at a time.
const LINES_AT_ONCE: u32 = 16;

/// Writes the answers that there are into files and says that the batch is over. The files and the end of
/// the batch become known in one step; after a crash before it they are written anew.
pub(super) async fn write(
    app: &App,
    batch: &BatchRecord,
    status: BatchStatus,
) -> Result<(), Trouble> {
    let good = file(app, batch, true).await?;
    let bad = file(app, batch, false).await?;
    let now_ms = app.clock.unix_ms();
    let row = |kept: &Option<Kept>, what: &str| {
        kept.as_ref().map(|kept| FileRecord {
            id: kept.id.clone(),
            principal: batch.principal.clone(),
            purpose: "batch_output".to_owned(),
            filename: format!("{}_{what}.jsonl", batch.id),
            bytes: kept.bytes,
            created_at_ms: now_ms,
            expires_at_ms: batch
                .output_expires_s
                .map(|seconds| now_ms + i64::from(seconds) * 1_000),
        })
    };
    let end = BatchEnd {
        status,
        now_ms,
        output: row(&good, "output"),
        error: row(&bad, "error"),
        errors: None,
    };
    if app.store.end_batch(&batch.id, &end).await? {
        for kept in [good, bad].into_iter().flatten() {
            kept.settled();
        }
    }
    Ok(())
}

/// A file of the good or of the bad answers; none if there are none.
async fn file(app: &App, batch: &BatchRecord, good: bool) -> Result<Option<Kept>, Trouble> {
    let mut draft = None;
    let mut after = 0;
    loop {
        let outputs = app
            .store
            .line_outputs(&batch.id, good, after, LINES_AT_ONCE);
        let outputs = outputs.await?;
        let Some((last, _)) = outputs.last() else {
            break;
        };
        after = *last;
        let mut begun = match draft.take() {
            Some(begun) => begun,
            None => app.vault.draft().await?,
        };
        for (_, output) in &outputs {
            begun.write(output.as_bytes()).await?;
            begun.write(b"\n").await?;
        }
        draft = Some(begun);
    }
    match draft {
        Some(draft) => Ok(Some(draft.keep().await?)),
        None => Ok(None),
    }
}
