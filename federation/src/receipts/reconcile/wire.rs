//! The messages. Numbers of fields are for ever; a message of an unknown kind is passed over.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Talk {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    pub(crate) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Kind {
    /// Asks for what changed.
    #[prost(message, tag = "1")]
    Since(Since),
    #[prost(message, tag = "2")]
    Page(Page),
    /// Asks for receipts.
    #[prost(message, tag = "3")]
    Want(Want),
    #[prost(message, tag = "4")]
    Give(Give),
    /// From now on the other side asks.
    #[prost(message, tag = "5")]
    Turn(Turn),
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Since {
    #[prost(uint64, tag = "1")]
    pub(crate) after: u64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Page {
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) book: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) last: u64,
    /// A list of `Note`.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) notes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Note {
    #[prost(uint64, tag = "1")]
    pub(crate) changed: u64,
    /// Whoever says it is the server, else the asker.
    #[prost(bool, tag = "2")]
    pub(crate) served: bool,
    #[prost(uint64, tag = "3")]
    pub(crate) chain: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) stream: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) revision: u64,
    /// 32 bytes.
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) hash: Vec<u8>,
    #[prost(bool, tag = "7")]
    pub(crate) countersigned: bool,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Want {
    /// 32 bytes each, one after the other.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) hashes: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Give {
    /// A list of `Kept`.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) receipts: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Kept {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) receipt: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) counter: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Turn {}
