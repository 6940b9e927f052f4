//! How many may come in: at once, from one place, and in a second. Pure but for its lock; a flood holds back
//! the place it comes from first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iroh::EndpointId;
use iroh::endpoint::IncomingAddr;
use tokio::time::Instant;

/// Where somebody comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// An address; of IPv6 the network of 64 bits, which is one household's.
    Network([u8; 8]),
    /// Through a relay, which says who.
    Relayed(EndpointId),
    /// By another way.
    Other,
}

impl Source {
    pub(crate) fn of(address: &IncomingAddr) -> Self {
        match address {
            IncomingAddr::Ip(address) => Self::at(address.ip()),
            IncomingAddr::Relay { endpoint_id, .. } => Self::Relayed(*endpoint_id),
            _ => Self::Other,
        }
    }

    pub(crate) fn at(ip: IpAddr) -> Self {
        Self::Network(network(ip))
    }
}

/// The first 64 bits of an IPv6 address, and IPv4 ones under a prefix that no network has.
fn network(ip: IpAddr) -> [u8; 8] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0, 0, 0, 0, a, b, c, d]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

/// The bounds of a door.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) at_once: usize,
    pub(crate) from_one_source: usize,
    /// In the long run.
    pub(crate) in_a_second: u32,
    /// After a quiet time.
    pub(crate) in_a_burst: u32,
}

/// Counts who is in.
pub(crate) struct Door {
    limits: Limits,
    state: Mutex<State>,
}

struct State {
    inside: HashMap<Source, usize>,
    total: usize,
    /// How many may come now for the sake of the rate.
    tokens: f64,
    filled: Instant,
}

impl Door {
    pub(crate) fn new(limits: Limits, now: Instant) -> Arc<Self> {
        let state = State {
            inside: HashMap::new(),
            total: 0,
            tokens: f64::from(limits.in_a_burst),
            filled: now,
        };
        let state = Mutex::new(state);
        Arc::new(Self { limits, state })
    }

    /// Lets one in until the guard is dropped, or nobody when it is too many.
    pub(crate) fn enter(self: &Arc<Self>, source: Source, now: Instant) -> Option<Inside> {
        let mut state = self.state.lock().expect("no holder panics");
        let passed = now.saturating_duration_since(state.filled).as_secs_f64();
        let gained = passed * f64::from(self.limits.in_a_second);
        state.tokens = (state.tokens + gained).min(self.limits.in_a_burst.into());
        state.filled = now;
        let from_there = state.inside.get(&source).copied().unwrap_or(0);
        if state.tokens < 1.0
            || state.total >= self.limits.at_once
            || from_there >= self.limits.from_one_source
        {
            return None;
        }
        state.tokens -= 1.0;
        state.total += 1;
        state.inside.insert(source, from_there + 1);
        let door = Arc::clone(self);
        Some(Inside { door, source })
    }

    /// How many are in.
    pub(crate) fn inside(&self) -> usize {
        self.state.lock().expect("no holder panics").total
    }
}

/// One who is in.
pub(crate) struct Inside {
    door: Arc<Door>,
    source: Source,
}

impl Drop for Inside {
    fn drop(&mut self) {
        let mut state = self.door.state.lock().expect("no holder panics");
        state.total -= 1;
        if let Some(count) = state.inside.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                state.inside.remove(&self.source);
            }
        }
    }
}

/// The time between two log lines about the same kind of refusal.
const QUIET: Duration = Duration::from_secs(10);

/// Counts what would flood the log.
#[derive(Default)]
pub(crate) struct Complaints(Mutex<(Option<Instant>, u64)>);

impl Complaints {
    /// How many there were since the last line, if a line is due.
    pub(crate) fn count(&self, now: Instant) -> Option<u64> {
        let mut complaints = self.0.lock().expect("no holder panics");
        let (last, count) = &mut *complaints;
        *count += 1;
        if last.is_some_and(|last| now.saturating_duration_since(last) < QUIET) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        at_once: 5,
        from_one_source: 2,
        in_a_second: 8,
        in_a_burst: 10,
    };

    fn source(text: &str) -> Source {
        Source::at(text.parse().expect("an ip"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_fills_its_own_share_only() {
        let now = Instant::now();
        let door = Door::new(LIMITS, now);
        let there = source("2001:db8::1");
        let first = door.enter(there, now).expect("room");
        let _second = door.enter(source("2001:db8::2"), now).expect("room");
        assert!(door.enter(there, now).is_none(), "the same /64");
        let _others: Vec<_> = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
            .map(|ip| door.enter(source(ip), now).expect("room"))
            .into();
        assert!(door.enter(source("10.0.0.4"), now).is_none(), "full");
        drop(first);
        assert_eq!(door.inside(), 4);
        assert!(door.enter(there, now).is_some(), "room again");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_come_in_a_second() {
        let now = Instant::now();
        let door = Door::new(LIMITS, now);
        let there = source("10.0.0.1");
        let came = (0..50).filter(|_| door.enter(there, now).is_some()).count();
        assert_eq!(came, 10);
        let later = now + Duration::from_millis(250);
        let came = (0..50)
            .filter(|_| door.enter(there, later).is_some())
            .count();
        assert_eq!(came, 2, "a quarter of eight");
        assert_eq!(door.inside(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn complaints_are_counted_between_lines() {
        let now = Instant::now();
        let complaints = Complaints::default();
        assert_eq!(complaints.count(now), Some(1));
        assert_eq!(complaints.count(now), None);
        assert_eq!(complaints.count(now + QUIET), Some(2));
    }
}
