//! The numbers of the QUIC connections, and the codes with which they are closed.

use std::time::Duration;

use iroh::endpoint::{Connection, QuicTransportConfig, VarInt};
use kwaainet_federation::Plane;

/// A connection that hears nothing says so, and expects an answer.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// After so long without a word a connection is broken. The control plane notices sooner by its own pings; this
/// cleans up.
const IDLE_MS: VarInt = VarInt::from_u32(6_000);
const PATH_IDLE: Duration = Duration::from_secs(5);
/// Taken as the time there and back before it is known: a lost first packet is sent again after three times it.
const RTT_GUESS: Duration = Duration::from_millis(100);
/// Bytes that wait for an acknowledgement, on one connection, at most.
const SEND_WINDOW: u64 = 8 << 20;

/// Bytes of an answer that may lie unread before its sender has to wait. Some hundred tokens.
pub(crate) const ANSWER_WINDOW: u32 = 64 << 10;
/// Bytes of a request that may lie unread: prompts are long, and read at once.
const REQUEST_WINDOW: u32 = 256 << 10;
/// The same of all requests of a connection together.
const REQUESTS_WINDOW: u32 = 8 << 20;
/// Before it is known who dials.
const STRANGER_WINDOW: u32 = 32 << 10;

/// Streams that one member may have open to this node.
const REQUESTS_MAX: u32 = 256;
const CONTROLS_MAX: u32 = 8;
const GOSSIPS_MAX: u32 = 4;
const STRANGERS_MAX: u32 = 1;

/// Of connections that others dial. They may open no stream before this node has let them.
pub(crate) fn accepted() -> QuicTransportConfig {
    base(REQUEST_WINDOW, STRANGER_WINDOW)
}

/// Of connections that this node dials; the other side opens no streams on them. All answers have their own
/// room, so that one that is not read does not hold up the others.
pub(crate) fn dialed() -> QuicTransportConfig {
    base(ANSWER_WINDOW, ANSWER_WINDOW * REQUESTS_MAX)
}

fn base(stream_window: u32, window: u32) -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(window))
        .send_window(SEND_WINDOW)
        .keep_alive_interval(KEEP_ALIVE)
        .default_path_keep_alive_interval(KEEP_ALIVE)
        .default_path_max_idle_timeout(PATH_IDLE)
        .max_idle_timeout(Some(IDLE_MS.into()))
        .initial_rtt(RTT_GUESS)
        .build()
}

/// Lets a member open streams.
pub(crate) fn open_to_member(connection: &Connection, plane: Plane) {
    let streams = match plane {
        Plane::Control => CONTROLS_MAX,
        Plane::Inference => REQUESTS_MAX,
        Plane::Gossip => GOSSIPS_MAX,
    };
    connection.set_receive_window(VarInt::from_u32(REQUESTS_WINDOW));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(streams));
}

/// Lets somebody unknown open one stream, to say hello.
pub(crate) fn open_to_stranger(connection: &Connection) {
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(STRANGERS_MAX));
}

/// Why a connection was closed, as the other side is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goodbye {
    /// This node shuts down.
    Closing,
    /// Whoever dialed is no member.
    Stranger,
    /// Too many strangers are here.
    Full,
    /// A newer connection takes its place.
    Replaced,
    /// The layer above broke it off.
    Dropped,
    /// Nothing came from it.
    Silent,
    /// It was dialed and nobody wants it any more.
    Unwanted,
}

impl Goodbye {
    /// Closes a connection.
    pub(crate) fn to(self, connection: &Connection) {
        let (code, reason) = match self {
            Self::Closing => (0, "this node shuts down"),
            Self::Stranger => (1, "your node is no member here"),
            Self::Full => (2, "too many unknown nodes are here"),
            Self::Replaced => (3, "a newer connection is here"),
            Self::Dropped => (4, "broken off"),
            Self::Silent => (5, "nothing came from your node"),
            Self::Unwanted => (6, "not wanted any more"),
        };
        connection.close(VarInt::from_u32(code), reason.as_bytes());
    }
}
