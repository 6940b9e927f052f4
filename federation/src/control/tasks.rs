//! The tasks of the control plane: they end by themselves when the node leaves, and are dropped where they stand
//! when it has to be quick.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns them. Copies own the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    /// The node says goodbye and ends.
    pub(crate) leave: CancellationToken,
    /// Without a goodbye.
    cut: CancellationToken,
}

impl Tasks {
    /// A task that ends by itself.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// A task that ends when the node leaves.
    pub(crate) fn spawn_until_leaving(&self, task: impl Future<Output = ()> + Send + 'static) {
        let leave = self.leave.clone();
        self.spawn(async move {
            tokio::select! {
                biased;
                () = leave.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Lets them end for so long, and then ends them.
    pub(crate) async fn end(&self, within: Duration) {
        self.leave.cancel();
        self.tracker.close();
        // Whoever is not done by then is cut off.
        let _ = tokio::time::timeout(within, self.tracker.wait()).await;
        self.cut.cancel();
        self.tracker.wait().await;
    }

    /// Ends them at once, without a goodbye.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}
