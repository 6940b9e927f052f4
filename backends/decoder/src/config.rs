//! What kind of decoder a GGUF file holds: its metadata as checked, typed values.
//!
//! The keys are those that llama.cpp writes (`{architecture}.block_count` and so on). A value that
//! makes no sense is an error here, so that nothing behind this has to check again. By
//! [`ModelConfig::read`] the same file gives the same configuration on every node.

mod architecture;
mod keys;
mod rope;

use crate::{FileError, Gguf};
use architecture::Architecture;
pub use keys::Keys;
pub use rope::{Rope, RopeStyle};

/// A decoder's shape and habits.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Layers that follow each other.
    pub layers: usize,
    /// Of the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Divides `heads`.
    pub kv_heads: usize,
    /// Of one head; even.
    pub head_dim: usize,
    /// Of what lies between the feed-forward part's matrices.
    pub ffn_width: usize,
    /// Tokens that there are.
    pub vocab: usize,
    /// Tokens that a sequence may have.
    pub context: usize,
    /// Added to the mean square in each norm.
    pub norm_eps: f32,
    /// What the gate goes through.
    pub activation: Activation,
    /// The embedding is multiplied by this.
    pub embedding_scale: f32,
    /// Scores are multiplied by this, before they are capped.
    pub attention_scale: f32,
    /// With it, a score s becomes cap * tanh(s / cap).
    pub attention_softcap: Option<f32>,
    /// The same for logits.
    pub logit_softcap: Option<f32>,
    /// Norms over each head of q and k before the rotation.
    pub qk_norm: bool,
    /// Norms after attention and after the feed-forward part, before they are added.
    pub post_norms: bool,
    /// One matrix, `attn_qkv`, has the rows of q, then those of k, then those of v.
    pub fused_qkv: bool,
    /// One matrix, `ffn_up`, has the rows of the gate, then those of the upward part.
    pub fused_gate_up: bool,
    /// Of all layers.
    pub rope_style: RopeStyle,
    /// Of layers that see everything.
    pub rope: Rope,
    /// Of layers that do not.
    pub window: Option<Window>,
}

/// What the gate goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x / (1 + exp(-x)).
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

/// Layers that see only the last tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// How many tokens they see, the newest included.
    pub tokens: usize,
    /// Every so-manieth layer sees everything, if any does.
    pub period: Option<usize>,
    /// How these layers rotate.
    pub rope: Rope,
}

impl ModelConfig {
    /// Reads the metadata and checks it.
    ///
    /// # Errors
    /// For an unknown architecture, a missing or senseless value, and features that the graph does
    /// not compute.
    pub fn read(file: &Gguf) -> Result<Self, FileError> {
        Self::read_with_context(file, usize::MAX)
    }

    /// The same with a context of no more than `context_max` tokens. Phi 3 computes otherwise for short
    /// contexts than for long ones, so where answers have to be equal, this must be.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_with_context(file: &Gguf, context_max: usize) -> Result<Self, FileError> {
        let (architecture, name) = Architecture::of(file)?;
        let keys = Keys::new(file, name);
        keys.refuse_experts()?;

        let width = keys.count("embedding_length", 1 << 16)?;
        let layers = keys.count("block_count", 1 << 10)?;
        let heads = keys.count("attention.head_count", 1 << 12)?;
        let kv_heads = keys.count_or("attention.head_count_kv", heads, 1 << 12)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(FileError::malformed(format!(
                "{heads} heads cannot share {kv_heads} key heads"
            )));
        }
        let head_dim = keys.count_or("attention.key_length", (width / heads).max(1), 1 << 12)?;
        let value_dim = keys.count_or("attention.value_length", head_dim, 1 << 12)?;
        if value_dim != head_dim || !head_dim.is_multiple_of(2) {
            return Err(FileError::Unsupported(format!(
                "heads of {head_dim} key and {value_dim} value components"
            )));
        }
        let context = keys.count("context_length", 1 << 24)?.min(context_max);
        let rope = Rope::read(&keys, architecture, head_dim, context)?;
        Ok(Self {
            layers,
            width,
            heads,
            kv_heads,
            head_dim,
            ffn_width: keys.count("feed_forward_length", 1 << 20)?,
            vocab: vocab(file, width)?,
            context,
            norm_eps: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            activation: architecture.activation(),
            embedding_scale: architecture.embedding_scale(width),
            attention_scale: architecture.attention_scale(layers, width / heads, head_dim),
            attention_softcap: architecture.attention_softcap(&keys)?,
            logit_softcap: architecture.logit_softcap(&keys)?,
            qk_norm: architecture.qk_norm(),
            post_norms: architecture.post_norms(),
            fused_qkv: architecture.is_fused(),
            fused_gate_up: architecture.is_fused(),
            rope_style: architecture.rope_style(),
            rope,
            window: architecture.window(&keys, &rope, context)?,
        })
    }

    /// The names of all architectures that can be read.
    pub fn architectures() -> Vec<&'static str> {
        architecture::names()
    }

    /// The window and the rotation of a layer.
    pub fn window_of(&self, layer: usize) -> Option<&Window> {
        let sees_all = |period| (layer + 1).is_multiple_of(period);
        self.window
            .as_ref()
            .filter(|window| !window.period.is_some_and(sees_all))
    }

    /// Components of all query heads.
    pub fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Components of all key (or value) heads.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

fn vocab(file: &Gguf, width: usize) -> Result<usize, FileError> {
    match file.dims("token_embd.weight") {
        Some(&[row, rows]) if row == width as u64 && (1..=1 << 22).contains(&rows) => {
            Ok(rows as usize)
        }
        Some(dims) => Err(FileError::malformed(format!(
            "the tensor 'token_embd.weight' has the shape {dims:?}, with {width} as its width"
        ))),
        None => Err(FileError::malformed(
            "the tensor 'token_embd.weight' is missing",
        )),
    }
}
