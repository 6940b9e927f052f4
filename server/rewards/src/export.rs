//! The ledger in other programs' words: beancount, CSV, and lines of JSON that can be checked without a node.

mod beancount;
mod csv;
mod file;
mod line;

use crate::Posted;

pub use beancount::{beancount_account, beancount_balance, beancount_head, beancount_transfer};
pub use csv::{CSV_HEAD, csv_line};
pub use file::{BadLedger, LedgerCheck, LedgerEnd};
pub use line::{AccountLine, BadLine, Line, TransferLine};

/// A transfer with its place in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Counts from 0: its leaf in the Merkle tree.
    pub index: u64,
    /// The transfer.
    pub posted: Posted,
}

/// Days since 1970 of a time in nanoseconds, and the time of that day in seconds.
fn day_of(at_ns: i64) -> (i64, i64) {
    let seconds = at_ns.div_euclid(1_000_000_000);
    (seconds.div_euclid(86_400), seconds.rem_euclid(86_400))
}

/// As `2026-11-23`.
fn date(days: i64) -> String {
    let (year, month, day) = kwaainet_core::civil_date(days);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests;
