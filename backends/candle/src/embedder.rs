//! A loaded embedder: sentence-transformers models of the BERT family, through candle-transformers.
//!
//! Each input is computed by itself, without padding, so that a batch gives what its inputs give
//! alone.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use kwaainet_core::{BackendError, EmbedInput, TextTokens};
use kwaainet_decoder::FileError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ModelError;
use crate::error::first_line;
use crate::tokenizer::from_tokenizer_json;

/// Of one text. No context is as long, and the tokenizer takes many times a text's memory.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// A model that embeds.
pub(crate) struct Embedder {
    model: BertModel,
    tokenizer: tokenizers::Tokenizer,
    pooling: Pooling,
    vocab: usize,
    width: usize,
    context: usize,
}

/// How the vectors of the tokens become one.
#[derive(Clone, Copy)]
enum Pooling {
    Mean,
    /// The first token's.
    First,
}

#[derive(Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

impl Embedder {
    /// Reads a directory.
    ///
    /// # Errors
    /// When a file is missing or is not what it should be.
    pub(crate) fn load(dir: &Path) -> Result<Self, ModelError> {
        let config: Config = needed(dir, "config.json")?;
        check(&config)?;
        let pooling = pooling(optional(dir, "1_Pooling/config.json")?)?;
        let sentence: Option<SentenceConfig> = optional(dir, "sentence_bert_config.json")?;
        let context = sentence
            .and_then(|config| config.max_seq_length)
            .map_or(config.max_position_embeddings, |max| {
                max.min(config.max_position_embeddings)
            });
        let tokenizer = from_tokenizer_json(&read(dir, "tokenizer.json")?)
            .map_err(|e| ModelError::Tokenizer(e.to_string()))?;
        let weights = read(dir, "model.safetensors")?;
        let model = VarBuilder::from_slice_safetensors(&weights, DType::F32, &Device::Cpu)
            .and_then(|weights| BertModel::load(weights, &config))
            .map_err(|e| FileError::Malformed(first_line(&e)))?;
        Ok(Self {
            model,
            tokenizer,
            pooling,
            vocab: config.vocab_size,
            width: config.hidden_size,
            context,
        })
    }

    /// The longest input in tokens.
    pub(crate) fn context(&self) -> u32 {
        self.context as u32
    }

    /// Token ids of an input, checked to fit.
    ///
    /// # Errors
    /// For empty and over-long inputs, those above 1 MiB before they are tokenized, and for ids outside the vocabulary.
    pub(crate) fn prepare(&self, input: EmbedInput) -> Result<Vec<u32>, BackendError> {
        let ids = match input {
            EmbedInput::Text(text) => self.encode(&text, true)?,
            EmbedInput::Tokens(ids) => ids,
        };
        if ids.is_empty() {
            return Err(invalid("an input has no tokens".into()));
        }
        if ids.len() > self.context {
            return Err(BackendError::ContextOverflow {
                prompt_tokens: u32::try_from(ids.len()).unwrap_or(u32::MAX),
                max_tokens: 0,
                context: self.context(),
                param: "input",
            });
        }
        match ids.iter().find(|&&id| id as usize >= self.vocab) {
            None => Ok(ids),
            Some(id) => Err(invalid(format!(
                "the token id {id} is not below {}, the size of the vocabulary",
                self.vocab
            ))),
        }
    }

    /// Checks a wish for shorter vectors.
    ///
    /// # Errors
    /// For none, and for more components than there are.
    pub(crate) fn check_dimensions(&self, dimensions: Option<u32>) -> Result<(), BackendError> {
        match dimensions {
            Some(wanted) if wanted == 0 || wanted as usize > self.width => {
                Err(BackendError::Invalid {
                    param: "dimensions",
                    reason: format!(
                        "the model's vectors have {} components; {wanted} cannot be kept",
                        self.width
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// The vector of checked token ids, of unit length.
    ///
    /// # Errors
    /// Only when candle refuses what was checked before: a fault.
    pub(crate) fn embed(
        &self,
        ids: &[u32],
        dimensions: Option<u32>,
    ) -> Result<Vec<f32>, BackendError> {
        let mut vector = self
            .pooled(ids)
            .map_err(|e| BackendError::Internal(first_line(&e)))?;
        if let Some(dimensions) = dimensions {
            vector.truncate(dimensions as usize);
        }
        let square: f32 = vector.iter().map(|x| x * x).sum();
        // The bound that sentence-transformers puts under the length, too.
        let length = square.sqrt().max(1e-12);
        for x in &mut vector {
            *x /= length;
        }
        Ok(vector)
    }

    /// Token ids of a text.
    ///
    /// # Errors
    /// Above 1 MiB, and when the tokenizer refuses it.
    pub(crate) fn tokenize(
        &self,
        text: &str,
        add_special: bool,
    ) -> Result<TextTokens, BackendError> {
        Ok(TextTokens {
            ids: self.encode(text, add_special)?,
            context: self.context(),
        })
    }

    /// The text of token ids, as near as the vocabulary allows.
    ///
    /// # Errors
    /// For ids outside the vocabulary.
    pub(crate) fn detokenize(&self, ids: &[u32]) -> Result<String, BackendError> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab) {
            return Err(BackendError::Invalid {
                param: "tokens",
                reason: format!("the token id {id} is not in the vocabulary"),
            });
        }
        self.tokenizer
            .decode(ids, false)
            .map_err(|e| BackendError::Internal(e.to_string()))
    }

    fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, BackendError> {
        check_length(text)?;
        self.tokenizer
            .encode(text, add_special)
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| invalid(format!("the text cannot be tokenized: {e}")))
    }

    fn pooled(&self, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
        let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        let types = ids.zeros_like()?;
        // Without padding there is nothing to mask.
        let tokens = self.model.forward(&ids, &types, None)?.squeeze(0)?;
        match self.pooling {
            Pooling::Mean => tokens.mean(0)?.to_vec1(),
            Pooling::First => tokens.get(0)?.to_vec1(),
        }
    }
}

fn invalid(reason: String) -> BackendError {
    BackendError::Invalid {
        param: "input",
        reason,
    }
}

fn check_length(text: &str) -> Result<(), BackendError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(BackendError::InputTooLong {
            param: "input",
            bytes_max: TEXT_BYTES_MAX,
        });
    }
    Ok(())
}

/// What candle's loader would take at its word.
fn check(config: &Config) -> Result<(), FileError> {
    match config.model_type.as_deref() {
        None | Some("bert") => {}
        Some(other) => {
            return Err(FileError::UnknownArchitecture {
                name: other.chars().take(40).collect(),
                known: "bert".into(),
            });
        }
    }
    let (width, heads) = (config.hidden_size, config.num_attention_heads);
    let sensible = heads > 0
        && width.is_multiple_of(heads)
        && (1..=1 << 16).contains(&width)
        && (1..=1 << 20).contains(&config.max_position_embeddings)
        && (1..=1 << 22).contains(&config.vocab_size)
        && config.num_hidden_layers <= 1 << 10;
    if sensible {
        Ok(())
    } else {
        Err(FileError::Malformed(
            "config.json has senseless sizes".into(),
        ))
    }
}

fn pooling(config: Option<PoolingConfig>) -> Result<Pooling, FileError> {
    match config {
        None => Ok(Pooling::Mean),
        Some(config) => match (
            config.pooling_mode_mean_tokens,
            config.pooling_mode_cls_token,
        ) {
            (true, false) => Ok(Pooling::Mean),
            (false, true) => Ok(Pooling::First),
            _ => Err(FileError::Unsupported(
                "a pooling other than mean or cls".into(),
            )),
        },
    }
}

fn needed<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<T, FileError> {
    parse(name, &read(dir, name)?)
}

fn optional<T: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<T>, FileError> {
    if dir.join(name).exists() {
        needed(dir, name).map(Some)
    } else {
        Ok(None)
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, FileError> {
    serde_json::from_slice(bytes).map_err(|e| FileError::Malformed(format!("{name}: {e}")))
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, FileError> {
    std::fs::read(dir.join(name)).map_err(|e| FileError::unreadable(name, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loads a directory with this configuration and nothing else.
    fn complaint(config: &str) -> String {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        std::fs::write(dir.path().join("config.json"), config).expect("the directory is new");
        let error = Embedder::load(dir.path()).err();
        error.expect("the model is not whole").to_string()
    }

    fn config(model_type: &str, heads: usize) -> String {
        format!(
            r#"{{"model_type": "{model_type}", "vocab_size": 100, "hidden_size": 64,
            "num_hidden_layers": 1, "num_attention_heads": {heads}, "intermediate_size": 64,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 128,
            "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
            "pad_token_id": 0}}"#
        )
    }

    #[test]
    fn over_long_texts_are_refused_by_their_length_alone() {
        let text = "x".repeat(TEXT_BYTES_MAX + 1);
        assert_eq!(check_length(&text[1..]), Ok(()));
        let refused = check_length(&text);
        let too_long = BackendError::InputTooLong {
            param: "input",
            bytes_max: 1 << 20,
        };
        assert_eq!(refused, Err(too_long));
    }

    #[test]
    fn a_bad_directory_says_what_is_wrong_with_it() {
        assert!(complaint("{").starts_with("the model file is malformed: config.json"));
        assert!(complaint(&config("t5", 4)).starts_with("unknown architecture 't5'"));
        for heads in [0, 5] {
            assert!(complaint(&config("bert", heads)).contains("senseless sizes"));
        }
        assert!(complaint(&config("bert", 4)).starts_with("tokenizer.json cannot be read"));
        let nothing = Embedder::load("/nonexistent".as_ref()).err();
        assert!(matches!(
            nothing,
            Some(ModelError::File(FileError::Unreadable { .. }))
        ));
    }
}
