//! An engine that computes nothing but the numbers that it reports.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kwaainet_core::{Candidate, Load, ModelFacts, ModelKind, Place, Snapshot};
use tokio::sync::watch;

/// Between two steps.
const STEP: Duration = Duration::from_millis(50);

/// What a node serves, as a test says.
#[derive(Clone)]
pub struct Engine {
    work: Arc<Mutex<Work>>,
    snapshots: watch::Sender<Arc<Snapshot>>,
}

struct Work {
    load: Load,
    is_stuck: bool,
    models: Vec<String>,
}

impl Engine {
    /// One with a model of this name, in its nth start.
    pub fn new(model: &str, epoch: u64) -> Self {
        let work = Work {
            load: Load {
                epoch,
                decode_rate: 20.0,
                ..Load::default()
            },
            is_stuck: false,
            models: vec![model.to_owned()],
        };
        let engine = Self {
            work: Arc::new(Mutex::new(work)),
            snapshots: watch::Sender::new(Arc::default()),
        };
        engine.change(|_| ());
        engine
    }

    /// What a federation reports.
    pub fn snapshots(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.subscribe()
    }

    /// Computes while there is work. To be dropped at the end.
    pub async fn run(self) {
        loop {
            tokio::time::sleep(STEP).await;
            let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
            let computes = work.load.running > 0 && !work.is_stuck;
            drop(work);
            if computes {
                self.change(|work| work.load.tokens_out += u64::from(work.load.running));
            }
        }
    }

    /// So many sequences run from now on.
    pub fn set_running(&self, running: u32) {
        self.change(|work| work.load.running = running);
    }

    /// Has so much to do from now on, and is so fast.
    pub fn set_load(&self, load: Load) {
        self.change(|work| {
            work.load = Load {
                tokens_out: work.load.tokens_out,
                epoch: work.load.epoch,
                ..load
            };
        });
    }

    /// What it has to do now.
    pub fn load(&self) -> Load {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.load
    }

    /// Stands still with the work that it has, or goes on.
    pub fn set_stuck(&self, is_stuck: bool) {
        self.change(|work| work.is_stuck = is_stuck);
    }

    /// Serves these models from now on.
    pub fn set_models(&self, models: &[&str]) {
        self.change(|work| work.models = models.iter().map(|m| (*m).to_owned()).collect());
    }

    fn change(&self, change: impl FnOnce(&mut Work)) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut work);
        let candidates = work.models.iter().map(|model| Candidate {
            backend: "local".into(),
            model: ModelFacts {
                id: model.as_str().into(),
                kind: ModelKind::Generate,
                context: Some(4096),
                created: 0,
                loaded: true,
                numerics: None,
                digest: None,
            },
            unavailable: None,
            place: Place::Here,
            load: Some(work.load),
        });
        let candidates = candidates.collect();
        self.snapshots.send_replace(Arc::new(Snapshot {
            candidates,
            ..Snapshot::default()
        }));
    }
}
