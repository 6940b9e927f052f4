//! How tokens are spelled, one after the other: token ids in, bytes out, and which of them belong to
//! which token. It knows no probabilities.

use super::TextModel;

/// How far from where a token is expected it is looked for, in bytes: some vocabularies leave out
/// characters, or spell them otherwise.
const REACH: usize = 16;

/// A text with the ends of its tokens in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spelled {
    bytes: Vec<u8>,
    /// Of each token, in order.
    ends: Vec<usize>,
}

impl Spelled {
    /// Tokens that it has.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// What belongs to one token, which need not be whole characters; nothing behind the last one.
    pub(crate) fn token(&self, at: usize) -> &[u8] {
        let end = self.ends.get(at).copied().unwrap_or(self.bytes.len());
        let start = at.checked_sub(1).and_then(|at| self.ends.get(at));
        &self.bytes[start.copied().unwrap_or(0)..end]
    }

    /// All of it, malformed bytes replaced.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }
}

impl TextModel {
    /// Token ids as a text of their own, special tokens spelled out. Ids outside the vocabulary say
    /// nothing.
    pub(crate) fn spelled(&self, ids: &[u32]) -> Spelled {
        let mut spelled = Spelled::default();
        let mut at_start = true;
        for id in ids {
            let bytes = self.spelling(*id);
            if self.is_special(*id) {
                spelled.push(bytes);
                continue;
            }
            let strips = at_start && self.strips_space;
            spelled.push(bytes.strip_prefix(b" ").filter(|_| strips).unwrap_or(bytes));
            at_start = false;
        }
        spelled
    }

    /// The tokens that `text` was made into, each with its part of it. Joined they are the text, to the
    /// byte: tokens that were put around it, and spaces that were put before its words, are not in
    /// it. What no token is spelled like belongs to the next one, or to the last.
    pub(crate) fn spelled_in(&self, text: &str, ids: &[u32]) -> Spelled {
        let mut spelled = Spelled::default();
        let mut rest = text.as_bytes();
        for (left, id) in (0..ids.len()).rev().zip(ids) {
            let reach = if self.is_special(*id) { 0 } else { REACH };
            let len = match left {
                0 => rest.len(),
                _ => prefix_with(rest, self.spelling(*id), reach),
            };
            let (own, after) = rest.split_at(len);
            spelled.push(own);
            rest = after;
        }
        spelled
    }

    fn spelling(&self, id: u32) -> &[u8] {
        let bytes = if self.is_special(id) {
            self.piece(id).map(str::as_bytes)
        } else {
            self.token_bytes(id)
        };
        bytes.unwrap_or_default()
    }
}

/// How much of `text` ends with the first `token` in it, which begins within `reach` and may lack its
/// first space; nothing if there is none.
fn prefix_with(text: &[u8], token: &[u8], reach: usize) -> usize {
    let without_space = token.strip_prefix(b" ").unwrap_or(token);
    let spellings = [token, without_space];
    let ends = (0..=reach.min(text.len())).find_map(|start| {
        let is_here = |spelling: &&[u8]| text[start..].starts_with(spelling);
        let found = spellings.into_iter().find(is_here);
        found.map(|spelling| start + spelling.len())
    });
    ends.unwrap_or(0)
}
