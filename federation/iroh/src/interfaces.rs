//! The machine's interfaces as they are now, and what others are told of their addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use iroh::Watcher;
use netwatch::interfaces::State;
use netwatch::netmon::Monitor;

use crate::address::{ADDRESSES_MAX, Hidden, hidden};

/// An address of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) address: SocketAddr,
    /// The interface that has it, unless it was seen from outside.
    pub(crate) interface: Option<String>,
    /// Why others are not told.
    pub(crate) hidden: Option<Hidden>,
}

/// Knows which interface has an address.
pub(crate) struct Interfaces {
    /// Follows changes; none where the system does not report any.
    monitor: Option<Monitor>,
    /// As they were at the start, for where there is no monitor.
    first: State,
    /// The owner's exceptions.
    wanted: Vec<String>,
    /// The owner's own addresses.
    stated: BTreeSet<SocketAddr>,
    /// Addresses that the owner had bound: others are told whatever they are.
    bound: BTreeSet<IpAddr>,
}

impl Interfaces {
    pub(crate) async fn new(wanted: Vec<String>, stated: &[SocketAddr], bound: &[IpAddr]) -> Self {
        Self {
            monitor: Monitor::new().await.ok(),
            first: State::new().await,
            wanted,
            stated: stated.iter().copied().collect(),
            bound: bound.iter().copied().collect(),
        }
    }

    /// Judges the addresses that the endpoint found, and adds the owner's. Those that others are told come
    /// first.
    pub(crate) fn judge(&self, found: impl IntoIterator<Item = SocketAddr>) -> Vec<Own> {
        let state = match &self.monitor {
            Some(monitor) => monitor.interface_state().get(),
            None => self.first.clone(),
        };
        judge(self, &by_address(&state), found)
    }
}

/// The names of all interfaces that have an address.
fn by_address(state: &State) -> BTreeMap<IpAddr, Vec<String>> {
    let mut names = BTreeMap::<_, Vec<_>>::new();
    for interface in state.interfaces.values() {
        for net in interface.addrs() {
            let with = names.entry(net.addr()).or_default();
            with.push(interface.name().to_owned());
        }
    }
    names
}

fn judge(
    interfaces: &Interfaces,
    names: &BTreeMap<IpAddr, Vec<String>>,
    found: impl IntoIterator<Item = SocketAddr>,
) -> Vec<Own> {
    let all: BTreeSet<_> = found.into_iter().chain(interfaces.stated.clone()).collect();
    let mut all: Vec<_> = all
        .into_iter()
        .map(|address| own(interfaces, names, address))
        .collect();
    // Nodes of one machine without any network find each other by its loopback.
    if all.iter().all(|own| own.hidden.is_some()) {
        for own in &mut all {
            own.hidden.take_if(|why| *why == Hidden::Loopback);
        }
    }
    all.sort_by_key(|own| own.hidden.is_some());
    for own in all.iter_mut().skip(ADDRESSES_MAX) {
        own.hidden.get_or_insert(Hidden::Surplus);
    }
    all
}

fn own(interfaces: &Interfaces, names: &BTreeMap<IpAddr, Vec<String>>, address: SocketAddr) -> Own {
    let names = names.get(&address.ip()).map_or(&[][..], Vec::as_slice);
    let wanted = names.iter().any(|name| interfaces.wanted.contains(name));
    let stated = interfaces.stated.contains(&address) || interfaces.bound.contains(&address.ip());
    // One good interface is enough.
    let best = names
        .iter()
        .min_by_key(|name| hidden(Some(name), address).is_some());
    let hidden = hidden(best.map(String::as_str), address);
    Own {
        address,
        interface: best.cloned(),
        hidden: hidden.filter(|why| *why == Hidden::Nobody || !(wanted || stated)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interfaces(wanted: &[&str], stated: &[&str], bound: &[&str]) -> Interfaces {
        Interfaces {
            monitor: None,
            first: State::fake(),
            wanted: wanted.iter().map(|name| (*name).to_owned()).collect(),
            stated: stated.iter().map(|at| parsed(at)).collect(),
            bound: bound.iter().map(|ip| ip.parse().expect("an ip")).collect(),
        }
    }

    fn parsed(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    fn told(interfaces: &Interfaces, names: &[(&str, &str)], found: &[&str]) -> Vec<SocketAddr> {
        let mut by_address = BTreeMap::<IpAddr, Vec<_>>::new();
        for (name, ip) in names {
            let with = by_address.entry(ip.parse().expect("an ip")).or_default();
            with.push((*name).to_owned());
        }
        let all = judge(interfaces, &by_address, found.iter().map(|at| parsed(at)));
        all.into_iter()
            .filter(|own| own.hidden.is_none())
            .map(|own| own.address)
            .collect()
    }

    const NAMES: [(&str, &str); 5] = [
        ("lo", "127.0.0.1"),
        ("eth0", "192.168.1.4"),
        ("docker0", "172.17.0.1"),
        ("wg0", "10.9.0.2"),
        ("eth0", "fe80::1"),
    ];
    const FOUND: [&str; 4] = [
        "192.168.1.4:40",
        "172.17.0.1:40",
        "10.9.0.2:40",
        "[fe80::1]:40",
    ];

    #[test]
    fn only_real_networks_and_what_the_owner_says_are_told() {
        let plain = interfaces(&[], &[], &[]);
        assert_eq!(told(&plain, &NAMES, &FOUND), [parsed("192.168.1.4:40")]);
        let wanting = interfaces(&["wg0"], &["198.51.100.7:99"], &[]);
        let all = ["10.9.0.2:40", "192.168.1.4:40", "198.51.100.7:99"];
        assert_eq!(told(&wanting, &NAMES, &FOUND), all.map(parsed));
    }

    #[test]
    fn loopback_is_told_where_there_is_nothing_else_or_where_it_was_bound() {
        let plain = interfaces(&[], &[], &[]);
        let alone = told(&plain, &NAMES, &["127.0.0.1:40", "172.17.0.1:40"]);
        assert_eq!(alone, [parsed("127.0.0.1:40")]);
        let both = ["127.0.0.1:40", "192.168.1.4:40"];
        assert_eq!(told(&plain, &NAMES, &both), [parsed("192.168.1.4:40")]);
        let bound = interfaces(&[], &[], &["127.0.0.1"]);
        assert_eq!(told(&bound, &NAMES, &both), both.map(parsed));
    }

    #[test]
    fn there_are_only_so_many() {
        let many: Vec<_> = (1..40).map(|host| format!("192.168.7.{host}:40")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let told = told(&interfaces(&[], &[], &[]), &[], &many);
        assert_eq!(told.len(), ADDRESSES_MAX);
    }
}
