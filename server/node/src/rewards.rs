//! The task that pays: reads what was worked since (receipts, meters of storage, verifications), turns each into a usage,
//! and gives them to the books.
//!
//! It may be killed at any moment: receipts are read from where the books say they were read up to, and what they come
//! to is written together with that place.

pub(crate) mod class;
mod green;
mod storage;
mod verified;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::merkle::Checkpoint;
use kwaainet_core::{Clock, NodeId, Outcome, PrincipalId};
use kwaainet_federation::{CounterSignature, SignedReceipt};
use kwaainet_identity::{NodeKey, sign_note};
use kwaainet_rewards::{AccrualState, Agreement, GreenShare, Terms, Usage, Work};
use kwaainet_store::{
    AccruableReceipt, DocumentStore, ERASED, Log, ServiceRecord, Store, StoreError,
};
use sha2::{Digest, Sha256};

use crate::config::Config;
use green::Power;
pub(crate) use storage::source as storage_source;

/// How often it is looked whether there is something to pay.
const PERIOD: Duration = Duration::from_secs(2);
/// How often the ledger's head is signed, if it has grown.
const CHECKPOINT_PERIOD: Duration = Duration::from_secs(60);
/// Receipts that are accrued at once.
const BATCH: u32 = 500;
/// The longest work that one receipt can be paid for: its asker cannot see how long a slot was busy.
const BUSY_MAX_MS: u64 = 3_600_000;
/// The class of machines of others.
const CLASS_ONE_MILLI: u64 = 1_000;

/// Receipts of this node's own hallway.
const LOCAL: &str = "local";
/// Signed receipts between nodes.
const PEERS: &str = "peers";

/// Who may be paid for what on this node.
#[derive(Clone, Debug)]
pub struct Paying {
    terms: Terms,
    class_milli: u64,
    /// Backends that are not this machine.
    upstreams: HashSet<String>,
    /// This node, if it meets others.
    own: Option<NodeId>,
}

impl Paying {
    /// As the owner chose.
    pub fn new(config: &Config, own: Option<NodeId>) -> Self {
        Self {
            terms: config.rewards.terms(),
            class_milli: config
                .rewards
                .class_milli(class::measured(&config.data_dir)),
            upstreams: config.upstream.iter().map(|up| up.id.clone()).collect(),
            own,
        }
    }
}

/// Pays until dropped.
pub(crate) async fn run(
    (store, documents): (Store, DocumentStore),
    clock: Arc<dyn Clock>,
    key: Option<NodeKey>,
    paying: Paying,
) {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut signed = clock.monotonic();
    loop {
        ticks.tick().await;
        if let Err(error) = once((&store, &documents), clock.as_ref(), &paying).await {
            tracing::error!(%error, "work cannot be accrued");
            continue;
        }
        let due = clock.monotonic().saturating_sub(signed) >= CHECKPOINT_PERIOD;
        if let (true, Some(key)) = (due, &key) {
            signed = clock.monotonic();
            if let Err(error) = checkpoint(&store, clock.as_ref(), key, Log::Ledger).await {
                tracing::error!(%error, "the ledger's head cannot be signed");
            }
        }
    }
}

/// Pays all that is there now.
///
/// # Errors
/// When the database fails; then the same may be tried again.
pub async fn once(
    (store, documents): (&Store, &DocumentStore),
    clock: &dyn Clock,
    paying: &Paying,
) -> Result<(), StoreError> {
    while accrue_local(store, clock, paying).await? {}
    while verified::accrue(store, clock, paying).await? {}
    storage::accrue(store, documents, clock, paying).await?;
    if let Some(own) = paying.own {
        while accrue_peers(store, clock, paying, own).await? {}
        settle(store, clock, paying).await?;
    }
    let expired = store.expire_transfers(now_ns(clock)).await?;
    if expired > 0 {
        tracing::info!(
            expired,
            "receipts were not signed in time; nobody pays for them"
        );
    }
    Ok(())
}

/// Accrues a page of the node's own receipts; says whether there may be more.
async fn accrue_local(
    store: &Store,
    clock: &dyn Clock,
    paying: &Paying,
) -> Result<bool, StoreError> {
    let after = store.accrued_up_to(LOCAL).await?;
    let page = store.receipts_after(after, BATCH).await?;
    let Some(last) = page.last() else {
        return Ok(false);
    };
    let times: Vec<i64> = page.iter().map(|receipt| receipt.admitted_at_ms).collect();
    let power = Power::at_times(store, &times, clock.unix_ms()).await?;
    let usages: Vec<Usage> = page
        .iter()
        .filter_map(|receipt| local(receipt, paying, &power))
        .collect();
    let up_to = (LOCAL, last.seq);
    let accruals = store
        .accrue(&usages, up_to, paying.terms, now_ns(clock))
        .await?;
    let refused = |state: &AccrualState| matches!(state, AccrualState::Refused(_));
    let refused = accruals
        .iter()
        .filter(|accrual| refused(&accrual.state))
        .count();
    if refused > 0 {
        tracing::warn!(
            refused,
            "work was done for principals who owe too much to pay"
        );
    }
    Ok(true)
}

/// The same for receipts between nodes.
async fn accrue_peers(
    store: &Store,
    clock: &dyn Clock,
    paying: &Paying,
    own: NodeId,
) -> Result<bool, StoreError> {
    let after = store.accrued_up_to(PEERS).await?;
    let page = store.ended_services(after, BATCH).await?;
    let Some((last, _)) = page.last() else {
        return Ok(false);
    };
    let usages = page.iter().filter_map(|(_, service)| peers(service, own));
    let mut usages: Vec<Usage> = usages.collect();
    shine(&mut usages, store, clock).await?;
    store
        .accrue(&usages, (PEERS, *last), paying.terms, now_ns(clock))
        .await?;
    Ok(true)
}

/// Pays what was held and has both signatures by now.
async fn settle(store: &Store, clock: &dyn Clock, paying: &Paying) -> Result<(), StoreError> {
    let held = store.held_services(BATCH).await?;
    let agreed = held.into_iter().filter_map(|held| {
        let receipt = SignedReceipt::open(&held.service.receipt).ok()?;
        is_countersigned(&held.service, &receipt).then_some(held.usage)
    });
    let mut agreed: Vec<Usage> = agreed.collect();
    shine(&mut agreed, store, clock).await?;
    if !agreed.is_empty() {
        store.settle(&agreed, paying.terms, now_ns(clock)).await?;
    }
    Ok(())
}

/// Says of the node's own work how green its power was. Of others' that is not known here.
async fn shine(usages: &mut [Usage], store: &Store, clock: &dyn Clock) -> Result<(), StoreError> {
    let owner = PrincipalId::operator();
    let own = usages
        .iter_mut()
        .filter(|usage| usage.provider == owner.as_str());
    let own: Vec<&mut Usage> = own.collect();
    let times: Vec<i64> = own.iter().map(|usage| usage.at_ms).collect();
    let power = Power::at_times(store, &times, clock.unix_ms()).await?;
    for usage in own {
        usage.green = power.at(usage.at_ms);
    }
    Ok(())
}

/// Whoever has receipts of his own with this node, or no name any more.
fn is_nobodys(principal: &str) -> bool {
    principal.starts_with("peer:") || principal == ERASED
}

/// What one of the node's own receipts is paid for: work that this machine did for somebody else. What peers asked is
/// in receipts that both sides sign, what peers or upstream servers did is not this machine's work, and who was erased
/// cannot pay.
fn local(receipt: &AccruableReceipt, paying: &Paying, power: &Power) -> Option<Usage> {
    let backend = receipt.backend.as_deref()?;
    let is_here = !backend.starts_with("peer:") && !paying.upstreams.contains(backend);
    if !is_here || is_nobodys(&receipt.principal) || receipt.outcome == Outcome::Error {
        return None;
    }
    Some(Usage {
        channel: digest(&[b"kwaainet channel local 1"]),
        number: receipt.seq.max(0) as u64,
        consumer: receipt.principal.clone(),
        provider: PrincipalId::operator().to_string(),
        work: Work::Compute {
            busy_ms: receipt.duration_ms.min(BUSY_MAX_MS),
            class_milli: paying.class_milli,
        },
        at_ms: receipt.admitted_at_ms,
        green: power.at(receipt.admitted_at_ms),
        agreement: Agreement::Both,
        reference: digest(&[receipt.job.as_bytes()]),
    })
}

/// What a receipt between nodes is paid for. A checkpoint is not; what stands in it stands in the receipt after it too.
fn peers(service: &ServiceRecord, own: NodeId) -> Option<Usage> {
    let receipt = match SignedReceipt::open(&service.receipt) {
        Ok(receipt) => receipt,
        Err(error) => {
            tracing::error!(%error, "the database holds a changed receipt");
            return None;
        }
    };
    let (number, _) = receipt.place.link()?;
    let name = |node: NodeId| match node == own {
        true => PrincipalId::operator().to_string(),
        false => format!("peer:{node}"),
    };
    let chain = receipt.place.chain.to_be_bytes();
    let both = is_countersigned(service, &receipt);
    Some(Usage {
        channel: digest(&[
            b"kwaainet channel 1",
            &receipt.server.0,
            &receipt.asker.0,
            &chain,
        ]),
        number,
        consumer: name(receipt.asker),
        provider: name(receipt.server),
        work: Work::Compute {
            busy_ms: receipt.service.duration_ms.min(BUSY_MAX_MS),
            class_milli: CLASS_ONE_MILLI,
        },
        at_ms: receipt.service.began_ms.min(i64::MAX as u64) as i64,
        green: GreenShare::default(),
        agreement: match both {
            true => Agreement::Both,
            false => Agreement::ProviderOnly,
        },
        reference: receipt.hash(),
    })
}

fn is_countersigned(service: &ServiceRecord, receipt: &SignedReceipt) -> bool {
    let counter = service.counter.as_deref();
    counter.is_some_and(|counter| CounterSignature::open(counter, receipt).is_ok())
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn now_ns(clock: &dyn Clock) -> i64 {
    clock.unix_ms().saturating_mul(1_000_000)
}

/// The name of one of a node's logs.
pub fn origin(node: NodeId, log: Log) -> String {
    match log {
        Log::Ledger => format!("kwaainet/{node}/ledger"),
        Log::Audit => format!("kwaainet/{node}/audit"),
    }
}

/// Signs the head of a log as it is now, and keeps that; what was signed for this size before stays.
pub(crate) async fn checkpoint(
    store: &Store,
    clock: &dyn Clock,
    key: &NodeKey,
    log: Log,
) -> Result<String, StoreError> {
    let head = store.log_head(log).await?;
    if let Some(note) = store.checkpoint(log, head.size).await? {
        return Ok(note);
    }
    let origin = origin(key.id(), log);
    let text = Checkpoint {
        origin: origin.clone(),
        size: head.size,
        root: head.root,
    };
    let note = sign_note(key, &origin, &text.text());
    store
        .keep_checkpoint(log, head.size, &note, clock.unix_ms())
        .await?;
    Ok(note)
}
