//! A model's tokens as the matcher sees them: bytes, and names for the special ones.

use std::sync::Arc;

use llguidance::api::ParserLimits;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{ParserFactory, panic_utils};

use crate::tokenizer::TextModel;

/// No bytes of a text; marks a special token's name.
const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
/// Longer tokens are never generated under a grammar.
const TOKEN_BYTES_MAX: usize = 1000;

/// What compiles grammars for the model.
///
/// # Errors
/// When the vocabulary is larger than the matcher can hold.
pub(super) fn factory(
    text: &TextModel,
    limits: ParserLimits,
) -> Result<Arc<ParserFactory>, String> {
    let made = panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut factory = ParserFactory::new_simple(&env(text))?;
        factory.quiet();
        *factory.limits_mut() = limits;
        Ok(Arc::new(factory))
    }));
    made.map_err(|error| format!("the vocabulary cannot be matched: {error}"))
}

fn env(text: &TextModel) -> TokEnv {
    let words: Vec<Vec<u8>> = (0..text.vocab_len() as u32)
        .map(|id| word(text, id))
        .collect();
    let ends = text.ends();
    // A model without one is only ever ended by what a grammar lets follow: nothing.
    let info = TokRxInfo::new(
        words.len() as u32,
        ends.first().copied().unwrap_or(u32::MAX),
    );
    let mut trie = TokTrie::from(&info, &words);
    if !ends.is_empty() {
        trie = trie.with_eos_tokens(ends);
    }
    // Any way to cut a text into tokens is as good as another: masks follow from bytes alone.
    Arc::new(ApproximateTokEnv::new(trie))
}

fn word(text: &TextModel, id: u32) -> Vec<u8> {
    if text.is_special(id) || text.is_end(id) {
        let name = text.piece(id).unwrap_or_default();
        let named = !name.is_empty() && name.len() < TOKEN_BYTES_MAX;
        return if named {
            [&[MARK], name.as_bytes()].concat()
        } else {
            Vec::new()
        };
    }
    let bytes = text.token_bytes(id).unwrap_or_default();
    if bytes.len() > TOKEN_BYTES_MAX || bytes.first() == Some(&MARK) {
        return Vec::new();
    }
    bytes.to_vec()
}
