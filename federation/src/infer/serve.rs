//! The serving side: what a peer asks is checked, made a job like any other, and its answer written out.
//!
//! Nothing is done for whoever is not a member, nothing is asked of a third node, and nothing is read ahead of a
//! slow asker: its sequence waits.

mod answers;
mod batch;
mod generation;
mod limits;
mod line;
mod work;

use std::sync::Arc;

use kwaainet_core::{
    BackendError, Clock, Hallway, Job, Load, NodeId, Principal, Scope, Snapshot, Tier, Work,
};

use crate::{Accounts, Link, ReceiptBooks};

use super::account::{Account, Books};
use super::wire::refusal::Refusal;
use super::wire::request::{self, Request, Wanted};
use super::wire::says::{self, Accept, say};
use super::wire::{error, event};
use answers::Question;
use limits::Limits;
use line::{First, Line, Stop};

/// Takes the requests of peers.
pub struct InferenceDoor {
    hall: Arc<Hallway>,
    books: Books,
    receipts: Option<Arc<ReceiptBooks>>,
    limits: Limits,
}

impl InferenceDoor {
    /// A door to this hallway. Without accounts no receipts are made.
    pub fn new(
        hall: Arc<Hallway>,
        accounts: Option<Arc<dyn Accounts>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            hall,
            books: Books { accounts, clock },
            receipts: None,
            limits: Limits::default(),
        }
    }

    /// With books that are compared with the peers' when they ask for it.
    #[must_use]
    pub fn with_receipts(self, receipts: Arc<ReceiptBooks>) -> Self {
        let receipts = Some(receipts);
        Self { receipts, ..self }
    }

    /// Serves one stream to its end. The principal is the peer whose key the transport has proved and who is a
    /// member now; anybody else is turned away.
    pub async fn serve(&self, principal: Principal, link: Link) {
        let Some((node, tier)) = principal.as_peer() else {
            tracing::warn!("a stream that is no peer's was dropped");
            return;
        };
        let mut line = Line::new(link);
        if principal.require(Scope::Inference).is_err() {
            return line.reject(Refusal::Forbidden, None).await;
        }
        let Some(inside) = self.limits.enter(node) else {
            return line.reject(limits::too_many(), None).await;
        };
        let open = match inside.open(&mut line).await {
            Ok(Some(First::Open(open))) => *open,
            Ok(Some(First::Books)) => return self.compare(node, line).await,
            Ok(None) => return,
            Err(error) => return self.limits.complain(node, &error),
        };
        // Whatever an honest asker's door lets in that is too much here may be done by somebody else.
        let request = request::read(open).map_err(|bad| {
            let reason = format!("the request cannot be taken here: {bad}");
            Refusal::Backend(BackendError::Upstream { reason })
        });
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return line.reject(refusal, None).await,
        };
        let snapshot = self.hall.snapshot();
        let load = match self.check(&snapshot, &request) {
            Ok(load) => load,
            Err(refusal) => return line.reject(refusal, None).await,
        };
        line.set_budget(request.budget.min(work::BUDGET_MAX));
        let books = self.books.clone();
        let account = Account::new(books, request.id, request.digest, line.last_read());
        let session = Session {
            door: self,
            principal,
            node,
            tier,
            line,
            load,
            account,
            owes: false,
        };
        session.answer(request).await;
    }

    /// Compares the books of both, as the peer asks.
    async fn compare(&self, node: NodeId, line: Line) {
        let Some(receipts) = &self.receipts else {
            return;
        };
        let (reader, writer) = line.into_halves();
        if let Err(error) = receipts.answer(node, reader, writer).await {
            tracing::debug!(peer = %node.short(), "the books were not compared: {error}");
        }
    }

    /// Whether this node has what is asked for, and how much it has to do.
    fn check(&self, snapshot: &Snapshot, request: &Request) -> Result<Option<Load>, Refusal> {
        if self.hall.admission().is_draining() {
            return Err(Refusal::Draining);
        }
        let served = work::served(snapshot, request).ok_or(Refusal::UnknownModel)?;
        Ok(served.load)
    }
}

/// One stream that was opened with a request that makes sense.
struct Session<'a> {
    door: &'a InferenceDoor,
    principal: Principal,
    node: NodeId,
    tier: Tier,
    line: Line,
    load: Option<Load>,
    account: Account,
    /// Work was accepted and no receipt made of it yet.
    owes: bool,
}

/// How a request that was accepted ended.
enum Course {
    Done(kwaainet_core::Usage),
    Failed(BackendError),
    Stopped(Stop),
}

impl Session<'_> {
    async fn answer(mut self, request: Request) {
        let node = self.node;
        let job = |work| work::job(node, &request.model, request.scope, work);
        match request.work {
            Wanted::Generate {
                prompt,
                params,
                resume,
            } => {
                self.account.resume(resume.as_ref());
                let prompts = vec![prompt];
                let job = job(Work::Generate {
                    prompts,
                    params: *params,
                });
                self.generate(Job { resume, ..job }, request.tied).await;
            }
            Wanted::Embed { inputs, dimensions } => {
                let job = job(Work::Embed { inputs, dimensions });
                self.embed(job).await;
            }
            Wanted::Tokenize(text) => {
                let question = Question::Tokenize(text);
                self.question(request.model, question).await;
            }
            Wanted::Detokenize(ids) => {
                let question = Question::Detokenize(ids);
                self.question(request.model, question).await;
            }
        }
    }

    /// Says that there will be an answer, and what can be foreseen of it.
    async fn accept(&mut self) -> Result<(), Stop> {
        let load = self.load.unwrap_or_default();
        let prefill_s = load.queued_prefill_tokens as f32 / load.prefill_rate;
        let accept = Accept {
            queue: load.queued,
            first_token_ms: prefill_s.is_finite().then_some((prefill_s * 1e3) as u64),
            cached_tokens: None,
            epoch: load.epoch,
        };
        self.line.send(say::Kind::Accept(accept)).await
    }

    async fn reject(mut self, refusal: Refusal) {
        self.line.reject(refusal, self.load).await;
    }

    /// Nothing was done, and the asker does not want it any more or its time is over.
    async fn stopped(self, stop: Stop) {
        if stop == Stop::OutOfTime {
            let error = out_of_time();
            self.reject(Refusal::Backend(error)).await;
        }
    }

    /// The last message, with a receipt against which the asker may sign.
    async fn close(mut self, course: Course) {
        let complete = matches!(course, Course::Done(_));
        if let Course::Done(usage) = course {
            self.account.set_usage(usage);
        }
        // Also where nobody is there any more to take it: what was done was done.
        self.owes = false;
        let receipt = self.account.receipt(self.node, complete);
        let failed = |error| {
            let error = error::write(work::told(error, self.tier));
            say::Kind::Failed(says::Failed {
                error: Some(error),
                receipt: receipt.clone(),
            })
        };
        let last = match course {
            Course::Done(_) | Course::Stopped(Stop::Cancelled) => say::Kind::End(says::End {
                usage: Some(event::write_usage(self.account.usage())),
                receipt: receipt.clone(),
                cut: !complete,
            }),
            Course::Failed(error) => failed(error),
            Course::Stopped(Stop::OutOfTime) => failed(out_of_time()),
            Course::Stopped(Stop::Gone) => return,
        };
        if self.line.send(last).await.is_err() || receipt.is_empty() {
            return;
        }
        let counter = self.line.countersign().await;
        self.keep_counter();
        if let Some(counter) = counter {
            self.account.countersigned(self.node, &receipt, &counter);
        }
    }

    /// Keeps what the asker signed against a checkpoint.
    fn keep_counter(&mut self) {
        if let Some(counter) = self.line.checkpoint_counter() {
            self.account.checkpoint_countersigned(self.node, &counter);
        }
    }
}

impl Drop for Session<'_> {
    /// The node ends in the middle of it.
    fn drop(&mut self) {
        if self.owes {
            self.account.receipt(self.node, false);
        }
    }
}

fn out_of_time() -> BackendError {
    BackendError::Timeout {
        reason: "the time that the request may take is over".to_owned(),
    }
}
