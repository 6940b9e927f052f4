//! Files that are written here are read here, and a change anywhere is seen.

use super::*;
use crate::{
    Account, AccountId, AccountKind, Books, Known, LEDGER, MicroVda, Transfer, TransferFlags,
    TransferId,
};

fn ledger() -> (Vec<Account>, Vec<Numbered>) {
    let mut books = Books::new(Known::default());
    let issuance = Account::new(AccountKind::Issuance, "");
    let user = Account::new(AccountKind::Consumer, "key:\"a\\b\"");
    let ids = (issuance.id, user.id);
    books.open(issuance);
    books.open(user);
    let transfer = |id: u128, flags, pending: u128, amount: u64| Transfer {
        id: TransferId(id),
        debit: ids.0,
        credit: ids.1,
        amount: MicroVda(amount),
        pending: TransferId(pending),
        user_data_128: 1,
        user_data_64: 2,
        user_data_32: 3,
        timeout_s: 0,
        ledger: LEDGER,
        code: 1,
        flags,
    };
    let none = TransferFlags::default();
    let batch = [
        transfer(1, none, 0, 1_500_000),
        transfer(2, TransferFlags::PENDING, 0, 9),
        transfer(3, TransferFlags::POST, 2, 4),
        transfer(4, TransferFlags::PENDING, 0, 9),
        transfer(5, TransferFlags::VOID, 4, 0),
        transfer(6, TransferFlags::PENDING, 0, 7),
    ];
    let results = books.apply(&batch, 1_763_856_000_000_000_000);
    assert!(
        results.iter().all(|result| result.is_there()),
        "{results:?}"
    );
    let mut accounts: Vec<Account> = books.known().accounts.values().cloned().collect();
    accounts.sort_by_key(|account| account.id);
    let posted = books.changes().posted.into_iter().enumerate();
    let posted = posted.map(|(index, posted)| Numbered {
        index: index as u64,
        posted,
    });
    (accounts, posted.collect())
}

fn check(accounts: &[Account], transfers: &[Numbered]) -> Result<LedgerEnd, BadLedger> {
    let mut check = LedgerCheck::default();
    for account in accounts {
        check.account(account.clone())?;
    }
    for transfer in transfers {
        check.transfer(transfer)?;
    }
    check.end()
}

#[test]
fn lines_say_what_was_meant() {
    let (accounts, transfers) = ledger();
    for account in &accounts {
        let text = Line::Account(account.into()).text();
        let Ok(Line::Account(line)) = serde_json::from_str(&text) else {
            panic!("{text}");
        };
        assert_eq!(Account::try_from(&line), Ok(account.clone()));
    }
    for transfer in &transfers {
        let text = Line::Transfer(transfer.into()).text();
        let Ok(Line::Transfer(line)) = serde_json::from_str(&text) else {
            panic!("{text}");
        };
        assert_eq!(Numbered::try_from(&line), Ok(*transfer));
        for bad in [String::new(), "+".repeat(32), "0".repeat(33)] {
            let line = TransferLine {
                id: bad,
                ..line.clone()
            };
            assert!(Numbered::try_from(&line).is_err());
        }
    }
}

#[test]
fn a_ledger_is_good_as_it_is_and_in_no_other_way() {
    let (accounts, transfers) = ledger();
    let end = check(&accounts, &transfers).expect("it is good");
    assert_eq!((end.transfers, end.accounts, end.pending), (6, 2, 1));
    for at in 0..transfers.len() {
        let mut changed = transfers.clone();
        changed[at].posted.transfer.amount.0 += 1;
        let differs = match check(&accounts, &changed) {
            Err(_) => true,
            Ok(other) => other.root != end.root,
        };
        assert!(differs, "transfer {at}");
        let mut missing = transfers.clone();
        missing.remove(at);
        assert!(check(&accounts, &missing).is_err() || at + 1 == transfers.len());
    }
    let mut twice = transfers.clone();
    twice[2].posted.transfer.id = twice[0].posted.transfer.id;
    assert!(check(&accounts, &twice).is_err());
    let mut other = accounts.clone();
    other[0].credits_posted.0 += 1;
    assert!(matches!(
        check(&other, &transfers),
        Err(BadLedger::Account { .. })
    ));
    let mut roots = LedgerCheck::default();
    roots.checkpoint(3, [7; 32]).expect("not known yet");
    assert_eq!(roots.checkpoint(3, [8; 32]), Err(BadLedger::Root(3)));
    for account in &accounts {
        roots.account(account.clone()).expect("once");
    }
    let checked = transfers
        .iter()
        .try_for_each(|transfer| roots.transfer(transfer));
    assert_eq!(checked, Err(BadLedger::Root(3)));
    let mut short = LedgerCheck::default();
    short.checkpoint(9, [7; 32]).expect("not known yet");
    assert_eq!(short.end(), Err(BadLedger::Short(9)));
}

#[test]
fn beancount_and_csv_have_every_transfer() {
    let (accounts, transfers) = ledger();
    let of = |id: AccountId| {
        accounts
            .iter()
            .find(|account| account.id == id)
            .expect("known")
    };
    let mut text = beancount_head();
    for account in &accounts {
        text += &beancount_account(account, Some(&account.subject));
    }
    for transfer in &transfers {
        let moved = &transfer.posted.transfer;
        text += &beancount_transfer(transfer, of(moved.debit), of(moved.credit));
    }
    assert!(
        text.contains("2025-11-23 * \"compute\"\n  index: 0\n"),
        "{text}"
    );
    assert!(text.contains("  Equity:Issuance 1.500000 VDA\n"), "{text}");
    assert!(text.contains("subject: \"key:\\\"a\\\\b\\\"\""), "{text}");
    assert_eq!(text.matches(" * \"").count(), 2);
    let last = transfers.last().expect("several").posted.at_ns;
    let balances: String = accounts
        .iter()
        .map(|account| beancount_balance(account, last))
        .collect();
    assert!(
        balances.contains("2025-11-24 balance Equity:Issuance 1.500004 VDA\n"),
        "{balances}"
    );
    let line = csv_line(&transfers[0]);
    assert!(line.starts_with("0,2025-11-23T00:00:00Z,"), "{line}");
    let columns = |line: &str| line.split(',').count();
    assert!(
        transfers
            .iter()
            .all(|transfer| columns(&csv_line(transfer)) == columns(CSV_HEAD))
    );
}
