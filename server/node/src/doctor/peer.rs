//! Why a member is reached or not, out of what the control plane and the transport know. Pure.

use std::net::SocketAddr;

use kwaainet_federation::{DialError, PeerState, PeerView, Refusal};
use kwaainet_iroh::{Finding, Reach};

const ABOUT: &str = "peer";

/// One sentence about a member, and what to do.
pub(super) fn finding(view: &PeerView, reach: &Reach, version: &str) -> Finding {
    let who = format!("The node {} ({})", view.node.short(), view.facts.tier);
    let why = view.reason.as_deref().unwrap_or("no reason is known");
    match view.state {
        PeerState::Alive => answers(&who, view, version),
        PeerState::Connecting => match &reach.failure {
            None => Finding::note(ABOUT, format!("{who} is being called.")),
            Some(_) => unreachable(&who, reach),
        },
        PeerState::Distant => Finding::good(ABOUT, format!("{who} is called when there is work for it: {why}.")),
        PeerState::Suspect => Finding::note(ABOUT, format!("{who} is late: {why}.")).advise(
            "If this lasts, its machine or the network between is overloaded.",
        ),
        PeerState::Wedged => Finding::bad(ABOUT, format!("{who} is stuck: {why}.")).advise(
            "Look at the log of that node; it serves again once its engine moves or it is started anew.",
        ),
        PeerState::Draining => Finding::note(ABOUT, format!("{who} takes no more work: {why}.")),
        PeerState::Down => down(&who, why, reach, version),
    }
}

fn answers(who: &str, view: &PeerView, version: &str) -> Finding {
    let rtt = view.facts.rtt.as_secs_f64() * 1e3;
    let other = match view.version.as_str() {
        "" => String::new(),
        theirs if theirs == version => String::new(),
        theirs => format!(" It runs {theirs}, this node {version}."),
    };
    if !view.facts.relayed {
        let says = format!("{who} answers directly, {rtt:.1} ms there and back.{other}");
        return Finding::good(ABOUT, says);
    }
    let says = format!("{who} answers through a relay, {rtt:.1} ms there and back.{other}");
    Finding::note(ABOUT, says).advise(
        "A direct way is faster: let the router of one of the two forward its UDP port, and name the outer \
         address in federation.advertise there.",
    )
}

fn down(who: &str, why: &str, reach: &Reach, version: &str) -> Finding {
    let Some(refusal) = Refusal::of_words(why) else {
        // A call that found no way may leave no failure behind.
        return match &reach.failure {
            None if reach.no_route.is_empty() => {
                Finding::bad(ABOUT, format!("{who} is gone: {why}."))
                    .advise("See whether it runs; it is called again and again.")
            }
            _ => unreachable(who, reach),
        };
    };
    let (says, advice) = match refusal {
        Refusal::Stranger => (
            "does not know this node",
            "There: 'kwaainet invite'. Here: 'kwaainet join' with that ticket. If it knew this node before, it \
             removed it."
                .to_owned(),
        ),
        Refusal::Invitation => (
            "does not accept the ticket: it is used up, expired or revoked",
            "Ask its owner for a new ticket, and join with that.".to_owned(),
        ),
        Refusal::Protocol => (
            "speaks another version of the protocol",
            format!("Bring both to the same version; this node runs {version}."),
        ),
        Refusal::Outdated => (
            "has seen a later start of this node",
            "If this lasts, another node runs with the same key: see that 'kwaainet identity show' says another \
             id on every machine. A clock that was set back mends itself with the next call."
                .to_owned(),
        ),
        Refusal::Full => (
            "has no room for one more peer",
            "It keeps its own nodes first: ask its owner for a better tier.".to_owned(),
        ),
        Refusal::Later | Refusal::Duplicate | Refusal::Unknown => {
            return Finding::note(ABOUT, format!("{who} puts this one off: {why}."));
        }
    };
    Finding::bad(ABOUT, format!("{who} {says}.")).advise(advice)
}

/// What is in the way of datagrams.
fn unreachable(who: &str, reach: &Reach) -> Finding {
    let foreign = reach.foreign_relay.as_ref().map(|url| {
        format!(" It is also behind the relay {url}, which is not among federation.relays here.")
    });
    let foreign = foreign.unwrap_or_default();
    let at = listed(&reach.direct);
    let (says, advice) = match &reach.failure {
        _ if reach.direct.is_empty() && reach.relay.is_none() => (
            format!("{who} tells no address that this node could call."),
            "Let it call this node, or name an address in federation.advertise or an interface in \
             federation.interfaces there; on one local network, federation.lan on both finds it."
                .to_owned(),
        ),
        _ if !reach.direct.is_empty() && reach.no_route.len() == reach.direct.len() => (
            format!("{who} is at {at}, to which this machine has no route."),
            "Connect this machine to that network or VPN, or use a relay that both reach (federation.relays)."
                .to_owned(),
        ),
        Some(DialError::Unreachable { reason, .. }) => (
            format!("{who} cannot be reached at {at}: {reason}."),
            "See what runs at that address; if it is that node, its log says more.".to_owned(),
        ),
        _ => (
            format!("{who} does not answer at {at}."),
            "It is off, has moved, or a firewall drops UDP to it: see that it runs, let UDP through to its \
             port, or use a relay that both reach (federation.relays)."
                .to_owned(),
        ),
    };
    Finding::bad(ABOUT, says + &foreign).advise(advice)
}

fn listed(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    match addresses.as_slice() {
        [] => "its relay".to_owned(),
        addresses => addresses.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{Load, NodeId, PeerFacts, Tier};
    use kwaainet_iroh::Grade;
    use std::sync::Arc;
    use std::time::Duration;

    const NODE: NodeId = NodeId([7; 32]);

    fn view(state: PeerState, reason: Option<&str>) -> PeerView {
        PeerView {
            node: NODE,
            state,
            reason: reason.map(str::to_owned),
            facts: PeerFacts {
                node: NODE,
                tier: Tier::T1,
                region: None,
                price: None,
                grid: None,
                watts: None,
                rtt: Duration::from_micros(1_500),
                relayed: false,
                load: Load::default(),
                ours: 0,
            },
            models: Arc::default(),
            incarnation: 1,
            version: "9.9.9".into(),
            introduced_by: None,
        }
    }

    fn reach(direct: &[&str], failure: Option<DialError>) -> Reach {
        let direct = direct.iter().map(|at| at.parse().expect("an address"));
        Reach {
            direct: direct.collect(),
            failure,
            ..Reach::default()
        }
    }

    /// What is said and advised of a member that is down.
    fn told(reason: &str, reach: &Reach) -> String {
        let found = finding(&view(PeerState::Down, Some(reason)), reach, "1.2.3");
        assert_eq!(found.grade, Grade::Bad, "{found:?}");
        let advice = found.advice.expect("what is broken comes with advice");
        format!("{} {advice}", found.says)
    }

    #[test]
    fn who_answers_is_fine_and_the_way_is_told() {
        let mut alive = view(PeerState::Alive, None);
        let found = finding(&alive, &Reach::default(), "1.2.3");
        assert_eq!(found.grade, Grade::Good);
        for words in ["directly, 1.5 ms", "runs 9.9.9, this node 1.2.3"] {
            assert!(found.says.contains(words), "{}", found.says);
        }
        alive.facts.relayed = true;
        let found = finding(&alive, &Reach::default(), "9.9.9");
        assert_eq!(found.grade, Grade::Note);
        assert!(found.says.contains("relay") && !found.says.contains("9.9.9"));
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        let anywhere = Reach::default();
        for (refusal, remedy) in [
            (Refusal::Stranger, "kwaainet join"),
            (Refusal::Invitation, "new ticket"),
            (Refusal::Protocol, "this node runs 1.2.3"),
            (Refusal::Outdated, "same key"),
            (Refusal::Full, "tier"),
        ] {
            let told = told(refusal.words(), &anywhere);
            assert!(told.contains(remedy), "{refusal:?}: {told}");
        }
        let later = view(PeerState::Down, Some(Refusal::Later.words()));
        assert_eq!(finding(&later, &anywhere, "1").grade, Grade::Note);
    }

    #[test]
    fn each_way_of_not_getting_there_is_told_from_the_others() {
        let gone = "it cannot be reached";
        let timeout = || Some(DialError::Timeout(NODE));
        let nowhere = told(gone, &reach(&[], Some(DialError::NoAddress(NODE))));
        assert!(nowhere.contains("no address"), "{nowhere}");
        let filtered = told(gone, &reach(&["10.0.0.9:5"], timeout()));
        assert!(filtered.contains("10.0.0.9:5") && filtered.contains("firewall"));
        let mut astray = reach(&["10.0.0.9:5"], timeout());
        astray.no_route = astray.direct.clone();
        assert!(told(gone, &astray).contains("no route"));
        let mut elsewhere = reach(&["10.0.0.9:5"], timeout());
        elsewhere.foreign_relay = Some("https://relay.example/".into());
        assert!(told(gone, &elsewhere).contains("https://relay.example/, which is not among"));
        let mut relayed = reach(&[], timeout());
        relayed.relay = Some("https://relay.example/".into());
        assert!(told(gone, &relayed).contains("does not answer at its relay"));
        let refused = DialError::Unreachable {
            node: NODE,
            reason: "it said: too many".into(),
        };
        assert!(told(gone, &reach(&["10.0.0.9:5"], Some(refused))).contains("too many"));
        assert!(told("it is silent", &Reach::default()).contains("it is silent"));
    }

    #[test]
    fn a_member_that_is_called_or_late_breaks_nothing() {
        for (state, grade) in [
            (PeerState::Connecting, Grade::Note),
            (PeerState::Suspect, Grade::Note),
            (PeerState::Draining, Grade::Note),
            (PeerState::Wedged, Grade::Bad),
        ] {
            let found = finding(&view(state, Some("so")), &Reach::default(), "1");
            assert_eq!(found.grade, grade, "{state:?}");
        }
    }
}
