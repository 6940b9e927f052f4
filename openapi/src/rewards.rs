use serde::Serialize;
use utoipa::ToSchema;

/// `GET /v1/rewards/balance`: accounts. All amounts are micro-VDA, the millionth of a VDA.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsAccountList {
    /// `list`.
    pub object: &'static str,
    /// Accounts in the order of their ids.
    pub data: Vec<RewardsAccount>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}

/// An account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsAccount {
    /// `rewards.account`.
    pub object: &'static str,
    /// 32 hexadecimal digits, as all ids here.
    pub id: String,
    /// `issuance`, `budget`, `escrow`, `provider`, `consumer`, `bonus`, `rounding` or `settlement`.
    pub kind: &'static str,
    /// Whose it is; empty for one of the node's own.
    pub subject: String,
    /// Credits less debits, of what is posted.
    pub balance: i64,
    /// What may still be spent from it.
    pub available: u64,
    /// Reserved to leave.
    pub debits_pending: u64,
    /// Left.
    pub debits_posted: u64,
    /// Announced to come.
    pub credits_pending: u64,
    /// Came.
    pub credits_posted: u64,
}

/// `GET /v1/rewards/transfers`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsTransferList {
    /// `list`.
    pub object: &'static str,
    /// Transfers, oldest first.
    pub data: Vec<RewardsTransfer>,
    /// Whether there are more after the last one.
    pub has_more: bool,
}

/// A transfer. It never changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsTransfer {
    /// `rewards.transfer`.
    pub object: &'static str,
    /// Its place in the ledger and its leaf in the Merkle tree, counting from 0.
    pub index: u64,
    /// Its id.
    pub id: String,
    /// Why: `compute`, `storage`, `verification`, `multi_chain_verification`, `rounding`, `credit`, `issue`, `allot`,
    /// `bonus`, `hold`, `release` or `other`.
    pub kind: &'static str,
    /// `single`, `pending`, `post` or `void`.
    pub state: &'static str,
    /// From which account.
    pub debit: String,
    /// To which account.
    pub credit: String,
    /// How much.
    pub amount: u64,
    /// Which transfer it posts or voids, if one.
    pub pending_id: Option<String>,
    /// Which receipt it is for: the first half of the receipt's SHA-256.
    pub receipt: String,
    /// Seconds until a pending one is void by itself; 0 for never.
    pub timeout_s: u32,
    /// When: nanoseconds since 1970, as text since not every program can hold the number.
    pub at_ns: String,
}

/// `GET /v1/rewards/statement`: what a month brought to each account.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsStatement {
    /// `rewards.statement`.
    pub object: &'static str,
    /// Which month, in UTC.
    pub month: String,
    /// One for each account.
    pub accounts: Vec<RewardsAccountStatement>,
}

/// An account in a month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsAccountStatement {
    /// Which account.
    pub id: String,
    /// What it is for.
    pub kind: &'static str,
    /// Whose it is.
    pub subject: String,
    /// What it held when the month began.
    pub opening: i64,
    /// What it held when it was over, or holds now.
    pub closing: i64,
    /// What was moved, by kind.
    pub lines: Vec<RewardsStatementLine>,
}

/// What of one kind was moved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsStatementLine {
    /// As in a transfer.
    pub kind: &'static str,
    /// How many transfers.
    pub transfers: u64,
    /// What they took.
    pub debits: u64,
    /// What they brought.
    pub credits: u64,
}

/// `GET /v1/rewards/tariff`: what work is worth.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsTariff {
    /// `rewards.tariff`.
    pub object: &'static str,
    /// The prices.
    pub tariff: RewardsPrices,
    /// The same as JSON in its canonical form (RFC 8785).
    pub canonical: String,
    /// Of the canonical form, in hexadecimal digits.
    pub sha256: String,
    /// The hash, signed by the node as a note (C2SP); null if the node's key is sealed.
    pub note: Option<String>,
}

/// Prices in micro-VDA, shares in basis points.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RewardsPrices {
    /// Counts changes.
    pub version: u32,
    /// An hour of a busy slot on a machine of class one.
    pub compute_hour: u64,
    /// The machine of class one: tokens a second with the default model.
    pub class_one_tokens_per_s: u64,
    /// A GB (10^9 bytes) of ciphertext for a month (30 days).
    pub gb_month: u64,
    /// One identity verified.
    pub verification: u64,
    /// One identity verified on several chains.
    pub multi_chain_verification: u64,
    /// The matched share of renewable power from which on there is a bonus.
    pub bonus_from_share_bp: u32,
    /// The bonus at that share.
    pub bonus_min_bp: u32,
    /// The bonus at the whole.
    pub bonus_max_bp: u32,
    /// What may be given as bonuses in a day.
    pub epoch_budget: u64,
    /// What of it may be given for one consumer's work.
    pub pair_budget: u64,
}

/// That an entry is in a log (RFC 9162, section 2.1.3). Hashes are SHA-256 in hexadecimal digits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InclusionProof {
    /// `log.inclusion_proof`.
    pub object: &'static str,
    /// Which entry, counting from 0.
    pub index: u64,
    /// In the log of how many entries.
    pub size: u64,
    /// The bytes whose leaf hash is proved, in base64, if the caller may see them.
    pub leaf: Option<String>,
    /// Their leaf hash.
    pub leaf_hash: String,
    /// The root that the proof leads to.
    pub root: String,
    /// The proof, from the leaf upwards.
    pub hashes: Vec<String>,
}

/// That a log is the beginning of a longer one (RFC 9162, section 2.1.4).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsistencyProof {
    /// `log.consistency_proof`.
    pub object: &'static str,
    /// How many entries the shorter one has.
    pub first: u64,
    /// How many the longer one has.
    pub second: u64,
    /// The root of the shorter one.
    pub first_root: String,
    /// The root of the longer one.
    pub second_root: String,
    /// The proof.
    pub hashes: Vec<String>,
}

/// What has become of a transfer that reserves something.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum PendingTransferState {
    /// Nothing yet.
    Pending,
    /// It was moved.
    Posted,
    /// It was given back.
    Voided,
    /// It was given back since its time was over.
    Expired,
}

/// In which form transfers are told.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum LedgerFormat {
    /// A list.
    Json,
    /// Lines of JSON.
    Jsonl,
    /// With a head (RFC 4180).
    Csv,
    /// For beancount.
    Beancount,
}
