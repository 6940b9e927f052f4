//! The rules for one transfer, in the order in which TigerBeetle asks for them.

use super::{Books, PendingState, Undo};
use crate::{
    Account, AccountFlags, AccountId, MicroVda, Posted, Transfer, TransferFlags, TransferId,
    TransferResult,
};

type Checked<T> = Result<T, TransferResult>;

fn demand(holds: bool, otherwise: TransferResult) -> Checked<()> {
    match holds {
        true => Ok(()),
        false => Err(otherwise),
    }
}

impl Books {
    /// Does one transfer.
    pub(super) fn create(&mut self, transfer: &Transfer, now_ns: i64) -> TransferResult {
        match self.try_create(transfer, now_ns) {
            Ok(()) => TransferResult::Ok,
            Err(why) => why,
        }
    }

    fn try_create(&mut self, transfer: &Transfer, now_ns: i64) -> Checked<()> {
        use TransferResult as R;
        demand(!transfer.flags.is_unknown(), R::ReservedFlag)?;
        demand(transfer.id.0 != 0, R::IdMustNotBeZero)?;
        demand(transfer.id.0 != u128::MAX, R::IdMustNotBeIntMax)?;
        if let Some(there) = self.known.transfers.get(&transfer.id) {
            return Err(self.compare(transfer, there));
        }
        demand(
            !self.known.failed.contains(&transfer.id),
            R::IdAlreadyFailed,
        )?;
        match transfer.flags.resolves() {
            true => self.resolve_pending(transfer, now_ns),
            false => self.create_new(transfer, now_ns),
        }
    }

    fn create_new(&mut self, transfer: &Transfer, now_ns: i64) -> Checked<()> {
        use TransferResult as R;
        demand(transfer.debit.0 != 0, R::DebitAccountIdMustNotBeZero)?;
        demand(
            transfer.debit.0 != u128::MAX,
            R::DebitAccountIdMustNotBeIntMax,
        )?;
        demand(transfer.credit.0 != 0, R::CreditAccountIdMustNotBeZero)?;
        demand(
            transfer.credit.0 != u128::MAX,
            R::CreditAccountIdMustNotBeIntMax,
        )?;
        demand(
            transfer.debit != transfer.credit,
            R::AccountsMustBeDifferent,
        )?;
        demand(transfer.pending == TransferId::NONE, R::PendingIdMustBeZero)?;
        let is_pending = transfer.flags.has(TransferFlags::PENDING);
        demand(
            is_pending || transfer.timeout_s == 0,
            R::TimeoutReservedForPendingTransfer,
        )?;
        demand(transfer.ledger != 0, R::LedgerMustNotBeZero)?;
        demand(transfer.code != 0, R::CodeMustNotBeZero)?;
        let debit = self
            .account(transfer.debit)
            .ok_or(R::DebitAccountNotFound)?;
        let credit = self
            .account(transfer.credit)
            .ok_or(R::CreditAccountNotFound)?;
        demand(
            debit.ledger == credit.ledger,
            R::AccountsMustHaveTheSameLedger,
        )?;
        demand(
            transfer.ledger == debit.ledger,
            R::TransferMustHaveTheSameLedgerAsAccounts,
        )?;
        let (debit, credit) = moved(debit, credit, transfer.amount, is_pending)?;
        let posted = self.stamped(*transfer, now_ns);
        let end = i64::from(transfer.timeout_s).checked_mul(1_000_000_000);
        let end = end.and_then(|timeout| posted.at_ns.checked_add(timeout));
        demand(end.is_some(), R::OverflowsTimeout)?;
        no_more_than_allowed(&debit, &credit)?;
        self.put(debit);
        self.put(credit);
        self.keep(posted);
        if is_pending {
            self.known
                .pending
                .insert(transfer.id, PendingState::Pending);
        }
        Ok(())
    }

    fn resolve_pending(&mut self, transfer: &Transfer, now_ns: i64) -> Checked<()> {
        use TransferResult as R;
        let is_post = transfer.flags.has(TransferFlags::POST);
        let is_void = transfer.flags.has(TransferFlags::VOID);
        let is_pending = transfer.flags.has(TransferFlags::PENDING);
        demand(
            !(is_pending || is_post && is_void),
            R::FlagsAreMutuallyExclusive,
        )?;
        demand(transfer.pending.0 != 0, R::PendingIdMustNotBeZero)?;
        demand(transfer.pending.0 != u128::MAX, R::PendingIdMustNotBeIntMax)?;
        demand(transfer.pending != transfer.id, R::PendingIdMustBeDifferent)?;
        demand(
            transfer.timeout_s == 0,
            R::TimeoutReservedForPendingTransfer,
        )?;
        let there = self.known.transfers.get(&transfer.pending);
        let there = *there.ok_or(R::PendingTransferNotFound)?;
        let reserved = there.transfer;
        demand(
            reserved.flags.has(TransferFlags::PENDING),
            R::PendingTransferNotPending,
        )?;
        let filled = fill(transfer, &reserved);
        demand(
            filled.debit == reserved.debit,
            R::PendingTransferHasDifferentDebitAccountId,
        )?;
        demand(
            filled.credit == reserved.credit,
            R::PendingTransferHasDifferentCreditAccountId,
        )?;
        demand(
            filled.ledger == reserved.ledger,
            R::PendingTransferHasDifferentLedger,
        )?;
        demand(
            filled.code == reserved.code,
            R::PendingTransferHasDifferentCode,
        )?;
        demand(
            filled.amount <= reserved.amount,
            R::ExceedsPendingTransferAmount,
        )?;
        demand(
            is_post || filled.amount == reserved.amount,
            R::PendingTransferHasDifferentAmount,
        )?;
        match self.known.pending.get(&reserved.id) {
            Some(PendingState::Pending) => {}
            Some(PendingState::Posted) => return Err(R::PendingTransferAlreadyPosted),
            Some(PendingState::Voided) => return Err(R::PendingTransferAlreadyVoided),
            Some(PendingState::Expired) | None => return Err(R::PendingTransferExpired),
        }
        let now = self.stamped(filled, now_ns).at_ns;
        let is_over = there.expires_at_ns().is_some_and(|end| end <= now);
        demand(!is_over, R::PendingTransferExpired)?;
        self.give_back(&reserved);
        if is_post {
            let debit = self
                .account(reserved.debit)
                .ok_or(R::DebitAccountNotFound)?;
            let credit = self
                .account(reserved.credit)
                .ok_or(R::CreditAccountNotFound)?;
            let (debit, credit) = moved(debit, credit, filled.amount, false)?;
            self.put(debit);
            self.put(credit);
        }
        self.resolve(
            reserved.id,
            match is_post {
                true => PendingState::Posted,
                false => PendingState::Voided,
            },
        );
        let posted = self.stamped(filled, now_ns);
        self.keep(posted);
        Ok(())
    }

    /// What to say of a transfer whose id is taken.
    fn compare(&self, asked: &Transfer, there: &Posted) -> TransferResult {
        use TransferResult as R;
        let there = &there.transfer;
        // What was left out when it was made may be left out again.
        let filled = match self.known.transfers.get(&asked.pending) {
            Some(reserved) if asked.flags.resolves() => fill(asked, &reserved.transfer),
            _ => *asked,
        };
        [
            (asked.flags == there.flags, R::ExistsWithDifferentFlags),
            (
                asked.pending == there.pending,
                R::ExistsWithDifferentPendingId,
            ),
            (
                asked.timeout_s == there.timeout_s,
                R::ExistsWithDifferentTimeout,
            ),
            (
                filled.debit == there.debit,
                R::ExistsWithDifferentDebitAccountId,
            ),
            (
                filled.credit == there.credit,
                R::ExistsWithDifferentCreditAccountId,
            ),
            (filled.amount == there.amount, R::ExistsWithDifferentAmount),
            (
                filled.user_data_128 == there.user_data_128,
                R::ExistsWithDifferentUserData128,
            ),
            (
                filled.user_data_64 == there.user_data_64,
                R::ExistsWithDifferentUserData64,
            ),
            (
                filled.user_data_32 == there.user_data_32,
                R::ExistsWithDifferentUserData32,
            ),
            (filled.ledger == there.ledger, R::ExistsWithDifferentLedger),
            (filled.code == there.code, R::ExistsWithDifferentCode),
        ]
        .into_iter()
        .find_map(|(same, otherwise)| (!same).then_some(otherwise))
        .unwrap_or(R::Exists)
    }

    /// Takes a reservation out of both accounts.
    pub(super) fn give_back(&mut self, reserved: &Transfer) {
        for (id, is_debit) in [(reserved.debit, true), (reserved.credit, false)] {
            let Some(account) = self.account(id) else {
                continue;
            };
            let mut account = account.clone();
            let sum = match is_debit {
                true => &mut account.debits_pending,
                false => &mut account.credits_pending,
            };
            *sum = sum
                .minus(reserved.amount)
                .expect("what is pending was added when it was reserved");
            self.put(account);
        }
    }

    /// Says what became of a pending transfer.
    pub(super) fn resolve(&mut self, id: TransferId, state: PendingState) {
        let before = self.known.pending.insert(id, state);
        let before = before.expect("only what is pending is resolved");
        self.undo.push(Undo::Resolved(id, before));
        self.resolved.push(id);
    }

    fn put(&mut self, account: Account) {
        self.touched.insert(account.id);
        let before = self.known.accounts.insert(account.id, account);
        let before = before.expect("only accounts that are there change");
        self.undo.push(Undo::Account(Box::new(before)));
    }

    fn stamped(&self, transfer: Transfer, now_ns: i64) -> Posted {
        Posted {
            transfer,
            at_ns: now_ns.max(self.known.last_ns + 1),
        }
    }

    fn keep(&mut self, posted: Posted) {
        let id = posted.transfer.id;
        // A transfer that is taken back leaves a gap in the times, which harms nobody.
        self.known.last_ns = posted.at_ns;
        self.known.transfers.insert(id, posted);
        self.posted.push(posted);
        self.undo.push(Undo::Posted(id));
    }
}

/// A transfer that resolves another, with what it leaves out taken from there.
fn fill(transfer: &Transfer, reserved: &Transfer) -> Transfer {
    let account = |given: AccountId, there| {
        if given == AccountId::NONE {
            there
        } else {
            given
        }
    };
    fn number<N: Default + PartialEq>(given: N, there: N) -> N {
        if given == N::default() { there } else { given }
    }
    let is_void = transfer.flags.has(TransferFlags::VOID);
    let all = match is_void {
        true => MicroVda::ZERO,
        false => MicroVda::ALL,
    };
    Transfer {
        debit: account(transfer.debit, reserved.debit),
        credit: account(transfer.credit, reserved.credit),
        amount: match transfer.amount == all {
            true => reserved.amount,
            false => transfer.amount,
        },
        user_data_128: number(transfer.user_data_128, reserved.user_data_128),
        user_data_64: number(transfer.user_data_64, reserved.user_data_64),
        user_data_32: number(transfer.user_data_32, reserved.user_data_32),
        ledger: number(transfer.ledger, reserved.ledger),
        code: number(transfer.code, reserved.code),
        ..*transfer
    }
}

/// Both accounts after so much was moved or reserved.
fn moved(
    debit: &Account,
    credit: &Account,
    amount: MicroVda,
    is_pending: bool,
) -> Checked<(Account, Account)> {
    use TransferResult as R;
    let (mut debit, mut credit) = (debit.clone(), credit.clone());
    if is_pending {
        let sum = debit.debits_pending.plus(amount);
        debit.debits_pending = sum.ok_or(R::OverflowsDebitsPending)?;
        let sum = credit.credits_pending.plus(amount);
        credit.credits_pending = sum.ok_or(R::OverflowsCreditsPending)?;
    } else {
        let sum = debit.debits_posted.plus(amount);
        debit.debits_posted = sum.ok_or(R::OverflowsDebitsPosted)?;
        let sum = credit.credits_posted.plus(amount);
        credit.credits_posted = sum.ok_or(R::OverflowsCreditsPosted)?;
    }
    let all = debit.debits_pending.plus(debit.debits_posted);
    demand(all.is_some(), R::OverflowsDebits)?;
    let all = credit.credits_pending.plus(credit.credits_posted);
    demand(all.is_some(), R::OverflowsCredits)?;
    Ok((debit, credit))
}

/// Whether both accounts may be so.
fn no_more_than_allowed(debit: &Account, credit: &Account) -> Checked<()> {
    use TransferResult as R;
    let debits = debit.debits_pending.plus(debit.debits_posted);
    let debits = debits.ok_or(R::OverflowsDebits)?;
    demand(
        !debit.flags.has(AccountFlags::NO_DEBT) || debits <= debit.credits_posted,
        R::ExceedsCredits,
    )?;
    let credits = credit.credits_pending.plus(credit.credits_posted);
    let credits = credits.ok_or(R::OverflowsCredits)?;
    demand(
        !credit.flags.has(AccountFlags::NO_CREDIT) || credits <= credit.debits_posted,
        R::ExceedsDebits,
    )
}
