//! The weights of one layer, under the names that llama.cpp gives them.

use std::ops::Range;

use kwaainet_kernels::{Matrix, Pool};

use super::weights::{matrix, optional_vector, some_rows, vector};
use crate::{FileError, Gguf, ModelConfig};

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
    pub(super) weight: Matrix,
    pub(super) bias: Option<Vec<f32>>,
}

/// Reads what belongs to one layer.
struct Reader<'a> {
    file: &'a Gguf,
    index: usize,
    pool: &'a Pool,
}

impl Layer {
    pub(super) fn load(
        file: &Gguf,
        index: usize,
        config: &ModelConfig,
        pool: &Pool,
    ) -> Result<Self, FileError> {
        let (width, ffn) = (config.width, config.ffn_width);
        let (q, kv) = (config.q_width(), config.kv_width());
        let layer = Reader { file, index, pool };
        let [q, k, v] = if config.fused_qkv {
            layer.fused("attn_qkv", width, [0..q, q..q + kv, q + kv..q + 2 * kv])?
        } else {
            [
                layer.linear("attn_q", (q, width))?,
                layer.linear("attn_k", (kv, width))?,
                layer.linear("attn_v", (kv, width))?,
            ]
        };
        let [gate, up] = if config.fused_gate_up {
            layer.fused("ffn_up", width, [0..ffn, ffn..2 * ffn])?
        } else {
            [
                layer.linear("ffn_gate", (ffn, width))?,
                layer.linear("ffn_up", (ffn, width))?,
            ]
        };
        Ok(Self {
            attn_norm: layer.norm("attn_norm", width)?,
            q,
            k,
            v,
            q_norm: layer.norm_if(config.qk_norm, "attn_q_norm", config.head_dim)?,
            k_norm: layer.norm_if(config.qk_norm, "attn_k_norm", config.head_dim)?,
            o: layer.linear("attn_output", (width, config.q_width()))?,
            post_attn_norm: layer.norm_if(config.post_norms, "post_attention_norm", width)?,
            ffn_norm: layer.norm("ffn_norm", width)?,
            gate,
            up,
            down: layer.linear("ffn_down", (width, ffn))?,
            post_ffn_norm: layer.norm_if(config.post_norms, "post_ffw_norm", width)?,
            window: config.window_of(index).map(|window| window.tokens),
        })
    }

    /// Bytes of its matrices.
    pub(super) fn bytes(&self) -> usize {
        let all = [
            &self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down,
        ];
        all.iter().map(|linear| linear.weight.bytes()).sum()
    }
}

impl Reader<'_> {
    fn name(&self, part: &str, what: &str) -> String {
        format!("blk.{}.{part}.{what}", self.index)
    }

    fn linear(&self, part: &str, (rows, cols): (usize, usize)) -> Result<Linear, FileError> {
        Ok(Linear {
            weight: matrix(
                self.file,
                &self.name(part, "weight"),
                (rows, cols),
                self.pool,
            )?,
            bias: optional_vector(self.file, &self.name(part, "bias"), rows)?,
        })
    }

    /// Several matrices that are stored as one, as ranges of its rows.
    fn fused<const N: usize>(
        &self,
        part: &str,
        cols: usize,
        ranges: [Range<usize>; N],
    ) -> Result<[Linear; N], FileError> {
        let rows = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        let bias = optional_vector(self.file, &self.name(part, "bias"), rows)?;
        let name = self.name(part, "weight");
        let mut linears = Vec::with_capacity(N);
        for range in ranges {
            linears.push(Linear {
                bias: bias.as_ref().map(|bias| bias[range.clone()].to_vec()),
                weight: some_rows(self.file, &name, (rows, cols), range, self.pool)?,
            });
        }
        Ok(linears
            .try_into()
            .unwrap_or_else(|_| unreachable!("as many as there are ranges")))
    }

    fn norm(&self, part: &str, len: usize) -> Result<Vec<f32>, FileError> {
        vector(self.file, &self.name(part, "weight"), len)
    }

    fn norm_if(&self, wanted: bool, part: &str, len: usize) -> Result<Option<Vec<f32>>, FileError> {
        wanted.then(|| self.norm(part, len)).transpose()
    }
}
