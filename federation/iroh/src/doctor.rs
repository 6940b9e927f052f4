//! What the transport sees, in sentences for its owner: about this node, and of the way to each peer. Holds
//! addresses: for the owner's eyes, not for logs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use iroh::Watcher;
use iroh::endpoint::RelayStatus;
use kwaainet_core::NodeId;
use kwaainet_federation::{DialError, PathFacts};

use crate::interfaces::Own;
use crate::transport::{IrohTransport, Lan, Shared};

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// As it should be.
    Good,
    /// Worth knowing, and maybe meant so.
    Note,
    /// Broken.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in one word.
    pub about: &'static str,
    /// How it is.
    pub grade: Grade,
    /// One sentence.
    pub says: String,
    /// What to do, if there is anything to do.
    pub advice: Option<String>,
}

impl Finding {
    /// Something of this grade.
    pub fn new(about: &'static str, grade: Grade, says: impl Into<String>) -> Self {
        Self {
            about,
            grade,
            says: says.into(),
            advice: None,
        }
    }

    /// Something as it should be.
    pub fn good(about: &'static str, says: impl Into<String>) -> Self {
        Self::new(about, Grade::Good, says)
    }

    /// Something worth knowing.
    pub fn note(about: &'static str, says: impl Into<String>) -> Self {
        Self::new(about, Grade::Note, says)
    }

    /// Something broken.
    pub fn bad(about: &'static str, says: impl Into<String>) -> Self {
        Self::new(about, Grade::Bad, says)
    }

    /// The same with what to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The way to a peer, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// How it is reached now, if it is.
    pub path: Option<PathFacts>,
    /// Where it may be reached directly,
    pub direct: Vec<SocketAddr>,
    /// and those of them to which this machine has no route at all.
    pub no_route: Vec<SocketAddr>,
    /// Its relay, if that is one of those configured here,
    pub relay: Option<String>,
    /// and if it is not.
    pub foreign_relay: Option<String>,
    /// Why the last call failed, if it did.
    pub failure: Option<DialError>,
}

impl IrohTransport {
    /// Where this node listens, what it tells others of itself and what not, and its relays.
    pub fn doctor(&self) -> Vec<Finding> {
        let shared = &self.shared;
        let sockets = listed(shared.endpoint.bound_sockets());
        let mut findings = vec![Finding::good(
            "listen",
            format!("It listens on UDP {sockets}."),
        )];
        findings.extend(addresses(shared.own(), !shared.relays.is_empty()));
        findings.extend(relays(shared));
        findings.push(match &shared.lan {
            Lan::Off => Finding::note(
                "lan",
                "It does not look for members on the local network (federation.lan).",
            ),
            Lan::On => Finding::good("lan", "It looks for members on the local network."),
            Lan::Broken(reason) => Finding::bad(
                "lan",
                format!("It cannot look for members on the local network: {reason}."),
            )
            .advise("See that no other program holds UDP port 5353 for itself, or set federation.lan = false."),
        });
        findings
    }

    /// Whether every relay that is used is connected or has failed.
    pub fn relays_are_known(&self) -> bool {
        let states = self.shared.endpoint.home_relay_status().get();
        let is_known = |state: &RelayStatus| {
            state.is_connected()
                || state.auth_denied_reason().is_some()
                || state.last_error().is_some()
        };
        self.shared.relays.is_empty() || (!states.is_empty() && states.iter().all(is_known))
    }

    /// The way to a peer.
    pub fn reach(&self, node: NodeId) -> Reach {
        let seen = self.shared.connections.seen();
        let Some(seen) = seen.into_iter().find(|seen| seen.node == node) else {
            return Reach::default();
        };
        let is_ours = |url: &String| {
            let url = url.parse();
            url.is_ok_and(|url| self.shared.relays.contains(&url))
        };
        let direct = seen.address.direct;
        let (relay, foreign_relay) = match seen.address.relay {
            Some(url) if is_ours(&url) => (Some(url), None),
            other => (None, other),
        };
        Reach {
            path: seen.path,
            no_route: direct.iter().copied().filter(no_route).collect(),
            direct,
            relay,
            foreign_relay,
            failure: seen.failure,
        }
    }
}

/// Whether this machine would not know where to send a datagram. Nothing is sent.
fn no_route(to: &SocketAddr) -> bool {
    let any = match to {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    UdpSocket::bind(any).map_or(true, |socket| socket.connect(to).is_err())
}

fn addresses(own: Vec<Own>, has_relay: bool) -> Vec<Finding> {
    let (hidden, told): (Vec<_>, Vec<_>) = own.into_iter().partition(|own| own.hidden.is_some());
    let mut findings = vec![if told.is_empty() {
        let says = "It has no address to tell others: they reach it only through a relay, or after it \
                    called them.";
        let finding = match has_relay {
            true => Finding::note("address", says),
            false => Finding::bad("address", says),
        };
        finding.advise(
            "Connect a network, name an interface that was left out in federation.interfaces, or an address \
             that a router forwards in federation.advertise.",
        )
    } else {
        let told = told.into_iter().map(|own| match own.interface {
            Some(name) => format!("{} ({name})", own.address),
            None => own.address.to_string(),
        });
        Finding::good(
            "address",
            format!("It tells others that it is at {}.", listed(told)),
        )
    }];
    findings.extend(hidden.into_iter().filter_map(|own| {
        let on = own.interface.map(|name| format!(" (on {name})"));
        let (address, on) = (own.address, on.unwrap_or_default());
        let says = format!("It does not tell others of {address}{on}: {}.", own.hidden?);
        Some(Finding::good("address", says))
    }));
    findings
}

fn relays(shared: &Shared) -> Vec<Finding> {
    if shared.relays.is_empty() {
        let none = "No relay is configured: nodes behind different routers meet only if one of them can be \
                    reached directly.";
        return vec![Finding::good("relay", none)];
    }
    let states = shared.endpoint.home_relay_status().get();
    if states.is_empty() {
        let urls = listed(&shared.relays);
        let says = format!("None of the configured relays ({urls}) has answered yet.");
        let advice = "See that it runs ('kwaainet relay'), that this machine can open a TCP connection to it, \
                      and that its certificate is one that this machine trusts (federation.relay_ca).";
        return vec![Finding::bad("relay", says).advise(advice)];
    }
    states.iter().map(relay).collect()
}

fn relay(state: &RelayStatus) -> Finding {
    let url = state.url();
    match (
        state.is_connected(),
        state.auth_denied_reason(),
        state.last_error(),
    ) {
        (true, ..) => Finding::good("relay", format!("It is connected to the relay {url}.")),
        (_, Some(reason), _) => {
            let says = format!("The relay {url} does not let this node in: {reason}.");
            Finding::bad("relay", says).advise(
                "The relay has to know this node: as a member of its own node, by 'kwaainet relay --node ID', \
                 or by a token (federation.relay_token_file).",
            )
        }
        (_, _, Some(error)) => {
            let says = format!("The relay {url} cannot be reached: {error:#}.");
            Finding::bad("relay", says).advise(
                "See that it runs, that its name resolves, and that no firewall is in the way of TCP to it.",
            )
        }
        _ => Finding::note("relay", format!("The relay {url} is being called.")),
    }
}

fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => "no address".to_owned(),
        items => items.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Hidden;

    fn own(address: &str, interface: &str, hidden: Option<Hidden>) -> Own {
        Own {
            address: address.parse().expect("an address"),
            interface: Some(interface.to_owned()),
            hidden,
        }
    }

    #[test]
    fn what_is_told_and_what_is_not_is_said_with_the_reason() {
        let found = addresses(
            vec![
                own("192.168.1.4:9", "eth0", None),
                own("172.17.0.1:9", "docker0", Some(Hidden::Containers)),
            ],
            false,
        );
        assert!(found.iter().all(|it| it.grade == Grade::Good), "{found:?}");
        assert!(found[0].says.contains("192.168.1.4:9 (eth0)"));
        assert!(found[1].says.contains("172.17.0.1:9 (on docker0)"));
        assert!(found[1].says.contains("containers"));
    }

    #[test]
    fn a_node_without_any_address_is_broken_unless_it_has_a_relay() {
        let hidden = || vec![own("10.9.0.2:9", "wg0", Some(Hidden::Tunnel))];
        for (has_relay, grade) in [(false, Grade::Bad), (true, Grade::Note)] {
            let found = addresses(hidden(), has_relay);
            assert_eq!(found[0].grade, grade);
            let advice = found[0].advice.as_deref().unwrap_or_default();
            assert!(advice.contains("federation.interfaces"), "{advice}");
        }
    }

    #[test]
    fn the_loopback_is_always_on_the_way() {
        let at = "127.0.0.1:9".parse().expect("an address");
        assert!(!no_route(&at));
    }
}
