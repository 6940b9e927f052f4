//! Which of a machine's addresses others are told. Pure.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Addresses of a node at most: told to others, or kept of another.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// How the names of interfaces begin that lead to containers and virtual machines of the same machine. Every
/// machine with Docker has the same 172.17.0.1 there.
const CONTAINERS: [&str; 14] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "vnet",
    "vmnet",
    "vboxnet",
    "vethernet",
    "podman",
    "cni",
    "flannel",
    "cali",
    "lxc",
    "lxdbr",
];
/// Of those that lead into a VPN or an overlay network, where not everybody is.
const TUNNELS: [&str; 7] = ["tun", "tap", "utun", "wg", "tailscale", "zt", "nordlynx"];

/// Why others are not told an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// It leads to containers or virtual machines of this machine.
    Containers,
    /// It leads into a VPN.
    Tunnel,
    /// It is good on one network only, and does not say on which.
    LinkLocal,
    /// It leads back to this machine.
    Loopback,
    /// It is nobody's: all zeros, a group's, or without a port.
    Nobody,
    /// There are too many.
    Surplus,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Containers => "it leads to containers or virtual machines of this machine only",
            Self::Tunnel => "it leads into a VPN, where not every member is",
            Self::LinkLocal => "it is good on one network only and does not say on which",
            Self::Loopback => "it leads back to this machine",
            Self::Nobody => "it is no address of a machine",
            Self::Surplus => "there are enough others",
        })
    }
}

/// Why others are not told an address, if they are not. `interface` is the one that has it, or nothing for an
/// address that was seen from outside.
pub(crate) fn hidden(interface: Option<&str>, address: SocketAddr) -> Option<Hidden> {
    if !is_machine(address) {
        return Some(Hidden::Nobody);
    }
    if address.ip().is_loopback() {
        return Some(Hidden::Loopback);
    }
    if is_link_local(address.ip()) {
        return Some(Hidden::LinkLocal);
    }
    let name = interface?.to_ascii_lowercase();
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if begins(&CONTAINERS) {
        Some(Hidden::Containers)
    } else if begins(&TUNNELS) {
        Some(Hidden::Tunnel)
    } else {
        None
    }
}

/// Whether datagrams can be sent there.
pub(crate) fn is_machine(address: SocketAddr) -> bool {
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Link-local addresses of IPv4 (RFC 3927) and IPv6 (RFC 4291). Of the latter the zone would have to be known.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(interface: &str, address: &str) -> Option<Hidden> {
        let address = address.parse().expect("an address");
        hidden(Some(interface).filter(|name| !name.is_empty()), address)
    }

    #[test]
    fn addresses_of_real_networks_are_told() {
        for (interface, address) in [
            ("eth0", "192.168.1.4:41000"),
            ("wlp3s0", "10.0.0.7:41000"),
            ("en0", "[2001:db8::7]:41000"),
            ("enp0s31f6", "[fd00::7]:41000"),
            ("Wi-Fi", "172.17.0.1:41000"),
            ("br0", "192.168.1.4:41000"),
            ("bond0", "192.168.1.4:41000"),
            ("", "203.0.113.9:1024"),
        ] {
            assert_eq!(of(interface, address), None, "{interface} {address}");
        }
    }

    #[test]
    fn addresses_of_containers_and_tunnels_are_hidden() {
        for interface in [
            "docker0",
            "br-5e2f01a9c3d4",
            "veth12ab",
            "virbr0",
            "vEthernet (WSL)",
            "vboxnet0",
        ] {
            assert_eq!(of(interface, "172.17.0.1:4"), Some(Hidden::Containers));
        }
        for interface in ["tun0", "tap3", "wg0", "tailscale0", "utun4", "ztabcdef12"] {
            assert_eq!(of(interface, "100.64.0.9:4"), Some(Hidden::Tunnel));
            assert_eq!(of(interface, "[fd7a::9]:4"), Some(Hidden::Tunnel));
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_are_hidden() {
        assert_eq!(of("eth0", "[fe80::1]:4"), Some(Hidden::LinkLocal));
        assert_eq!(of("eth0", "169.254.3.4:4"), Some(Hidden::LinkLocal));
        assert_eq!(of("lo", "127.0.0.1:4"), Some(Hidden::Loopback));
        assert_eq!(of("", "[::1]:4"), Some(Hidden::Loopback));
        for address in [
            "0.0.0.0:4",
            "[::]:4",
            "224.0.0.251:4",
            "255.255.255.255:4",
            "192.168.1.4:0",
        ] {
            assert_eq!(of("eth0", address), Some(Hidden::Nobody), "{address}");
        }
    }
}
