//! Runs batches: one of each principal at a time, line by line, through the same doors as live requests
//! and after all of them. What is finished is in the database before it counts, so that a batch goes on
//! where it was after any crash.

mod check;
mod ending;
mod lines;
mod running;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kwaainet_openapi::BatchError;
use kwaainet_store::{BatchEnd, BatchRecord, BatchStatus, StoreError};

use crate::door::App;

/// Batches that run at once. Their lines share the few places that admission has for batch work.
const BATCHES_AT_ONCE: usize = 4;
/// How often it is looked for batches if nothing rings, and how long one rests after a failure of ours.
const PERIOD: Duration = Duration::from_secs(30);

/// Why a batch stops.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The database failed; the batch is tried again later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk failed; the batch is tried again later.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
    /// The batch itself is at fault.
    #[error("the batch is at fault")]
    Fault(Vec<BatchError>),
}

/// Runs batches until dropped.
pub(crate) async fn run(app: Arc<App>) {
    let mut bell = app.bells.batches.listen();
    let mut running: FuturesUnordered<BoxFuture<'_, String>> = FuturesUnordered::new();
    let mut names: HashSet<String> = HashSet::new();
    loop {
        match app.store.next_batches(BATCHES_AT_ONCE as u32 * 2).await {
            Ok(batches) => {
                for batch in batches {
                    if running.len() < BATCHES_AT_ONCE && names.insert(batch.id.clone()) {
                        running.push(Box::pin(go_on(&app, batch)));
                    }
                }
            }
            Err(error) => tracing::error!(%error, "batches cannot be read"),
        }
        tokio::select! {
            Some(id) = running.next() => { names.remove(&id); }
            () = bell.rings() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Brings one batch to its end, or rests where it cannot; gives its id.
async fn go_on(app: &App, batch: BatchRecord) -> String {
    let ended = match bring_to_end(app, &batch).await {
        Err(Trouble::Fault(errors)) => fail(app, &batch, &errors).await,
        other => other,
    };
    if let Err(error) = ended {
        tracing::error!(batch = %batch.id, %error, "a batch cannot go on for now");
        tokio::time::sleep(PERIOD).await;
    }
    batch.id
}

async fn bring_to_end(app: &App, batch: &BatchRecord) -> Result<(), Trouble> {
    if batch.status == BatchStatus::Validating {
        let total = check::input(app, batch).await?;
        let now = app.clock.unix_ms();
        app.store.batch_begins(&batch.id, total, now).await?;
    }
    let status = match batch.status {
        BatchStatus::Finalizing => BatchStatus::Completed,
        BatchStatus::Cancelling => BatchStatus::Cancelled,
        _ => running::lines(app, batch).await?,
    };
    if status == BatchStatus::Completed {
        let now = app.clock.unix_ms();
        app.store.batch_finalizes(&batch.id, now).await?;
    }
    ending::write(app, batch, status).await
}

async fn fail(app: &App, batch: &BatchRecord, errors: &[BatchError]) -> Result<(), Trouble> {
    let errors = serde_json::to_string(errors).expect("errors have string keys only");
    let end = BatchEnd {
        status: BatchStatus::Failed,
        now_ms: app.clock.unix_ms(),
        output: None,
        error: None,
        errors: Some(errors),
    };
    app.store.end_batch(&batch.id, &end).await?;
    Ok(())
}

/// An error of the batch as a whole.
fn fault(code: &str, message: &str) -> Trouble {
    Trouble::Fault(vec![BatchError {
        code: code.to_owned(),
        line: None,
        message: message.to_owned(),
        param: None,
    }])
}

/// The input file is gone, or the disk failed.
fn unreadable(error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::NotFound {
        return fault("input_file_not_found", "The input file was deleted.");
    }
    error.into()
}
