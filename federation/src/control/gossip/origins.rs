//! Whose news may be handed on, and how often. Each is verified once, however often it comes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kwaainet_core::NodeId;

use super::News;
use crate::control::allowance::Allowance;

/// Nodes that are remembered.
const ORIGINS_MAX: usize = 4_096;
/// News that a node may have at once, and each second: more than it says by itself.
const BURST: f64 = 10.0;
const RATE: f64 = 2.0;
/// Which are remembered of each.
const LAST: usize = 4;

/// Keeps them.
pub(super) struct Origins {
    here: NodeId,
    known: HashMap<NodeId, Origin>,
    /// Nobody else can make two news look the same.
    hasher: RandomState,
    /// Of the last good ones of all.
    seen: HashMap<u64, Duration>,
}

struct Origin {
    allowance: Allowance,
    used: Duration,
}

/// For how long it is remembered that news were good.
const SEEN_FOR: Duration = Duration::from_secs(60);

impl Origins {
    pub(super) fn new(here: NodeId) -> Self {
        Self {
            here,
            known: HashMap::new(),
            hasher: RandomState::new(),
            seen: HashMap::new(),
        }
    }

    /// Whether news may go on, and what they say unless that is known.
    pub(super) fn judge(
        &mut self,
        content: &[u8],
        is_member: impl Fn(NodeId) -> bool,
        now: Duration,
        now_ms: u64,
    ) -> Option<Option<News>> {
        let hash = self.hasher.hash_one(content);
        if self.seen.contains_key(&hash) {
            return Some(None);
        }
        let news = News::open(content, now_ms).ok()?;
        let vouched = news
            .words
            .iter()
            .any(|word| word.node == news.node && is_member(word.by));
        let may_know = news.node == self.here || is_member(news.node) || vouched;
        if !may_know || !self.allows(news.node, now) {
            return None;
        }
        if self.seen.len() >= ORIGINS_MAX * LAST {
            self.seen.retain(|_, at| now.saturating_sub(*at) < SEEN_FOR);
        }
        if self.seen.len() < ORIGINS_MAX * LAST {
            self.seen.insert(hash, now);
        }
        Some((news.node != self.here).then_some(news))
    }

    fn allows(&mut self, node: NodeId, now: Duration) -> bool {
        if self.known.len() >= ORIGINS_MAX && !self.known.contains_key(&node) {
            let recent = |origin: &Origin| now.saturating_sub(origin.used) < SEEN_FOR;
            self.known.retain(|_, origin| recent(origin));
            if self.known.len() >= ORIGINS_MAX {
                return false;
            }
        }
        let origin = self.known.entry(node).or_insert_with(|| Origin {
            allowance: Allowance::new(BURST, RATE, now),
            used: now,
        });
        origin.used = now;
        origin.allowance.takes(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Introduction;
    use crate::control::gossip::Statement;
    use crate::control::wire::Said;
    use kwaainet_core::Tier;
    use kwaainet_identity::NodeKey;

    const NOW: u64 = 1_800_000_000_000;
    const HERE: NodeId = NodeId([9; 32]);

    fn news(key: &NodeKey, number: u64, words: &[Vec<u8>]) -> Vec<u8> {
        let statement = Statement {
            incarnation: 1,
            number,
            said_at_ms: NOW,
            lasts: Duration::from_secs(1),
        };
        News::write(key, statement, Said::default(), words)
    }

    #[test]
    fn only_news_of_members_and_of_their_members_go_on() {
        let (host, guest) = (NodeKey::generate(), NodeKey::generate());
        let mut origins = Origins::new(HERE);
        let is_host = |node| node == host.id();
        let mut judge = |content: &[u8]| origins.judge(content, is_host, Duration::ZERO, NOW);
        assert!(judge(&news(&host, 1, &[])).is_some());
        assert!(judge(&news(&guest, 1, &[])).is_none(), "a stranger");
        let word = |by: &NodeKey, about: &NodeKey| {
            let word = Introduction::issue(by, about.id(), 1, NOW, Some(Tier::T1));
            vec![word.as_bytes().to_vec()]
        };
        assert!(judge(&news(&guest, 2, &word(&host, &host))).is_none());
        assert!(judge(&news(&guest, 3, &word(&guest, &guest))).is_none());
        let vouched = news(&guest, 4, &word(&host, &guest));
        let told = judge(&vouched).expect("it goes on").expect("it is new");
        assert_eq!((told.node, told.number), (guest.id(), 4));
        assert!(judge(&vouched).expect("it goes on").is_none(), "known");
    }

    #[test]
    fn a_node_that_says_too_much_is_heard_now_and_then() {
        let key = NodeKey::generate();
        let mut origins = Origins::new(HERE);
        let mut heard = |from: u64, at| {
            let heard = (from..from + 30).filter(|number| {
                let content = news(&key, *number, &[]);
                let judged = origins.judge(&content, |_| true, Duration::from_secs(at), NOW);
                judged.is_some()
            });
            heard.count()
        };
        assert_eq!(heard(0, 0), 10);
        assert_eq!(heard(100, 2), 4);
    }
}
