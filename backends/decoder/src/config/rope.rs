//! Rotary position embedding (Su et al. 2021) and how files stretch it to longer contexts.

use super::architecture::Architecture;
use super::keys::Keys;
use crate::{FileError, Value};

/// Which components of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours: llama's, whose weights GGUF stores permuted for it.
    Pairs,
    /// Component i with component i + dims / 2: everybody else's ("neox").
    Halves,
}

/// The rotation by position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// Pair i of n turns by base^(-i / n) radians per position.
    pub base: f32,
    /// Positions are multiplied by this.
    pub scale: f32,
    /// Leading components of a head that are rotated; even.
    pub dims: usize,
    /// Cosines and sines are multiplied by this.
    pub magnitude: f32,
    /// The tensor of `dims` / 2 numbers that the frequencies are divided by.
    pub factors: Option<&'static str>,
}

impl Rope {
    /// The rotation of layers that see everything.
    pub(super) fn read(
        keys: &Keys<'_>,
        architecture: Architecture,
        head_dim: usize,
        context: usize,
    ) -> Result<Self, FileError> {
        let dims = keys.count_or("rope.dimension_count", head_dim, head_dim)?;
        if !dims.is_multiple_of(2) {
            return Err(keys.bad("rope.dimension_count", keys.find("rope.dimension_count")));
        }
        let usual_base = match architecture {
            Architecture::Gemma3 => 1e6,
            _ => 1e4,
        };
        Ok(Self {
            base: keys.positive("rope.freq_base", Some(usual_base))?,
            scale: 1.0 / stretch(keys, architecture)?,
            dims,
            magnitude: keys.positive("rope.scaling.attn_factor", Some(1.0))?,
            factors: factors(keys, architecture, context)?,
        })
    }

    /// The same for layers with a window, which may have a base of their own.
    pub(super) fn with_window_base(&self, keys: &Keys<'_>, usual: f32) -> Result<Self, FileError> {
        Ok(Self {
            base: keys.positive("rope.freq_base_swa", Some(usual))?,
            ..*self
        })
    }
}

/// How many times longer than it was trained a context is made, by turning more slowly.
fn stretch(keys: &Keys<'_>, architecture: Architecture) -> Result<f32, FileError> {
    let kind = match keys.find("rope.scaling.type") {
        None => "linear",
        Some(Value::String(kind)) => kind,
        other => return Err(keys.bad("rope.scaling.type", other)),
    };
    match (kind, architecture) {
        ("none", _) => Ok(1.0),
        // The factors do all of it.
        ("longrope", Architecture::Phi3) => Ok(1.0),
        ("linear", _) => {
            let old_key = keys.positive("rope.scale_linear", Some(1.0))?;
            keys.positive("rope.scaling.factor", Some(old_key))
        }
        _ => Err(FileError::Unsupported(format!(
            "the rope scaling '{}'",
            kind.chars().take(20).collect::<String>()
        ))),
    }
}

/// Llama 3 has one table of factors. Phi 3 has two, for contexts of the length it was first trained
/// with and for longer ones. The model's context decides, never how long a sequence is by now: keys that
/// were rotated one way would else meet queries rotated the other.
fn factors(
    keys: &Keys<'_>,
    architecture: Architecture,
    context: usize,
) -> Result<Option<&'static str>, FileError> {
    const ONE: &str = "rope_freqs.weight";
    const SHORT: &str = "rope_factors_short.weight";
    const LONG: &str = "rope_factors_long.weight";
    match architecture {
        Architecture::Llama if keys.has_tensor(ONE) => Ok(Some(ONE)),
        Architecture::Phi3 if keys.has_tensor(SHORT) || keys.has_tensor(LONG) => {
            let original = "rope.scaling.original_context_length";
            let original = keys.count_or(original, context, 1 << 24)?;
            Ok(Some(if context > original { LONG } else { SHORT }))
        }
        _ => Ok(None),
    }
}
