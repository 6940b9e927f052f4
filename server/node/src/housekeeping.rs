//! Throws away what nobody may have any more: files and vector stores whose time is over, batches that
//! were over long ago, and whatever a crash left of files.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_store::StoreError;

use crate::door::App;

/// How late something may be thrown away.
const PERIOD: Duration = Duration::from_secs(60);
/// How long a batch that is over is still shown.
const BATCH_KEPT_MS: i64 = 30 * 24 * 3_600 * 1_000;

/// Removes what a crash left. Called before anybody can upload anything.
pub(crate) async fn after_a_crash(app: &App) {
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
    app.store.delete_old_batches(now - BATCH_KEPT_MS).await
}
