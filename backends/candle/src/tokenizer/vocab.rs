//! The tokens of a model: how they are spelled, which bytes they stand for, what kind they are.

use kwaainet_decoder::Value;

use super::arena::{Arena, Index};
use super::metadata::Metadata;
use super::{TextError, byte_level, names};

/// The largest vocabularies of today have some 260,000 tokens.
const TOKENS_MAX: usize = 4 << 20;

/// What a token is for: the numbers of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// Stands for what the vocabulary cannot spell.
    Unknown,
    /// Steers the model; never made from ordinary text.
    Control,
    /// Found in every text before anything else is.
    UserDefined,
    Unused,
    /// One byte, spelled `<0xNN>`.
    Byte,
}

impl Kind {
    /// Whether only a text with special tokens may hold it.
    pub(super) fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

/// How a vocabulary spells its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// In the byte-level alphabet.
    ByteLevel,
    /// As text with [`SPACE`] for a space, and `<0xNN>` for bytes.
    Sentence,
}

/// What stands for a space in SentencePiece vocabularies.
pub(super) const SPACE: &str = "\u{2581}";

/// All tokens, by id and by content.
pub(super) struct Vocab {
    spelling: Spelling,
    pieces: Arena,
    bytes: Arena,
    kinds: Vec<Kind>,
    scores: Vec<f32>,
    index: Index,
}

impl Vocab {
    /// Reads the tokens, their types and their scores.
    pub(super) fn read(meta: Metadata<'_>, spelling: Spelling) -> Result<Self, TextError> {
        let tokens = meta
            .list("tokenizer.ggml.tokens")?
            .ok_or_else(|| bad("it has no tokens"))?;
        if tokens.is_empty() || tokens.len() > TOKENS_MAX {
            return Err(bad(format!("{} tokens", tokens.len())));
        }
        let mut vocab = Self {
            spelling,
            pieces: Arena::default(),
            bytes: Arena::default(),
            kinds: kinds(meta.list("tokenizer.ggml.token_type")?, tokens.len())?,
            scores: scores(meta.list("tokenizer.ggml.scores")?, tokens.len())?,
            index: Index::with_capacity(tokens.len()),
        };
        for (id, token) in (0..).zip(tokens) {
            let Value::String(piece) = token else {
                return Err(bad(format!("token {id} is not text")));
            };
            vocab.push(id, piece)?;
        }
        Ok(vocab)
    }

    fn push(&mut self, id: u32, piece: &str) -> Result<(), TextError> {
        let kind = &mut self.kinds[id as usize];
        if names::is_always_control(piece) {
            *kind = Kind::Control;
        } else if names::is_always_text(piece) {
            *kind = Kind::UserDefined;
        }
        // Empty pieces exist as place holders; they match nothing.
        let (bytes, findable) = if piece.is_empty() {
            (Vec::new(), false)
        } else {
            meaning(piece, *kind, self.spelling)?
        };
        if !self.pieces.push(piece.as_bytes()) || !self.bytes.push(&bytes) {
            return Err(bad("its tokens are too long"));
        }
        let keys = match self.spelling {
            Spelling::ByteLevel => &self.bytes,
            Spelling::Sentence => &self.pieces,
        };
        if findable && !self.index.insert(keys, id) {
            return Err(bad(format!("token {id} is there twice")));
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    /// As the vocabulary spells it.
    pub(super) fn piece(&self, id: u32) -> Option<&str> {
        // Only whole strings were pushed.
        self.pieces
            .get(id)
            .and_then(|piece| std::str::from_utf8(piece).ok())
    }

    /// What it adds to a text: nothing for control tokens.
    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(id)
    }

    pub(super) fn kind(&self, id: u32) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
    }

    /// The logarithm of its probability, or whatever the vocabulary ranks its tokens by.
    pub(super) fn score(&self, id: u32) -> f32 {
        self.scores.get(id as usize).copied().unwrap_or(0.0)
    }

    /// The token with this content: bytes in a byte-level vocabulary, the spelling in others.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let keys = match self.spelling {
            Spelling::ByteLevel => &self.bytes,
            Spelling::Sentence => &self.pieces,
        };
        self.index.find(keys, key)
    }

    /// Like [`Self::find`], but only what ordinary text may become.
    pub(super) fn find_text(&self, key: &[u8]) -> Option<u32> {
        self.find(key)
            .filter(|id| self.kind(*id).is_some_and(|kind| !kind.is_special()))
    }

    /// The ids of all tokens of some kinds.
    pub(super) fn of_kind(&self, wanted: impl Fn(Kind) -> bool) -> impl Iterator<Item = u32> {
        (0..)
            .zip(&self.kinds)
            .filter_map(move |(id, kind)| wanted(*kind).then_some(id))
    }
}

/// The bytes of a token, and whether it is found by its content.
fn meaning(piece: &str, kind: Kind, spelling: Spelling) -> Result<(Vec<u8>, bool), TextError> {
    let written = || piece.as_bytes().to_vec();
    Ok(match (kind, spelling) {
        // Special tokens are found by their spelling, before the rest is looked at, and say
        // nothing; but the vocabulary's own lists may refer to them.
        (Kind::Control | Kind::Unknown, Spelling::Sentence) => (Vec::new(), true),
        (Kind::Control | Kind::Unknown, Spelling::ByteLevel) => (Vec::new(), false),
        (Kind::UserDefined, Spelling::Sentence) => (written(), true),
        (Kind::Byte, _) => {
            let byte = byte(piece).ok_or_else(|| bad(format!("'{piece}' is no byte token")))?;
            (vec![byte], spelling == Spelling::Sentence)
        }
        (_, Spelling::Sentence) => (piece.replace(SPACE, " ").into_bytes(), true),
        (_, Spelling::ByteLevel) => match byte_level::decode(piece) {
            Some(bytes) => (bytes, true),
            None => (written(), false),
        },
    })
}

/// `<0x0A>` is a line feed.
fn byte(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok()
}

fn kinds(types: Option<&[Value]>, tokens: usize) -> Result<Vec<Kind>, TextError> {
    let Some(types) = types else {
        return Ok(vec![Kind::Normal; tokens]);
    };
    if types.len() != tokens {
        return Err(bad("there is not one type for each token"));
    }
    let kind = |value: &Value| match value {
        Value::I32(2) | Value::U32(2) => Kind::Unknown,
        Value::I32(3) | Value::U32(3) => Kind::Control,
        Value::I32(4) | Value::U32(4) => Kind::UserDefined,
        Value::I32(5) | Value::U32(5) => Kind::Unused,
        Value::I32(6) | Value::U32(6) => Kind::Byte,
        _ => Kind::Normal,
    };
    Ok(types.iter().map(kind).collect())
}

/// Empty where the vocabulary has no scores.
fn scores(scores: Option<&[Value]>, tokens: usize) -> Result<Vec<f32>, TextError> {
    let Some(scores) = scores else {
        return Ok(Vec::new());
    };
    if scores.len() != tokens {
        return Err(bad("there is not one score for each token"));
    }
    scores
        .iter()
        .map(|score| match score {
            Value::F32(score) if score.is_finite() => Ok(*score),
            _ => Err(bad("a score is not a number")),
        })
        .collect()
}

pub(super) fn bad(reason: impl Into<String>) -> TextError {
    TextError::Vocabulary(reason.into())
}
