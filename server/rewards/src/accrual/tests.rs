//! From receipts to balances.

use super::*;
use crate::{AccountFlags, Known, Posted};

const TERMS: Terms = Terms {
    credit_max: MicroVda::vda(1_000),
    hold_s: 60,
};
const GREEN: GreenShare = GreenShare {
    share_bp: 10_000,
    evidence: Evidence::Certificates,
};
const HOUR: Work = Work::Compute {
    busy_ms: 3_600_000,
    class_milli: 1_000,
};

fn usage(number: u64, work: Work) -> Usage {
    Usage {
        channel: [3; 32],
        number,
        consumer: "key:a".into(),
        provider: "node:b".into(),
        work,
        at_ms: 1_000,
        green: GreenShare::default(),
        agreement: Agreement::Both,
        reference: [4; 32],
    }
}

fn green(number: u64, work: Work) -> Usage {
    Usage {
        green: GREEN,
        ..usage(number, work)
    }
}

struct Ledger {
    books: Books,
    meters: Meters,
}

impl Ledger {
    fn new() -> Self {
        Self {
            books: Books::new(Known::default()),
            meters: Meters::default(),
        }
    }

    fn charge(&mut self, usage: &Usage, terms: Terms) -> Accrual {
        charge(&mut self.books, &mut self.meters, usage, terms, 1)
    }

    fn balance(&self, kind: AccountKind, subject: &str) -> i64 {
        let account = self.books.account(AccountId::of(kind, subject));
        account.map_or(0, Account::balance)
    }

    fn paid(&self) -> i64 {
        self.balance(AccountKind::Provider, "node:b")
    }

    fn owed(&self) -> i64 {
        -self.balance(AccountKind::Settlement, "key:a")
    }
}

#[test]
fn an_hour_is_paid_by_who_asked() {
    let mut ledger = Ledger::new();
    let accrual = ledger.charge(&usage(1, HOUR), TERMS);
    assert_eq!(accrual.state, AccrualState::Paid);
    assert_eq!(accrual.paid, MicroVda::vda(100));
    assert_eq!((ledger.paid(), ledger.owed()), (100_000_000, 100_000_000));
    assert_eq!(ledger.balance(AccountKind::Consumer, "key:a"), 0);
    for (work, price) in [
        (Work::Verification, 25_000_000),
        (Work::MultiChain, 2_000_000),
        (
            Work::Storage {
                byte_seconds: 1_000_000_000 * 30 * 86_400,
            },
            50_000_000,
        ),
    ] {
        let before = ledger.paid();
        let number = before as u64;
        assert_eq!(
            ledger.charge(&usage(number, work), TERMS).state,
            AccrualState::Paid
        );
        assert_eq!(ledger.paid() - before, price);
    }
}

#[test]
fn who_serves_himself_earns_nothing() {
    let mut ledger = Ledger::new();
    let own = Usage {
        provider: "key:a".into(),
        ..green(1, HOUR)
    };
    assert_eq!(ledger.charge(&own, TERMS).state, AccrualState::Nothing);
    assert!(ledger.books.clone().changes().posted.is_empty());
}

#[test]
fn small_receipts_do_not_drift() {
    let mut ledger = Ledger::new();
    let mut units = 0_u64;
    for number in 0..3_000 {
        let busy_ms = (number * 7) % 13;
        let work = Work::Compute {
            busy_ms,
            class_milli: 333,
        };
        ledger.charge(&usage(number, work), TERMS);
        units += busy_ms * 333;
        let rounding = ledger.balance(AccountKind::Rounding, "");
        assert!(
            (0..=1).contains(&rounding),
            "one meter, one micro-VDA at most"
        );
        assert_eq!(ledger.owed(), ledger.paid() + rounding);
    }
    let exact = u128::from(units) * 100_000_000 / 3_600_000_000;
    assert_eq!(ledger.paid() as u128, exact);
}

#[test]
fn nobody_owes_more_than_he_may() {
    let mut ledger = Ledger::new();
    let terms = Terms {
        credit_max: MicroVda::vda(150),
        ..TERMS
    };
    assert_eq!(
        ledger.charge(&usage(1, HOUR), terms).state,
        AccrualState::Paid
    );
    let refused = AccrualState::Refused(TransferResult::ExceedsCredits);
    assert_eq!(ledger.charge(&usage(2, HOUR), terms).state, refused);
    assert_eq!((ledger.paid(), ledger.owed()), (100_000_000, 100_000_000));
    // What could not be paid does not count towards what can.
    let half = Work::Compute {
        busy_ms: 1_800_000,
        class_milli: 1_000,
    };
    assert_eq!(
        ledger.charge(&usage(3, half), terms).state,
        AccrualState::Paid
    );
    assert_eq!(ledger.paid(), 150_000_000);
}

#[test]
fn what_one_side_says_waits_for_the_other() {
    let mut ledger = Ledger::new();
    let work = Work::Compute {
        busy_ms: 12_345,
        class_milli: 777,
    };
    let alone = Usage {
        agreement: Agreement::ProviderOnly,
        ..usage(1, work)
    };
    assert_eq!(ledger.charge(&alone, TERMS).state, AccrualState::Held);
    assert_eq!(ledger.paid(), 0);
    let Ledger { books, meters } = &mut ledger;
    let settled = settle(books, meters, &alone, TERMS, 2);
    assert_eq!(settled.state, AccrualState::Paid);
    let mut direct = Ledger::new();
    let paid = direct.charge(&usage(1, work), TERMS);
    assert_eq!((settled.paid, settled.charged), (paid.paid, paid.charged));
    assert_eq!(ledger.balance(AccountKind::Escrow, ""), 0);
    assert_eq!(ledger.paid(), direct.paid());
    // Too late: it goes back, and cannot be paid any more.
    let late = Usage { number: 2, ..alone };
    assert_eq!(ledger.charge(&late, TERMS).state, AccrualState::Held);
    ledger.books.expire(61_000_000_000);
    let Ledger { books, meters } = &mut ledger;
    let refused = AccrualState::Refused(TransferResult::PendingTransferExpired);
    assert_eq!(
        settle(books, meters, &late, TERMS, 61_000_000_000).state,
        refused
    );
    let consumer = ledger
        .books
        .account(AccountId::of(AccountKind::Consumer, "key:a"));
    let consumer = consumer.expect("it is there");
    assert_eq!(consumer.debits_pending, MicroVda::ZERO);
    // What he had been lent for it is his to spend.
    let before = ledger.owed();
    assert_eq!(
        ledger.charge(&usage(3, work), TERMS).state,
        AccrualState::Paid
    );
    assert_eq!(ledger.owed(), before);
}

#[test]
fn a_bonus_is_new_money_within_the_epochs_budget() {
    let mut ledger = Ledger::new();
    let accrual = ledger.charge(&green(1, HOUR), TERMS);
    assert_eq!(accrual.bonus, MicroVda::vda(70));
    assert_eq!((ledger.paid(), ledger.owed()), (170_000_000, 100_000_000));
    let rich = Terms {
        credit_max: MicroVda::MAX,
        ..TERMS
    };
    for number in 2..400 {
        let consumer = format!("key:{number}");
        let other = Usage {
            consumer,
            ..green(number, HOUR)
        };
        ledger.charge(&other, rich);
    }
    let budget = TARIFF.epoch_budget as i64;
    let issued = -ledger.balance(AccountKind::Issuance, "");
    assert_eq!(issued, budget, "issued once");
    let given = ledger.paid() - 399 * 100_000_000;
    assert!(given <= budget && given > budget - 70_000_000, "{given}");
    // The next day has a budget of its own.
    let next_day = Usage {
        at_ms: 86_400_000,
        ..green(400, HOUR)
    };
    assert_eq!(ledger.charge(&next_day, rich).bonus, MicroVda::vda(70));
}

#[test]
fn one_consumer_cannot_draw_the_whole_budget() {
    let mut ledger = Ledger::new();
    let rich = Terms {
        credit_max: MicroVda::MAX,
        ..TERMS
    };
    let mut given = 0;
    for number in 1..=20 {
        given += ledger.charge(&green(number, HOUR), rich).bonus.0;
    }
    assert_eq!(given, 14 * 70_000_000, "fifteen would be over a thousand");
    assert_eq!(
        ledger.paid(),
        20 * 100_000_000 + given as i64,
        "work is paid"
    );
    let other = Usage {
        consumer: "key:c".into(),
        ..green(21, HOUR)
    };
    assert_eq!(ledger.charge(&other, rich).bonus, MicroVda::vda(70));
    let next_day = Usage {
        at_ms: 86_400_000,
        ..green(22, HOUR)
    };
    assert_eq!(ledger.charge(&next_day, rich).bonus, MicroVda::vda(70));
}

#[test]
fn what_is_wanted_is_all_that_is_touched() {
    let mut ledger = Ledger::new();
    let usages = [
        green(1, HOUR),
        Usage {
            agreement: Agreement::ProviderOnly,
            ..green(2, HOUR)
        },
    ];
    let mut wanted = Wanted::default();
    for usage in &usages {
        usage.wants(&mut wanted);
        ledger.charge(usage, TERMS);
    }
    let Ledger { books, meters } = &mut ledger;
    settle(books, meters, &usages[1], TERMS, 5);
    let known: Vec<MeterKey> = usages.iter().flat_map(Usage::meters).collect();
    assert!(
        ledger
            .meters
            .remainders
            .keys()
            .all(|key| known.contains(key))
    );
    let changes = ledger.books.changes();
    let touched = |posted: &Posted| {
        let transfer = &posted.transfer;
        let accounts = [transfer.debit, transfer.credit];
        wanted.transfers.contains(&transfer.id)
            && accounts
                .iter()
                .all(|account| wanted.accounts.contains(account))
    };
    assert!(changes.posted.iter().all(touched));
    let bounded = |account: &&Account| account.flags.has(AccountFlags::NO_DEBT);
    assert!(
        changes
            .accounts
            .iter()
            .filter(bounded)
            .all(|account| account.balance() >= 0)
    );
}
