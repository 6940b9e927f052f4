//! What the transport sees, in sentences for its owner.

use iroh::Watcher;
use kwaainet_federation::{DialError, PeerTransport};

use crate::connections::Seen;
use crate::interfaces::Own;
use crate::transport::{IrohTransport, Lan, Shared};

impl IrohTransport {
    /// One sentence for each thing that matters when nodes do not find each other: where this node listens, what
    /// it tells others and what not, its relays, and how each peer is reached or why it is not. Holds addresses:
    /// for the owner's eyes, not for logs.
    pub fn doctor(&self) -> Vec<String> {
        let shared = &self.shared;
        let mut sentences = vec![format!("This node is {}.", self.node())];
        sentences.push(listens(shared));
        sentences.extend(addresses(shared.own()));
        sentences.extend(relays(shared));
        sentences.push(match &shared.lan {
            Lan::Off => "It does not look for members on the local network.".to_owned(),
            Lan::On => "It looks for members on the local network.".to_owned(),
            Lan::Broken(reason) => {
                format!("It cannot look for members on the local network: {reason}.")
            }
        });
        let peers = shared.connections.seen();
        sentences.extend(peers.into_iter().map(|seen| peer(shared, seen)));
        sentences
    }
}

fn listens(shared: &Shared) -> String {
    let sockets = shared.endpoint.bound_sockets();
    format!("It listens on UDP {}.", listed(sockets))
}

fn addresses(own: Vec<Own>) -> Vec<String> {
    let (hidden, told): (Vec<_>, Vec<_>) = own.into_iter().partition(|own| own.hidden.is_some());
    let mut sentences = vec![if told.is_empty() {
        "It has no address to tell others: they reach it only through a relay, or after it called them."
            .to_owned()
    } else {
        let told = told.into_iter().map(|own| own.address);
        format!("It tells others that it is at {}.", listed(told))
    }];
    sentences.extend(hidden.into_iter().filter_map(|own| {
        let on = own.interface.map(|name| format!(" (on {name})"));
        let (address, on) = (own.address, on.unwrap_or_default());
        Some(format!(
            "It does not tell others of {address}{on}: {}.",
            own.hidden?
        ))
    }));
    sentences
}

fn relays(shared: &Shared) -> Vec<String> {
    if shared.relays.is_empty() {
        let none = "No relay is configured: nodes behind different routers meet only if one of them can be \
                    reached directly.";
        return vec![none.to_owned()];
    }
    let states = shared.endpoint.home_relay_status().get();
    let states = states.into_iter().map(|state| {
        let url = state.url();
        match (
            state.is_connected(),
            state.auth_denied_reason(),
            state.last_error(),
        ) {
            (true, ..) => format!("It is connected to the relay {url}."),
            (_, Some(reason), _) => format!("The relay {url} does not let this node in: {reason}."),
            (_, _, Some(error)) => format!("The relay {url} cannot be reached: {error:#}."),
            _ => format!("The relay {url} is being called."),
        }
    });
    let states: Vec<_> = states.collect();
    if states.is_empty() {
        let urls = listed(&shared.relays);
        return vec![format!(
            "None of the configured relays ({urls}) has answered yet."
        )];
    }
    states
}

fn peer(shared: &Shared, seen: Seen) -> String {
    let node = seen.node;
    if let Some(path) = seen.path {
        let way = if path.relayed {
            "through a relay"
        } else {
            "directly"
        };
        let rtt = path.rtt.unwrap_or_default().as_secs_f64() * 1e3;
        return format!("The node {node} is connected {way}, {rtt:.1} ms there and back.");
    }
    let direct = listed(&seen.address.direct);
    let foreign = seen.address.relay.filter(|url| {
        let url = url.parse();
        !url.is_ok_and(|url| shared.relays.contains(&url))
    });
    let foreign = foreign.map(|url| {
        format!(
            " It is also behind the relay {url}, which is not among the relays configured here."
        )
    });
    let why = match seen.failure {
        None => format!("The node {node} is not connected."),
        Some(DialError::NoAddress(_)) => format!(
            "Nothing is known of where the node {node} is: let it call this one, or turn on the search of the \
             local network on both."
        ),
        Some(DialError::Timeout(_)) => format!(
            "The node {node} does not answer at {direct}: it is off, has moved, or a firewall drops UDP to it."
        ),
        Some(error) => format!("{error}."),
    };
    why + &foreign.unwrap_or_default()
}

fn listed<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    match items.as_slice() {
        [] => "no address".to_owned(),
        items => items.join(", "),
    }
}
