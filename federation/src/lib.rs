//! Many nodes, one answer: membership, the protocol between nodes, and a peer as a backend.
//!
//! Nothing here opens a socket. Streams come from a [`PeerTransport`]: iroh's in `federation/iroh`, a
//! simulated one in the tests.

mod accounts;
mod address;
mod book;
mod control;
mod frame;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod infer;
mod introduction;
mod receipts;
mod seeded;
mod ticket;
mod transport;
mod view;

pub use accounts::{Accounts, BadReceipt, Service, Turn};
pub use book::{Introduced, Member, MemberBook, RedeemError};
pub use control::{
    About, Federation, FederationParts, PeerStream, Refusal, STREAMS_MAX, Tiers, TurnedAway,
};
pub use frame::{FRAME_MAX, FrameError, FrameReader, FrameWriter};
pub use infer::{InferenceDoor, PeerBackend};
pub use introduction::Introduction;
pub use receipts::{
    Checked, Claim, Comparison, CounterSignature, Cursor, Difference, Entry, GivenReceipt,
    HEADER as RECEIPTS_HEADER, KeptReceipt, Ledger, Note, NotesPage, Place, ReceiptBook,
    ReceiptBooks, ReceiptFile, Reconciler, ReconcilerParts, SignedReceipt, Standing,
    compare as compare_receipts, receipt_line,
};
pub use seeded::Seeded;
pub use ticket::{InvitationId, Ticket, TicketError};
pub use transport::{DialError, Incoming, Link, PathFacts, PeerAddress, PeerTransport, Plane};
pub use view::{PeerState, PeerView};
