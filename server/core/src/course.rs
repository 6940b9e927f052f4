//! Where a job was done, for whoever tells the client: written by the hallway, read by the door.

use std::sync::Mutex;

use crate::BackendId;

/// How a job went its way. Shared; changes while the job runs.
#[derive(Debug, Default)]
pub struct Course(Mutex<Stages>);

/// A look at a [`Course`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    /// Who computes, or did last.
    pub backend: Option<BackendId>,
    /// How often another backend had to go on.
    pub continued: u32,
    /// Whether one backend alone would have said something else.
    pub inexact: bool,
}

impl Course {
    /// As of now.
    pub fn stages(&self) -> Stages {
        self.0.lock().expect("no holder panics").clone()
    }

    pub(crate) fn at(&self, backend: &BackendId) {
        self.0.lock().expect("no holder panics").backend = Some(backend.clone());
    }

    pub(crate) fn moved(&self, backend: &BackendId, exact: bool) {
        let mut stages = self.0.lock().expect("no holder panics");
        stages.backend = Some(backend.clone());
        stages.continued += 1;
        stages.inexact |= !exact;
    }
}
