//! The tokens with which a model is asked for what is missing between two texts.

use super::TextError;
use super::metadata::Metadata;
use super::vocab::Vocab;

/// Prefix token, prefix, suffix token, suffix, middle token: then comes what is missing.
#[derive(Clone, Copy)]
pub(super) struct Infill {
    pub(super) prefix: u32,
    pub(super) suffix: u32,
    pub(super) middle: u32,
}

/// How well-known models spell them, where the file does not name their ids.
const SPELLINGS: [[&str; 3]; 4] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["▁<PRE>", "▁<SUF>", "▁<MID>"],
];

impl Infill {
    /// The tokens that a file names, or that are spelled as such; none unless there are all three.
    pub(super) fn read(meta: Metadata<'_>, vocab: &Vocab) -> Result<Option<Self>, TextError> {
        let named = |new: &str, old: &str| -> Result<Option<u32>, TextError> {
            let newer = meta.id(&format!("tokenizer.ggml.fim_{new}_token_id"))?;
            let older = meta.id(&format!("tokenizer.ggml.{old}_token_id"))?;
            Ok(newer.or(older).filter(|id| (*id as usize) < vocab.len()))
        };
        let ids = [
            named("pre", "prefix")?,
            named("suf", "suffix")?,
            named("mid", "middle")?,
        ];
        let found = SPELLINGS.iter().map(|spellings| {
            spellings.map(|spelling| {
                let mut special = vocab.of_kind(|kind| kind.is_special());
                special.find(|id| vocab.piece(*id) == Some(spelling))
            })
        });
        let all = [ids].into_iter().chain(found).find_map(|ids| match ids {
            [Some(prefix), Some(suffix), Some(middle)] => Some(Self {
                prefix,
                suffix,
                middle,
            }),
            _ => None,
        });
        Ok(all)
    }
}
