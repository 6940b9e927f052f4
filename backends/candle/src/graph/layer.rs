//! The weights of one layer, under the names that llama.cpp gives them.

use kwaainet_decoder::{FileError, Gguf, ModelConfig};

use super::matrix::{self, Input, Matrix, optional_vector, vector};
use super::ops;

pub(super) struct Layer {
    pub(super) attn_norm: Vec<f32>,
    pub(super) q: Linear,
    pub(super) k: Linear,
    pub(super) v: Linear,
    pub(super) q_norm: Option<Vec<f32>>,
    pub(super) k_norm: Option<Vec<f32>>,
    pub(super) o: Linear,
    pub(super) post_attn_norm: Option<Vec<f32>>,
    pub(super) ffn_norm: Vec<f32>,
    pub(super) gate: Linear,
    pub(super) up: Linear,
    pub(super) down: Linear,
    pub(super) post_ffn_norm: Option<Vec<f32>>,
    /// Tokens that it sees, if not all.
    pub(super) window: Option<usize>,
}

/// A matrix with what is added to its product.
pub(super) struct Linear {
    weight: Matrix,
    bias: Option<Vec<f32>>,
}

impl Layer {
    pub(super) fn load(file: &Gguf, index: usize, config: &ModelConfig) -> Result<Self, FileError> {
        let (width, ffn) = (config.width, config.ffn_width);
        let (q, kv) = (config.q_width(), config.kv_width());
        let head = config.head_dim;
        let name = |part: &str| format!("blk.{index}.{part}");
        let needed = |wanted: bool, file: &Gguf, part: &str, len: usize| {
            wanted.then(|| vector(file, &name(part), len)).transpose()
        };
        Ok(Self {
            attn_norm: vector(file, &name("attn_norm.weight"), width)?,
            q: Linear::load(file, &name("attn_q"), q, width)?,
            k: Linear::load(file, &name("attn_k"), kv, width)?,
            v: Linear::load(file, &name("attn_v"), kv, width)?,
            q_norm: needed(config.qk_norm, file, "attn_q_norm.weight", head)?,
            k_norm: needed(config.qk_norm, file, "attn_k_norm.weight", head)?,
            o: Linear::load(file, &name("attn_output"), width, q)?,
            post_attn_norm: needed(config.post_norms, file, "post_attention_norm.weight", width)?,
            ffn_norm: vector(file, &name("ffn_norm.weight"), width)?,
            gate: Linear::load(file, &name("ffn_gate"), ffn, width)?,
            up: Linear::load(file, &name("ffn_up"), ffn, width)?,
            down: Linear::load(file, &name("ffn_down"), width, ffn)?,
            post_ffn_norm: needed(config.post_norms, file, "post_ffw_norm.weight", width)?,
            window: config.window_of(index).map(|window| window.tokens),
        })
    }
}

impl Linear {
    fn load(file: &Gguf, name: &str, rows: usize, cols: usize) -> Result<Self, FileError> {
        Ok(Self {
            weight: Matrix::load(file, &format!("{name}.weight"), rows, cols)?,
            bias: optional_vector(file, &format!("{name}.bias"), rows)?,
        })
    }
}

/// Applies several at once to one input.
pub(super) fn apply_all(
    input: &Input,
    products: &mut [(&Linear, &mut Vec<f32>)],
) -> candle_core::Result<()> {
    let mut bare: Vec<_> = products
        .iter_mut()
        .map(|(linear, out)| (&linear.weight, &mut **out))
        .collect();
    matrix::apply_all(input, &mut bare)?;
    for (linear, out) in products {
        if let Some(bias) = &linear.bias {
            for row in out.chunks_exact_mut(bias.len()) {
                ops::add(row, bias);
            }
        }
    }
    Ok(())
}
