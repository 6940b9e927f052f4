//! Wakes the tasks that do what requests left for later.

use tokio::sync::watch;

/// A bell that is heard by everybody who listens, also by those who were busy when it rang.
#[derive(Debug)]
pub struct Bell(watch::Sender<()>);

impl Default for Bell {
    fn default() -> Self {
        Self(watch::channel(()).0)
    }
}

impl Bell {
    /// Says that there is something to do.
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    /// Hears what rings from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Somebody who listens.
#[derive(Debug)]
pub(crate) struct Listener(watch::Receiver<()>);

impl Listener {
    /// Waits until it has rung since the last time.
    pub(crate) async fn rings(&mut self) {
        if self.0.changed().await.is_err() {
            // The bell is gone, so it never rings again.
            std::future::pending::<()>().await;
        }
    }
}

/// The node's bells.
#[derive(Debug, Default)]
pub struct Bells {
    /// A batch was made or called off.
    pub(crate) batches: Bell,
    /// A file was put into a vector store.
    pub(crate) indexing: Bell,
    /// A replication was asked for or ended.
    pub(crate) replications: Bell,
    /// Something was erased that others have.
    pub(crate) erasures: Bell,
}
