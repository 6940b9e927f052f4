//! Text to token ids and back, as the model file itself prescribes.
//!
//! Vocabulary, special tokens and chat template come from a GGUF file's metadata; ids equal those of
//! llama.cpp for the same file. A text's control tokens are read as such only where its author owns
//! the whole prompt. Nothing here panics or grows without bound, whatever the file holds.

mod arena;
mod bpe;
mod byte_level;
mod charsmap;
mod chat;
mod dialect;
mod infill;
mod merge;
mod metadata;
mod names;
mod pretokenize;
mod sentence;
mod special;
mod spelled;
#[cfg(test)]
mod tests;
mod unigram;
mod vocab;

use std::collections::HashMap;
use std::sync::OnceLock;

use kwaainet_core::Conversation;
use kwaainet_decoder::Value;

use crate::template::ChatTemplate;
use crate::tools::Family;
use bpe::Bpe;
use chat::{Part, Rendered, Renderer};
use dialect::Dialect;
use infill::Infill;
use metadata::Metadata;
use pretokenize::PreTokenizer;
use sentence::Sentence;
use special::{Fragment, Specials};
pub(crate) use spelled::Spelled;
use unigram::Unigram;
use vocab::{Spelling, Vocab, bad};

/// Some million tokens. Bounds the memory of an encoding, the worst being a hundred bytes for each.
pub(crate) const TEXT_BYTES_MAX: usize = 4 << 20;
/// Of a rendered conversation: what a template adds to thousands of messages of that length
/// together, and the guards in them.
const RENDERED_BYTES_MAX: usize = 2 * TEXT_BYTES_MAX;

/// Why a text cannot be tokenized.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum TextError {
    /// The model's tokenizer cannot be used.
    #[error("the model's tokenizer cannot be used: {0}")]
    Vocabulary(String),
    /// The model has no chat template.
    #[error("the model has no chat template")]
    NoTemplate,
    /// The chat template refuses the messages, in its own words.
    #[error("{0}")]
    Template(String),
    /// The chat template cannot be used.
    #[error("the model's chat template cannot be used: {0}")]
    BadTemplate(String),
    /// The text, or what the template makes of the messages, is longer than is read.
    #[error("the text is too long to be tokenized")]
    TooLong,
    /// The text itself cannot be tokenized.
    #[error("the text cannot be tokenized: {0}")]
    Text(String),
}

/// A model's tokenizer with its special tokens and its chat template.
pub(crate) struct TextModel {
    vocab: Vocab,
    specials: Specials,
    encoder: Encoder,
    /// Put before a text, if the model wants that.
    prefix: Option<u32>,
    /// Put after a text, if the model wants that.
    suffix: Option<u32>,
    /// Drop the space with which the first word of a text is spelled.
    strips_space: bool,
    /// All tokens that end a generation, in order.
    ends: Vec<u32>,
    chat: Result<ChatTemplate, TextError>,
    /// How the template goes about tools. Found out when first needed.
    dialect: OnceLock<Dialect>,
    infill: Option<Infill>,
}

enum Encoder {
    Bpe(Bpe),
    Sentence(Sentence),
    Unigram(Unigram),
}

impl TextModel {
    /// Reads the `tokenizer.*` keys of a GGUF file.
    ///
    /// # Errors
    /// [`TextError::Vocabulary`] where the file's tokenizer is of a kind that is not known here, or
    /// contradicts itself. A chat template that does not compile is no error before it is used.
    pub(crate) fn from_gguf(meta: &HashMap<String, Value>) -> Result<Self, TextError> {
        let meta = Metadata(meta);
        let model = meta
            .text("tokenizer.ggml.model")?
            .ok_or_else(|| bad("the file does not name its kind"))?;
        let spelling = match model {
            "gpt2" => Spelling::ByteLevel,
            "llama" | "t5" => Spelling::Sentence,
            unknown => {
                return Err(bad(format!(
                    "its kind '{unknown}' is not one of gpt2, llama and t5"
                )));
            }
        };
        let vocab = Vocab::read(meta, spelling)?;
        let token = |key: &str, default: Option<u32>| -> Result<Option<u32>, TextError> {
            let id = meta.id(key)?.or(default);
            Ok(id.filter(|id| (*id as usize) < vocab.len()))
        };
        // Files of Llama's day leave out what was the same in all of them.
        let llama = |id| (model == "llama").then_some(id);
        let bos = token("tokenizer.ggml.bos_token_id", llama(1))?;
        let eos = token("tokenizer.ggml.eos_token_id", llama(2))?;
        let unknown = token("tokenizer.ggml.unknown_token_id", llama(0))?;
        let mut ends: Vec<u32> = (0..vocab.len() as u32)
            .filter(|id| vocab.piece(*id).is_some_and(names::is_end))
            .chain(eos)
            .chain(token("tokenizer.ggml.eot_token_id", None)?)
            .chain(token("tokenizer.ggml.eom_token_id", None)?)
            .collect();
        ends.sort_unstable();
        ends.dedup();

        let (encoder, adds_bos) = encoder(meta, model, &vocab, unknown)?;
        let spelled = |id: Option<u32>| id.and_then(|id| vocab.piece(id)).unwrap_or_default();
        let chat = match meta.text("tokenizer.chat_template")? {
            Some(source) => ChatTemplate::parse(source, spelled(bos), spelled(eos)),
            None => Err(TextError::NoTemplate),
        };
        let add_bos = meta
            .flag("tokenizer.ggml.add_bos_token")?
            .unwrap_or(adds_bos);
        let add_eos = meta
            .flag("tokenizer.ggml.add_eos_token")?
            .unwrap_or(model == "t5");
        Ok(Self {
            specials: Specials::new(&vocab)?,
            prefix: bos.filter(|_| add_bos),
            suffix: eos.filter(|_| add_eos),
            strips_space: match spelling {
                Spelling::ByteLevel => false,
                Spelling::Sentence => space_prefix(meta, model)?,
            },
            ends,
            chat,
            dialect: OnceLock::new(),
            infill: Infill::read(meta, &vocab)?,
            encoder,
            vocab,
        })
    }

    /// Token ids of a text: with the tokens that the model wants around it if `add_special`, and with
    /// control tokens that are spelled out in it read as such if `parse_special`.
    ///
    /// # Errors
    /// [`TextError::TooLong`] above 4 MiB.
    pub(crate) fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
    ) -> Result<Vec<u32>, TextError> {
        check_length(text.len())?;
        let mut out = Vec::new();
        out.extend(self.prefix.filter(|_| add_special));
        self.encode_fragments(text, parse_special, true, &mut out)?;
        out.extend(self.suffix.filter(|_| add_special));
        Ok(out)
    }

    /// Token ids of a conversation, through the model's chat template, up to where its answer begins.
    ///
    /// # Errors
    /// [`TextError::NoTemplate`], [`TextError::BadTemplate`], or [`TextError::Template`] where the
    /// template refuses the messages; [`TextError::TooLong`] above 4 MiB.
    pub(crate) fn encode_chat(&self, chat: &Conversation) -> Result<Vec<u32>, TextError> {
        check_length(chat::length(chat))?;
        let rendered = self.render_chat(chat)?;
        let mut out = Vec::new();
        let mut after_special = true;
        for part in rendered.parts(&self.specials) {
            match part {
                Part::Token(id) => {
                    out.push(id);
                    after_special = true;
                }
                Part::Text(text) => {
                    after_special = self.encode_fragments(&text, false, after_special, &mut out)?;
                }
            }
        }
        // Many templates write the start token themselves.
        if let Some(bos) = self.prefix
            && out.first() != Some(&bos)
        {
            out.insert(0, bos);
        }
        Ok(out)
    }

    /// The same for a conversation without tools.
    #[cfg(test)]
    pub(crate) fn encode_messages(
        &self,
        messages: &[kwaainet_core::Message],
    ) -> Result<Vec<u32>, TextError> {
        self.encode_chat(&messages.to_vec().into())
    }

    /// The text that the template makes of a conversation.
    #[cfg(test)]
    pub(crate) fn chat_text(&self, chat: &Conversation) -> Result<String, TextError> {
        Ok(self.render_chat(chat)?.text().into_owned())
    }

    fn render_chat(&self, chat: &Conversation) -> Result<Rendered, TextError> {
        let template = self.chat.as_ref().map_err(Clone::clone)?;
        let renderer = Renderer {
            template,
            specials: &self.specials,
            bytes_max: RENDERED_BYTES_MAX,
            id_len: None,
        };
        let dialect = || self.dialect.get_or_init(|| Dialect::of(renderer));
        dialect::render(chat, renderer, dialect)
    }

    /// How the model writes calls.
    pub(crate) fn call_family(&self) -> &'static Family {
        Family::of(self.chat.as_ref().map_or("", ChatTemplate::source))
    }

    /// The token that stands for no text and is spelled like this.
    pub(crate) fn control_token(&self, spelling: &str) -> Option<u32> {
        self.specials.control_token(spelling)
    }

    /// Token ids of two texts, up to where what is missing between them begins; none where the model
    /// has no tokens for that. Control tokens spelled out in the texts stay letters.
    ///
    /// # Errors
    /// [`TextError::TooLong`] above 4 MiB.
    pub(crate) fn encode_infill(
        &self,
        prefix: &str,
        suffix: &str,
    ) -> Result<Option<Vec<u32>>, TextError> {
        let Some(infill) = self.infill else {
            return Ok(None);
        };
        check_length(prefix.len() + suffix.len())?;
        let mut out: Vec<u32> = self.prefix.into_iter().collect();
        out.push(infill.prefix);
        self.encode_fragments(prefix, false, true, &mut out)?;
        out.push(infill.suffix);
        self.encode_fragments(suffix, false, true, &mut out)?;
        out.push(infill.middle);
        Ok(Some(out))
    }

    /// The bytes that a token adds to a text; none for control tokens.
    pub(crate) fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocab.bytes(id)
    }

    /// A token as the vocabulary spells it.
    pub(crate) fn piece(&self, id: u32) -> Option<&str> {
        self.vocab.piece(id)
    }

    /// Whether the token stands for no text: it steers the model.
    pub(crate) fn is_special(&self, id: u32) -> bool {
        self.vocab.kind(id).is_some_and(vocab::Kind::is_special)
    }

    /// Whether the token ends a generation.
    pub(crate) fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// All tokens that end a generation, in order.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// How this vocabulary differs from another one, so that token ids of one mean something else in
    /// the other.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let (own, others) = (self.vocab_len(), other.vocab_len());
        if own != others {
            return Some(format!("it has {own} tokens and not {others}"));
        }
        let differs = |id: &u32| self.piece(*id) != other.piece(*id);
        if let Some(id) = (0..own as u32).find(differs) {
            return Some(format!("token {id} is spelled otherwise"));
        }
        let around = |text: &Self| (text.prefix, text.suffix);
        if around(self) != around(other) || self.ends != other.ends {
            return Some("other tokens begin or end a text".into());
        }
        None
    }

    /// Tokens in the vocabulary.
    pub(crate) fn vocab_len(&self) -> usize {
        self.vocab.len()
    }

    /// The text of token ids, special tokens spelled out, malformed bytes replaced. Ids outside the
    /// vocabulary say nothing.
    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        self.spelled(ids).text()
    }

    /// Appends the tokens of a text without anything around it, and says whether the last one was
    /// special.
    fn encode_fragments(
        &self,
        text: &str,
        parse_special: bool,
        mut after_special: bool,
        out: &mut Vec<u32>,
    ) -> Result<bool, TextError> {
        for fragment in self.specials.split(text, parse_special) {
            match fragment {
                Fragment::Token(id) => out.push(id),
                Fragment::Text(text) => match &self.encoder {
                    Encoder::Bpe(bpe) => bpe.encode(&self.vocab, text, out),
                    Encoder::Sentence(s) => s.encode(&self.vocab, text, after_special, out),
                    Encoder::Unigram(unigram) => unigram.encode(&self.vocab, text, out)?,
                },
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        Ok(after_special)
    }
}

/// The encoder of a kind of tokenizer, and whether that kind starts texts with a token of its own.
fn encoder(
    meta: Metadata<'_>,
    model: &str,
    vocab: &Vocab,
    unknown: Option<u32>,
) -> Result<(Encoder, bool), TextError> {
    Ok(match model {
        "gpt2" => {
            let name = meta.text("tokenizer.ggml.pre")?.unwrap_or("default");
            let words = PreTokenizer::named(name)?;
            let adds_bos = words.adds_bos;
            (Encoder::Bpe(Bpe::read(meta, vocab, words)?), adds_bos)
        }
        "llama" => {
            let space_prefix = space_prefix(meta, model)?;
            let sentence = Sentence::new(vocab, unknown, space_prefix)?;
            (Encoder::Sentence(sentence), true)
        }
        _ => (
            Encoder::Unigram(Unigram::read(meta, vocab, unknown)?),
            false,
        ),
    })
}

/// Whether a text's first word is spelled with a space before it.
fn space_prefix(meta: Metadata<'_>, model: &str) -> Result<bool, TextError> {
    let given = meta.flag("tokenizer.ggml.add_space_prefix")?;
    Ok(given.unwrap_or(model == "llama"))
}

fn check_length(bytes: usize) -> Result<(), TextError> {
    if bytes > TEXT_BYTES_MAX {
        return Err(TextError::TooLong);
    }
    Ok(())
}

/// A `tokenizer.json` as embedders use it: whole texts, neither padded nor cut.
///
/// # Errors
/// [`TextError::Vocabulary`] where it cannot be read.
pub(crate) fn from_tokenizer_json(bytes: &[u8]) -> Result<tokenizers::Tokenizer, TextError> {
    let unreadable = |error: tokenizers::Error| bad(error.to_string());
    let mut tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(unreadable)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(unreadable)?;
    Ok(tokenizer)
}
