//! The ledger over a real database.

use std::path::Path;

use kwaainet_core::merkle::{ProofPlan, verify_consistency, verify_inclusion};
use kwaainet_core::{Clock, SystemClock};
use kwaainet_rewards::{
    AccountId, AccountKind, AccrualState, Agreement, Evidence, GreenShare, LEDGER, LedgerCheck,
    MicroVda, Terms, TransferFlags, TransferId, Usage, Work,
};

use super::*;
use crate::{Log, LogHead};

const TERMS: Terms = Terms {
    credit_max: MicroVda::vda(1_000),
    hold_s: 60,
};

async fn open(dir: &Path) -> Store {
    Store::open(&dir.join("node.db")).await.expect("it opens")
}

fn accounts() -> [Account; 2] {
    [
        Account::new(AccountKind::Issuance, ""),
        Account::new(AccountKind::Provider, "a"),
    ]
}

fn transfer(id: u128, amount: u64) -> Transfer {
    let [debit, credit] = accounts().map(|account| account.id);
    Transfer {
        id: TransferId(id),
        debit,
        credit,
        amount: MicroVda(amount),
        pending: TransferId::NONE,
        user_data_128: u128::MAX,
        user_data_64: u64::MAX,
        user_data_32: u32::MAX,
        timeout_s: 0,
        ledger: LEDGER,
        code: 1,
        flags: TransferFlags::default(),
    }
}

/// Reads all of it, and checks it as a stranger would.
async fn check(store: &Store) -> LogHead {
    let mut snapshot = store.ledger_snapshot().await.expect("it answers");
    let head = snapshot.head().await.expect("it answers");
    let mut check = LedgerCheck::default();
    check.checkpoint(head.size, head.root).expect("the first");
    for account in snapshot.accounts(None, 1_000).await.expect("it answers") {
        check.account(account).expect("once");
    }
    let mut from = 0;
    loop {
        let page = snapshot.transfers(from, 97).await.expect("it answers");
        let Some(last) = page.last() else { break };
        from = last.index + 1;
        page.iter()
            .for_each(|transfer| check.transfer(transfer).expect("it keeps the rules"));
    }
    let end = check.end().expect("it is good");
    assert_eq!((end.transfers, end.root), (head.size, head.root));
    head
}

#[tokio::test]
async fn what_was_created_is_there_after_a_restart_and_is_not_created_twice() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    store
        .open_accounts(&accounts())
        .await
        .expect("they are opened");
    let first: Vec<Transfer> = (1..=1_200).map(|id| transfer(id, id as u64)).collect();
    let results = store.create_transfers(&first, 5).await.expect("written");
    assert!(results.iter().all(|result| *result == TransferResult::Ok));
    let head = check(&store).await;
    assert_eq!(head.size, 1_200);
    store.close().await;

    let store = open(dir.path()).await;
    store.open_accounts(&accounts()).await.expect("they stay");
    assert_eq!(check(&store).await, head);
    let again = store.create_transfers(&first, 1).await.expect("it answers");
    assert!(again.iter().all(|result| *result == TransferResult::Exists));
    let other = store
        .create_transfers(&[transfer(7, 8)], 1)
        .await
        .expect("it answers");
    assert_eq!(other, [TransferResult::ExistsWithDifferentAmount]);
    assert_eq!(check(&store).await, head);
    // An older clock gives a later time all the same.
    store
        .create_transfers(&[transfer(2_000, 1)], 1)
        .await
        .expect("written");
    let found = store
        .ledger_transfer(TransferId(2_000))
        .await
        .expect("it answers");
    let found = found.expect("it is there");
    assert_eq!((found.index, found.posted.at_ns), (1_200, 1_205));
    assert_eq!(found.posted.transfer, transfer(2_000, 1));
}

#[tokio::test]
async fn pending_transfers_end_once_and_by_themselves() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    store
        .open_accounts(&accounts())
        .await
        .expect("they are opened");
    let pending = |id, timeout_s| Transfer {
        flags: TransferFlags::PENDING,
        timeout_s,
        ..transfer(id, 10)
    };
    let post = |id, of| Transfer {
        flags: TransferFlags::POST,
        pending: TransferId(of),
        amount: MicroVda::ALL,
        ..transfer(id, 0)
    };
    let made = store
        .create_transfers(&[pending(1, 0), pending(2, 1), pending(3, 1)], 10)
        .await;
    assert_eq!(made.expect("written"), [TransferResult::Ok; 3]);
    let ended = store
        .create_transfers(&[post(4, 1), post(5, 2), post(6, 1)], 20)
        .await;
    let posted = TransferResult::PendingTransferAlreadyPosted;
    assert_eq!(
        ended.expect("written"),
        [TransferResult::Ok, TransferResult::Ok, posted]
    );
    let later = 2_000_000_000;
    assert_eq!(store.expire_transfers(later).await.expect("written"), 1);
    assert_eq!(store.expire_transfers(later).await.expect("written"), 0);
    let ended = store
        .create_transfers(&[post(7, 3)], 30)
        .await
        .expect("written");
    assert_eq!(ended, [TransferResult::PendingTransferExpired]);
    let accounts = store
        .ledger_accounts(Some("a"), None, 10)
        .await
        .expect("it answers");
    assert_eq!(
        (accounts[0].balance(), accounts[0].credits_pending),
        (20, MicroVda::ZERO)
    );
    // An id that failed for want of money stays used.
    let poor = Transfer {
        debit: accounts[0].id,
        credit: AccountId::of(AccountKind::Issuance, ""),
        ..transfer(8, 21)
    };
    let failed = store.create_transfers(&[poor], 40).await.expect("written");
    assert_eq!(failed, [TransferResult::ExceedsCredits]);
    let failed = store
        .create_transfers(&[transfer(8, 1)], 40)
        .await
        .expect("written");
    assert_eq!(failed, [TransferResult::IdAlreadyFailed]);
    check(&store).await;
}

#[tokio::test]
async fn proofs_are_good_for_all_sizes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    store
        .open_accounts(&accounts())
        .await
        .expect("they are opened");
    let mut heads = vec![store.log_head(Log::Ledger).await.expect("it answers")];
    for id in 1..=40 {
        store
            .create_transfers(&[transfer(id, 1)], 1)
            .await
            .expect("written");
        heads.push(store.log_head(Log::Ledger).await.expect("it answers"));
    }
    let transfers = store
        .ledger_transfers(None, None, 0, 100)
        .await
        .expect("it answers");
    let store = &store;
    let prove = |plan: ProofPlan| async move {
        let proof = store.prove(Log::Ledger, &plan).await.expect("it answers");
        proof.expect("it is long enough")
    };
    for size in [1_u64, 2, 3, 17, 32, 40] {
        let head = heads[size as usize];
        for index in 0..size {
            let proof = prove(ProofPlan::inclusion(index, size).expect("in it")).await;
            let leaf = transfers[index as usize].posted.leaf_hash();
            verify_inclusion(&leaf, index, size, &proof, &head.root).expect("it is good");
        }
        for first in 1..=size {
            let old = heads[first as usize];
            let proof = prove(ProofPlan::consistency(first, size).expect("in it")).await;
            let (old, new) = ((first, &old.root), (size, &head.root));
            verify_consistency(old, new, &proof).expect("it is good");
        }
    }
    let longer = ProofPlan::inclusion(3, 41).expect("in it");
    let proof = store.prove(Log::Ledger, &longer).await.expect("it answers");
    assert_eq!(proof, None);
}

#[tokio::test]
async fn transfers_are_never_changed_nor_removed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    store
        .open_accounts(&accounts())
        .await
        .expect("they are opened");
    store
        .create_transfers(&[transfer(1, 1)], 1)
        .await
        .expect("written");
    for sql in [
        "UPDATE ledger_transfers SET amount = 2",
        "DELETE FROM ledger_transfers",
    ] {
        let done = sqlx::query(sql).execute(&store.writer).await;
        assert!(
            done.expect_err("it is refused")
                .to_string()
                .contains("never")
        );
    }
}

fn usage(number: u64, busy_ms: u64, agreement: Agreement) -> Usage {
    Usage {
        channel: [3; 32],
        number,
        consumer: "key:a".into(),
        provider: "node:b".into(),
        work: Work::Compute {
            busy_ms,
            class_milli: 1_234,
        },
        at_ms: 1_000,
        green: GreenShare {
            share_bp: 10_000,
            evidence: Evidence::Certificates,
        },
        agreement,
        reference: [number as u8; 32],
    }
}

#[tokio::test]
async fn receipts_are_accrued_exactly_once_however_often_and_in_whatever_pieces() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let usages: Vec<Usage> = (0..300)
        .map(|n| usage(n, n * 31 % 977, Agreement::Both))
        .collect();
    let mut paid = None;
    for (name, step, overlap) in [("one", 300, 0), ("many", 7, 3), ("single", 1, 1)] {
        let path = dir.path().join(name);
        std::fs::create_dir(&path).expect("it is new");
        let mut store = open(&path).await;
        for at in (0..usages.len()).step_by(step) {
            let from = at.saturating_sub(overlap);
            let part = &usages[from..(at + step).min(usages.len())];
            let cursor = ("local", (at + step) as i64);
            let accrued = store.accrue(part, cursor, TERMS, 7).await.expect("written");
            assert_eq!(
                accrued.len(),
                part.len() - (at - from),
                "the others were there"
            );
            if at % 70 == 0 {
                store.close().await;
                store = open(&path).await;
            }
        }
        assert!(store.accrued_up_to("local").await.expect("it answers") >= 300);
        let accounts = store.ledger_accounts(Some("node:b"), None, 10).await;
        let balance = accounts.expect("it answers")[0].balance();
        assert!(balance > 0);
        assert_eq!(*paid.get_or_insert(balance), balance, "{name}");
        check(&store).await;
        // Overlapping again: nothing.
        let again = store.accrue(&usages, ("local", 1), TERMS, 7).await;
        assert!(again.expect("it answers").is_empty());
        assert!(store.accrued_up_to("local").await.expect("it answers") >= 300);
    }
}

#[tokio::test]
async fn held_receipts_are_settled_once() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    let held = usage(1, 5_000, Agreement::ProviderOnly);
    let accrued = store
        .accrue(std::slice::from_ref(&held), ("peer", 1), TERMS, 7)
        .await;
    assert_eq!(accrued.expect("written")[0].state, AccrualState::Held);
    let settled = store
        .settle(std::slice::from_ref(&held), TERMS, 8)
        .await
        .expect("written");
    assert_eq!(settled[0].state, AccrualState::Paid);
    let again = store
        .settle(std::slice::from_ref(&held), TERMS, 9)
        .await
        .expect("written");
    assert!(again.is_empty());
    check(&store).await;
    let account = AccountId::of(AccountKind::Provider, "node:b");
    let all = Period {
        from_ns: 0,
        to_ns: i64::MAX,
    };
    let (terminus, lines) = store.statement(account, all).await.expect("it answers");
    let credits: u64 = lines.iter().map(|line| line.credits.0).sum();
    assert_eq!((terminus.opening, terminus.closing), (0, credits as i64));
    assert_eq!(settled[0].paid.0 + settled[0].bonus.0, credits);
}

#[tokio::test]
async fn one_checkpoint_of_a_size_is_kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = open(dir.path()).await;
    for note in ["first", "second"] {
        let kept = store.keep_checkpoint(Log::Ledger, 3, note, 1).await;
        kept.expect("written");
    }
    let kept = store.checkpoint(Log::Ledger, 3).await.expect("it answers");
    assert_eq!(kept.as_deref(), Some("first"));
    assert_eq!(
        store.checkpoint(Log::Audit, 3).await.expect("it answers"),
        None
    );
}

/// `cargo test -p kwaainet-store -- --ignored --nocapture durable`
#[tokio::test]
#[ignore = "a measurement; run by `cargo test -p kwaainet-store durable -- --ignored --nocapture`"]
async fn durable_transfers_a_second() {
    use std::io::Write;

    const BATCHES: u128 = 20;
    for size in [1_000, 5_000] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = open(dir.path()).await;
        store
            .open_accounts(&accounts())
            .await
            .expect("they are opened");
        let clock = SystemClock::default();
        for batch in 0..BATCHES {
            let ids = 1 + batch * size..=(batch + 1) * size;
            // Ids in no order, as clients make them.
            let batch: Vec<Transfer> = ids
                .map(|id| {
                    transfer(
                        id.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C8D_5B1E_2A31),
                        1,
                    )
                })
                .collect();
            let results = store.create_transfers(&batch, 1).await.expect("written");
            assert!(results.iter().all(|result| *result == TransferResult::Ok));
        }
        let seconds = clock.monotonic().as_secs_f64();
        let rate = (BATCHES * size) as f64 / seconds;
        writeln!(
            std::io::stdout(),
            "batches of {size}: {rate:.0} transfers a second"
        )
        .expect("told");
        check(&store).await;
    }
}
