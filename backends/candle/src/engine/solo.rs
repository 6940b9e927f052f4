//! Computes one sequence at a time, for models that candle computes.
//!
//! Whose turn it is, [`Queue`] says: interactive work before batch work, owners in turns, the choices
//! of a request one after the other. A sequence keeps its turn to its end, unless somebody else
//! could go on: then one whose reader is slow gives way, and batch work to interactive work. It waits
//! for its turn again and is computed anew, since there are keys and values for one only.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use tokio::time::Instant;

use kwaainet_core::{BackendError, FinishReason, Priority};
use kwaainet_kernels::Kernel;

use super::draw::Draw;
use super::gauges::{Gauges, InHand, Step};
use super::job::{Job, Ticket};
use super::queue::Queue;
use super::sequence::Settled;
use super::voice::Voice;
use crate::foreign::Foreign;
use crate::tokenizer::TextModel;

/// What the thread is given.
pub(crate) struct SoloModel {
    pub(crate) network: Foreign,
    /// Of the draws.
    pub(crate) kernel: Kernel,
    pub(crate) text: Arc<TextModel>,
}

pub(super) struct Solo {
    model: SoloModel,
    inbox: Receiver<Ticket>,
    gauges: Arc<Gauges>,
    /// Requests taken out of the inbox.
    received: usize,
    waiting: Queue<Turn>,
    /// Whose keys and values the network holds.
    current: Option<Turn>,
}

/// One choice of a request. Everything can be computed again from its tokens.
struct Turn {
    job: Rc<Job>,
    /// The prompt, then what was generated.
    tokens: Vec<u32>,
    /// The network has taken so many of them.
    taken: usize,
    voice: Voice,
}

impl Solo {
    pub(super) fn new(model: SoloModel, inbox: Receiver<Ticket>, gauges: Arc<Gauges>) -> Self {
        Self {
            model,
            inbox,
            gauges,
            received: 0,
            waiting: Queue::new(),
            current: None,
        }
    }

    /// Computes one step; says whether there was anything to compute.
    pub(super) fn step(&mut self) -> bool {
        self.receive();
        self.drop_abandoned();
        self.give_way();
        self.begin();
        self.publish();
        let turn = self.current.take_if(|turn| turn.job.has_room());
        match turn {
            None => false,
            Some(turn) => {
                self.compute(turn);
                true
            }
        }
    }

    /// Takes in what is queued; the places given out bound how much that can be.
    fn receive(&mut self) {
        while let Ok(ticket) = self.inbox.try_recv() {
            self.received += 1;
            let (job, request) = Job::new(ticket);
            let job = Rc::new(job);
            for choice in 0..request.n {
                let turn = Turn {
                    job: Rc::clone(&job),
                    tokens: request.prompt.clone(),
                    taken: 0,
                    voice: Voice::new(choice, &request),
                };
                self.waiting.push(job.priority, &job.owner, turn);
            }
        }
    }

    fn drop_abandoned(&mut self) {
        self.waiting.retain(|turn| !turn.job.is_abandoned());
        self.current.take_if(|turn| turn.job.is_abandoned());
    }

    /// Puts the sequence at hand back where somebody else is to go on instead.
    fn give_way(&mut self) {
        let is_slow = |turn: &Turn| !turn.job.has_room();
        let waits = |wanted: &dyn Fn(&Turn) -> bool| {
            let ready = |turn: &Turn| !is_slow(turn) && wanted(turn);
            self.waiting.first(ready).is_some()
        };
        let gives_way = self.current.take_if(|turn| match turn.job.priority {
            _ if is_slow(turn) => waits(&|_| true),
            Priority::Batch => waits(&|other| other.job.priority == Priority::Interactive),
            Priority::Interactive => false,
        });
        if let Some(turn) = gives_way {
            let job = Rc::clone(&turn.job);
            self.waiting.put_back(job.priority, &job.owner, turn);
        }
    }

    /// Begins the next sequence if there is none at hand.
    fn begin(&mut self) {
        if self.current.is_some() {
            return;
        }
        // Also when nobody comes next: the memory is not needed then.
        self.model.network.forget();
        let Some(spot) = self.waiting.first(|turn| turn.job.has_room()) else {
            return;
        };
        self.current = self.waiting.take(spot);
        if let Some(turn) = &mut self.current {
            turn.taken = 0;
            turn.job.started(0);
        }
    }

    /// Takes the turn's next tokens, draws if these were the last, and keeps the turn if it goes on.
    fn compute(&mut self, mut turn: Turn) {
        let began = Instant::now();
        let left = turn.tokens.len() - turn.taken;
        let take = self.model.network.takes(turn.taken, left);
        let tokens = &turn.tokens[turn.taken..turn.taken + take];
        let logits = match self.model.network.forward(tokens, turn.taken) {
            Ok(logits) => logits,
            Err(error) => {
                tracing::error!(%error, "candle could not compute a step");
                return self.fail(&turn.job);
            }
        };
        let of_prompt = turn.job.prompt_len.saturating_sub(turn.taken).min(take);
        turn.taken += take;
        if take < left {
            self.computed(of_prompt, &[], began);
            self.current = Some(turn);
            return;
        }
        let finished = self.say(&mut turn, &logits);
        let settled = Settled {
            drawn: 1,
            ..Settled::default()
        };
        // Before anybody learns that it is over.
        self.computed(of_prompt, &[settled], began);
        if turn.voice.is_broken() {
            return self.give_up(turn);
        }
        match finished {
            Some(reason) => turn.voice.finish(reason, &turn.job),
            None => self.current = Some(turn),
        }
    }

    fn say(&self, turn: &mut Turn, logits: &[f32]) -> Option<FinishReason> {
        turn.voice.make_masks(&[]);
        let broken = turn.voice.is_broken();
        let (sampler, masks) = turn.voice.drawing();
        let mut draw = Draw {
            sampler,
            masks,
            rows: if broken { &[] } else { logits },
            tokens: &turn.tokens,
            prompt: turn.job.prompt_len,
            known: turn.tokens.len(),
            logprobs: turn.job.logprobs,
            drawn: Vec::new(),
        };
        let text = &*self.model.text;
        draw.draw(self.model.kernel, text);
        let drawn = draw.drawn.pop()?;
        turn.voice.say(drawn, &mut turn.tokens, &turn.job, text)
    }

    /// Ends a request whose grammar leads no further.
    fn give_up(&mut self, turn: Turn) {
        if let Some(fault) = turn.voice.fault() {
            self.fail_with(&turn.job, fault);
        }
    }

    /// Ends a request with an error; the others go on.
    fn fail(&mut self, job: &Rc<Job>) {
        let fault = BackendError::Internal("the model's arithmetic failed".into());
        self.fail_with(job, fault);
    }

    fn fail_with(&mut self, job: &Rc<Job>, error: BackendError) {
        job.fail(error);
        self.waiting.retain(|turn| !Rc::ptr_eq(&turn.job, job));
    }

    fn computed(&self, prompt_tokens: usize, settled: &[Settled], began: Instant) {
        self.gauges.computed(&Step {
            prompt_tokens,
            settled,
            took: began.elapsed(),
        });
    }

    fn publish(&self) {
        let is_slow = |turn: &&Turn| !turn.job.has_room();
        let waiting = self.waiting.iter().chain(&self.current);
        self.gauges.publish(&InHand {
            received: self.received,
            running: self.current.iter().count(),
            waiting: self.waiting.len(),
            parked: self.current.iter().filter(is_slow).count(),
            kv_tokens: self.current.iter().map(|turn| turn.taken).sum(),
            cached_pages: 0,
            prefill_tokens: waiting.map(|turn| turn.job.prompt_len).sum(),
            free_pages: 0,
        });
    }
}
