//! What kind of decoder a GGUF file holds: its metadata as checked, typed values.
//!
//! The keys are those that llama.cpp writes (`{architecture}.block_count` and so on). A value that
//! makes no sense is an error here, so that nothing behind this has to check again.

use candle_core::quantized::gguf_file::Value;

use super::Gguf;
use crate::ModelError;

const KNOWN: &str = "llama, qwen2, qwen3, gemma3";

/// A decoder's shape and habits.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelConfig {
    pub(crate) layers: usize,
    /// Of the residual stream.
    pub(crate) width: usize,
    pub(crate) heads: usize,
    /// Divides `heads`.
    pub(crate) kv_heads: usize,
    /// Of one head; even.
    pub(crate) head_dim: usize,
    pub(crate) ffn_width: usize,
    pub(crate) vocab: usize,
    /// Tokens that a sequence may have.
    pub(crate) context: usize,
    pub(crate) norm_eps: f32,
    pub(crate) activation: Activation,
    /// The embedding is multiplied by this.
    pub(crate) embedding_scale: f32,
    /// Scores are multiplied by this.
    pub(crate) attention_scale: f32,
    /// Norms over each head of q and k before the rotation.
    pub(crate) qk_norm: bool,
    /// Norms after attention and after the feed-forward part, before they are added.
    pub(crate) post_norms: bool,
    pub(crate) rope_style: RopeStyle,
    /// Of layers that see everything.
    pub(crate) rope: Rope,
    pub(crate) window: Option<Window>,
}

/// What the gate goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Silu,
    /// The tanh approximation of GELU.
    GeluTanh,
}

/// Which components of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RopeStyle {
    /// Neighbours: llama's, whose weights GGUF stores permuted for it.
    Pairs,
    /// Component i with component i + dims / 2: everybody else's ("neox").
    Halves,
}

/// The rotation by position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rope {
    pub(crate) base: f32,
    /// Positions are multiplied by this.
    pub(crate) scale: f32,
    /// Leading components of a head that are rotated; even.
    pub(crate) dims: usize,
}

/// Layers that see only the last tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    /// How many tokens they see, the newest included.
    pub(crate) tokens: usize,
    /// Every so-manieth layer sees everything.
    pub(crate) period: usize,
    pub(crate) rope: Rope,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Architecture {
    Llama,
    Qwen2,
    Qwen3,
    Gemma3,
}

impl ModelConfig {
    /// Reads the metadata and checks it.
    ///
    /// # Errors
    /// For an unknown architecture, a missing or senseless value, and features that the graph does
    /// not compute.
    pub(crate) fn read(file: &Gguf) -> Result<Self, ModelError> {
        let name = match file.metadata().get("general.architecture") {
            Some(Value::String(name)) => name.as_str(),
            _ => return Err(malformed("it does not name its architecture")),
        };
        let architecture = match name {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            "gemma3" => Architecture::Gemma3,
            _ => {
                return Err(ModelError::UnknownArchitecture {
                    name: name.into(),
                    known: KNOWN.into(),
                });
            }
        };
        let keys = Keys { file, prefix: name };
        keys.refuse_experts()?;

        let width = keys.count("embedding_length", 1 << 16)?;
        let layers = keys.count("block_count", 1 << 10)?;
        let heads = keys.count("attention.head_count", 1 << 12)?;
        let kv_heads = keys.count_or("attention.head_count_kv", heads, 1 << 12)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(malformed(&format!(
                "{heads} heads cannot share {kv_heads} key heads"
            )));
        }
        let head_dim = keys.count_or("attention.key_length", (width / heads).max(1), 1 << 12)?;
        let value_dim = keys.count_or("attention.value_length", head_dim, 1 << 12)?;
        if value_dim != head_dim || !head_dim.is_multiple_of(2) {
            return Err(ModelError::Unsupported(format!(
                "heads of {head_dim} key and {value_dim} value components"
            )));
        }
        let gemma = architecture == Architecture::Gemma3;
        Ok(Self {
            layers,
            width,
            heads,
            kv_heads,
            head_dim,
            ffn_width: keys.count("feed_forward_length", 1 << 20)?,
            vocab: vocab(file, width)?,
            context: keys.count("context_length", 1 << 24)?,
            norm_eps: keys.positive("attention.layer_norm_rms_epsilon", None)?,
            activation: if gemma {
                Activation::GeluTanh
            } else {
                Activation::Silu
            },
            embedding_scale: if gemma { (width as f32).sqrt() } else { 1.0 },
            attention_scale: attention_scale(gemma, layers, width, heads, head_dim),
            qk_norm: matches!(architecture, Architecture::Qwen3 | Architecture::Gemma3),
            post_norms: gemma,
            rope_style: if architecture == Architecture::Llama {
                RopeStyle::Pairs
            } else {
                RopeStyle::Halves
            },
            rope: keys.rope(head_dim, if gemma { 1e6 } else { 1e4 })?,
            window: if gemma {
                keys.gemma_window(head_dim)?
            } else {
                None
            },
        })
    }

    /// The window and the rotation of a layer.
    pub(crate) fn window_of(&self, layer: usize) -> Option<&Window> {
        self.window
            .as_ref()
            .filter(|window| !(layer + 1).is_multiple_of(window.period))
    }

    /// Components of all query heads.
    pub(crate) fn q_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Components of all key (or value) heads.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// Gemma 3's largest member, known by its 62 layers, scales by the width of its stream.
fn attention_scale(gemma: bool, layers: usize, width: usize, heads: usize, head: usize) -> f32 {
    let scaled_by = if gemma && layers == 62 {
        width / heads
    } else {
        head
    };
    1.0 / (scaled_by as f32).sqrt()
}

fn vocab(file: &Gguf, width: usize) -> Result<usize, ModelError> {
    match file.dims("token_embd.weight") {
        Some(&[row, rows]) if row == width as u64 && (1..=1 << 22).contains(&rows) => {
            Ok(rows as usize)
        }
        Some(dims) => Err(malformed(&format!(
            "the tensor 'token_embd.weight' has the shape {dims:?}, with {width} as its width"
        ))),
        None => Err(malformed("the tensor 'token_embd.weight' is missing")),
    }
}

fn malformed(reason: &str) -> ModelError {
    ModelError::Malformed(reason.into())
}

/// The keys of one architecture.
struct Keys<'a> {
    file: &'a Gguf,
    prefix: &'a str,
}

impl Keys<'_> {
    fn find(&self, key: &str) -> Option<&Value> {
        self.file.metadata().get(&format!("{}.{key}", self.prefix))
    }

    fn bad(&self, key: &str, value: Option<&Value>) -> ModelError {
        let prefix = self.prefix;
        match value {
            None => malformed(&format!("'{prefix}.{key}' is missing")),
            Some(Value::Array(_)) => {
                ModelError::Unsupported(format!("a different '{prefix}.{key}' for each layer"))
            }
            // A text could be anything of any length.
            Some(Value::String(_)) => malformed(&format!("'{prefix}.{key}' is a text")),
            Some(value) => malformed(&format!("'{prefix}.{key}' is {value:?}")),
        }
    }

    /// A whole number from 1 to `max`.
    fn count(&self, key: &str, max: usize) -> Result<usize, ModelError> {
        let value = self.find(key);
        let number = match value {
            Some(Value::I32(number)) => u64::try_from(*number).ok(),
            Some(Value::I64(number)) => u64::try_from(*number).ok(),
            Some(value) => value.to_u64().ok(),
            None => None,
        };
        match number {
            Some(number) if (1..=max as u64).contains(&number) => Ok(number as usize),
            _ => Err(self.bad(key, value)),
        }
    }

    fn count_or(&self, key: &str, default: usize, max: usize) -> Result<usize, ModelError> {
        match self.find(key) {
            None => Ok(default),
            Some(_) => self.count(key, max),
        }
    }

    /// A finite number above zero.
    fn positive(&self, key: &str, default: Option<f32>) -> Result<f32, ModelError> {
        match (self.find(key), default) {
            (None, Some(default)) => Ok(default),
            (Some(Value::F32(number)), _) if number.is_finite() && *number > 0.0 => Ok(*number),
            (other, _) => Err(self.bad(key, other)),
        }
    }

    fn refuse_experts(&self) -> Result<(), ModelError> {
        match self.find("expert_count").map(Value::to_u64) {
            Some(Ok(experts)) if experts > 0 => {
                Err(ModelError::Unsupported(format!("{experts} experts")))
            }
            _ => Ok(()),
        }
    }

    fn rope(&self, head_dim: usize, default_base: f32) -> Result<Rope, ModelError> {
        let dims = self.count_or("rope.dimension_count", head_dim, head_dim)?;
        if !dims.is_multiple_of(2) {
            return Err(self.bad("rope.dimension_count", self.find("rope.dimension_count")));
        }
        let factor = match self.find("rope.scaling.type") {
            None => self.positive("rope.scale_linear", Some(1.0))?,
            Some(Value::String(kind)) if kind == "none" => 1.0,
            Some(Value::String(kind)) if kind == "linear" => {
                self.positive("rope.scaling.factor", Some(1.0))?
            }
            Some(Value::String(kind)) => {
                let kind: String = kind.chars().take(20).collect();
                return Err(ModelError::Unsupported(format!(
                    "the rope scaling '{kind}'"
                )));
            }
            other => return Err(self.bad("rope.scaling.type", other)),
        };
        Ok(Rope {
            base: self.positive("rope.freq_base", Some(default_base))?,
            scale: 1.0 / factor,
            dims,
        })
    }

    /// Five layers of six see a window, and turn by a base of their own.
    fn gemma_window(&self, head_dim: usize) -> Result<Option<Window>, ModelError> {
        if self.find("attention.sliding_window").is_none() {
            return Ok(None);
        }
        Ok(Some(Window {
            tokens: self.count("attention.sliding_window", 1 << 24)?,
            period: self.count_or("attention.sliding_window_pattern", 6, 1 << 10)?,
            rope: Rope {
                base: self.positive("rope.freq_base_swa", Some(1e4))?,
                scale: 1.0,
                dims: head_dim,
            },
        }))
    }
}
