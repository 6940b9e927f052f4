//! What work is worth and who owes it.
//!
//! Owns the tariff, the rules of the ledger and what is told of it. Keeps nothing and asks nobody: transfers come in
//! as a batch with all that they touch ([`Books`]), and leave as changes that the store writes in one transaction.
//! Amounts are whole micro-VDA, never floats.
//!
//! The rules and their result codes are those of TigerBeetle (docs.tigerbeetle.com, "create_transfers").

mod account;
mod accrual;
mod amount;
mod books;
mod chart;
mod codes;
mod export;
mod meter;
mod tariff;
mod transfer;

pub use account::{Account, AccountFlags, AccountId};
pub use accrual::{
    Accrual, AccrualState, Agreement, Evidence, GreenShare, MeterKey, Meters, PairKey, Terms,
    Usage, Work, charge, held, settle,
};
pub use amount::MicroVda;
pub use books::{Books, Changes, Known, PendingState, Resolution, Wanted};
pub use chart::{AccountKind, LEDGER, TransferKind, epoch_begins_ms, epoch_of};
pub use codes::TransferResult;
pub use export::{
    AccountLine, BadLedger, BadLine, CSV_HEAD, LedgerCheck, LedgerEnd, Line, Numbered,
    TransferLine, beancount_account, beancount_balance, beancount_head, beancount_transfer,
    csv_line,
};
pub use meter::{Meter, Share};
pub use tariff::{TARIFF, Tariff};
pub use transfer::{Posted, Transfer, TransferFlags, TransferId};
