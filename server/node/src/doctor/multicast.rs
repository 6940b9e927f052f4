//! Whether this machine has multicast, by which members find each other on the local network. What is sent stays on
//! this machine: its time to live is 0 (RFC 1112, section 6.1).

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

/// The group of multicast DNS (RFC 6762), on a port of our own.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const WITHIN: Duration = Duration::from_millis(500);

/// Sends a datagram to the group and hears it.
///
/// # Errors
/// With what the system says, or that nothing came.
pub(super) fn check() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED)?;
    socket.set_multicast_ttl_v4(0)?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_read_timeout(Some(WITHIN))?;
    let port = socket.local_addr()?.port();
    let word = format!("kwaainet {port}");
    socket.send_to(word.as_bytes(), (GROUP, port))?;
    let mut heard = [0; 64];
    let (length, _) = socket.recv_from(&mut heard)?;
    match heard.get(..length) == Some(word.as_bytes()) {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}
