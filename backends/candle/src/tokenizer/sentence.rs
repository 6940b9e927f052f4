//! SentencePiece's byte-pair encoding (Kudo & Richardson 2018): the characters of a whole text are
//! joined in the order of their tokens' scores. What has no token is spelled in bytes.

use super::TextError;
use super::merge::{Joined, NONE, Symbols};
use super::vocab::{SPACE, Vocab, bad};
use crate::rank::descending;

/// An encoder by scores.
pub(super) struct Sentence {
    bytes: ByteTokens,
    /// Written before the first text, and before text that follows a special token.
    space_prefix: bool,
}

impl Sentence {
    pub(super) fn new(
        vocab: &Vocab,
        unknown: Option<u32>,
        space_prefix: bool,
    ) -> Result<Self, TextError> {
        Ok(Self {
            bytes: ByteTokens::new(vocab, unknown)
                .ok_or_else(|| bad("it has neither byte tokens nor an unknown token"))?,
            space_prefix,
        })
    }

    /// Appends the tokens of a text.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        after_special: bool,
        out: &mut Vec<u32>,
    ) {
        let prefix = if self.space_prefix && after_special {
            SPACE
        } else {
            ""
        };
        let text = format!("{prefix}{}", text.replace(' ', SPACE));
        let bytes = text.as_bytes();
        let mut symbols = Symbols::default();
        for (start, letter) in text.char_indices() {
            let end = start + letter.len_utf8();
            symbols.push(
                start,
                end,
                vocab.find_text(&bytes[start..end]).unwrap_or(NONE),
            );
        }
        symbols.merge(|left, right| {
            let id = vocab.find_text(&bytes[left.start as usize..right.end as usize])?;
            Some(Joined {
                order: descending(vocab.score(id)),
                id,
            })
        });
        for symbol in symbols.remaining() {
            if symbol.id == NONE {
                let spelled = &bytes[symbol.start as usize..symbol.end as usize];
                out.extend(spelled.iter().map(|byte| self.bytes.id(*byte)));
            } else {
                out.push(symbol.id);
            }
        }
    }
}

/// The token of each byte; the unknown token for a byte that has none.
pub(super) struct ByteTokens(Vec<u32>);

impl ByteTokens {
    /// None if a byte would be without any token.
    pub(super) fn new(vocab: &Vocab, unknown: Option<u32>) -> Option<Self> {
        (0..=u8::MAX)
            .map(|byte| {
                vocab
                    .find_text(format!("<0x{byte:02X}>").as_bytes())
                    .or_else(|| vocab.find_text(&[byte]))
                    .or(unknown)
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    pub(super) fn id(&self, byte: u8) -> u32 {
        self.0[usize::from(byte)]
    }
}
