//! The vocabulary of a Whisper: its text, and the tokens that steer it.
//!
//! Text comes first, then end of text and all other tokens that steer, then tokens of time: one for each
//! fiftieth of a second from 0 to 30.

use serde::Deserialize;

use super::language::{LANGUAGES, Language};
use crate::ModelError;
use crate::tokenizer::from_tokenizer_json;

/// Seconds from one token of time to the next.
pub(super) const TICK_S: f64 = 0.02;
/// Tokens of time: 30 s, both ends included.
const TICKS: usize = 1_501;
/// Published models with a smaller vocabulary know English only.
const MULTILINGUAL_VOCAB: usize = 51_865;

/// `generation_config.json`, as far as it matters. `config.json` has had the lists too.
#[derive(Default, Deserialize)]
pub(super) struct Suppressions {
    is_multilingual: Option<bool>,
    suppress_tokens: Option<Vec<i64>>,
    begin_suppress_tokens: Option<Vec<i64>>,
}

/// Tokens and what they mean.
pub(super) struct Words {
    tokenizer: tokenizers::Tokenizer,
    /// Ends a window. Tokens below are text.
    pub(super) end: u32,
    pub(super) start: u32,
    pub(super) transcribe: u32,
    pub(super) translate: u32,
    /// Stands before what was said earlier.
    pub(super) previous: u32,
    /// Its probability at the start says that nobody speaks.
    pub(super) no_speech: Option<u32>,
    /// Time 0.
    pub(super) time: u32,
    /// Whether a language and a task stand after the start.
    pub(super) multilingual: bool,
    pub(super) languages: Vec<(u32, Language)>,
    /// Never said.
    pub(super) suppressed: Vec<u32>,
    /// Not said first.
    pub(super) suppressed_first: Vec<u32>,
}

impl Words {
    pub(super) fn read(
        tokenizer: &[u8],
        vocab: usize,
        [config, generation]: [&Suppressions; 2],
    ) -> Result<Self, ModelError> {
        let mut tokenizer =
            from_tokenizer_json(tokenizer).map_err(|e| ModelError::Tokenizer(e.to_string()))?;
        // A prompt is text.
        tokenizer.set_encode_special_tokens(true);
        let id = |name: &str| tokenizer.token_to_id(name);
        let needed = |name: &str| {
            let missing = || ModelError::Tokenizer(format!("tokenizer.json has no {name}"));
            id(name).ok_or_else(missing)
        };
        let languages: Vec<_> = LANGUAGES
            .into_iter()
            .filter_map(|language| Some((id(&format!("<|{}|>", language.0))?, language)))
            .collect();
        let multilingual = generation.is_multilingual.or(config.is_multilingual);
        let multilingual = multilingual.unwrap_or(vocab >= MULTILINGUAL_VOCAB);
        let no_times = needed("<|notimestamps|>")?;
        let end = needed("<|endoftext|>")?;
        let list = |of: fn(&Suppressions) -> &Option<Vec<i64>>| {
            let listed = of(generation).as_ref().or(of(config).as_ref());
            let ids = listed.into_iter().flatten();
            ids.filter_map(|&id| u32::try_from(id).ok().filter(|&id| (id as usize) < vocab))
        };
        let mut suppressed: Vec<u32> = list(|lists| &lists.suppress_tokens)
            .filter(|&id| id < end)
            .collect();
        suppressed.extend(end + 1..=no_times);
        let words = Self {
            end,
            start: needed("<|startoftranscript|>")?,
            transcribe: needed("<|transcribe|>")?,
            translate: needed("<|translate|>")?,
            previous: needed("<|startofprev|>")?,
            no_speech: id("<|nospeech|>").or_else(|| id("<|nocaptions|>")),
            time: no_times + 1,
            multilingual,
            suppressed,
            suppressed_first: list(|lists| &lists.begin_suppress_tokens).collect(),
            languages,
            tokenizer,
        };
        words.check(vocab)?;
        Ok(words)
    }

    fn check(&self, vocab: usize) -> Result<(), ModelError> {
        let mut steering = [self.start, self.transcribe, self.translate, self.previous]
            .into_iter()
            .chain(self.languages.iter().map(|(id, _)| *id));
        let in_order = steering.all(|id| (self.end + 1..self.time).contains(&id))
            && self.no_speech.is_none_or(|id| (id as usize) < vocab)
            && self.time as usize + TICKS <= vocab
            && (!self.multilingual || !self.languages.is_empty());
        if in_order {
            Ok(())
        } else {
            let reason = "tokenizer.json is not that of a Whisper of this vocabulary";
            Err(ModelError::Tokenizer(reason.into()))
        }
    }

    /// What is said, without tokens that steer or tell the time.
    pub(super) fn text(&self, ids: &[u32]) -> String {
        let said: Vec<u32> = ids.iter().copied().filter(|&id| id < self.end).collect();
        // It fails on ids that are not in the vocabulary, which a model cannot say.
        self.tokenizer.decode(&said, false).unwrap_or_default()
    }

    /// The tokens of a text; none of them steers.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let encoding = self.tokenizer.encode(text, false);
        let ids = encoding.map(|encoding| encoding.get_ids().to_vec());
        let mut ids = ids.unwrap_or_default();
        ids.retain(|&id| id < self.end);
        ids
    }
}
