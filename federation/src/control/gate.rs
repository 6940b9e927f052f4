//! How many greetings there are at once and each second. Strangers share a few places, so that there may be any
//! number of them; a member has its own, so that strangers and other members do not keep it out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kwaainet_core::NodeId;

const SECOND: Duration = Duration::from_secs(1);

/// Greetings at once, and new ones in a second.
#[derive(Clone, Copy)]
struct Limit {
    inside: u32,
    begun: u32,
}

const OF_A_MEMBER: Limit = Limit {
    inside: 2,
    begun: 10,
};

const OF_STRANGERS: Limit = Limit {
    inside: 16,
    begun: 32,
};

/// Counts.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    second: Duration,
    members: HashMap<NodeId, Visits>,
    strangers: Visits,
}

#[derive(Clone, Copy, Default)]
struct Visits {
    inside: u32,
    begun: u32,
}

impl Visits {
    fn enter(&mut self, limit: Limit) -> bool {
        let room = self.inside < limit.inside && self.begun < limit.begun;
        if room {
            self.inside += 1;
            self.begun += 1;
        }
        room
    }
}

/// A greeting under way. Ends when dropped.
pub(crate) struct Visit {
    gate: Gate,
    /// `None` for a stranger.
    member: Option<NodeId>,
}

impl Gate {
    /// Lets a greeting begin, if there is room for one more.
    pub(crate) fn enter(&self, node: NodeId, is_member: bool, now: Duration) -> Option<Visit> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.begin_second(now);
        let let_in = if is_member {
            counts.members.entry(node).or_default().enter(OF_A_MEMBER)
        } else {
            counts.strangers.enter(OF_STRANGERS)
        };
        // Made only if it is given out: when dropped it counts itself out.
        let_in.then(|| Visit {
            gate: self.clone(),
            member: is_member.then_some(node),
        })
    }
}

impl Counts {
    fn begin_second(&mut self, now: Duration) {
        if now.saturating_sub(self.second) < SECOND {
            return;
        }
        self.second = now;
        self.strangers.begun = 0;
        self.members.retain(|_, visits| {
            visits.begun = 0;
            visits.inside > 0
        });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        let visits = match self.member {
            Some(node) => counts.members.entry(node).or_default(),
            None => &mut counts.strangers,
        };
        visits.inside = visits.inside.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> NodeId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        NodeId(id)
    }

    #[test]
    fn strangers_share_and_members_do_not() {
        let gate = Gate::default();
        let enter = |n, member, s| gate.enter(node(n), member, Duration::from_secs(s));
        let visits: Vec<_> = (0..1_000_000).filter_map(|n| enter(n, false, 1)).collect();
        assert_eq!(visits.len(), 16);
        let member: Vec<_> = (0..100).filter_map(|_| enter(7, true, 1)).collect();
        assert_eq!(member.len(), 2);
        assert!(enter(8, true, 1).is_some());
        assert!(enter(9, false, 2).is_none(), "all places are taken");
        drop(visits);
        assert!(enter(9, false, 2).is_some());
    }

    #[test]
    fn quick_ones_are_counted_by_the_second() {
        let gate = Gate::default();
        let enter = |member, s| gate.enter(node(1), member, Duration::from_secs(s));
        for second in 1..3 {
            let begun = |member| {
                (0..1000)
                    .filter(|_| enter(member, second).is_some())
                    .count()
            };
            assert_eq!((begun(true), begun(false)), (10, 32));
        }
        assert!(enter(true, 9).is_some());
        assert!(enter(true, 99).is_some());
        assert_eq!(gate.0.lock().expect("no holder panics").members.len(), 1);
    }
}
