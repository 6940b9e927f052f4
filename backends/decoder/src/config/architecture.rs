//! What the known architectures have in common and where they differ.
//!
//! Facts: llama.cpp's `src/models/*.cpp`, one file for each.

use super::keys::Keys;
use super::{Activation, Rope, RopeStyle, Window};
use crate::error::{FileError, quoted};
use crate::{Gguf, Value};

/// The architectures that the graph computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    /// Llama and Mistral, and many that took over their shape.
    Llama,
    Qwen2,
    Qwen3,
    Gemma2,
    Gemma3,
    Phi3,
}

/// By the names that files give them.
const KNOWN: [(&str, Architecture); 6] = [
    ("llama", Architecture::Llama),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
    ("gemma2", Architecture::Gemma2),
    ("gemma3", Architecture::Gemma3),
    ("phi3", Architecture::Phi3),
];

/// The names of all.
pub(super) fn names() -> Vec<&'static str> {
    KNOWN.iter().map(|(name, _)| *name).collect()
}

impl Architecture {
    /// What a file says that it is, with the name it says it by.
    pub(super) fn of(file: &Gguf) -> Result<(Self, &str), FileError> {
        let Some(Value::String(name)) = file.metadata().get("general.architecture") else {
            return Err(FileError::malformed("it does not name its architecture"));
        };
        match KNOWN.iter().find(|(known, _)| known == name) {
            Some(&(name, architecture)) => Ok((architecture, name)),
            None => Err(FileError::UnknownArchitecture {
                name: quoted(name).into(),
                known: names().join(", "),
            }),
        }
    }

    pub(super) fn activation(self) -> Activation {
        match self {
            Self::Gemma2 | Self::Gemma3 => Activation::GeluTanh,
            Self::Llama | Self::Qwen2 | Self::Qwen3 | Self::Phi3 => Activation::Silu,
        }
    }

    pub(super) fn embedding_scale(self, width: usize) -> f32 {
        match self {
            Self::Gemma2 | Self::Gemma3 => (width as f32).sqrt(),
            Self::Llama | Self::Qwen2 | Self::Qwen3 | Self::Phi3 => 1.0,
        }
    }

    /// The largest members of both Gemmas, known by their layers, scale by the stream's share for a
    /// head instead of by the head.
    pub(super) fn attention_scale(self, layers: usize, share: usize, head_dim: usize) -> f32 {
        let scaled_by = match (self, layers) {
            (Self::Gemma2, 46) | (Self::Gemma3, 62) => share.max(1),
            _ => head_dim,
        };
        1.0 / (scaled_by as f32).sqrt()
    }

    pub(super) fn attention_softcap(self, keys: &Keys<'_>) -> Result<Option<f32>, FileError> {
        match self {
            Self::Gemma2 => keys.cap("attn_logit_softcapping", Some(50.0)),
            _ => Ok(None),
        }
    }

    pub(super) fn logit_softcap(self, keys: &Keys<'_>) -> Result<Option<f32>, FileError> {
        match self {
            Self::Gemma2 => keys.cap("final_logit_softcapping", Some(30.0)),
            Self::Gemma3 => keys.cap("final_logit_softcapping", None),
            _ => Ok(None),
        }
    }

    pub(super) fn qk_norm(self) -> bool {
        matches!(self, Self::Qwen3 | Self::Gemma3)
    }

    pub(super) fn post_norms(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    /// Whether matrices that share an input are stored as one.
    pub(super) fn is_fused(self) -> bool {
        self == Self::Phi3
    }

    pub(super) fn rope_style(self) -> RopeStyle {
        match self {
            Self::Llama => RopeStyle::Pairs,
            _ => RopeStyle::Halves,
        }
    }

    /// `rope` is that of the layers that see everything.
    pub(super) fn window(
        self,
        keys: &Keys<'_>,
        rope: &Rope,
        context: usize,
    ) -> Result<Option<Window>, FileError> {
        let period = |usual| keys.count_or("attention.sliding_window_pattern", usual, 1 << 10);
        Ok(match self {
            Self::Llama | Self::Qwen2 | Self::Qwen3 => None,
            Self::Gemma2 => Some(Window {
                tokens: keys.window()?.unwrap_or(4096),
                period: Some(period(2)?),
                rope: rope.with_window_base(keys, rope.base)?,
            }),
            Self::Gemma3 => match keys.window()? {
                None => None,
                Some(tokens) => Some(Window {
                    tokens,
                    period: Some(period(6)?),
                    rope: Rope {
                        scale: 1.0,
                        ..rope.with_window_base(keys, 1e4)?
                    },
                }),
            },
            Self::Phi3 => keys
                .window()?
                .filter(|&tokens| tokens < context)
                .map(|tokens| Window {
                    tokens,
                    period: None,
                    rope: *rope,
                }),
        })
    }
}
