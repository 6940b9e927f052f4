//! What the federation asks of this node's database: its members, its invitations, its books.

mod accounts;
mod book;
mod live;
mod receipts;

pub use accounts::{BACKLOG, open_ledger, write_entries};
pub use book::{StoreBook, own_address, publish_address};
pub use live::Setup;
pub(crate) use live::{Live, Serving, Surroundings, nobody};
pub use receipts::StoreReceipts;
