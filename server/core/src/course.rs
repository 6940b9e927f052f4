//! Where a job is done, for whoever tells the client: written by the hallway, read by the door.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::router::Given;
use crate::{BackendId, Footprint, JobEnergy, JobId, Place};

/// How a job goes its way. Shared; changes while the job runs.
#[derive(Debug, Default)]
pub struct Course(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stages: Stages,
    /// Counts the job as somebody's while it runs.
    given: Option<Given>,
    /// Counts what it takes of energy, where that is metered.
    energy: Option<Box<dyn JobEnergy>>,
}

/// A look at a [`Course`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stages {
    /// Which job it is.
    pub job: Option<JobId>,
    /// Who computes, or did last.
    pub backend: Option<BackendId>,
    /// Whose machine that is.
    pub place: Option<Place>,
    /// How often another backend had to go on.
    pub continued: u32,
    /// Whether one backend alone would have said something else.
    pub inexact: bool,
    /// What it took, once it is over and where that is known.
    pub footprint: Option<Footprint>,
}

/// What came of a job that is over, and how it went.
#[derive(Clone, Debug)]
pub struct Served<T> {
    /// What the client wants.
    pub answer: T,
    /// Where it was done.
    pub course: Arc<Course>,
}

impl Course {
    /// Of a job, whose energy may be metered.
    pub(crate) fn of(job: JobId, energy: Option<Box<dyn JobEnergy>>) -> Self {
        let stages = Stages {
            job: Some(job),
            ..Stages::default()
        };
        Self(Mutex::new(State {
            stages,
            energy,
            given: None,
        }))
    }

    /// As of now.
    pub fn stages(&self) -> Stages {
        self.state().stages.clone()
    }

    /// How often another backend had to go on.
    pub fn continued(&self) -> u32 {
        self.state().stages.continued
    }

    pub(crate) fn at(&self, given: Given) {
        let mut state = self.state();
        state.stages.backend = Some(given.backend().clone());
        state.stages.place = Some(given.place().clone());
        if let Some(energy) = &mut state.energy {
            energy.at(given.place());
        }
        state.given = Some(given);
    }

    pub(crate) fn moved(&self, given: Given, exact: bool) {
        self.at(given);
        let stages = &mut self.state().stages;
        stages.continued += 1;
        stages.inexact |= !exact;
    }

    /// Nobody has it in hand any more.
    pub(crate) fn over(&self) -> Stages {
        let mut state = self.state();
        state.given = None;
        if let Some(energy) = state.energy.take() {
            state.stages.footprint = energy.close();
        }
        state.stages.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }
}
