//! Decides, step by step, who is computed.
//!
//! A sequence waits until there are a place and memory for its prompt ([`Queue`] says whose turn it
//! is), then takes part in steps until it ends. When memory runs out, the cache gives first; then a
//! sequence whose reader is slow, then batch work, then the youngest gives its own back and is
//! computed again later. The oldest always fits, so there is always progress. What a step holds is
//! planned in `plan.rs` and computed in `compute.rs`.

mod compute;
mod plan;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::Model;
use super::draft::Drafter;
use super::gauges::{Gauges, InHand};
use super::job::{Job, Ticket};
use super::memory::Memory;
use super::prefix::common;
use super::queue::{Queue, Spot};
use super::sequence::Sequence;
use crate::tokenizer::TextModel;
use kwaainet_core::Priority;
use kwaainet_decoder::{Decoder, KvCache, Work};
use kwaainet_kernels::{Compute, PAGE};

pub(super) struct Scheduler {
    decoder: Decoder,
    text: Arc<TextModel>,
    pub(super) memory: Memory,
    settings: Settings,
    compute: Compute,
    pub(super) drafter: Option<Drafter>,
    inbox: Receiver<Ticket>,
    gauges: Arc<Gauges>,
    /// Requests taken out of the inbox.
    received: usize,
    /// Sequences that were given memory for the first time.
    admitted: u64,
    /// Without memory.
    waiting: Queue<Sequence>,
    /// With memory; interactive before batch, and then the oldest first.
    active: Vec<Sequence>,
    work: Work,
}

/// What the owner of the machine chose.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    /// Sequences that are computed together.
    pub(super) running_max: usize,
    /// Whether tokens are guessed.
    pub(super) speculate: bool,
}

impl Scheduler {
    pub(super) fn new(
        model: Model,
        memory: Memory,
        settings: Settings,
        inbox: Receiver<Ticket>,
        gauges: Arc<Gauges>,
    ) -> Self {
        let draft = model.draft;
        let drafter = |draft| Drafter::new(draft, memory.pages_max(), plan::ROWS_WITH_GUESSES);
        Self {
            drafter: draft.map(drafter),
            decoder: model.decoder,
            compute: model.compute,
            text: model.text,
            memory,
            settings,
            inbox,
            gauges,
            received: 0,
            admitted: 0,
            waiting: Queue::new(),
            active: Vec::new(),
            work: Work::default(),
        }
    }

    /// Computes one step; says whether there was anything to compute.
    pub(super) fn step(&mut self) -> bool {
        self.receive();
        self.drop_abandoned();
        self.admit();
        self.plan();
        self.publish();
        let computes = self.active.iter().any(|sequence| sequence.take > 0);
        if computes {
            self.compute();
        }
        computes
    }

    /// Takes in what is queued; the places given out bound how much that can be.
    fn receive(&mut self) {
        while let Ok(ticket) = self.inbox.try_recv() {
            self.received += 1;
            let (job, request) = Job::new(ticket);
            let job = Rc::new(job);
            // Where nothing is generated, one scores the prompt, and ends all choices.
            let choices = if request.max_tokens == 0 {
                1
            } else {
                request.n
            };
            for choice in 0..choices {
                let maker = self.memory.maker();
                let sequence = Sequence::new(Rc::clone(&job), choice, &request, maker, &self.text);
                match sequence.finished {
                    None => self.waiting.push(job.priority, &job.owner, sequence),
                    Some(reason) => {
                        // It had said all elsewhere.
                        job.started(0);
                        sequence.finish(reason);
                    }
                }
            }
        }
    }

    fn drop_abandoned(&mut self) {
        self.waiting.retain(|sequence| !sequence.job.is_abandoned());
        let gone = self.active.extract_if(.., |s| s.job.is_abandoned());
        let gone: Vec<_> = gone.collect();
        gone.iter().for_each(|sequence| self.keep(sequence));
    }

    /// Gives memory to those who wait, in the order of their turns, while there are room and memory.
    fn admit(&mut self) {
        loop {
            let ready = |s: &Sequence| s.may_begin() && !self.prefix_is_being_read(s);
            let Some(spot) = self.waiting.first(ready) else {
                return;
            };
            let Some(candidate) = self.waiting.peek(spot) else {
                return;
            };
            let interactive = candidate.job.priority == Priority::Interactive;
            let full = self.awake() >= self.settings.running_max;
            if !full {
                let mut kv = self.memory.known(candidate, &self.active);
                // One token more, so that it can take a step before memory is short again.
                let positions = candidate.tokens.len() + 1;
                if self.memory.make_room(|| kv.lacking(positions)) {
                    self.gauges.hit(kv.len());
                    candidate.job.started(kv.len());
                    kv.reserve(positions - 1);
                    self.activate(spot, kv);
                    continue;
                }
            }
            // Nobody waits for a reader who does not read, or for batch work.
            let slow = self.slow_reader().filter(|_| !full);
            let Some(victim) = slow.or_else(|| self.batch_work().filter(|_| interactive)) else {
                return;
            };
            self.preempt(victim);
        }
    }

    /// The sequence in this spot waits no longer.
    fn activate(&mut self, spot: Spot, kv: KvCache) {
        let Some(mut sequence) = self.waiting.take(spot) else {
            return;
        };
        sequence.kv = kv;
        sequence.seniority.get_or_insert_with(|| {
            self.admitted += 1;
            self.admitted
        });
        let rank = |s: &Sequence| (s.job.priority, s.seniority);
        let place = self.active.partition_point(|s| rank(s) < rank(&sequence));
        self.active.insert(place, sequence);
    }

    /// Active sequences whose readers keep up.
    fn awake(&self) -> usize {
        self.active.iter().filter(|s| s.job.has_room()).count()
    }

    /// Whether somebody of the same owner is reading what this one begins with too, so that it will
    /// begin sooner if it waits. Not for less than a page, except among choices of one prompt.
    fn prefix_is_being_read(&self, sequence: &Sequence) -> bool {
        let wanted = sequence.knowable();
        self.active.iter().any(|other| {
            let is_reading = other.pending() > 1
                && other.job.has_room()
                && other.job.owner == sequence.job.owner
                && other.job.priority <= sequence.job.priority;
            let least = if Rc::ptr_eq(&other.job, &sequence.job) {
                1
            } else {
                PAGE
            };
            is_reading && common(&other.tokens, wanted) >= other.kv.len() + least
        })
    }

    /// The youngest active sequence whose reader has fallen behind.
    fn slow_reader(&self) -> Option<usize> {
        self.active.iter().rposition(|s| !s.job.has_room())
    }

    /// The youngest active sequence of batch work.
    fn batch_work(&self) -> Option<usize> {
        let is_batch = |s: &Sequence| s.job.priority == Priority::Batch;
        self.active.iter().rposition(is_batch)
    }

    /// Takes the memory of one active sequence away; it waits for its turn again. The cache keeps
    /// what was computed for as long as it can.
    fn preempt(&mut self, victim: usize) {
        let mut sequence = self.active.remove(victim);
        self.keep(&sequence);
        sequence.free();
        let job = Rc::clone(&sequence.job);
        self.waiting.put_back(job.priority, &job.owner, sequence);
    }

    /// Keeps what was computed of a sequence for those that begin alike.
    fn keep(&mut self, sequence: &Sequence) {
        self.memory.keep(sequence);
        if let Some(drafter) = &mut self.drafter {
            drafter.memory.keep(sequence);
        }
    }

    fn publish(&self) {
        let all = self.active.iter().chain(self.waiting.iter());
        let prefill = all.map(|s| s.job.prompt_len.saturating_sub(s.kv.len()));
        self.gauges.publish(&InHand {
            received: self.received,
            running: self.active.len(),
            waiting: self.waiting.len(),
            parked: self.active.iter().filter(|s| s.parked).count(),
            kv_tokens: self.active.iter().map(|s| s.kv.len() + s.take).sum(),
            cached_pages: self.memory.cached_pages(),
            prefill_tokens: prefill.sum(),
            free_pages: self.memory.free_pages(),
        });
    }
}
