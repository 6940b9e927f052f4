//! For beancount (beancount.github.io, "Beancount Language Syntax"): each posted transfer is a transaction. What is
//! only pending has moved nothing yet and is a comment.

use super::{Numbered, date, day_of};
use crate::{Account, AccountId, AccountKind, PendingState, TransferFlags, TransferKind};

/// Accounts are open from here on.
const BEGINNING: &str = "1970-01-01";

/// The first lines of a file.
pub fn beancount_head() -> String {
    format!(
        "option \"title\" \"KwaaiNet rewards\"\noption \"operating_currency\" \"VDA\"\n{BEGINNING} commodity VDA\n"
    )
}

/// The line that opens an account. The subject is told only where it is given.
pub fn beancount_account(account: &Account, subject: Option<&str>) -> String {
    let mut lines = format!("{BEGINNING} open {} VDA\n", name(account));
    if let Some(subject) = subject.filter(|subject| !subject.is_empty()) {
        let subject = subject.replace('\\', "\\\\").replace('"', "\\\"");
        lines += &format!(
            "  subject: \"{}\"\n",
            subject.replace(char::is_control, " ")
        );
    }
    lines
}

/// The line that says what an account holds at the end of a day.
pub fn beancount_balance(account: &Account, last_ns: i64) -> String {
    let (day, _) = day_of(last_ns);
    let sum = signed(-account.balance());
    // An assertion is about the beginning of its day.
    format!("{} balance {} {sum} VDA\n", date(day + 1), name(account))
}

/// The lines of a transfer between these accounts.
pub fn beancount_transfer(transfer: &Numbered, debit: &Account, credit: &Account) -> String {
    let posted = &transfer.posted;
    let moved = &posted.transfer;
    let is_posted =
        !moved.flags.has(TransferFlags::PENDING) && !moved.flags.has(TransferFlags::VOID);
    let (day, _) = day_of(posted.at_ns);
    let kind = TransferKind::name(moved.code);
    if !is_posted {
        let how = match moved.flags.has(TransferFlags::VOID) {
            true => PendingState::Voided,
            false => PendingState::Pending,
        };
        return format!(
            "; {} {kind} {} is {how:?}: {}\n",
            date(day),
            moved.amount,
            moved.id
        );
    }
    let amount = moved.amount;
    format!(
        "{} * \"{kind}\"\n  index: {}\n  transfer: \"{}\"\n  {} {amount} VDA\n  {} -{amount} VDA\n",
        date(day),
        transfer.index,
        moved.id,
        name(debit),
        name(credit),
    )
}

/// What an account is called: users' accounts by their ids, so that their names need no escaping.
fn name(account: &Account) -> String {
    let of = |root: &str, id: AccountId| format!("{root}:K{id}");
    match account.kind {
        AccountKind::Issuance => "Equity:Issuance".to_owned(),
        AccountKind::Budget => of("Equity:Budget", account.id),
        AccountKind::Escrow => "Liabilities:Escrow".to_owned(),
        AccountKind::Provider => of("Liabilities:Provider", account.id),
        AccountKind::Consumer => of("Liabilities:Consumer", account.id),
        AccountKind::Bonus => "Equity:Bonus".to_owned(),
        AccountKind::Rounding => "Equity:Rounding".to_owned(),
        AccountKind::Settlement => of("Assets:Settlement", account.id),
    }
}

/// Micro-VDA as VDA.
fn signed(micro: i64) -> String {
    let sign = if micro < 0 { "-" } else { "" };
    format!("{sign}{}", crate::MicroVda(micro.unsigned_abs()))
}
