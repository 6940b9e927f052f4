//! The files of a Whisper, read and checked: configuration, vocabulary, weights.

use std::path::Path;

use candle_core::{DType, Device, IndexOp, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::whisper::Config;
use candle_transformers::models::whisper::model::Whisper;
use kwaainet_core::BackendError;
use kwaainet_decoder::FileError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::words::{Suppressions, Words};
use crate::ModelError;
use crate::error::first_line;

/// Frames of a window: 30 s.
pub(super) const WINDOW: usize = 3_000;

/// A model with its vocabulary.
pub(super) struct Model {
    whisper: Whisper,
    pub(super) words: Words,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    model_type: Option<String>,
    num_mel_bins: usize,
    max_source_positions: usize,
    max_target_positions: usize,
    d_model: usize,
    encoder_attention_heads: usize,
    decoder_attention_heads: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    vocab_size: usize,
}

impl Model {
    pub(super) fn load(dir: &Path) -> Result<Self, ModelError> {
        let config = read(dir, "config.json")?;
        let shape: Shape = parse("config.json", &config)?;
        shape.check()?;
        let lists: Suppressions = parse("config.json", &config)?;
        let generation = "generation_config.json";
        let generation: Suppressions = if dir.join(generation).exists() {
            parse(generation, &read(dir, generation)?)?
        } else {
            Suppressions::default()
        };
        let tokenizer = read(dir, "tokenizer.json")?;
        let words = Words::read(&tokenizer, shape.vocab_size, [&lists, &generation])?;
        let weights = read(dir, "model.safetensors")?;
        let whisper = VarBuilder::from_slice_safetensors(&weights, DType::F32, &Device::Cpu)
            .and_then(|weights| Whisper::load(&weights, shape.config()))
            .map_err(|e| FileError::Malformed(first_line(&e)))?;
        Ok(Self { whisper, words })
    }

    /// The most tokens that are before it at once.
    pub(super) fn context(&self) -> usize {
        self.whisper.config.max_target_positions
    }

    pub(super) fn bands(&self) -> usize {
        self.whisper.config.num_mel_bins
    }

    /// What a window of the spectrogram means to it.
    pub(super) fn encode(&mut self, window: Vec<f32>) -> Result<Tensor, BackendError> {
        let bands = self.bands();
        let encode = || {
            let window = Tensor::from_vec(window, (1, bands, WINDOW), &Device::Cpu)?;
            self.whisper.encoder.forward(&window, true)
        };
        encode().map_err(|e| fault(&e))
    }

    /// The logits after some of the tokens, at these places. The first call for a window says so.
    pub(super) fn logits<const N: usize>(
        &mut self,
        tokens: &[u32],
        window: &Tensor,
        first: bool,
        places: [usize; N],
    ) -> Result<[Vec<f32>; N], BackendError> {
        let decoder = &mut self.whisper.decoder;
        let mut logits = [const { Vec::new() }; N];
        let mut compute = || {
            let tokens = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
            let hidden = decoder.forward(&tokens, window, first)?;
            for (logits, place) in logits.iter_mut().zip(places) {
                let hidden = hidden.i((.., place..place + 1))?;
                *logits = decoder.final_linear(&hidden)?.i((0, 0))?.to_vec1()?;
            }
            Ok(())
        };
        compute().map_err(|e| fault(&e))?;
        Ok(logits)
    }
}

impl Shape {
    /// What candle's loader would take at its word.
    fn check(&self) -> Result<(), FileError> {
        if let Some(other) = self.model_type.as_deref().filter(|kind| *kind != "whisper") {
            return Err(FileError::UnknownArchitecture {
                name: other.chars().take(40).collect(),
                known: "whisper".into(),
            });
        }
        let heads = [self.encoder_attention_heads, self.decoder_attention_heads];
        let sensible = (4..=1 << 16).contains(&self.d_model)
            && self.d_model.is_multiple_of(2)
            && heads.iter().all(|&heads| heads > 0 && self.d_model.is_multiple_of(heads))
            && (1..=512).contains(&self.num_mel_bins)
            // A window of 30 s, halved by the second convolution.
            && self.max_source_positions == WINDOW / 2
            && (16..=1 << 13).contains(&self.max_target_positions)
            && (1..=1 << 22).contains(&self.vocab_size)
            && self.encoder_layers <= 1 << 10
            && self.decoder_layers <= 1 << 10;
        if sensible {
            Ok(())
        } else {
            let reason = "config.json has sizes that no Whisper has".into();
            Err(FileError::Malformed(reason))
        }
    }

    fn config(&self) -> Config {
        Config {
            num_mel_bins: self.num_mel_bins,
            max_source_positions: self.max_source_positions,
            d_model: self.d_model,
            encoder_attention_heads: self.encoder_attention_heads,
            encoder_layers: self.encoder_layers,
            vocab_size: self.vocab_size,
            max_target_positions: self.max_target_positions,
            decoder_attention_heads: self.decoder_attention_heads,
            decoder_layers: self.decoder_layers,
            suppress_tokens: Vec::new(),
        }
    }
}

fn fault(error: &candle_core::Error) -> BackendError {
    BackendError::Internal(first_line(error))
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, FileError> {
    serde_json::from_slice(bytes).map_err(|e| FileError::Malformed(format!("{name}: {e}")))
}

fn read(dir: &Path, name: &str) -> Result<Vec<u8>, FileError> {
    std::fs::read(dir.join(name)).map_err(|e| FileError::unreadable(name, &e))
}
