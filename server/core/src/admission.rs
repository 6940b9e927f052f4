//! The bounded way in. Work has to be handed an [`Admitted`], and only admission makes one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::meter::Meter;
use crate::{Clock, EnergyMeter, Job, Principal, PrincipalId, Priority, Receipt};

/// How much is let in.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Jobs that run at once.
    pub slots: usize,
    /// Jobs that may wait for a slot.
    pub waiting: usize,
    /// Jobs of one principal, running and waiting.
    pub per_principal: usize,
    /// How long a job may wait.
    pub wait_max: Duration,
}

/// Lets jobs in while there is room, and reserves the place for their receipts.
///
/// Batch work has a few slots of its own. It is not in the waiting room and not in its principal's share,
/// so that it never takes a place from somebody who waits for an answer; what it computes is computed
/// after theirs.
pub struct Admission {
    limits: AdmissionLimits,
    room: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    batch_slots: Arc<Semaphore>,
    shares: Shares,
    receipts: mpsc::Sender<Receipt>,
    clock: Arc<dyn Clock>,
    draining: AtomicBool,
    admitted: AtomicU64,
    /// Moving average of how long a job holds its slot, for Retry-After.
    service_ms: Arc<AtomicU64>,
    /// The same of batch work, which waits for others and so says nothing of them.
    batch_service_ms: Arc<AtomicU64>,
    energy: Option<Arc<dyn EnergyMeter>>,
}

/// A job that may run. Its place is given back, and its receipt leaves, when this (or the stream
/// made of it) is dropped.
pub struct Admitted {
    pub(crate) job: Job,
    pub(crate) meter: Meter,
}

impl Admitted {
    /// What is to be done.
    pub fn job(&self) -> &Job {
        &self.job
    }
}

/// What a job holds while it runs.
pub(crate) struct Permit {
    _slot: OwnedSemaphorePermit,
    _place: Option<Place>,
}

/// What a job holds from the moment it comes. Batch work holds none.
struct Place {
    _room: OwnedSemaphorePermit,
    _share: Share,
}

/// Why a job was not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// The node is full.
    #[error("the node is full; try again in {} s", retry_after.as_secs())]
    Overloaded {
        /// When there may be room.
        retry_after: Duration,
    },
    /// This principal has too much under way.
    #[error("you have {limit} requests under way, which is the limit")]
    TooMany {
        /// The limit.
        limit: usize,
        /// When there may be room.
        retry_after: Duration,
    },
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Draining,
}

/// A look at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLoad {
    /// Jobs that hold a slot, batch work included.
    pub running: usize,
    /// Jobs that wait for one.
    pub waiting: usize,
}

impl Admission {
    /// Batch jobs that run at once, beside all others; never more than there are slots.
    pub const BATCH_SLOTS: usize = 4;

    /// A door with these limits, whose receipts go to `receipts`.
    pub fn new(
        limits: AdmissionLimits,
        receipts: mpsc::Sender<Receipt>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            room: Arc::new(Semaphore::new(limits.slots + limits.waiting)),
            slots: Arc::new(Semaphore::new(limits.slots)),
            batch_slots: Arc::new(Semaphore::new(batch_slots(&limits))),
            limits,
            shares: Shares::default(),
            receipts,
            clock,
            draining: AtomicBool::new(false),
            admitted: AtomicU64::new(0),
            service_ms: Arc::new(AtomicU64::new(1_000)),
            batch_service_ms: Arc::default(),
            energy: None,
        }
    }

    /// The same, with an account of energy for each job.
    pub fn metered(self, energy: Arc<dyn EnergyMeter>) -> Self {
        let energy = Some(energy);
        Self { energy, ..self }
    }

    /// Lets the job in, waiting for a slot if there is room to wait.
    ///
    /// # Errors
    /// At once when the waiting room or the principal's share is full, when the ledger cannot take
    /// one more receipt, or when the node drains; after `wait_max` when no slot came free.
    pub async fn admit(
        &self,
        principal: Principal,
        job: Job,
        priority: Priority,
    ) -> Result<Admitted, AdmissionError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(AdmissionError::Draining);
        }
        let (place, slots, service_ms) = match priority {
            Priority::Interactive => {
                let place = self.place(&principal)?;
                (Some(place), &self.slots, &self.service_ms)
            }
            Priority::Batch => (None, &self.batch_slots, &self.batch_service_ms),
        };
        // Reserved before any work, so that no finished work is ever without its record.
        let receipt = self
            .receipts
            .clone()
            .try_reserve_owned()
            .map_err(|_| self.overloaded())?;

        let came = self.clock.monotonic();
        let slot = Arc::clone(slots).acquire_owned();
        let slot = tokio::time::timeout(self.limits.wait_max, slot)
            .await
            .map_err(|_| self.overloaded())?
            .map_err(|_| AdmissionError::Draining)?;
        let queued = self.clock.monotonic().saturating_sub(came);

        let permit = Permit {
            _slot: slot,
            _place: place,
        };
        let meter = Meter::new(
            &job,
            &principal,
            permit,
            receipt,
            queued,
            Arc::clone(&self.clock),
            Arc::clone(service_ms),
        )
        .metered(self.energy.as_deref());
        self.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(Admitted { job, meter })
    }

    fn place(&self, principal: &Principal) -> Result<Place, AdmissionError> {
        let limit = self.limits.per_principal;
        let limit = principal.jobs_max().map_or(limit, |own| own.min(limit));
        let share =
            self.shares
                .take(principal.id(), limit)
                .ok_or_else(|| AdmissionError::TooMany {
                    limit,
                    retry_after: self.retry_after(),
                })?;
        let room = Arc::clone(&self.room).try_acquire_owned();
        Ok(Place {
            _room: room.map_err(|_| self.overloaded())?,
            _share: share,
        })
    }

    fn overloaded(&self) -> AdmissionError {
        AdmissionError::Overloaded {
            retry_after: self.retry_after(),
        }
    }

    /// From now on nobody is let in, also of those who wait; whoever has a slot may finish.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.slots.close();
        self.batch_slots.close();
    }

    /// Whether the node is shutting down.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Jobs let in since the start. Each of them leaves one receipt.
    pub fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    /// How full it is.
    pub fn load(&self) -> AdmissionLoad {
        let running = self.limits.slots - self.slots.available_permits();
        let inside = self.limits.slots + self.limits.waiting - self.room.available_permits();
        let batch = batch_slots(&self.limits) - self.batch_slots.available_permits();
        AdmissionLoad {
            running: running + batch,
            waiting: inside.saturating_sub(running),
        }
    }

    /// The time until the last in the waiting room would get a slot, between 1 s and a minute.
    fn retry_after(&self) -> Duration {
        let load = self.load();
        let service = self.service_ms.load(Ordering::Relaxed);
        let turns = (load.waiting as u64 + 1).div_ceil(self.limits.slots as u64);
        Duration::from_secs((service.saturating_mul(turns) / 1_000).clamp(1, 60))
    }
}

fn batch_slots(limits: &AdmissionLimits) -> usize {
    Admission::BATCH_SLOTS.min(limits.slots)
}

/// How many jobs each principal has inside.
#[derive(Clone, Default)]
struct Shares(Arc<Mutex<HashMap<PrincipalId, usize>>>);

impl Shares {
    fn take(&self, principal: &PrincipalId, limit: usize) -> Option<Share> {
        let mut held = self.0.lock().expect("no holder panics");
        let count = held.entry(principal.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Share {
            shares: self.clone(),
            principal: principal.clone(),
        })
    }
}

struct Share {
    shares: Shares,
    principal: PrincipalId,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock().expect("no holder panics");
        if let Some(count) = held.get_mut(&self.principal) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.principal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobId, ManualClock, Work};

    fn job() -> Job {
        Job::new(
            JobId::random(),
            "m".into(),
            Work::Embed {
                inputs: Vec::new(),
                dimensions: None,
            },
        )
    }

    fn admission(limits: AdmissionLimits, ledger: usize) -> (Admission, mpsc::Receiver<Receipt>) {
        let (receipts, inbox) = mpsc::channel(ledger);
        let clock = Arc::new(ManualClock::default());
        (Admission::new(limits, receipts, clock), inbox)
    }

    const LIMITS: AdmissionLimits = AdmissionLimits {
        slots: 1,
        waiting: 1,
        per_principal: 8,
        wait_max: Duration::from_secs(5),
    };

    #[tokio::test(start_paused = true)]
    async fn a_full_house_turns_away_and_a_long_wait_ends() {
        let (admission, mut inbox) = admission(LIMITS, 8);
        let first = admission
            .admit(Principal::operator(), job(), Priority::Interactive)
            .await;
        assert!(first.is_ok(), "there is a slot");
        {
            let waits = admission.admit(Principal::operator(), job(), Priority::Interactive);
            tokio::pin!(waits);
            assert!(futures_util::poll!(&mut waits).is_pending());
            let expected = AdmissionLoad {
                running: 1,
                waiting: 1,
            };
            assert_eq!(admission.load(), expected);
            let third = admission
                .admit(Principal::operator(), job(), Priority::Interactive)
                .await;
            assert!(matches!(third, Err(AdmissionError::Overloaded { .. })));
            // Time is paused, so this jumps to the end of the wait.
            assert!(matches!(
                waits.await,
                Err(AdmissionError::Overloaded { .. })
            ));
        }
        drop(first);
        let empty = AdmissionLoad {
            running: 0,
            waiting: 0,
        };
        assert_eq!(admission.load(), empty);
        assert!(inbox.try_recv().is_ok(), "one receipt for the one admitted");
        assert!(inbox.try_recv().is_err(), "and none for those who were not");
    }

    #[tokio::test]
    async fn one_principal_cannot_take_all() {
        let limits = AdmissionLimits {
            slots: 4,
            per_principal: 1,
            ..LIMITS
        };
        let (admission, _inbox) = admission(limits, 8);
        let held = admission
            .admit(Principal::operator(), job(), Priority::Interactive)
            .await;
        let second = admission
            .admit(Principal::operator(), job(), Priority::Interactive)
            .await;
        assert!(matches!(
            second,
            Err(AdmissionError::TooMany { limit: 1, .. })
        ));
        drop(held);
        assert!(
            admission
                .admit(Principal::operator(), job(), Priority::Interactive)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_slow_ledger_shows_at_the_door() {
        let (admission, mut inbox) = admission(LIMITS, 1);
        drop(
            admission
                .admit(Principal::operator(), job(), Priority::Interactive)
                .await,
        );
        let refused = admission
            .admit(Principal::operator(), job(), Priority::Interactive)
            .await;
        assert!(matches!(refused, Err(AdmissionError::Overloaded { .. })));
        inbox.recv().await.expect("the receipt is there");
        assert!(
            admission
                .admit(Principal::operator(), job(), Priority::Interactive)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn a_draining_node_takes_nothing_new() {
        let (admission, _inbox) = admission(LIMITS, 8);
        admission.drain();
        let refused = admission
            .admit(Principal::operator(), job(), Priority::Interactive)
            .await;
        assert_eq!(refused.err(), Some(AdmissionError::Draining));
    }

    #[tokio::test(start_paused = true)]
    async fn batch_work_takes_no_place_from_others_and_waits_for_its_own() {
        let (admission, _inbox) = admission(LIMITS, 8);
        let admit = |priority| admission.admit(Principal::operator(), job(), priority);
        let batch = admit(Priority::Batch).await;
        assert!(batch.is_ok(), "it has a slot of its own");
        let live = admit(Priority::Interactive).await;
        assert!(live.is_ok(), "the one slot is free for those who wait");
        assert_eq!(admission.load().running, 2);
        let second = admit(Priority::Batch).await;
        assert!(matches!(second, Err(AdmissionError::Overloaded { .. })));
        drop(batch);
        assert!(admit(Priority::Batch).await.is_ok());
        admission.drain();
        let refused = admit(Priority::Batch).await;
        assert_eq!(refused.err(), Some(AdmissionError::Draining));
    }
}
