//! Identities that this node verified for others, paid by whoever asked. There is no bonus for them, since they take no
//! power to speak of.

use kwaainet_core::{Clock, PrincipalId};
use kwaainet_rewards::{Agreement, GreenShare, Usage, Work};
use kwaainet_store::{Store, StoreError, VerificationKind, VerificationRecord};

use super::{BATCH, Paying, digest, is_nobodys, now_ns};

const VERIFICATIONS: &str = "verifications";

/// Accrues a page; says whether there may be more.
///
/// # Errors
/// When the database fails; then the same may be tried again.
pub(super) async fn accrue(
    store: &Store,
    clock: &dyn Clock,
    paying: &Paying,
) -> Result<bool, StoreError> {
    let after = store.accrued_up_to(VERIFICATIONS).await?;
    let page = store.verifications_after(after, BATCH).await?;
    let Some(last) = page.last() else {
        return Ok(false);
    };
    let others = page.iter().filter(|one| !is_nobodys(&one.principal));
    let usages: Vec<Usage> = others.map(usage).collect();
    let cursor = (VERIFICATIONS, last.seq);
    let accrued = store.accrue(&usages, cursor, paying.terms, now_ns(clock));
    accrued.await.map(|_| true)
}

fn usage(record: &VerificationRecord) -> Usage {
    let channel = digest(&[b"kwaainet channel verifications 1"]);
    Usage {
        channel,
        number: record.seq.max(0) as u64,
        consumer: record.principal.clone(),
        provider: PrincipalId::operator().to_string(),
        work: match record.kind {
            VerificationKind::Identity => Work::Verification,
            VerificationKind::MultiChain => Work::MultiChain,
        },
        at_ms: record.at_ms,
        green: GreenShare::default(),
        agreement: Agreement::Both,
        reference: digest(&[&channel, &record.seq.to_be_bytes()]),
    }
}
