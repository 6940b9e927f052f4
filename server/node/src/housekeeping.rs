//! Throws away what nobody may have any more: files, vector stores, responses and conversations whose time
//! is over, batches that were over long ago, and whatever a crash left.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_store::{KeepLimits, StoreError};

use crate::door::{self, App};

/// How late something may be thrown away; nobody is shown it meanwhile.
const PERIOD: Duration = Duration::from_secs(60);
/// How long an upload may take.
const UPLOAD_KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000;
/// How long a batch that is over is still shown.
const BATCH_KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Removes and ends what a crash left. Called before anybody can ask for anything.
pub(crate) async fn after_a_crash(app: &App) {
    match door::end_unfinished(&app.store, app.clock.unix_ms()).await {
        Ok(0) => {}
        Ok(count) => tracing::warn!(count, "responses were cut by the node's last end"),
        Err(error) => tracing::error!(%error, "unfinished responses cannot be ended"),
    }
    let swept = match app.storage.documents.blob_files().await {
        Ok(known) => {
            let swept = app.storage.blobs.sweep(&known).await;
            swept.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = swept {
        tracing::error!(%error, "the folder of blobs cannot be swept");
    }
    let swept = match app.store.file_ids().await {
        Ok(known) => app
            .vault
            .sweep(&known)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = swept {
        tracing::error!(%error, "the folder of files cannot be swept");
    }
}

/// Keeps house until dropped.
pub(crate) async fn run(app: Arc<App>) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = once(&app).await {
            tracing::error!(%error, "what is over cannot be thrown away");
        }
    }
}

async fn once(app: &App) -> Result<(), StoreError> {
    let now = app.clock.unix_ms();
    for id in app.store.delete_expired_files(now).await? {
        app.vault.remove(&id).await;
    }
    app.store.empty_expired_vector_stores(now).await?;
    app.storage.documents.meter(now).await?;
    let begun_before = now - UPLOAD_KEPT_MS;
    for id in app.storage.documents.end_old_uploads(begun_before).await? {
        app.storage.blobs.remove(&id).await;
    }
    app.store.delete_old_batches(now - BATCH_KEPT_MS).await?;
    app.store.sweep_accounts(now).await?;
    let limits = KeepLimits {
        now_ms: now,
        bytes_max: app.keep_bytes_max,
    };
    let erased = app.store.sweep_kept(limits).await?;
    if erased > 0 {
        tracing::info!(erased, "responses and conversations expired");
    }
    Ok(())
}
