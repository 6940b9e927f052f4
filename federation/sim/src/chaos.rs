//! Everything goes wrong at once, as a seed says, and what was promised is checked all the time.

use std::collections::BTreeMap;
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::Seeded;
use tokio::time::Instant;

use crate::{Weather, World, node_id};

/// Until a crash, a cut or a node that stands still is noticed.
const LOST: Duration = Duration::from_millis(1500);
/// Until an engine that stands still is noticed.
const STUCK: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What is wrong, and since when.
#[derive(Default)]
struct Wrong {
    crashed: BTreeMap<NodeId, Instant>,
    frozen: BTreeMap<NodeId, Instant>,
    stuck: BTreeMap<NodeId, Instant>,
    /// From the first nothing gets to the second.
    cut: BTreeMap<(NodeId, NodeId), Instant>,
}

impl Wrong {
    /// The longest of all reasons why one node should not give work to another, if there is one.
    fn lost_for(&self, of: NodeId, by: NodeId) -> Option<Duration> {
        let cuts = [(of, by), (by, of)].map(|way| self.cut.get(&way));
        let places = [self.crashed.get(&of), self.frozen.get(&of)];
        let since = cuts.into_iter().chain(places).flatten().min()?;
        Some(since.elapsed())
    }
}

/// A federation in which things go wrong.
pub struct Chaos {
    /// The nodes.
    pub world: World,
    nodes: Vec<NodeId>,
    random: Seeded,
    wrong: Wrong,
}

impl Chaos {
    /// So many nodes that know each other.
    pub async fn begin(seed: u64, count: usize) -> Self {
        let world = World::of(count, seed, Weather::LOSSY);
        tokio::time::sleep(Duration::from_secs(3)).await;
        Self {
            world,
            nodes: (0..count).map(node_id).collect(),
            random: Seeded::new(seed ^ 0xC0A5),
            wrong: Wrong::default(),
        }
    }

    fn any(&mut self) -> NodeId {
        self.nodes[self.random.below(self.nodes.len() as u64) as usize]
    }

    /// Something breaks or is mended.
    fn change(&mut self) {
        let node = self.any();
        let now = Instant::now();
        let runs = !self.wrong.crashed.contains_key(&node);
        match self.random.below(8) {
            0 if runs => {
                self.world.crash(node);
                self.wrong.frozen.remove(&node);
                self.wrong.stuck.remove(&node);
                self.wrong.crashed.insert(node, now);
            }
            0 | 1 if !runs => self.mend_crash(node),
            2 if runs => {
                self.world.net.freeze(node, true);
                self.wrong.frozen.entry(node).or_insert(now);
            }
            3 => self.mend_freeze(node),
            4 => {
                let other = self.any();
                if other != node {
                    self.world.net.cut(node, other, true);
                    self.wrong.cut.entry((node, other)).or_insert(now);
                }
            }
            5 => {
                if let Some((from, to)) = self.wrong.cut.keys().next().copied() {
                    self.mend_cut(from, to);
                }
            }
            6 if runs => {
                let engine = &self.world.node(node).engine;
                engine.set_running(1 + self.random.below(4) as u32);
                engine.set_stuck(true);
                self.wrong.stuck.entry(node).or_insert(now);
            }
            7 if runs => self.mend_engine(node),
            _ => {}
        }
    }

    fn mend_crash(&mut self, node: NodeId) {
        self.wrong.crashed.remove(&node);
        self.world.start(node);
    }

    fn mend_freeze(&mut self, node: NodeId) {
        self.wrong.frozen.remove(&node);
        self.world.net.freeze(node, false);
    }

    fn mend_cut(&mut self, from: NodeId, to: NodeId) {
        self.wrong.cut.remove(&(from, to));
        self.world.net.cut(from, to, false);
    }

    fn mend_engine(&mut self, node: NodeId) {
        self.wrong.stuck.remove(&node);
        self.world.node(node).engine.set_stuck(false);
    }

    /// Mends everything.
    pub fn mend_all(&mut self) {
        for node in self.nodes.clone() {
            if self.wrong.crashed.contains_key(&node) {
                self.mend_crash(node);
            }
            self.mend_freeze(node);
            self.mend_engine(node);
        }
        for (from, to) in self.wrong.cut.keys().copied().collect::<Vec<_>>() {
            self.mend_cut(from, to);
        }
    }

    /// Sees that nobody is given work who could not do it for longer than the bound.
    ///
    /// # Panics
    /// When somebody is.
    pub fn check(&self) {
        for by in self.world.running() {
            for view in self.world.views(by).iter() {
                if !view.state.is_routable() || view.models.is_empty() {
                    continue;
                }
                let (of, routed) = (view.node, format!("{:?} gives work to {:?}", by, view.node));
                if let Some(lost) = self.wrong.lost_for(of, by) {
                    assert!(lost <= LOST, "{routed}, lost for {lost:?}");
                }
                // Whoever stands still himself knows nothing of others.
                if let Some(since) = self.wrong.stuck.get(&of)
                    && !self.wrong.frozen.contains_key(&by)
                {
                    assert!(
                        since.elapsed() <= STUCK,
                        "{routed}, stuck for {:?}",
                        since.elapsed()
                    );
                }
            }
        }
    }

    /// Breaks and mends things for so long, each after so many milliseconds at most, and checks all the while.
    ///
    /// # Panics
    /// See [`Self::check`].
    pub async fn rage(&mut self, time: Duration, apart_ms: u64) {
        let begin = Instant::now();
        let mut next = begin;
        while begin.elapsed() < time {
            if Instant::now() >= next {
                self.change();
                next += Duration::from_millis(1 + self.random.below(apart_ms));
            }
            tokio::time::sleep(LOOK).await;
            self.check();
        }
    }
}
