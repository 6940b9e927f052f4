//! The revisions of one document: a forest, whose leaves are what is current and whose winner is what a
//! reader sees. Two places with the same revisions have the same winner, whatever came first.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::Rev;

/// One revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub rev: Rev,
    /// Where its parent stands among the nodes; none for a root.
    pub parent: Option<usize>,
    /// Whether it says that the document is deleted.
    pub deleted: bool,
    /// Names what it says in the store; none if that was never here or was compacted away.
    pub body: Option<u64>,
}

/// A leaf.
pub type Leaf<'a> = &'a Node;

/// All revisions of a document that are known here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevTree {
    nodes: Vec<Node>,
}

/// As it is kept: generation, hash, parent or -1, deleted, body.
#[derive(Serialize, Deserialize)]
struct Kept(u64, String, i64, u8, Option<u64>);

impl RevTree {
    /// Every revision, in the order in which they became known.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The revision with this name.
    pub fn find(&self, rev: &Rev) -> Option<&Node> {
        self.nodes.iter().find(|node| node.rev == *rev)
    }

    /// The current revisions: first those that are not deleted, each kind from the winner down.
    pub fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut has_child = vec![false; self.nodes.len()];
        for parent in self.nodes.iter().filter_map(|node| node.parent) {
            has_child[parent] = true;
        }
        let leaves = self.nodes.iter().zip(has_child);
        let mut leaves: Vec<_> = leaves.filter(|(_, parent)| !parent).map(|l| l.0).collect();
        leaves.sort_unstable_by(|a, b| (a.deleted, &b.rev).cmp(&(b.deleted, &a.rev)));
        leaves
    }

    /// What a reader sees: the leaf that is not deleted, has the highest generation, and then the highest
    /// hash. None in an empty tree.
    pub fn winner(&self) -> Option<Leaf<'_>> {
        self.leaves().into_iter().next()
    }

    /// Whether the revision is current.
    pub fn is_leaf(&self, rev: &Rev) -> bool {
        self.leaves().iter().any(|leaf| leaf.rev == *rev)
    }

    /// The revision and its ancestors, newest first.
    pub fn history(&self, rev: &Rev) -> Vec<&Node> {
        let mut found = Vec::new();
        let mut next = self.find(rev);
        while let Some(node) = next {
            found.push(node);
            next = node.parent.map(|parent| &self.nodes[parent]);
        }
        found
    }

    /// The leaves that follow on a revision, or the revision itself if it is one.
    pub fn latest_of(&self, rev: &Rev) -> Vec<Leaf<'_>> {
        let follows = |leaf: &Leaf<'_>| self.history(&leaf.rev).iter().any(|n| n.rev == *rev);
        self.leaves().into_iter().filter(follows).collect()
    }

    /// Adds a revision under its ancestors, which are given newest first and begin with the revision's own
    /// name. Their generations fall by one from each to the next. Ancestors that are not known become known by
    /// name. Nothing is changed if the revision is here already with what it says, or as somebody's ancestor;
    /// returns whether something was.
    pub fn add(&mut self, history: &[Rev], deleted: bool, body: u64) -> bool {
        let Some(rev) = history.first() else {
            return false;
        };
        if let Some(known) = self.find(rev)
            && (known.body.is_some() || !self.is_leaf(rev))
        {
            return false;
        }
        let mut parent = None;
        for rev in history.iter().rev() {
            let at = self.nodes.iter().position(|node| node.rev == *rev);
            let at = at.unwrap_or_else(|| {
                self.nodes.push(Node {
                    rev: rev.clone(),
                    parent: None,
                    deleted: false,
                    body: None,
                });
                self.nodes.len() - 1
            });
            // A root may turn out to follow on something.
            let node = &mut self.nodes[at];
            node.parent = node.parent.or(parent);
            parent = Some(at);
        }
        if let Some(at) = parent {
            self.nodes[at].deleted = deleted;
            self.nodes[at].body = Some(body);
        }
        true
    }

    /// Forgets ancestors that are `limit` or more steps away from every leaf, and gives the bodies of those.
    pub fn stem(&mut self, limit: usize) -> Vec<u64> {
        if self.nodes.len() <= limit {
            return Vec::new();
        }
        let mut kept = vec![false; self.nodes.len()];
        for leaf in self.leaves() {
            let at = self.nodes.iter().position(|node| node.rev == leaf.rev);
            let mut next = at;
            for _ in 0..limit.max(1) {
                let Some(at) = next else { break };
                kept[at] = true;
                next = self.nodes[at].parent;
            }
        }
        let gone = self.nodes.iter().zip(&kept).filter(|(_, kept)| !**kept);
        let gone = gone.filter_map(|(node, _)| node.body).collect();
        self.retain(&kept);
        gone
    }

    /// Removes leaves, and of what led to them what leads to no other leaf. Returns those that were there,
    /// and the bodies of all that is gone.
    pub fn purge(&mut self, revs: &[Rev]) -> (Vec<Rev>, Vec<u64>) {
        let leaves: HashSet<Rev> = self.leaves().iter().map(|leaf| leaf.rev.clone()).collect();
        let wanted: HashSet<&Rev> = revs.iter().filter(|rev| leaves.contains(*rev)).collect();
        let before = self.bodies();
        let mut kept = vec![false; self.nodes.len()];
        for leaf in self.leaves() {
            if wanted.contains(&leaf.rev) {
                continue;
            }
            let mut next = self.nodes.iter().position(|node| node.rev == leaf.rev);
            while let Some(at) = next {
                kept[at] = true;
                next = self.nodes[at].parent;
            }
        }
        self.retain(&kept);
        let after: HashSet<u64> = self.bodies().into_iter().collect();
        let bodies = before.into_iter().filter(|body| !after.contains(body));
        let bodies = bodies.collect();
        // In the order in which they were asked for, each once.
        let mut left = wanted;
        let gone = revs.iter().filter(|rev| left.remove(rev)).cloned();
        (gone.collect(), bodies)
    }

    /// Forgets what all but the leaves say, and gives the names of that.
    pub fn compact(&mut self) -> Vec<u64> {
        let current: Vec<Rev> = self.leaves().iter().map(|leaf| leaf.rev.clone()).collect();
        let old = self.nodes.iter_mut().filter(|n| !current.contains(&n.rev));
        old.filter_map(|node| node.body.take()).collect()
    }

    /// Names of all that revisions say.
    pub fn bodies(&self) -> Vec<u64> {
        self.nodes.iter().filter_map(|node| node.body).collect()
    }

    fn retain(&mut self, kept: &[bool]) {
        let mut moved = Vec::with_capacity(kept.len());
        let mut count = 0;
        for keep in kept {
            moved.push(keep.then_some(count));
            count += usize::from(*keep);
        }
        let nodes = std::mem::take(&mut self.nodes);
        let left = nodes.into_iter().zip(kept).filter(|(_, keep)| **keep);
        self.nodes = left
            .map(|(node, _)| Node {
                parent: node.parent.and_then(|parent| moved[parent]),
                ..node
            })
            .collect();
    }

    /// As text, to be kept.
    pub fn to_text(&self) -> String {
        let kept = |node: &Node| {
            let parent = node.parent.map_or(-1, |parent| parent as i64);
            let hash = node.rev.hash().to_owned();
            let deleted = u8::from(node.deleted);
            Kept(node.rev.generation(), hash, parent, deleted, node.body)
        };
        let kept: Vec<_> = self.nodes.iter().map(kept).collect();
        serde_json::to_string(&kept).expect("numbers and texts are JSON")
    }

    /// What [`Self::to_text`] wrote; none for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let kept: Vec<Kept> = serde_json::from_str(text).ok()?;
        let count = kept.len();
        let node = |Kept(generation, hash, parent, deleted, body)| {
            let parent = usize::try_from(parent).ok();
            Some(Node {
                rev: Rev::new(generation, &hash).ok()?,
                parent: parent.filter(|parent| *parent < count),
                deleted: deleted != 0,
                body,
            })
        };
        let nodes = kept.into_iter().map(node).collect::<Option<_>>()?;
        Some(Self { nodes })
    }
}

#[cfg(test)]
mod tests;
