//! Wakes those who wait for changes of a database.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::watch;

/// The databases that somebody waits for. No more of them than there are connections.
#[derive(Debug, Default)]
pub(super) struct Feeds(Mutex<HashMap<i64, watch::Sender<i64>>>);

impl Feeds {
    /// Hears of each commit from now on.
    pub(super) fn subscribe(&self, db: i64) -> watch::Receiver<i64> {
        let mut feeds = self.0.lock().expect("no holder panics");
        let feed = feeds.entry(db).or_insert_with(|| watch::channel(0).0);
        feed.subscribe()
    }

    /// Tells those who wait that something was committed.
    pub(super) fn tell(&self, db: i64, seq: i64) {
        let mut feeds = self.0.lock().expect("no holder panics");
        if feeds.get(&db).is_some_and(|feed| feed.send(seq).is_err()) {
            feeds.remove(&db);
        }
    }

    /// The database is gone: whoever waits is told by the end of his feed.
    pub(super) fn end(&self, db: i64) {
        self.0.lock().expect("no holder panics").remove(&db);
    }
}
