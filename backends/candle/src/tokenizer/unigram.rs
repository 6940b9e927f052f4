//! SentencePiece's unigram model (Kudo 2018): of all ways to spell a text in tokens, the most
//! probable one, found by Viterbi's algorithm.

use super::charsmap::CharsMap;
use super::metadata::Metadata;
use super::sentence::ByteTokens;
use super::vocab::{Kind, SPACE, Vocab, bad};
use super::{TextError, check_length};

/// Longer tokens are not looked for.
const TOKEN_BYTES_MAX: usize = 256;
/// How much less likely than the least likely token an unknown character is, in nats.
const UNKNOWN_PENALTY: f64 = 10.0;

/// An encoder by probabilities.
pub(super) struct Unigram {
    charsmap: Option<CharsMap>,
    unknown: u32,
    unknown_score: f64,
    longest: usize,
    byte_tokens: Option<ByteTokens>,
    space_prefix: bool,
    merges_spaces: bool,
}

impl Unigram {
    pub(super) fn read(
        meta: Metadata<'_>,
        vocab: &Vocab,
        unknown: Option<u32>,
    ) -> Result<Self, TextError> {
        let has_bytes = vocab.of_kind(|kind| kind == Kind::Byte).count() == 256;
        let normal = || vocab.of_kind(|kind| kind == Kind::Normal);
        let least = normal().map(|id| vocab.score(id)).fold(0.0, f32::min);
        let longest = normal()
            .filter_map(|id| vocab.piece(id))
            .map(str::len)
            .max();
        Ok(Self {
            charsmap: meta
                .list("tokenizer.ggml.precompiled_charsmap")?
                .map(CharsMap::read)
                .transpose()?,
            unknown: unknown.ok_or_else(|| bad("it has no unknown token"))?,
            unknown_score: f64::from(least) - UNKNOWN_PENALTY,
            longest: longest.unwrap_or(1).min(TOKEN_BYTES_MAX),
            byte_tokens: if has_bytes {
                ByteTokens::new(vocab, None)
            } else {
                None
            },
            space_prefix: meta
                .flag("tokenizer.ggml.add_space_prefix")?
                .unwrap_or(false),
            merges_spaces: meta
                .flag("tokenizer.ggml.remove_extra_whitespaces")?
                .unwrap_or(false),
        })
    }

    /// Appends the tokens of a text.
    ///
    /// # Errors
    /// [`TextError::TooLong`] if it is too long once normalised; [`TextError::Vocabulary`] where the
    /// table of characters is broken.
    pub(super) fn encode(
        &self,
        vocab: &Vocab,
        text: &str,
        out: &mut Vec<u32>,
    ) -> Result<(), TextError> {
        let text = self.normalize(text)?;
        check_length(text.len())?;
        let mut last_unknown = false;
        for (id, spelled) in self.best_path(vocab, &text) {
            let is_unknown = id == self.unknown;
            match &self.byte_tokens {
                Some(tokens) if is_unknown => out.extend(spelled.bytes().map(|b| tokens.id(b))),
                // A stretch of unknown characters is one unknown token.
                _ if is_unknown && last_unknown => {}
                _ => out.push(id),
            }
            last_unknown = is_unknown;
        }
        Ok(())
    }

    /// The tokens of the most probable spelling with what each of them spells.
    fn best_path<'t>(&self, vocab: &Vocab, text: &'t str) -> Vec<(u32, &'t str)> {
        let start = Step {
            from: 0,
            id: self.unknown,
            score: 0.0,
        };
        let mut best: Vec<Option<Step>> = vec![None; text.len() + 1];
        best[0] = Some(start);
        for (from, letter) in text.char_indices() {
            let score = best[from].expect("each character can be unknown").score;
            let letter_end = from + letter.len_utf8();
            let mut letter_known = false;
            let longest = self.longest.min(text.len() - from);
            for (length, end) in (1..=longest).zip(&mut best[from + 1..]) {
                let spelled = &text.as_bytes()[from..from + length];
                let Some(id) = vocab.find_text(spelled) else {
                    continue;
                };
                if vocab.kind(id) != Some(Kind::Byte) {
                    letter_known |= length == letter.len_utf8();
                    improve(end, from, id, score + self.score(vocab, id));
                }
            }
            if !letter_known {
                improve(
                    &mut best[letter_end],
                    from,
                    self.unknown,
                    score + self.unknown_score,
                );
            }
        }
        let mut path = Vec::new();
        let mut to = text.len();
        while to > 0 {
            let step = best[to].expect("each end of a character is reached");
            path.push((step.id, &text[step.from..to]));
            to = step.from;
        }
        path.reverse();
        path
    }

    fn score(&self, vocab: &Vocab, id: u32) -> f64 {
        match vocab.kind(id) {
            Some(Kind::UserDefined) => 0.0,
            _ => f64::from(vocab.score(id)),
        }
    }

    fn normalize(&self, text: &str) -> Result<String, TextError> {
        let mapped = self
            .charsmap
            .as_ref()
            .map(|map| map.apply(text))
            .transpose()?;
        let text = mapped.as_deref().unwrap_or(text);
        let text = if self.merges_spaces {
            text.split(' ')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(SPACE)
        } else {
            text.replace(' ', SPACE)
        };
        let prefix = !text.is_empty() && (self.space_prefix || self.merges_spaces);
        Ok(format!("{}{text}", if prefix { SPACE } else { "" }))
    }
}

/// The best way found so far to some place in the text.
#[derive(Clone, Copy)]
struct Step {
    from: usize,
    id: u32,
    score: f64,
}

fn improve(best: &mut Option<Step>, from: usize, id: u32, score: f64) {
    if best.is_none_or(|held| score > held.score) {
        *best = Some(Step { from, id, score });
    }
}
