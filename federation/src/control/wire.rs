//! The messages of the control plane, protocol 1. What a reader does not know it ignores, so that versions mix;
//! a field's number is never used for anything else again.

use prost::{Enumeration, Message, Oneof};

/// The dialing node's first message, alone on the stream until it is answered.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Hello {
    /// The protocols that it speaks: from this one
    #[prost(uint32, tag = "1")]
    pub(crate) protocol_min: u32,
    /// to this one.
    #[prost(uint32, tag = "2")]
    pub(crate) protocol_max: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) card: Option<Card>,
    /// The other node's signed invitation, from one that was not let in before.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(crate) invitation: Option<Vec<u8>>,
    /// Signed words about the dialing node, of nodes that the other one may trust.
    #[prost(bytes = "vec", repeated, tag = "5")]
    pub(crate) introductions: Vec<Vec<u8>>,
}

/// What a node says of itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Card {
    /// Higher with each start.
    #[prost(uint64, tag = "1")]
    pub(crate) incarnation: u64,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(string, repeated, tag = "3")]
    pub(crate) capabilities: Vec<String>,
    #[prost(string, optional, tag = "4")]
    pub(crate) region: Option<String>,
    /// Micro-VDA for 1,000 tokens.
    #[prost(uint64, optional, tag = "5")]
    pub(crate) price: Option<u64>,
    #[prost(message, optional, tag = "6")]
    pub(crate) grid: Option<Grid>,
    #[prost(float, optional, tag = "7")]
    pub(crate) watts: Option<f32>,
    /// As `address:port`.
    #[prost(string, repeated, tag = "8")]
    pub(crate) direct: Vec<String>,
    #[prost(string, optional, tag = "9")]
    pub(crate) relay: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Grid {
    #[prost(float, tag = "1")]
    pub(crate) g_per_kwh: f32,
    #[prost(enumeration = "Evidence", tag = "2")]
    pub(crate) evidence: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(crate) enum Evidence {
    Unknown = 0,
    Stated = 1,
    Yearly = 2,
    Live = 3,
}

/// What a hello is answered with.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    #[prost(oneof = "AnswerKind", tags = "1, 2")]
    pub(crate) kind: Option<AnswerKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AnswerKind {
    #[prost(message, tag = "1")]
    Welcome(Welcome),
    #[prost(message, tag = "2")]
    Refused(Refused),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Welcome {
    /// That is spoken from now on.
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) card: Option<Card>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refused {
    #[prost(enumeration = "Reason", tag = "1")]
    pub(crate) reason: i32,
    /// For `Outdated`: the highest incarnation seen.
    #[prost(uint64, tag = "2")]
    pub(crate) known: u64,
    /// For `Full`: the refusing node's word about the other one, and about some that it may call instead.
    #[prost(message, repeated, tag = "3")]
    pub(crate) instead: Vec<WireIntroduced>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(crate) enum Reason {
    Unknown = 0,
    /// Neither a member nor invited.
    Stranger = 1,
    /// The invitation is not valid, used up, expired or revoked.
    Invitation = 2,
    /// No protocol is spoken by both.
    Protocol = 3,
    /// A later run of the node was seen already.
    Outdated = 4,
    /// There is a stream between the two already.
    Duplicate = 5,
    /// No room for one more peer.
    Full = 6,
    /// The invitation could not be looked up.
    Later = 7,
}

/// Everything after the welcome, both ways. Of an unknown kind it is `None`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Frame {
    #[prost(oneof = "FrameKind", tags = "1, 2, 3, 4, 5")]
    pub(crate) kind: Option<FrameKind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum FrameKind {
    #[prost(message, tag = "1")]
    Ping(Ping),
    #[prost(message, tag = "2")]
    Report(Report),
    #[prost(message, tag = "3")]
    Leaving(Leaving),
    #[prost(message, tag = "4")]
    Lost(Lost),
    #[prost(message, tag = "5")]
    Introductions(Introductions),
}

impl From<FrameKind> for Frame {
    fn from(kind: FrameKind) -> Self {
        let kind = Some(kind);
        Self { kind }
    }
}

/// Sent regularly by both. It answers the last one that came from the other side, so that each shows its sender
/// both ways.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Ping {
    /// Not to be guessed, so that an answer proves that the ping arrived.
    #[prost(fixed64, tag = "1")]
    pub(crate) nonce: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) answer: Option<Pong>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Pong {
    /// Of the ping that is answered.
    #[prost(fixed64, tag = "1")]
    pub(crate) nonce: u64,
    /// Microseconds from when that came to when this is sent.
    #[prost(uint64, tag = "2")]
    pub(crate) held_us: u64,
}

/// What a node serves itself and how much it has to do.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Report {
    #[prost(message, optional, tag = "1")]
    pub(crate) load: Option<WireLoad>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) models: Vec<Model>,
    /// In place of what the card says, which is as old as the stream.
    #[prost(message, optional, tag = "3")]
    pub(crate) power: Option<Power>,
}

/// What a node's power costs the climate, and how much of it its work takes, as of now.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Power {
    #[prost(message, optional, tag = "1")]
    pub(crate) grid: Option<Grid>,
    #[prost(float, optional, tag = "2")]
    pub(crate) watts: Option<f32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct WireLoad {
    #[prost(uint32, tag = "1")]
    pub(crate) running: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) queued: u32,
    #[prost(uint64, tag = "3")]
    pub(crate) queued_prefill_tokens: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) free_pages: u64,
    #[prost(float, tag = "5")]
    pub(crate) prefill_rate: f32,
    #[prost(float, tag = "6")]
    pub(crate) decode_rate: f32,
    #[prost(uint64, tag = "7")]
    pub(crate) tokens_out: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) epoch: u64,
    /// For how long there was work and `tokens_out` did not move.
    #[prost(uint64, tag = "9")]
    pub(crate) still_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(enumeration = "Kind", tag = "2")]
    pub(crate) kind: i32,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) context: Option<u32>,
    /// Seconds since 1970.
    #[prost(int64, tag = "4")]
    pub(crate) created: i64,
    #[prost(bool, tag = "5")]
    pub(crate) loaded: bool,
    #[prost(string, optional, tag = "6")]
    pub(crate) numerics: Option<String>,
    /// SHA-256 of its file.
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) digest: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    Unknown = 0,
    Generate = 1,
    Embed = 2,
    Transcribe = 3,
}

/// The node takes no more work.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Leaving {
    /// And is gone now.
    #[prost(bool, tag = "1")]
    pub(crate) gone: bool,
}

/// On a stream of the gossip plane: a message of iroh-gossip's protocol.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GossipFrame {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) message: bytes::Bytes,
}

/// What is handed on of a node.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireNews {
    /// Signed by the node: `Said`, and when.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) record: Vec<u8>,
    /// Words about the node, and words that were taken back lately.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) words: Vec<Vec<u8>>,
}

/// What a node says to all.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Said {
    #[prost(message, optional, tag = "1")]
    pub(crate) card: Option<Card>,
    #[prost(message, optional, tag = "2")]
    pub(crate) report: Option<Report>,
    #[prost(message, optional, tag = "3")]
    pub(crate) leaving: Option<Leaving>,
    /// Nodes that it lost without a word a short while ago.
    #[prost(message, repeated, tag = "4")]
    pub(crate) lost: Vec<Lost>,
}

/// The sender's own words about its members, and about the reader among them; and words of others that were taken back.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Introductions {
    #[prost(message, repeated, tag = "1")]
    pub(crate) words: Vec<WireIntroduced>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WireIntroduced {
    /// Signed.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) word: Vec<u8>,
    /// Where the node was last, as in a card.
    #[prost(string, repeated, tag = "2")]
    pub(crate) direct: Vec<String>,
    #[prost(string, optional, tag = "3")]
    pub(crate) relay: Option<String>,
}

/// The sender lost another node without a word. It is a reason to doubt that one, and never proves anything.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Lost {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) node: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) incarnation: u64,
}
