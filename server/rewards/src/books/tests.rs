//! Each result by an example, and what must hold whatever comes.

use std::collections::HashMap;

use super::*;
use crate::{
    Account, AccountFlags, AccountKind, LEDGER, LedgerCheck, MicroVda, Numbered, TransferFlags,
};

const SECOND: i64 = 1_000_000_000;

fn account(kind: AccountKind, subject: &str) -> Account {
    Account::new(kind, subject)
}

/// The source, two users, and an account of another ledger.
fn books() -> (Books, [AccountId; 4]) {
    let mut foreign = account(AccountKind::Bonus, "foreign");
    foreign.ledger = 2;
    let accounts = [
        account(AccountKind::Issuance, ""),
        account(AccountKind::Consumer, "a"),
        account(AccountKind::Provider, "b"),
        foreign,
    ];
    let ids = [0, 1, 2, 3].map(|at: usize| accounts[at].id);
    let mut books = Books::new(Known::default());
    accounts.into_iter().for_each(|account| books.open(account));
    (books, ids)
}

fn transfer(id: u128, debit: AccountId, credit: AccountId, amount: u64) -> Transfer {
    Transfer {
        id: TransferId(id),
        debit,
        credit,
        amount: MicroVda(amount),
        pending: TransferId::NONE,
        user_data_128: 7,
        user_data_64: 8,
        user_data_32: 9,
        timeout_s: 0,
        ledger: LEDGER,
        code: 1,
        flags: TransferFlags::default(),
    }
}

fn pending(id: u128, debit: AccountId, credit: AccountId, amount: u64, timeout_s: u32) -> Transfer {
    Transfer {
        timeout_s,
        flags: TransferFlags::PENDING,
        ..transfer(id, debit, credit, amount)
    }
}

/// Posts or voids another, and leaves out whatever may be left out.
fn ending(id: u128, pending: u128, flags: TransferFlags, amount: u64) -> Transfer {
    Transfer {
        pending: TransferId(pending),
        flags,
        ledger: 0,
        code: 0,
        user_data_128: 0,
        user_data_64: 0,
        user_data_32: 0,
        ..transfer(id, AccountId::NONE, AccountId::NONE, amount)
    }
}

#[test]
fn every_rule_has_its_code() {
    use TransferResult as R;
    let (mut books, [source, a, b, foreign]) = books();
    let good = transfer(1, source, a, 100);
    let with = |change: &dyn Fn(&mut Transfer)| {
        let mut changed = Transfer {
            id: TransferId(2),
            ..good
        };
        change(&mut changed);
        changed
    };
    let same = |change: &dyn Fn(&mut Transfer)| {
        let mut changed = good;
        change(&mut changed);
        changed
    };
    let (all, post, void) = (MicroVda::ALL.0, TransferFlags::POST, TransferFlags::VOID);
    let max = AccountId(u128::MAX);
    let steps: Vec<(Transfer, R)> = vec![
        (with(&|t| t.flags = TransferFlags(1 << 4)), R::ReservedFlag),
        (with(&|t| t.id = TransferId(0)), R::IdMustNotBeZero),
        (
            with(&|t| t.id = TransferId(u128::MAX)),
            R::IdMustNotBeIntMax,
        ),
        (
            with(&|t| t.debit = AccountId::NONE),
            R::DebitAccountIdMustNotBeZero,
        ),
        (with(&|t| t.debit = max), R::DebitAccountIdMustNotBeIntMax),
        (
            with(&|t| t.credit = AccountId::NONE),
            R::CreditAccountIdMustNotBeZero,
        ),
        (with(&|t| t.credit = max), R::CreditAccountIdMustNotBeIntMax),
        (with(&|t| t.credit = t.debit), R::AccountsMustBeDifferent),
        (with(&|t| t.pending = TransferId(9)), R::PendingIdMustBeZero),
        (
            with(&|t| t.timeout_s = 1),
            R::TimeoutReservedForPendingTransfer,
        ),
        (with(&|t| t.ledger = 0), R::LedgerMustNotBeZero),
        (with(&|t| t.code = 0), R::CodeMustNotBeZero),
        (
            with(&|t| {
                t.id = TransferId(30);
                t.debit = AccountId(5)
            }),
            R::DebitAccountNotFound,
        ),
        (
            with(&|t| {
                t.id = TransferId(31);
                t.credit = AccountId(5)
            }),
            R::CreditAccountNotFound,
        ),
        (with(&|t| t.id = TransferId(31)), R::IdAlreadyFailed),
        (
            with(&|t| t.credit = foreign),
            R::AccountsMustHaveTheSameLedger,
        ),
        (
            with(&|t| t.ledger = 2),
            R::TransferMustHaveTheSameLedgerAsAccounts,
        ),
        (good, R::Ok),
        (good, R::Exists),
        (
            same(&|t| t.flags = TransferFlags::PENDING),
            R::ExistsWithDifferentFlags,
        ),
        (
            same(&|t| t.pending = TransferId(9)),
            R::ExistsWithDifferentPendingId,
        ),
        (same(&|t| t.timeout_s = 1), R::ExistsWithDifferentTimeout),
        (same(&|t| t.debit = b), R::ExistsWithDifferentDebitAccountId),
        (
            same(&|t| t.credit = b),
            R::ExistsWithDifferentCreditAccountId,
        ),
        (
            same(&|t| t.amount = MicroVda(1)),
            R::ExistsWithDifferentAmount,
        ),
        (
            same(&|t| t.user_data_128 = 1),
            R::ExistsWithDifferentUserData128,
        ),
        (
            same(&|t| t.user_data_64 = 1),
            R::ExistsWithDifferentUserData64,
        ),
        (
            same(&|t| t.user_data_32 = 1),
            R::ExistsWithDifferentUserData32,
        ),
        (same(&|t| t.ledger = 2), R::ExistsWithDifferentLedger),
        (same(&|t| t.code = 2), R::ExistsWithDifferentCode),
        (transfer(3, a, b, 101), R::ExceedsCredits),
        (transfer(3, a, b, 1), R::IdAlreadyFailed),
        (
            transfer(4, source, a, MicroVda::MAX.0),
            R::OverflowsDebitsPosted,
        ),
        (
            pending(4, source, a, MicroVda::MAX.0, 0),
            R::OverflowsDebits,
        ),
        (pending(5, a, b, 60, 0), R::Ok),
        (transfer(6, a, b, 41), R::ExceedsCredits),
        (
            ending(7, 5, post.and(void), all),
            R::FlagsAreMutuallyExclusive,
        ),
        (
            ending(7, 5, post.and(TransferFlags::PENDING), all),
            R::FlagsAreMutuallyExclusive,
        ),
        (ending(7, 0, post, all), R::PendingIdMustNotBeZero),
        (ending(7, u128::MAX, post, all), R::PendingIdMustNotBeIntMax),
        (ending(7, 7, post, all), R::PendingIdMustBeDifferent),
        (
            Transfer {
                timeout_s: 1,
                ..ending(7, 5, post, all)
            },
            R::TimeoutReservedForPendingTransfer,
        ),
        (ending(32, 99, post, all), R::PendingTransferNotFound),
        (ending(7, 1, post, all), R::PendingTransferNotPending),
        (
            Transfer {
                debit: b,
                ..ending(7, 5, post, all)
            },
            R::PendingTransferHasDifferentDebitAccountId,
        ),
        (
            Transfer {
                credit: a,
                ..ending(7, 5, post, all)
            },
            R::PendingTransferHasDifferentCreditAccountId,
        ),
        (
            Transfer {
                ledger: 2,
                ..ending(7, 5, post, all)
            },
            R::PendingTransferHasDifferentLedger,
        ),
        (
            Transfer {
                code: 2,
                ..ending(7, 5, post, all)
            },
            R::PendingTransferHasDifferentCode,
        ),
        (ending(7, 5, post, 61), R::ExceedsPendingTransferAmount),
        (ending(7, 5, void, 59), R::PendingTransferHasDifferentAmount),
        (ending(7, 5, post, 25), R::Ok),
        (ending(7, 5, post, 25), R::Exists),
        (ending(7, 5, post, all), R::ExistsWithDifferentAmount),
        (ending(8, 5, post, all), R::PendingTransferAlreadyPosted),
        (pending(9, a, b, 75, 0), R::Ok),
        (ending(10, 9, void, 0), R::Ok),
        (ending(11, 9, void, 0), R::PendingTransferAlreadyVoided),
        (pending(12, a, b, 75, 1), R::Ok),
    ];
    for (at, (transfer, expected)) in steps.iter().enumerate() {
        assert_eq!(books.apply(&[*transfer], SECOND), [*expected], "step {at}");
    }
    // Over by the time, before anybody has looked; and after.
    assert_eq!(
        books.apply(&[ending(13, 12, post, all)], 3 * SECOND),
        [R::PendingTransferExpired]
    );
    books.expire(3 * SECOND);
    assert_eq!(
        books.apply(&[ending(13, 12, post, all)], 0),
        [R::PendingTransferExpired]
    );
    let held = books.account(a).expect("it is there");
    assert_eq!((held.balance(), held.debits_pending), (75, MicroVda::ZERO));
    let held = books.account(b).expect("it is there");
    assert_eq!((held.balance(), held.credits_pending), (25, MicroVda::ZERO));
}

#[test]
fn a_bound_on_credits_holds_too() {
    let (mut books, [source, a, ..]) = books();
    let mut bounded = account(AccountKind::Bonus, "bounded");
    bounded.flags = AccountFlags::NO_CREDIT;
    let id = bounded.id;
    books.open(bounded);
    let results = books.apply(&[transfer(1, source, id, 1)], 1);
    assert_eq!(results, [TransferResult::ExceedsDebits]);
    let batch = [
        transfer(2, source, a, 5),
        transfer(3, id, a, 5),
        transfer(4, a, id, 5),
    ];
    assert_eq!(books.apply(&batch, 1), [TransferResult::Ok; 3]);
}

#[test]
fn a_chain_happens_as_a_whole_or_not_at_all() {
    use TransferResult as R;
    let linked = |transfer: Transfer| Transfer {
        flags: transfer.flags.and(TransferFlags::LINKED),
        ..transfer
    };
    let (mut books, [source, a, b, _]) = books();
    let batch = [
        transfer(1, source, a, 10),
        linked(pending(2, a, b, 4, 0)),
        linked(ending(3, 2, TransferFlags::POST, MicroVda::ALL.0)),
        transfer(4, a, b, 7),
        transfer(5, a, b, 10),
        linked(transfer(6, source, a, 1)),
        linked(transfer(7, source, a, 1)),
    ];
    let results = books.apply(&batch, 1);
    let (failed, open) = (R::LinkedEventFailed, R::LinkedEventChainOpen);
    assert_eq!(
        results,
        [
            R::Ok,
            failed,
            failed,
            R::ExceedsCredits,
            R::Ok,
            failed,
            open
        ]
    );
    assert_eq!(books.account(b).map(Account::balance), Some(10));
    let changes = books.clone().changes();
    let posted: Vec<u128> = changes.posted.iter().map(|p| p.transfer.id.0).collect();
    assert_eq!(posted, [1, 5]);
    assert_eq!(changes.failed, [TransferId(4)]);
    assert!(changes.pending.is_empty() && changes.resolved.is_empty());
    // The ids of the others are free; a chain whose first is there is none.
    assert_eq!(books.apply(&[transfer(6, source, a, 1)], 1), [R::Ok]);
    let again = [linked(transfer(6, source, a, 1)), transfer(8, source, a, 1)];
    let results = books.apply(&again, 1);
    assert_eq!(results, [R::ExistsWithDifferentFlags, failed]);
}

/// SplitMix64 (Steele et al., 2014).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}

/// A transfer of any kind, often sensible and often not, with ids that come again.
fn any(seeded: &mut Seeded, accounts: &[AccountId], ids: u64) -> Transfer {
    let id = u128::from(1 + seeded.below(ids));
    let mut pick = || accounts[seeded.below(accounts.len() as u64) as usize];
    let (debit, credit) = (pick(), pick());
    let amount = seeded.below(50);
    let mut made = match seeded.below(8) {
        0..=3 => transfer(id, debit, credit, amount),
        4 | 5 => pending(id, debit, credit, amount, seeded.below(4) as u32),
        6 => {
            let all = if seeded.below(2) == 0 {
                MicroVda::ALL.0
            } else {
                amount
            };
            ending(
                id,
                u128::from(1 + seeded.below(ids)),
                TransferFlags::POST,
                all,
            )
        }
        _ => ending(
            id,
            u128::from(1 + seeded.below(ids)),
            TransferFlags::VOID,
            0,
        ),
    };
    if seeded.below(4) == 0 {
        made.flags = made.flags.and(TransferFlags::LINKED);
    }
    made
}

fn holds(books: &Books) {
    let accounts = || books.known().accounts.values();
    let sum = |of: fn(&Account) -> MicroVda| accounts().map(|a| u128::from(of(a).0)).sum::<u128>();
    assert_eq!(
        sum(|a| a.debits_posted),
        sum(|a| a.credits_posted),
        "conservation"
    );
    assert_eq!(
        sum(|a| a.debits_pending),
        sum(|a| a.credits_pending),
        "conservation"
    );
    for account in accounts().filter(|a| a.flags.has(AccountFlags::NO_DEBT)) {
        let debits = account.debits_posted.0 + account.debits_pending.0;
        assert!(debits <= account.credits_posted.0, "nobody is negative");
    }
}

#[test]
fn whatever_comes_nothing_is_made_lost_or_done_twice() {
    for seed in 0..60 {
        let mut seeded = Seeded(seed);
        let (mut books, accounts) = books();
        books.apply(&[transfer(1_000, accounts[0], accounts[1], 500)], 1);
        let mut now = 1_000 * SECOND;
        let mut ended: HashMap<TransferId, u32> = HashMap::new();
        for _ in 0..60 {
            // The clock goes on, stands still, or is set back.
            now += (seeded.below(4) as i64 - 1) * SECOND;
            books.expire(now);
            let count = 1 + seeded.below(6);
            let batch: Vec<_> = (0..count)
                .map(|_| any(&mut seeded, &accounts[..3], 200))
                .collect();
            let results = books.apply(&batch, now);
            holds(&books);
            let done = |(_, result): &(&Transfer, &TransferResult)| **result == TransferResult::Ok;
            for (transfer, _) in batch.iter().zip(&results).filter(done) {
                if transfer.flags.resolves() {
                    *ended.entry(transfer.pending).or_default() += 1;
                }
            }
            // The same again, as after a lost answer: nothing moves.
            let before = books.known().accounts.clone();
            let again = books.apply(&batch, now);
            let moved = again
                .iter()
                .zip(&batch)
                .filter(|(result, _)| **result == TransferResult::Ok);
            for (_, transfer) in moved {
                // Only what failed as part of a chain, whose id is free, may happen now.
                let first = batch.iter().position(|t| t.id == transfer.id);
                assert_ne!(first.map(|at| results[at]), Some(TransferResult::Ok));
                if transfer.flags.resolves() {
                    *ended.entry(transfer.pending).or_default() += 1;
                }
            }
            if results.iter().all(|result| result.is_there()) {
                assert_eq!(books.known().accounts, before, "seed {seed}");
            }
            holds(&books);
        }
        assert!(ended.values().all(|times| *times == 1), "resolved once");
        checks_out(books, seed);
    }
}

/// What the transfers say alone is what the accounts hold.
fn checks_out(books: Books, seed: u64) {
    let accounts: Vec<Account> = books.known().accounts.values().cloned().collect();
    let changes = books.changes();
    assert!(changes.posted.len() > 20, "something happened");
    let mut check = LedgerCheck::default();
    for account in accounts {
        check.account(account).expect("once");
    }
    for (index, posted) in changes.posted.iter().enumerate() {
        let numbered = Numbered {
            index: index as u64,
            posted: *posted,
        };
        let checked = check.transfer(&numbered);
        checked.unwrap_or_else(|bad| panic!("seed {seed}: {bad}"));
    }
    check.end().expect("the sums are right");
}
