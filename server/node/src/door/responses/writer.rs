//! Makes a response and its events out of a generation's events. Pure: what it says depends only on
//! what it is told, so that a kept response can be told again word for word (see `replay`).
//!
//! One response may take several generations (when the node searches between two of them): items and
//! sequence numbers go on, usage is added up. Calls that the node answers itself are held back until
//! their generation is over.

mod items;
mod searches;

use std::collections::VecDeque;

use kwaainet_core::{CallDelta, Delta, Event, FinishReason};
use kwaainet_openapi::{
    FileCitation, IncompleteDetails, ItemStatus, Lifecycle, OutputLogprob, ResponseEvent,
    ResponseObject, ResponseStatus, ResponseStep,
};
use serde::{Deserialize, Serialize};

use super::items::new_id;
use super::tools::FILE_SEARCH;
use super::wire;
use crate::door::ApiError;

/// The one part of each message.
const CONTENT_INDEX: u32 = 0;

/// A response that is being made.
pub(super) struct Writer {
    object: ResponseObject,
    sequence: u64,
    /// Whether the last item of the output goes on.
    open: bool,
    /// Said and not yet taken.
    said: Vec<ResponseEvent>,
    cuts: Vec<Cut>,
    /// Log-probabilities of tokens whose text did not come yet.
    held: Vec<OutputLogprob>,
    /// Items that were there when the generation began.
    begun: usize,
    /// Arguments of this generation's calls that the node answers, if it answers any.
    calls: Option<Vec<String>>,
    /// Whether the last call is one of these.
    holds_back: bool,
    /// Whether the client has to answer a call of this generation.
    waits: bool,
    /// The files that the next texts rest on.
    sources: Vec<FileCitation>,
    /// Ids for the next items; random ones once these are used up.
    ids: VecDeque<String>,
}

/// How much of an item one delta carried: bytes of text and log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cut(pub(super) u32, pub(super) u32);

/// How a response ends.
#[derive(Clone, Copy)]
pub(super) enum Ending<'a> {
    /// By itself, or at a limit.
    Done,
    /// With an error.
    Failed(&'a ApiError),
    /// By its owner's wish.
    Cancelled,
    /// With the node's own end.
    Stopped,
}

impl Writer {
    /// Nothing is said yet; the object has no output.
    pub(super) fn new(object: ResponseObject) -> Self {
        Self {
            object,
            sequence: 0,
            open: false,
            said: Vec::new(),
            cuts: Vec::new(),
            held: Vec::new(),
            begun: 0,
            calls: None,
            holds_back: false,
            waits: false,
            sources: Vec::new(),
            ids: VecDeque::new(),
        }
    }

    /// With these ids for its items.
    pub(super) fn with_ids(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.ids.extend(ids);
        self
    }

    /// The response as it stands.
    pub(super) fn object(&self) -> &ResponseObject {
        &self.object
    }

    pub(super) fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// What was said since it was last asked.
    pub(super) fn take(&mut self) -> Vec<ResponseEvent> {
        std::mem::take(&mut self.said)
    }

    /// The response exists.
    pub(super) fn created(&mut self) {
        self.say(ResponseStep::Created(self.lifecycle()));
        if self.object.status == ResponseStatus::Queued {
            self.say(ResponseStep::Queued(self.lifecycle()));
        }
    }

    /// Work begins.
    pub(super) fn in_progress(&mut self) {
        self.object.status = ResponseStatus::InProgress;
        self.say(ResponseStep::InProgress(self.lifecycle()));
    }

    /// The generation goes on.
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Started { .. } => {
                self.begun = self.object.output.len();
                self.waits = false;
            }
            Event::Delta(delta) => self.delta(delta),
            Event::Call(call) => self.call(call),
            Event::Finished { reason, .. } => self.finished(reason),
            Event::Done(usage) => {
                self.object.usage = Some(wire::usage(self.object.usage.as_ref(), usage));
            }
        }
    }

    /// Gives the response its last state, which [`Writer::last`] then says. A later call takes the
    /// place of an earlier one.
    pub(super) fn settle(&mut self, ending: Ending<'_>, now_ms: i64) {
        let object = &mut self.object;
        object.completed_at = None;
        match ending {
            Ending::Done if object.incomplete_details.is_some() => {
                object.status = ResponseStatus::Incomplete;
            }
            Ending::Done => {
                object.status = ResponseStatus::Completed;
                object.completed_at = Some(now_ms / 1_000);
            }
            Ending::Failed(error) => {
                object.status = ResponseStatus::Failed;
                object.incomplete_details = None;
                object.error = Some(wire::error(error));
            }
            Ending::Stopped => {
                object.status = ResponseStatus::Failed;
                object.incomplete_details = None;
                object.error = Some(wire::stopped());
            }
            Ending::Cancelled => {
                object.status = ResponseStatus::Cancelled;
                object.incomplete_details = None;
            }
        }
        if self.open {
            self.set_status(ItemStatus::Incomplete);
        }
    }

    /// Says the end. Nothing follows.
    pub(super) fn last(&mut self) {
        let lifecycle = self.lifecycle();
        self.say(match self.object.status {
            ResponseStatus::Completed => ResponseStep::Completed(lifecycle),
            ResponseStatus::Incomplete => ResponseStep::Incomplete(lifecycle),
            // Clients know no event for a cancelled response; its status says what it is.
            _ => ResponseStep::Failed(lifecycle),
        });
    }

    fn delta(&mut self, delta: Delta) {
        self.hold(delta.logprobs.into_iter().map(wire::logprob).collect());
        if !delta.text.is_empty() {
            let logprobs = std::mem::take(&mut self.held);
            self.text(&delta.text, logprobs);
        }
    }

    fn call(&mut self, call: CallDelta) {
        if let Some(start) = call.start {
            self.holds_back = self.calls.is_some() && start.name == FILE_SEARCH;
            if self.holds_back {
                self.close(ItemStatus::Completed);
                self.calls.get_or_insert_default().push(String::new());
            } else {
                self.waits = true;
                self.begin_call(start);
            }
        }
        let held = self.calls.as_mut().and_then(|calls| calls.last_mut());
        if let Some(held) = held.filter(|_| self.holds_back) {
            held.push_str(&call.arguments);
        } else if !call.arguments.is_empty() {
            self.arguments(&call.arguments);
        }
    }

    fn finished(&mut self, reason: FinishReason) {
        let reason = match reason {
            FinishReason::Stop | FinishReason::ToolCalls => None,
            FinishReason::Length => Some("max_output_tokens"),
            FinishReason::ContentFilter => Some("content_filter"),
        };
        if let Some(calls) = self.calls.as_mut().filter(|_| reason.is_some()) {
            // What was cut is not to be searched for.
            calls.clear();
        }
        let has_calls = self.calls.as_ref().is_some_and(|calls| !calls.is_empty());
        if self.object.output.len() == self.begun && !has_calls {
            // The model said nothing; that is a message too.
            self.begin_message();
        }
        self.close(match reason {
            None => ItemStatus::Completed,
            Some(_) => ItemStatus::Incomplete,
        });
        self.object.incomplete_details = reason.map(|reason| IncompleteDetails {
            reason: reason.to_owned(),
        });
    }

    fn next_id(&mut self, prefix: &str) -> String {
        self.ids.pop_front().unwrap_or_else(|| new_id(prefix))
    }

    fn lifecycle(&self) -> Lifecycle {
        let response = self.object.clone();
        Lifecycle { response }
    }

    fn say(&mut self, step: ResponseStep) {
        let sequence_number = self.sequence;
        self.sequence += 1;
        self.said.push(ResponseEvent {
            step,
            sequence_number,
        });
    }
}
