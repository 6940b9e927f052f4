//! The hard filters: who may not serve a job, and why. What is not known of a candidate does not fulfil a
//! demand.

use super::estimate::Estimate;
use super::reason::Reason;
use crate::{Candidate, Constraints, DataClass, Here, ModelDigest, Place};

/// Why this candidate may not even see a job with these constraints, if so. Nothing of this changes with its
/// load.
pub(super) fn refusal(
    candidate: &Candidate,
    constraints: &Constraints,
    here: &Here,
) -> Option<Reason> {
    let place = &candidate.place;
    if let Some(why) = &candidate.unavailable {
        return Some(Reason::Unavailable(why.clone()));
    }
    if constraints
        .peers
        .as_ref()
        .is_some_and(|named| !is_named(place, named, here))
    {
        return Some(Reason::NotNamed);
    }
    if let Some(least) = constraints.tier_min {
        match place {
            Place::Here => {}
            Place::Peer(peer) if peer.tier <= least => {}
            Place::Peer(peer) => return Some(Reason::Tier(Some(peer.tier))),
            Place::Upstream => return Some(Reason::Tier(None)),
        }
    }
    let may_see = match constraints.data_class {
        DataClass::Confidential => is_confidential(place),
        DataClass::Own => place.peer().is_none(),
        DataClass::Normal => true,
    };
    if !may_see {
        return Some(Reason::NotConfidential);
    }
    if !constraints.regions.is_empty() {
        let region = region(place, here);
        let known = region.is_some();
        let lies_in = |wanted: &String| region.is_some_and(|region| is_within(region, wanted));
        if !constraints.regions.iter().any(lies_in) {
            return Some(Reason::Region { known });
        }
    }
    if let Some(most) = constraints.max_price {
        let price = price(place);
        if price.is_none_or(|price| price > most) {
            return Some(Reason::Price(price));
        }
    }
    if let Some(bits) = &constraints.bits {
        let model = &candidate.model;
        let is_same =
            model.digest == Some(bits.digest) && model.numerics.as_ref() == Some(&bits.numerics);
        if !is_same {
            return Some(Reason::OtherBits);
        }
    }
    None
}

/// Why this candidate is too costly or too slow for the job, if so.
pub(super) fn excess(
    constraints: &Constraints,
    estimate: Option<&Estimate>,
    grams: Option<f64>,
) -> Option<Reason> {
    if let Some(most) = constraints.max_gco2_per_1k
        && !grams.is_some_and(|grams| grams <= most)
    {
        return Some(Reason::Carbon(grams));
    }
    if let Some(most) = constraints.max_ttft_ms {
        let known = estimate.filter(|estimate| !estimate.is_guess);
        let ms = known.map(|known| known.first_token().as_millis());
        let ms = ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX));
        if ms.is_none_or(|ms| ms > most) {
            return Some(Reason::FirstToken(ms));
        }
    }
    None
}

/// Whether it has another file than this node under one name, where both say which they have.
pub(super) fn is_other_file(candidate: &Candidate, ours: Option<ModelDigest>) -> bool {
    let both = ours.zip(candidate.model.digest);
    both.is_some_and(|(ours, theirs)| ours != theirs)
}

/// What a place asks in micro-VDA for 1,000 tokens. Its own machine costs the owner nothing.
pub(super) fn price(place: &Place) -> Option<u64> {
    match place {
        Place::Here => Some(0),
        Place::Peer(peer) => peer.price,
        Place::Upstream => None,
    }
}

/// An upstream is whoever answers at an address. The owner trusts him with what is not confidential.
fn is_confidential(place: &Place) -> bool {
    match place {
        Place::Here => true,
        Place::Peer(peer) => peer.tier.is_confidential(),
        Place::Upstream => false,
    }
}

fn is_named(place: &Place, named: &[crate::NodeId], here: &Here) -> bool {
    let node = match place {
        Place::Here => here.node,
        Place::Peer(peer) => Some(peer.node),
        Place::Upstream => None,
    };
    node.is_some_and(|node| named.contains(&node))
}

fn region<'a>(place: &'a Place, here: &'a Here) -> Option<&'a str> {
    match place {
        Place::Here => here.region.as_deref(),
        Place::Peer(peer) => peer.region.as_deref(),
        Place::Upstream => None,
    }
}

/// `eu-west` lies in `eu`, and `europa` does not.
fn is_within(region: &str, wanted: &str) -> bool {
    let rest = region.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}
