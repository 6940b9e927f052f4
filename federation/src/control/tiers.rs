//! Who is a member, for gates that cannot wait.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kwaainet_core::{NodeId, Tier};

/// How far each member is trusted. Copies share what they know.
#[derive(Clone, Debug, Default)]
pub struct Tiers(Arc<RwLock<HashMap<NodeId, Tier>>>);

impl Tiers {
    /// Of a node; `None` of one that is no member.
    pub fn of(&self, node: NodeId) -> Option<Tier> {
        let tiers = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tiers.get(&node).copied()
    }

    /// The members from now on.
    pub(crate) fn set(&self, members: impl Iterator<Item = (NodeId, Tier)>) {
        let members = members.collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = members;
    }
}
