//! The architectures that candle computes from a GGUF file alone, and what each of its models can and
//! cannot do. All of it is read off candle-transformers 0.11.
//!
//! Left out are `gemma3`, whose model takes SiLU for Gemma's GELU and no window while it generates;
//! `qwen3moe`, whose model computes on CUDA only and never forgets a sequence; and models that candle
//! wants under names and with settings that no other GGUF file has (RWKV, MPT, StableLM).

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Result};
use candle_transformers::models::{
    quantized_glm4, quantized_lfm2, quantized_llama, quantized_phi, quantized_phi3,
    quantized_qwen2, quantized_qwen3,
};

use super::network::{Copied, Network, Single};
use super::source::Source;

/// Tokens of a prompt that are taken at once: scores of so many tokens with all before them are held
/// several times over, and so long a cancelled request goes on.
const PIECE: usize = 128;
/// The same where there is only one piece.
const FIRST_PIECE: usize = 512;

/// One of candle's models.
pub(crate) struct Architecture {
    /// As files give it.
    pub(crate) name: &'static str,
    pub(super) on_cpus: OnCpus,
    pub(super) load: fn(Content, &mut Source, &Device) -> Result<Box<dyn Network>>,
    /// Tokens of a sequence that it has room for.
    pub(super) context_max: usize,
    pub(super) pieces: Pieces,
    pub(super) rotates: Rotates,
    /// The base of the rotation, where it knows only one.
    pub(super) rope_base: Option<f32>,
}

/// Who computes an architecture on a CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnCpus {
    Candle,
    OurDecoder,
    /// Our decoder, which knows no experts.
    CandleWithExperts,
}

/// How much of a sequence may be taken at once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    Any,
    /// Pieces of one length, and what is left token by token: it keeps a mask for each piece that it
    /// has ever seen.
    Whole,
    /// One piece at the start, everything else token by token: a piece in the middle comes out wrong.
    /// At the start it needs two tokens to forget what was before.
    First,
}

/// How many components of a head are rotated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotates {
    All,
    Half,
    AsManyAsTheFileSays,
}

impl Pieces {
    /// How many of the `left` next tokens to take, after `at` others.
    pub(super) fn takes(self, at: usize, left: usize) -> usize {
        match self {
            Self::Any => left.min(PIECE),
            Self::Whole if left >= PIECE => PIECE,
            Self::First if at == 0 => left.min(FIRST_PIECE),
            Self::Whole | Self::First => left.min(1),
        }
    }

    /// The shortest prompt that can be computed.
    pub(crate) fn prompt_min(self) -> usize {
        match self {
            Self::Any | Self::Whole => 1,
            Self::First => 2,
        }
    }
}

pub(super) const ARCHITECTURES: [Architecture; 7] = [
    Architecture {
        name: "glm4",
        on_cpus: OnCpus::Candle,
        load: |content, source, device| {
            quantized_glm4::ModelWeights::from_gguf(content, source, device, DType::F32)
                .map(Copied::boxed)
        },
        context_max: usize::MAX,
        pieces: Pieces::Any,
        rotates: Rotates::Half,
        rope_base: None,
    },
    Architecture {
        name: "lfm2",
        on_cpus: OnCpus::Candle,
        load: |content, source, device| {
            let model = quantized_lfm2::ModelWeights::from_gguf(content, source, device)?;
            Ok(Box::new(Single(model)))
        },
        context_max: usize::MAX,
        pieces: Pieces::First,
        rotates: Rotates::All,
        rope_base: None,
    },
    Architecture {
        name: "phi2",
        on_cpus: OnCpus::Candle,
        load: |content, source, device| {
            quantized_phi::ModelWeights::from_gguf(content, source, device).map(Copied::boxed)
        },
        context_max: quantized_phi::MAX_SEQ_LEN,
        pieces: Pieces::Any,
        rotates: Rotates::AsManyAsTheFileSays,
        rope_base: Some(10_000.0),
    },
    Architecture {
        name: "llama",
        on_cpus: OnCpus::CandleWithExperts,
        load: |content, source, device| {
            quantized_llama::ModelWeights::from_gguf(content, source, device).map(Copied::boxed)
        },
        context_max: quantized_llama::MAX_SEQ_LEN,
        pieces: Pieces::Any,
        rotates: Rotates::All,
        rope_base: None,
    },
    Architecture {
        name: "qwen2",
        on_cpus: OnCpus::OurDecoder,
        load: |content, source, device| {
            let model = quantized_qwen2::ModelWeights::from_gguf(content, source, device)?;
            Ok(Box::new(Single(model)))
        },
        // Its masks take half the square of this in bytes.
        context_max: 8_192,
        pieces: Pieces::Whole,
        rotates: Rotates::All,
        rope_base: None,
    },
    Architecture {
        name: "qwen3",
        on_cpus: OnCpus::OurDecoder,
        load: |content, source, device| {
            quantized_qwen3::ModelWeights::from_gguf(content, source, device).map(Copied::boxed)
        },
        context_max: usize::MAX,
        pieces: Pieces::Any,
        rotates: Rotates::All,
        rope_base: None,
    },
    Architecture {
        name: "phi3",
        on_cpus: OnCpus::OurDecoder,
        load: |content, source, device| {
            quantized_phi3::ModelWeights::from_gguf(false, content, source, device)
                .map(Copied::boxed)
        },
        context_max: usize::MAX,
        pieces: Pieces::Any,
        rotates: Rotates::All,
        rope_base: Some(10_000.0),
    },
];
