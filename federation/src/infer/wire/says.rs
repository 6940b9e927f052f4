//! What a server says to an asker.

use prost::{Message, Oneof};

/// From the server.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Say {
    #[prost(oneof = "say::Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16")]
    pub(crate) kind: Option<say::Kind>,
}

pub(crate) mod say {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Kind {
        /// It will be done. Only now may anything else than `Progress` and `Hold` follow.
        #[prost(message, tag = "1")]
        Accept(Accept),
        /// It will not, and nothing was; last.
        #[prost(message, tag = "2")]
        Reject(Reject),
        /// At least every 250 ms while there is nothing else to say.
        #[prost(message, tag = "3")]
        Progress(Progress),
        #[prost(message, tag = "4")]
        Events(Events),
        #[prost(message, tag = "5")]
        Vectors(Vectors),
        #[prost(message, tag = "6")]
        Tokens(Tokens),
        #[prost(message, tag = "7")]
        Detokenized(Detokenized),
        /// It is done, or was cut by the asker; last.
        #[prost(message, tag = "8")]
        End(End),
        /// It went wrong; last.
        #[prost(message, tag = "9")]
        Failed(Failed),
        /// To whoever asked somebody else before: there is a place, which is kept for a moment. After `Go` comes
        /// what would have come at once.
        #[prost(message, tag = "10")]
        Hold(Hold),
        /// What was said until now, signed.
        #[prost(message, tag = "16")]
        Checkpoint(Checkpoint),
    }
}

impl From<say::Kind> for Say {
    fn from(kind: say::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Accept {
    /// Requests and sequences before it.
    #[prost(uint32, tag = "1")]
    pub(crate) queue: u32,
    /// To the first token, where that can be foreseen.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) first_token_ms: Option<u64>,
    /// Tokens of the prompt that need no computing, where that is known.
    #[prost(uint32, optional, tag = "3")]
    pub(crate) cached_tokens: Option<u32>,
    /// The engine's.
    #[prost(uint64, tag = "4")]
    pub(crate) epoch: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Hold {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Reject {
    /// 1 an error, 2 busy, 3 draining, 4 forbidden, 5 unknown model.
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<Error>,
    #[prost(uint64, tag = "3")]
    pub(crate) retry_after_ms: u64,
    #[prost(message, optional, tag = "4")]
    pub(crate) load: Option<Load>,
    /// One sentence, if it is busy.
    #[prost(string, tag = "5")]
    pub(crate) reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Load {
    #[prost(uint32, tag = "1")]
    pub(crate) running: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) queued: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) queued_prefill_tokens: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) free_pages: u64,
    /// A float's bits, as the next.
    #[prost(fixed32, tag = "5")]
    pub(crate) prefill_rate: u32,
    #[prost(fixed32, tag = "6")]
    pub(crate) decode_rate: u32,
    #[prost(uint64, tag = "7")]
    pub(crate) tokens_out: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) epoch: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Progress {
    /// Tokens of the prompt that are computed, where that is known.
    #[prost(uint32, optional, tag = "1")]
    pub(crate) prefilled: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Events {
    /// From 0, as in all that has one: one number for each frame of an answer.
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    /// A list of `Event`.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) events: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Event {
    #[prost(oneof = "event::Kind", tags = "1, 2, 3, 4")]
    pub(crate) kind: Option<event::Kind>,
}

pub(crate) mod event {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Kind {
        #[prost(message, tag = "1")]
        Started(Started),
        #[prost(message, tag = "2")]
        Delta(Delta),
        #[prost(message, tag = "3")]
        Call(Call),
        #[prost(message, tag = "4")]
        Finished(Finished),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Started {
    #[prost(uint32, tag = "1")]
    pub(crate) prompt_tokens: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) cached_tokens: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delta {
    #[prost(uint32, tag = "1")]
    pub(crate) choice: u32,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
    #[prost(uint32, tag = "3")]
    pub(crate) tokens: u32,
    #[prost(uint32, repeated, tag = "4")]
    pub(crate) ids: Vec<u32>,
    /// A list of `Logprob`.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) logprobs: Vec<u8>,
    #[prost(string, optional, tag = "6")]
    pub(crate) stopped_by: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Logprob {
    #[prost(message, optional, tag = "1")]
    pub(crate) chosen: Option<Top>,
    /// A list of `Top`.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) top: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Top {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) bytes: Vec<u8>,
    /// A float's bits.
    #[prost(fixed32, tag = "2")]
    pub(crate) logprob: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Call {
    #[prost(uint32, tag = "1")]
    pub(crate) choice: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) index: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) start: Option<CallStart>,
    #[prost(string, tag = "4")]
    pub(crate) arguments: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CallStart {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Finished {
    #[prost(uint32, tag = "1")]
    pub(crate) choice: u32,
    /// 1 stop, 2 length, 3 tool calls, 4 content filter.
    #[prost(uint32, tag = "2")]
    pub(crate) reason: u32,
}

/// A piece of all vectors, one after the other.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Vectors {
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    /// Of each vector.
    #[prost(uint32, tag = "2")]
    pub(crate) dimensions: u32,
    /// Floats, four bytes each, least significant first.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) values: Vec<u8>,
}

/// A piece of a text's tokens.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tokens {
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) context: u32,
    #[prost(uint32, repeated, tag = "3")]
    pub(crate) ids: Vec<u32>,
}

/// A piece of tokens' text.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Detokenized {
    #[prost(uint64, tag = "1")]
    pub(crate) seq: u64,
    #[prost(string, tag = "2")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct End {
    #[prost(message, optional, tag = "1")]
    pub(crate) usage: Option<Usage>,
    /// Signed by the server; empty if it makes none.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) receipt: Vec<u8>,
    /// The asker did not want the rest; the counts are of what was said.
    #[prost(bool, tag = "3")]
    pub(crate) cut: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Checkpoint {
    /// Signed by the server.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) receipt: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Usage {
    #[prost(uint32, tag = "1")]
    pub(crate) prompt_tokens: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) cached_tokens: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) completion_tokens: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Failed {
    #[prost(message, optional, tag = "1")]
    pub(crate) error: Option<Error>,
    /// For what was said until then, as in `End`.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) receipt: Vec<u8>,
}

/// A backend's error. Which fields count, and what the kinds are, is in the module [`error`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Error {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) param: String,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(string, tag = "4")]
    pub(crate) model: String,
    #[prost(uint32, tag = "5")]
    pub(crate) prompt_tokens: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) max_tokens: u32,
    #[prost(uint32, tag = "7")]
    pub(crate) context: u32,
    /// Bytes or seconds.
    #[prost(uint64, tag = "8")]
    pub(crate) max: u64,
    #[prost(uint64, tag = "9")]
    pub(crate) retry_after_ms: u64,
}
