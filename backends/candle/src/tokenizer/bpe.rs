//! Byte-level byte-pair encoding (Sennrich et al. 2016, with GPT-2's byte alphabet): a text is cut
//! into words by the model's own rule, and the bytes of each word are joined in the order in which
//! the vocabulary learned to join them.

use std::collections::{HashMap, HashSet};

use kwaainet_decoder::Value;

use super::merge::{Joined, NONE, Symbols};
use super::metadata::Metadata;
use super::pretokenize::PreTokenizer;
use super::vocab::{Kind, Vocab, bad};
use super::{TextError, byte_level};

const MERGES_MAX: usize = 8 << 20;

/// A byte-level encoder.
pub(super) struct Bpe {
    words: PreTokenizer,
    /// The token of each single byte, or [`NONE`].
    bytes: Vec<u32>,
    merges: HashMap<(u32, u32), Joined>,
}

impl Bpe {
    pub(super) fn read(
        meta: Metadata<'_>,
        vocab: &Vocab,
        words: PreTokenizer,
    ) -> Result<Self, TextError> {
        let list = meta
            .list("tokenizer.ggml.merges")?
            .ok_or_else(|| bad("it has no merges"))?;
        if list.len() > MERGES_MAX {
            return Err(bad(format!("{} merges", list.len())));
        }
        let special: HashSet<&str> = vocab
            .of_kind(Kind::is_special)
            .filter_map(|id| vocab.piece(id))
            .collect();
        let mut merges = HashMap::with_capacity(list.len());
        for (order, value) in (0..).zip(list) {
            let merge = Merge::read(value)
                .ok_or_else(|| bad(format!("merge {order} is not a pair of tokens")))?;
            match merge.find(vocab) {
                Some((pair, id)) => {
                    merges.entry(pair).or_insert(Joined { order, id });
                }
                // Text never becomes a special token.
                None if merge.touches(&special) => {}
                None => return Err(bad(format!("merge {order} names an unknown token"))),
            }
        }
        let bytes = (0..=u8::MAX)
            .map(|byte| vocab.find_text(&[byte]).unwrap_or(NONE))
            .collect();
        Ok(Self {
            words,
            bytes,
            merges,
        })
    }

    /// Appends the tokens of a text. Bytes that the vocabulary lacks are left out, as in the
    /// reference.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>) {
        let mut symbols = Symbols::default();
        for word in self.words.split(text) {
            let word = word.as_bytes();
            if self.words.whole_words_first
                && let Some(id) = vocab.find_text(word)
            {
                out.push(id);
                continue;
            }
            symbols.clear();
            for (at, byte) in word.iter().enumerate() {
                symbols.push(at, at + 1, self.bytes[usize::from(*byte)]);
            }
            symbols.merge(|left, right| self.merges.get(&(left.id, right.id)).copied());
            out.extend(symbols.remaining().map(|s| s.id).filter(|id| *id != NONE));
        }
    }
}

/// `"Ġ t"` joins the tokens `Ġ` and `t` to `Ġt`.
struct Merge<'a> {
    left: &'a str,
    right: &'a str,
}

impl<'a> Merge<'a> {
    fn read(value: &'a Value) -> Option<Self> {
        let Value::String(merge) = value else {
            return None;
        };
        let (left, right) = merge.split_once(' ')?;
        Some(Self { left, right })
    }

    fn find(&self, vocab: &Vocab) -> Option<((u32, u32), u32)> {
        let (left, right) = (
            byte_level::decode(self.left)?,
            byte_level::decode(self.right)?,
        );
        let pair = (vocab.find_text(&left)?, vocab.find_text(&right)?);
        Some((pair, vocab.find_text(&[left, right].concat())?))
    }

    fn touches(&self, special: &HashSet<&str>) -> bool {
        let joined = [self.left, self.right].concat();
        [self.left, self.right, &joined]
            .iter()
            .any(|piece| special.contains(piece))
    }
}
