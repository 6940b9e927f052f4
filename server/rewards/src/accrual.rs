//! From work to transfers: one receipt comes to one accrual, which is kept under the receipt's channel and number.
//!
//! Work that both sides signed is paid at once. Work that only one side signed is held: the consumer's amount is
//! pending towards escrow, and is paid from there once he signs too, or comes back when the time is over. What a
//! consumer has not, he owes in settlement, up to a bound; so no consumer's account is ever negative. A bonus is new
//! money, out of the epoch's budget, and only for work that was paid.

use std::collections::HashMap;

use crate::meter::at_most;
use crate::{
    Account, AccountId, AccountKind, Books, LEDGER, Meter, MicroVda, Share, TARIFF, Transfer,
    TransferFlags, TransferId, TransferKind, TransferResult, Wanted, epoch_of,
};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A slot was busy for so many milliseconds, on a machine of this class in thousandths.
    Compute {
        /// How long.
        busy_ms: u64,
        /// See [`Tariff::class_of`](crate::Tariff::class_of).
        class_milli: u64,
    },
    /// Ciphertext was kept.
    Storage {
        /// Bytes times seconds.
        byte_seconds: u64,
    },
    /// An identity was verified.
    Verification,
    /// The same on several chains.
    MultiChain,
}

impl Work {
    /// Which kind of transfer pays it.
    pub fn kind(self) -> TransferKind {
        match self {
            Self::Compute { .. } => TransferKind::Compute,
            Self::Storage { .. } => TransferKind::Storage,
            Self::Verification => TransferKind::Verification,
            Self::MultiChain => TransferKind::MultiChain,
        }
    }

    fn units(self) -> u64 {
        match self {
            Self::Compute {
                busy_ms,
                class_milli,
            } => busy_ms.saturating_mul(class_milli),
            Self::Storage { byte_seconds } => byte_seconds,
            Self::Verification | Self::MultiChain => 1,
        }
    }
}

/// Whether both sides say that it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Both signed, or both are this node.
    Both,
    /// The provider alone.
    ProviderOnly,
}

/// One receipt, as the books see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Of which pair, and since when: what its numbers are unique in.
    pub channel: [u8; 32],
    /// Which of the channel.
    pub number: u64,
    /// Who asked.
    pub consumer: String,
    /// Who worked.
    pub provider: String,
    /// What was done.
    pub work: Work,
    /// When: milliseconds since 1970.
    pub at_ms: i64,
    /// The provider's power at that time, as far as this node knows it: its own only.
    pub green: GreenShare,
    /// Who says so.
    pub agreement: Agreement,
    /// SHA-256 that names the receipt.
    pub reference: [u8; 32],
}

impl Usage {
    fn account(&self, kind: AccountKind) -> Account {
        match kind {
            AccountKind::Consumer | AccountKind::Settlement => Account::new(kind, &self.consumer),
            AccountKind::Provider => Account::new(kind, &self.provider),
            AccountKind::Budget => Account::new(kind, &epoch_of(self.at_ms).to_string()),
            _ => Account::new(kind, ""),
        }
    }

    fn id(&self, step: &str) -> TransferId {
        let number = self.number.to_be_bytes();
        TransferId::derived(&[&self.channel, &number, step.as_bytes()])
    }

    fn meter(&self, kind: TransferKind) -> MeterKey {
        MeterKey {
            consumer: self.account(AccountKind::Consumer).id,
            provider: self.account(AccountKind::Provider).id,
            kind: kind.code(),
        }
    }

    /// What has to be known before it can be accrued.
    pub fn wants(&self, wanted: &mut Wanted) {
        let accounts = AccountKind::EVERY.map(|kind| self.account(kind).id);
        wanted.accounts.extend(accounts);
        wanted.transfers.extend(STEPS.map(|step| self.id(step)));
        wanted.transfers.insert(issue_id(epoch_of(self.at_ms)));
    }

    /// The pair whose bonuses it counts with; none if there is no bonus for it.
    pub fn pair(&self) -> Option<PairKey> {
        (self.bonus_bp() > 0).then(|| PairKey {
            consumer: self.account(AccountKind::Consumer).id,
            provider: self.account(AccountKind::Provider).id,
            epoch: epoch_of(self.at_ms),
        })
    }

    fn bonus_bp(&self) -> u32 {
        let GreenShare { share_bp, evidence } = self.green;
        TARIFF.bonus_bp(share_bp, evidence as usize)
    }

    /// Which meters count it.
    pub fn meters(&self) -> [MeterKey; 2] {
        [
            self.meter(self.work.kind()),
            self.meter(TransferKind::Bonus),
        ]
    }
}

/// Names a meter. Each tariff has meters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeterKey {
    /// Whose work.
    pub consumer: AccountId,
    /// By whom.
    pub provider: AccountId,
    /// Which kind of work.
    pub kind: u16,
}

/// Names who worked for whom in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairKey {
    /// Whose work.
    pub consumer: AccountId,
    /// By whom.
    pub provider: AccountId,
    /// When: days since 1970.
    pub epoch: i64,
}

/// What a batch goes on with, beside the books.
#[derive(Clone, Debug, Default)]
pub struct Meters {
    /// What is less than a micro-VDA.
    pub remainders: HashMap<MeterKey, Meter>,
    /// Bonuses that were given to pairs.
    pub given: HashMap<PairKey, MicroVda>,
}

/// How much of the power was renewable, and how that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GreenShare {
    /// The matched share in basis points.
    pub share_bp: u32,
    /// How it is known.
    pub evidence: Evidence,
}

/// How a share of renewable power is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// The owner says so.
    #[default]
    Declared,
    /// A meter of his own says so.
    LocalMeter,
    /// Several sources say so.
    CrossChecked,
    /// Certificates were cancelled for it.
    Certificates,
}

/// On what terms work is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What one consumer may owe.
    pub credit_max: MicroVda,
    /// Seconds that a consumer has to sign.
    pub hold_s: u32,
}

/// What became of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccrualState {
    /// It is a provider's own work, or worth nothing yet.
    Nothing,
    /// It was paid.
    Paid,
    /// The consumer has not signed yet.
    Held,
    /// It cannot be paid, for this reason.
    Refused(TransferResult),
}

/// What is kept of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accrual {
    /// What became of it.
    pub state: AccrualState,
    /// What the provider got, without the bonus.
    pub paid: MicroVda,
    /// What the consumer paid.
    pub charged: MicroVda,
    /// The bonus.
    pub bonus: MicroVda,
}

const CREDIT: &str = "credit";
const PAY: &str = "pay";
const ROUND: &str = "round";
const HOLD: &str = "hold";
const POST: &str = "post";
const ALLOT: &str = "allot";
const BONUS: &str = "bonus";
const STEPS: [&str; 7] = [CREDIT, PAY, ROUND, HOLD, POST, ALLOT, BONUS];

/// Accrues a receipt that was not accrued before: pays it, or holds it until the consumer signs.
pub fn charge(
    books: &mut Books,
    meters: &mut Meters,
    usage: &Usage,
    terms: Terms,
    now_ns: i64,
) -> Accrual {
    if usage.consumer == usage.provider {
        return Accrual::of(AccrualState::Nothing);
    }
    for kind in AccountKind::EVERY {
        books.open(usage.account(kind));
    }
    match usage.agreement {
        Agreement::Both => pay(books, meters, usage, terms, now_ns, None),
        Agreement::ProviderOnly => hold(books, usage, terms, now_ns),
    }
}

/// Pays a receipt that was held, now that the consumer has signed.
pub fn settle(
    books: &mut Books,
    meters: &mut Meters,
    usage: &Usage,
    terms: Terms,
    now_ns: i64,
) -> Accrual {
    pay(books, meters, usage, terms, now_ns, Some(usage.id(HOLD)))
}

/// The transfer that holds a receipt.
pub fn held(usage: &Usage) -> TransferId {
    usage.id(HOLD)
}

impl Accrual {
    fn of(state: AccrualState) -> Self {
        Self {
            state,
            paid: MicroVda::ZERO,
            charged: MicroVda::ZERO,
            bonus: MicroVda::ZERO,
        }
    }
}

fn hold(books: &mut Books, usage: &Usage, terms: Terms, now_ns: i64) -> Accrual {
    let rate = TARIFF.rate(usage.work.kind());
    let Some(amount) = at_most(usage.work.units(), rate) else {
        return Accrual::of(AccrualState::Refused(TransferResult::OverflowsDebits));
    };
    let mut chain = credit(books, usage, terms, amount);
    let [consumer, escrow] = [AccountKind::Consumer, AccountKind::Escrow];
    chain.push(Transfer {
        flags: TransferFlags::PENDING,
        timeout_s: terms.hold_s,
        ..transfer(usage, HOLD, TransferKind::Hold, (consumer, escrow), amount)
    });
    match apply(books, chain, now_ns) {
        Ok(()) => Accrual::of(AccrualState::Held),
        Err(why) => Accrual::of(AccrualState::Refused(why)),
    }
}

fn pay(
    books: &mut Books,
    meters: &mut Meters,
    usage: &Usage,
    terms: Terms,
    now_ns: i64,
    held: Option<TransferId>,
) -> Accrual {
    let kind = usage.work.kind();
    let meter = meters.remainders.get(&usage.meter(kind));
    let mut meter = meter.copied().unwrap_or_default();
    let Some(share) = meter.count(usage.work.units(), TARIFF.rate(kind)) else {
        return Accrual::of(AccrualState::Refused(TransferResult::OverflowsDebits));
    };
    let (mut chain, payer) = match held {
        None => (
            credit(books, usage, terms, share.charged),
            AccountKind::Consumer,
        ),
        Some(pending) => {
            let post = Transfer {
                pending,
                flags: TransferFlags::POST,
                debit: AccountId::NONE,
                credit: AccountId::NONE,
                code: 0,
                ..transfer(
                    usage,
                    POST,
                    TransferKind::Release,
                    (AccountKind::Consumer, AccountKind::Escrow),
                    share.charged,
                )
            };
            (vec![post], AccountKind::Escrow)
        }
    };
    chain.extend(paying(usage, payer, share));
    if let Err(why) = apply(books, chain, now_ns) {
        return Accrual::of(AccrualState::Refused(why));
    }
    meters.remainders.insert(usage.meter(kind), meter);
    let state = match share.charged.0 + share.paid.0 {
        0 => AccrualState::Nothing,
        _ => AccrualState::Paid,
    };
    Accrual {
        state,
        paid: share.paid,
        charged: share.charged,
        bonus: bonus(books, meters, usage, share.paid, now_ns),
    }
}

/// The transfers that bring a share from who pays to the provider, with what rounding keeps or gives.
fn paying(usage: &Usage, payer: AccountKind, share: Share) -> Vec<Transfer> {
    let provider = AccountKind::Provider;
    let direct = share.paid.min(share.charged);
    let mut chain = Vec::with_capacity(2);
    if direct > MicroVda::ZERO {
        chain.push(transfer(
            usage,
            PAY,
            usage.work.kind(),
            (payer, provider),
            direct,
        ));
    }
    let (way, rest) = match share.charged.minus(share.paid) {
        Some(rest) => ((payer, AccountKind::Rounding), rest),
        None => {
            let rest = share.paid.minus(share.charged);
            let rest = rest.expect("one of the two is not the smaller one");
            ((AccountKind::Rounding, provider), rest)
        }
    };
    if rest > MicroVda::ZERO {
        chain.push(transfer(usage, ROUND, TransferKind::Rounding, way, rest));
    }
    chain
}

/// What the consumer has to owe so that he can pay this much, if he may.
fn credit(books: &Books, usage: &Usage, terms: Terms, needed: MicroVda) -> Vec<Transfer> {
    let [settlement, consumer] = [AccountKind::Settlement, AccountKind::Consumer];
    let account = |kind| books.account(usage.account(kind).id);
    let available = account(consumer).map_or(MicroVda::ZERO, Account::available);
    let short = needed.minus(available).unwrap_or(MicroVda::ZERO);
    let owed = account(settlement).map_or(0, |account| -account.balance());
    let may = terms.credit_max.0.min(MicroVda::MAX.0) as i64;
    if short == MicroVda::ZERO || short > MicroVda::MAX || owed.saturating_add(short.0 as i64) > may
    {
        // Without it the rules say that he has not enough.
        return Vec::new();
    }
    vec![transfer(
        usage,
        CREDIT,
        TransferKind::Credit,
        (settlement, consumer),
        short,
    )]
}

/// Gives the bonus for what was paid, as far as the epoch's budget and the pair's part of it go.
fn bonus(
    books: &mut Books,
    meters: &mut Meters,
    usage: &Usage,
    paid: MicroVda,
    now_ns: i64,
) -> MicroVda {
    let Some(pair) = usage.pair().filter(|_| paid > MicroVda::ZERO) else {
        return MicroVda::ZERO;
    };
    let key = usage.meter(TransferKind::Bonus);
    let mut meter = meters.remainders.get(&key).copied().unwrap_or_default();
    let units = paid.0.saturating_mul(u64::from(usage.bonus_bp()));
    let Some(share) = meter.count(units, TARIFF.rate(TransferKind::Bonus)) else {
        return MicroVda::ZERO;
    };
    let before = meters.given.get(&pair).copied().unwrap_or(MicroVda::ZERO);
    let all = before.plus(share.paid);
    let Some(all) = all.filter(|all| *all <= TARIFF.pair_budget()) else {
        return MicroVda::ZERO;
    };
    issue(books, usage, now_ns);
    let way = |kind, step, way| transfer(usage, step, kind, way, share.paid);
    let chain = vec![
        way(
            TransferKind::Allot,
            ALLOT,
            (AccountKind::Budget, AccountKind::Bonus),
        ),
        way(
            TransferKind::Bonus,
            BONUS,
            (AccountKind::Bonus, AccountKind::Provider),
        ),
    ];
    let given = match share.paid {
        MicroVda::ZERO => true,
        _ => apply(books, chain, now_ns).is_ok(),
    };
    if !given {
        return MicroVda::ZERO;
    }
    meters.remainders.insert(key, meter);
    meters.given.insert(pair, all);
    share.paid
}

/// Makes the epoch's budget, if it was not made yet.
fn issue(books: &mut Books, usage: &Usage, now_ns: i64) {
    let issue = Transfer {
        id: issue_id(epoch_of(usage.at_ms)),
        user_data_128: 0,
        ..transfer(
            usage,
            "",
            TransferKind::Issue,
            (AccountKind::Issuance, AccountKind::Budget),
            TARIFF.budget(),
        )
    };
    books.apply(&[issue], now_ns);
}

fn issue_id(epoch: i64) -> TransferId {
    TransferId::derived(&[b"issue", &epoch.to_be_bytes(), &TARIFF.hash()])
}

fn transfer(
    usage: &Usage,
    step: &str,
    kind: TransferKind,
    (debit, credit): (AccountKind, AccountKind),
    amount: MicroVda,
) -> Transfer {
    let (reference, _) = usage
        .reference
        .split_first_chunk()
        .expect("32 are more than 16");
    Transfer {
        id: usage.id(step),
        debit: usage.account(debit).id,
        credit: usage.account(credit).id,
        amount,
        pending: TransferId::NONE,
        user_data_128: u128::from_be_bytes(*reference),
        user_data_64: usage.number,
        user_data_32: TARIFF.version,
        timeout_s: 0,
        ledger: LEDGER,
        code: kind.code(),
        flags: TransferFlags::default(),
    }
}

/// Does the transfers together; what the one that failed says, if one does.
fn apply(books: &mut Books, mut chain: Vec<Transfer>, now_ns: i64) -> Result<(), TransferResult> {
    let last = chain.len().saturating_sub(1);
    for transfer in &mut chain[..last] {
        transfer.flags = transfer.flags.and(TransferFlags::LINKED);
    }
    let failed = |result: &&TransferResult| {
        !matches!(
            result,
            TransferResult::Ok | TransferResult::LinkedEventFailed
        )
    };
    match books.apply(&chain, now_ns).iter().find(failed) {
        None => Ok(()),
        Some(why) => Err(*why),
    }
}

#[cfg(test)]
mod tests;
