//! What others keep on this node, paid by whoever keeps it: byte-seconds, as the meters counted them.
//!
//! A meter only grows. How much of it was accrued is a cursor of its owner's, written with what it came to; so whatever
//! is killed when, each byte-second is paid once.

use data_encoding::HEXLOWER;
use kwaainet_core::{Clock, PrincipalId};
use kwaainet_rewards::{Agreement, Usage, Work};
use kwaainet_store::{DocumentStore, StorageMeter, Store, StoreError};

use super::green::Power;
use super::{BATCH, Paying, digest, is_nobodys, now_ns};

/// When meters were last read that were accrued.
const STORAGE: &str = "storage";

/// Where an owner's cursor is: a name that does not tell whose it is.
pub(crate) fn source(owner: &str) -> String {
    let digest = digest(&[b"kwaainet storage cursor 1", owner.as_bytes()]);
    format!("{STORAGE}:{}", HEXLOWER.encode(&digest))
}

/// Accrues what was metered since.
///
/// # Errors
/// When a database fails; then the same may be tried again.
pub(super) async fn accrue(
    store: &Store,
    documents: &DocumentStore,
    clock: &dyn Clock,
    paying: &Paying,
) -> Result<(), StoreError> {
    let after = store.accrued_up_to(STORAGE).await?;
    let meters = documents.meters_after(after).await?;
    let Some(newest) = meters.iter().map(|meter| meter.metered_at_ms).max() else {
        return Ok(());
    };
    let times: Vec<i64> = meters.iter().map(|meter| meter.metered_at_ms).collect();
    let power = Power::at_times(store, &times, clock.unix_ms()).await?;
    let others: Vec<StorageMeter> = meters.into_iter().filter(is_others).collect();
    for page in others.chunks(BATCH as usize) {
        let (mut usages, mut cursors) = (Vec::new(), Vec::new());
        for meter in page {
            let source = source(meter.owner.as_str());
            let before = store.accrued_up_to(&source).await?.max(0) as u64;
            if meter.byte_seconds > before {
                usages.push(usage(meter, before, &power));
                cursors.push((source, meter.byte_seconds as i64));
            }
        }
        let cursors: Vec<(&str, i64)> = cursors
            .iter()
            .map(|(source, up_to)| (source.as_str(), *up_to))
            .collect();
        let accrued = store.accrue_all(&usages, &cursors, paying.terms, now_ns(clock));
        accrued.await?;
    }
    let all = [(STORAGE, newest)];
    let accrued = store.accrue_all(&[], &all, paying.terms, now_ns(clock));
    accrued.await.map(|_| ())
}

/// Whether somebody else than this node's owner keeps it here, who can pay for it.
fn is_others(meter: &StorageMeter) -> bool {
    meter.owner != PrincipalId::operator() && !is_nobodys(meter.owner.as_str())
}

/// What lay here since the meter was last accrued.
fn usage(meter: &StorageMeter, before: u64, power: &Power) -> Usage {
    let owner = meter.owner.as_str();
    let channel = digest(&[b"kwaainet channel storage 1", owner.as_bytes()]);
    Usage {
        channel,
        number: meter.byte_seconds,
        consumer: owner.to_owned(),
        provider: PrincipalId::operator().to_string(),
        work: Work::Storage {
            byte_seconds: meter.byte_seconds - before,
        },
        at_ms: meter.metered_at_ms,
        green: power.at(meter.metered_at_ms),
        agreement: Agreement::Both,
        reference: digest(&[&channel, &meter.byte_seconds.to_be_bytes()]),
    }
}
