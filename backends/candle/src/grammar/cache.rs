//! Compiled grammars that may be wanted again. Each belongs to the owner who asked for it, so that
//! nobody learns from the time an answer takes what others ask.

use std::collections::VecDeque;
use std::sync::Arc;

use kwaainet_core::PrincipalId;
use llguidance::Matcher;

/// Some hundred kilobytes each.
const GRAMMARS_MAX: usize = 32;

/// The most recently used first.
#[derive(Default)]
pub(super) struct Cache(VecDeque<Entry>);

struct Entry {
    owner: PrincipalId,
    source: String,
    fresh: Arc<Matcher>,
}

impl Cache {
    pub(super) fn find(&mut self, owner: &PrincipalId, source: &str) -> Option<Arc<Matcher>> {
        let is_it = |entry: &Entry| entry.owner == *owner && entry.source == source;
        let at = self.0.iter().position(is_it)?;
        let entry = self.0.remove(at)?;
        let fresh = Arc::clone(&entry.fresh);
        self.0.push_front(entry);
        Some(fresh)
    }

    pub(super) fn keep(&mut self, owner: &PrincipalId, source: String, fresh: &Arc<Matcher>) {
        self.0.push_front(Entry {
            owner: owner.clone(),
            source,
            fresh: Arc::clone(fresh),
        });
        self.0.truncate(GRAMMARS_MAX);
    }
}
