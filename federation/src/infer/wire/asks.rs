//! What an asker says to a server.

use prost::{Message, Oneof};

/// From the asker.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ask {
    #[prost(oneof = "ask::Kind", tags = "1, 2, 3, 4, 8")]
    pub(crate) kind: Option<ask::Kind>,
}

pub(crate) mod ask {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Kind {
        /// First, and only then.
        #[prost(message, boxed, tag = "1")]
        Open(Box<Open>),
        /// The rest is not wanted; the end is.
        #[prost(message, tag = "2")]
        Cancel(Cancel),
        /// After a checkpoint, and last.
        #[prost(message, tag = "3")]
        Countersign(Countersign),
        /// After `Hold`: the place is wanted.
        #[prost(message, tag = "4")]
        Go(Go),
        /// First, instead of `Open`: what follows is about the books of the two.
        #[prost(message, tag = "8")]
        Books(Books),
    }
}

impl From<ask::Kind> for Ask {
    fn from(kind: ask::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// What is asked for.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Open {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) request: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) budget_ms: u64,
    #[prost(string, tag = "3")]
    pub(crate) model: String,
    /// 32 bytes.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) digest: Option<Vec<u8>>,
    #[prost(string, optional, tag = "5")]
    pub(crate) numerics: Option<String>,
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) scope: Vec<u8>,
    /// Somebody else was asked before: a place is to be kept, and nothing done before `Go`. A server that does not
    /// know this accepts, which is an answer too.
    #[prost(bool, tag = "7")]
    pub(crate) tied: bool,
    #[prost(oneof = "open::Work", tags = "10, 11, 12, 13, 14")]
    pub(crate) work: Option<open::Work>,
}

pub(crate) mod open {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Work {
        #[prost(message, boxed, tag = "10")]
        Generate(Box<Generate>),
        #[prost(message, tag = "11")]
        Embed(Embed),
        #[prost(message, tag = "12")]
        TokenizeText(TokenizeText),
        #[prost(message, tag = "13")]
        TokenizeChat(Conversation),
        #[prost(message, tag = "14")]
        Detokenize(Ids),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Generate {
    #[prost(message, optional, tag = "1")]
    pub(crate) prompt: Option<Prompt>,
    #[prost(message, optional, tag = "2")]
    pub(crate) params: Option<Params>,
    #[prost(message, optional, tag = "3")]
    pub(crate) resume: Option<Resume>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Prompt {
    #[prost(oneof = "prompt::Kind", tags = "1, 2, 3, 4")]
    pub(crate) kind: Option<prompt::Kind>,
}

pub(crate) mod prompt {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Kind {
        #[prost(message, tag = "1")]
        Chat(Conversation),
        #[prost(string, tag = "2")]
        Text(String),
        #[prost(message, tag = "3")]
        Infill(Infill),
        #[prost(message, tag = "4")]
        Tokens(Ids),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Infill {
    #[prost(string, tag = "1")]
    pub(crate) prefix: String,
    #[prost(string, tag = "2")]
    pub(crate) suffix: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Ids {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) ids: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Resume {
    /// A list of `Ids`, one for each choice.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) choices: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Conversation {
    /// A list of `Turn`.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) messages: Vec<u8>,
    /// A list of `Tool`.
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) tools: Vec<u8>,
    /// 1 as it likes, 2 at least one call, 3 none.
    #[prost(uint32, tag = "3")]
    pub(crate) tool_mode: u32,
    /// A list of `Text`.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) tools_only: Option<Vec<u8>>,
    #[prost(bool, tag = "5")]
    pub(crate) parallel_calls: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Turn {
    /// 1 system, 2 user, 3 assistant, 4 tool.
    #[prost(uint32, tag = "1")]
    pub(crate) role: u32,
    #[prost(string, tag = "2")]
    pub(crate) content: String,
    #[prost(string, optional, tag = "3")]
    pub(crate) name: Option<String>,
    /// A list of `ToolCall`.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) tool_calls: Vec<u8>,
    #[prost(string, optional, tag = "5")]
    pub(crate) tool_call_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ToolCall {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) arguments: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tool {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, optional, tag = "2")]
    pub(crate) description: Option<String>,
    /// JSON.
    #[prost(string, optional, tag = "3")]
    pub(crate) parameters: Option<String>,
    #[prost(bool, tag = "4")]
    pub(crate) strict: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Params {
    #[prost(uint32, tag = "1")]
    pub(crate) n: u32,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) max_tokens: Option<u32>,
    #[prost(string, tag = "3")]
    pub(crate) max_tokens_param: String,
    /// A list of `Text`.
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) stop: Vec<u8>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) logprobs: Option<u32>,
    #[prost(message, optional, tag = "6")]
    pub(crate) sampling: Option<Sampling>,
    #[prost(message, optional, tag = "7")]
    pub(crate) grammar: Option<Grammar>,
    #[prost(bool, tag = "8")]
    pub(crate) echo: bool,
    /// 1 somebody waits, 2 takes what is left over.
    #[prost(uint32, tag = "9")]
    pub(crate) priority: u32,
}

/// Floats as their bits.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sampling {
    #[prost(fixed32, tag = "1")]
    pub(crate) temperature: u32,
    #[prost(fixed32, tag = "2")]
    pub(crate) top_p: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) top_k: u32,
    #[prost(fixed32, tag = "4")]
    pub(crate) min_p: u32,
    #[prost(fixed32, tag = "5")]
    pub(crate) frequency_penalty: u32,
    #[prost(fixed32, tag = "6")]
    pub(crate) presence_penalty: u32,
    #[prost(fixed32, tag = "7")]
    pub(crate) repetition_penalty: u32,
    #[prost(uint32, repeated, tag = "8")]
    pub(crate) biased: Vec<u32>,
    #[prost(fixed32, repeated, tag = "9")]
    pub(crate) biases: Vec<u32>,
    #[prost(fixed64, optional, tag = "10")]
    pub(crate) seed: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Grammar {
    #[prost(string, tag = "1")]
    pub(crate) param: String,
    #[prost(oneof = "grammar::Kind", tags = "2, 3, 4, 5, 6")]
    pub(crate) kind: Option<grammar::Kind>,
}

pub(crate) mod grammar {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Kind {
        #[prost(bool, tag = "2")]
        JsonObject(bool),
        /// JSON.
        #[prost(string, tag = "3")]
        JsonSchema(String),
        #[prost(string, tag = "4")]
        Regex(String),
        #[prost(string, tag = "5")]
        Lark(String),
        /// A list of `Text`.
        #[prost(bytes = "vec", tag = "6")]
        Choice(Vec<u8>),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Embed {
    /// A list of `Input`.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) inputs: Vec<u8>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) dimensions: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Input {
    #[prost(oneof = "input::Kind", tags = "1, 2")]
    pub(crate) kind: Option<input::Kind>,
}

pub(crate) mod input {
    use super::*;

    #[derive(Clone, PartialEq, Oneof)]
    pub(crate) enum Kind {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(message, tag = "2")]
        Tokens(Ids),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TokenizeText {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(bool, tag = "2")]
    pub(crate) add_special: bool,
    #[prost(bool, tag = "3")]
    pub(crate) parse_special: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Cancel {}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Go {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Countersign {
    /// Signed by the asker.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) counter: Vec<u8>,
    /// It is for a checkpoint, and not the last message.
    #[prost(bool, tag = "2")]
    pub(crate) checkpoint: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Books {}
