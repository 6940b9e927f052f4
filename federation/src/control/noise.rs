//! Which complaints about other nodes are worth a line in the log: whoever misbehaves a million times gets a line
//! a minute, and all together a few. Pure.

use std::collections::HashMap;
use std::time::Duration;

use kwaainet_core::NodeId;

/// For one node.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// For all nodes, in that time.
const LINES_MAX: usize = 20;

/// Keeps count.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    since: Duration,
    told: HashMap<NodeId, u64>,
    unnamed: u64,
}

impl Noise {
    /// Whether to write a line about this node now; with how many were left out before it.
    pub(crate) fn tell(&mut self, node: NodeId, now: Duration) -> Option<u64> {
        let mut left_out = 0;
        if now.saturating_sub(self.since) >= AGAIN_AFTER {
            left_out = self.told.get(&node).map_or(0, |lines| lines - 1) + self.unnamed;
            *self = Self {
                since: now,
                ..Self::default()
            };
        }
        if let Some(lines) = self.told.get_mut(&node) {
            *lines += 1;
            return None;
        }
        if self.told.len() >= LINES_MAX {
            self.unnamed += 1;
            return None;
        }
        self.told.insert(node, 1);
        Some(left_out)
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
    fn a_million_complaints_are_a_few_lines() {
        let mut noise = Noise::default();
        let lines = (0..1_000_000).filter(|n| noise.tell(node(n % 3), Duration::ZERO).is_some());
        assert_eq!(lines.count(), 3);
        let lines = (0..1_000_000).filter(|n| noise.tell(node(*n), Duration::ZERO).is_some());
        assert_eq!(lines.count(), LINES_MAX - 3);
        assert_eq!(noise.told.len(), LINES_MAX);
    }

    #[test]
    fn after_a_while_it_is_said_again_with_what_was_left_out() {
        let mut noise = Noise::default();
        assert_eq!(noise.tell(node(1), Duration::ZERO), Some(0));
        for _ in 0..9 {
            assert_eq!(noise.tell(node(1), Duration::from_secs(59)), None);
        }
        assert_eq!(noise.tell(node(1), Duration::from_secs(60)), Some(9));
    }
}
