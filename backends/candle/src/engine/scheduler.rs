//! Decides, step by step, who is computed.
//!
//! A step takes one token of every sequence that is generating, and a bounded number of prompt tokens
//! shared equally among those that are still reading, so that a long prompt never holds up others. A
//! sequence whose reader is slow is left out. When memory for keys and values runs out, first such a
//! sequence, else the youngest gives its own back and is computed again later; the oldest always
//! fits, so there is always progress.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;

use super::Model;
use super::gauges::{Gauges, InHand};
use super::job::{Job, Ticket};
use super::memory::Memory;
use super::sequence::Sequence;
use crate::tokenizer::TextModel;
use kwaainet_decoder::{Decoder, Part, Work};
use kwaainet_kernels::{Compute, PAGE};

/// Prompt tokens in one step. A step with so many takes as long as that many tokens of a stream,
/// which is how far streams are slowed while somebody's prompt is read.
const PREFILL_TOKENS: usize = 128;

pub(super) struct Scheduler {
    decoder: Decoder,
    text: Arc<TextModel>,
    memory: Memory,
    running_max: usize,
    compute: Compute,
    inbox: Receiver<Ticket>,
    gauges: Arc<Gauges>,
    arrived: u64,
    /// Without memory, oldest first.
    waiting: VecDeque<Sequence>,
    /// With memory, oldest first.
    active: Vec<Sequence>,
    work: Work,
}

impl Scheduler {
    pub(super) fn new(
        model: Model,
        memory: Memory,
        running_max: usize,
        inbox: Receiver<Ticket>,
        gauges: Arc<Gauges>,
    ) -> Self {
        Self {
            decoder: model.decoder,
            compute: model.compute,
            text: model.text,
            memory,
            running_max,
            inbox,
            gauges,
            arrived: 0,
            waiting: VecDeque::new(),
            active: Vec::new(),
            work: Work::default(),
        }
    }

    /// Computes until told to stop.
    pub(super) fn run(&mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            if !self.step() {
                // Whatever happened since the last look has left a token that ends this at once.
                thread::park();
            }
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
            self.gauges.received();
            let (job, request) = Job::new(ticket);
            let job = Rc::new(job);
            for choice in 0..request.n {
                self.waiting.push_back(Sequence::new(
                    Rc::clone(&job),
                    self.arrived,
                    choice,
                    &request,
                    self.memory.maker(),
                ));
                self.arrived += 1;
            }
        }
    }

    fn drop_abandoned(&mut self) {
        self.waiting.retain(|sequence| !sequence.job.is_abandoned());
        self.active.retain(|sequence| !sequence.job.is_abandoned());
    }

    /// Gives memory to those who wait, in order, while there are room and memory.
    fn admit(&mut self) {
        let mut at = 0;
        while at < self.waiting.len() && self.awake() < self.running_max {
            let candidate = &self.waiting[at];
            if !candidate.job.has_room() || self.sibling_reads_prompt(candidate) {
                at += 1;
                continue;
            }
            // One token more, so that it can take a step before memory is short again.
            let positions = candidate.tokens.len() + 1;
            if !self.memory.fits(positions, self.pages_used()) {
                // Nobody waits for a reader who does not read.
                let Some(slow) = self.slow_reader() else {
                    break;
                };
                self.preempt(slow);
                at = 0;
                continue;
            }
            let Some(mut sequence) = self.waiting.remove(at) else {
                break;
            };
            self.share_prompt(&mut sequence);
            sequence.kv.reserve(sequence.tokens.len());
            let place = self.active.partition_point(|s| s.order < sequence.order);
            self.active.insert(place, sequence);
        }
    }

    /// Active sequences whose readers keep up.
    fn awake(&self) -> usize {
        self.active.iter().filter(|s| s.job.has_room()).count()
    }

    fn pages_used(&self) -> usize {
        self.active
            .iter()
            .map(|sequence| sequence.kv.pages().len())
            .sum()
    }

    /// Whether another choice of the same request is reading the prompt that both need.
    fn sibling_reads_prompt(&self, sequence: &Sequence) -> bool {
        let mut siblings = self.siblings(sequence).peekable();
        siblings.peek().is_some() && siblings.all(|sibling| !sibling.has_prompt())
    }

    /// Copies the prompt's keys and values from another choice, all but the last token's: that one
    /// is computed, for its logits.
    fn share_prompt(&self, sequence: &mut Sequence) {
        let reader = self.siblings(sequence).find(|sibling| sibling.has_prompt());
        if let Some(reader) = reader {
            sequence.kv = reader.kv.prefix(sequence.job.prompt_len - 1);
        }
    }

    fn siblings<'a>(&'a self, sequence: &'a Sequence) -> impl Iterator<Item = &'a Sequence> {
        let same = |other: &&Sequence| Rc::ptr_eq(&other.job, &sequence.job);
        self.active.iter().filter(same)
    }

    /// Says of each active sequence how many tokens it takes.
    fn plan(&mut self) {
        loop {
            self.share_out();
            let pages = self.active.iter().map(pages_after).sum();
            if !self.memory.exceeded(pages) {
                return;
            }
            // The oldest alone always fits, so there is another one.
            let youngest = self.active.len() - 1;
            self.preempt(self.slow_reader().unwrap_or(youngest));
        }
    }

    fn share_out(&mut self) {
        for sequence in &self.active {
            sequence.job.begin_plan();
        }
        let mut places = self.running_max;
        let (mut prompt_tokens, mut prompts) = (PREFILL_TOKENS, self.prompts());
        for sequence in &mut self.active {
            (sequence.take, sequence.parked) = (0, false);
            if places == 0 {
                continue;
            }
            let pending = sequence.pending();
            sequence.take = if pending == 1 {
                1
            } else {
                // An equal share each, so that a short prompt does not wait for a long one.
                let share = pending.min(prompt_tokens.div_ceil(prompts));
                (prompt_tokens, prompts) = (prompt_tokens - share, prompts - 1);
                share
            };
            sequence.parked = sequence.wants_logits() && !sequence.job.may_take_part();
            if sequence.parked {
                sequence.take = 0;
            }
            places -= sequence.take.min(1);
        }
    }

    /// Active sequences that are still reading.
    fn prompts(&self) -> usize {
        self.active.iter().filter(|s| s.pending() > 1).count()
    }

    /// The youngest active sequence whose reader has fallen behind.
    fn slow_reader(&self) -> Option<usize> {
        self.active.iter().rposition(|s| !s.job.has_room())
    }

    /// Takes the memory of one active sequence away; it waits for its turn again.
    fn preempt(&mut self, victim: usize) {
        let mut sequence = self.active.remove(victim);
        sequence.kv.truncate(0);
        sequence.take = 0;
        let place = self.waiting.partition_point(|s| s.order < sequence.order);
        self.waiting.insert(place, sequence);
    }

    fn publish(&self) {
        self.gauges.publish(&InHand {
            running: self.active.len(),
            waiting: self.waiting.len(),
            parked: self.active.iter().filter(|s| s.parked).count(),
            kv_tokens: self.active.iter().map(|s| s.kv.len() + s.take).sum(),
        });
    }

    fn compute(&mut self) {
        let mut prompt_tokens = 0;
        let mut parts = Vec::new();
        for sequence in self.active.iter_mut().filter(|s| s.take > 0) {
            prompt_tokens += sequence.prompt_tokens_taken();
            let (start, end) = (sequence.kv.len(), sequence.kv.len() + sequence.take);
            let wants_logits = sequence.wants_logits();
            sequence.kv.reserve(end);
            parts.push(Part {
                tokens: &sequence.tokens[start..end],
                kv: &mut sequence.kv,
                logits: usize::from(wants_logits),
            });
        }
        let logits = self.decoder.step(&self.compute, &mut parts, &mut self.work);

        let mut rows = logits.chunks_exact(self.decoder.vocab());
        let mut sampled = 0;
        // A sequence that took part and has nothing pending is one that asked for logits.
        let asked = |s: &&mut Sequence| s.take > 0 && s.pending() == 0;
        for (sequence, row) in self.active.iter_mut().filter(asked).zip(&mut rows) {
            sequence.extend(row, &self.text);
            sampled += 1;
        }
        for sequence in self.active.extract_if(.., |s| s.finished.is_some()) {
            if let Some(reason) = sequence.finished {
                sequence.finish(reason);
            }
        }
        self.gauges.computed(prompt_tokens as u64, sampled);
    }
}

/// Pages that a sequence holds after the step at hand.
fn pages_after(sequence: &Sequence) -> usize {
    let needed = (sequence.kv.len() + sequence.take).div_ceil(PAGE);
    needed.max(sequence.kv.pages().len())
}
