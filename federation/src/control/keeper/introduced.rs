//! Members by other nodes' words.

use std::collections::BTreeSet;

use kwaainet_core::NodeId;

use super::{Keeper, MET_WITHIN};
use crate::Introduced;

impl Keeper {
    /// A member's own words about its members, and words of others that were taken back.
    pub(super) fn introduced(&mut self, by: NodeId, words: Vec<Introduced>) {
        let may_say = |said: &Introduced| said.word.by == by || said.word.tier.is_none();
        self.hear_words(words.into_iter().filter(may_say));
    }

    /// Words, whoever handed them on.
    pub(super) fn hear_words(&mut self, words: impl IntoIterator<Item = Introduced>) {
        let now_ms = self.unix_ms();
        let (mut matters, before) = (false, self.introductions.serial());
        for introduced in words {
            matters |= self.introductions.heard(introduced, now_ms);
        }
        if self.introductions.serial() != before {
            self.given.send_replace(self.introductions.given());
        }
        if matters {
            self.relearn();
        }
        self.write_words();
    }

    /// Who is a member by others' words may have changed.
    fn relearn(&mut self) {
        let learned = self.introductions.learned(self.unix_ms());
        let nodes: BTreeSet<NodeId> = learned.iter().map(|member| member.node).collect();
        let no_more = self
            .peers
            .values()
            .filter(|peer| peer.member.introduced_by.is_some() && !nodes.contains(&peer.node()));
        for node in no_more.map(|peer| peer.node()).collect::<Vec<_>>() {
            self.forget(node);
        }
        for member in learned {
            self.know_if_there_is_room(member);
        }
        self.count_members();
    }

    /// Keeps what is new for the next start.
    pub(super) fn write_words(&mut self) {
        let words = self.introductions.unwritten();
        if words.is_empty() {
            return;
        }
        let book = self.around.book.clone();
        self.around.tasks.spawn_until_leaving(async move {
            let kept = tokio::time::timeout(MET_WITHIN, book.introduced(words));
            let kept = kept
                .await
                .unwrap_or_else(|_| Err("it took too long".into()));
            if let Err(error) = kept {
                tracing::warn!("federation: introductions are not written down: {error}");
            }
        });
    }
}
