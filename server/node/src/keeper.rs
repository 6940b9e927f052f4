//! The task that erases what has been kept long enough: responses and conversations.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::Clock;
use kwaainet_store::{KeepLimits, Store};

/// Reads already leave out what has expired, so that there is no hurry.
const PERIOD: Duration = Duration::from_secs(60);

/// Sweeps again and again. Ends when dropped.
pub(crate) async fn sweep(store: Store, clock: Arc<dyn Clock>, bytes_max: i64) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now_ms = clock.unix_ms();
        match store.sweep_kept(KeepLimits { now_ms, bytes_max }).await {
            Ok(0) => {}
            Ok(erased) => tracing::info!(erased, "responses and conversations expired"),
            Err(error) => tracing::error!(%error, "what has expired cannot be erased"),
        }
    }
}
