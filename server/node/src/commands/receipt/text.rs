//! Receipts and claims, each in one line.

use data_encoding::HEXLOWER;
use kwaainet_core::ModelDigest;
use kwaainet_federation::SignedReceipt;
use kwaainet_store::ClaimRecord;

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn model(digest: Option<ModelDigest>) -> String {
    digest.map_or_else(|| "unknown".to_owned(), |digest| digest.to_string())
}

/// Which receipt it is.
pub(super) fn place(receipt: &SignedReceipt) -> String {
    let place = receipt.place;
    let (state, number) = match place.link() {
        Some((number, _)) => ("final", number),
        None => ("checkpoint", 0),
    };
    format!(
        "state={state} server={} asker={} chain={} stream={} revision={} number={number} request={}",
        receipt.server,
        receipt.asker,
        place.chain,
        place.stream,
        place.revision,
        hex(&receipt.service.request),
    )
}

/// All that a receipt says.
pub(super) fn says(receipt: &SignedReceipt, countersigned: bool) -> String {
    let service = &receipt.service;
    format!(
        "{} question={} model={} prompt_tokens={} cached_tokens={} completion_tokens={} began_ms={} \
         duration_ms={} energy_mj={} energy={} transcript={} complete={} countersigned={countersigned}",
        place(receipt),
        hex(&service.request_hash),
        model(service.model),
        service.usage.prompt_tokens,
        service.usage.cached_tokens,
        service.usage.completion_tokens,
        service.began_ms,
        service.duration_ms,
        service.energy_mj,
        service.energy_method,
        hex(&service.transcript_hash),
        service.complete,
    )
}

/// What this node saw and nobody signed.
pub(super) fn claims(claim: &ClaimRecord) -> String {
    format!(
        "state=claim server={} request={} question={} model={} prompt_tokens={} cached_tokens={} \
         completion_tokens={} began_ms={} duration_ms={} transcript={} signed=false",
        claim.server,
        hex(&claim.request),
        hex(&claim.request_hash),
        model(claim.model.map(ModelDigest)),
        claim.prompt_tokens,
        claim.cached_tokens,
        claim.completion_tokens,
        claim.began_ms,
        claim.duration_ms,
        hex(&claim.transcript_hash),
    )
}
