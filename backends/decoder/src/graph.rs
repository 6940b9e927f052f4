//! The decoder: one graph for every architecture, parametrised by [`ModelConfig`].
//!
//! It owns the weights, never a sequence's state: each step is handed the tokens and the
//! [`KvCache`] of every sequence that takes part. What a sequence gets does not depend on who else
//! takes part, on how its prompt is cut into chunks, on the number of threads, or on the kernel.

mod attention;
mod kv;
mod layer;
mod rotation;
#[cfg(test)]
mod tests;
mod weights;

use kwaainet_kernels::{
    Compute, Input, Kernel, KvFormat, Matrix, PageShape, Product, multiply, ops,
};

use crate::{Activation, FileError, Gguf, ModelConfig};
use attention::{View, attend_all};
pub use kv::KvCache;
use layer::{Layer, Linear};
use rotation::{Angles, Rotation};

/// Rows that a thread takes at a time where work is shared out by rows.
const ROWS_TOGETHER: usize = 4;

/// A decoder's weights.
pub struct Decoder {
    config: ModelConfig,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// `None` where the embedding serves both ends.
    output: Option<Matrix>,
    rotation: Rotation,
    /// Of layers with a window, where there are any.
    window_rotation: Option<Rotation>,
    kv: KvFormat,
}

/// One sequence's share of a step.
pub struct Part<'a> {
    /// What follows the positions in `kv`; at least one, each below the vocabulary's size.
    pub tokens: &'a [u32],
    /// Has memory for the tokens; holds them when the step is done.
    pub kv: &'a mut KvCache,
    /// After how many of the last tokens the logits are wanted.
    pub logits: usize,
}

/// Buffers of a step, kept to be used again.
#[derive(Default)]
pub struct Work {
    /// The residual stream, and a second one of its size.
    x: Vec<f32>,
    y: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    attended: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    /// What the next matrices are applied to.
    input: Input,
    angles: Angles,
    window_angles: Angles,
    logits: Vec<f32>,
}

/// Where a row of a step belongs.
struct Row {
    part: usize,
    position: usize,
}

impl Decoder {
    /// Reads and packs the weights of `file`, by all threads of `compute`.
    ///
    /// # Errors
    /// For missing tensors, wrong shapes and storage types that are not computed.
    pub fn load(file: &Gguf, config: ModelConfig, compute: &Compute) -> Result<Self, FileError> {
        let pool = &compute.pool;
        let (width, vocab) = (config.width, config.vocab);
        let embedding = weights::matrix(file, "token_embd.weight", (vocab, width), pool)?;
        let layers = (0..config.layers)
            .map(|index| Layer::load(file, index, &config, pool))
            .collect::<Result<_, _>>()?;
        let norm = weights::vector(file, "output_norm.weight", width)?;
        let output = if file.has("output.weight") {
            Some(weights::matrix(
                file,
                "output.weight",
                (vocab, width),
                pool,
            )?)
        } else {
            None
        };
        let rotation = Rotation::load(file, &config.rope, config.rope_style)?;
        let window_rotation = match &config.window {
            Some(window) => Some(Rotation::load(file, &window.rope, config.rope_style)?),
            None => None,
        };
        Ok(Self {
            embedding,
            layers,
            norm,
            output,
            rotation,
            window_rotation,
            kv: KvFormat::default(),
            config,
        })
    }

    /// What it computes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The same decoder, whose sequences keep their keys and values in `kv`; half floats are usual.
    pub fn with_kv(self, kv: KvFormat) -> Self {
        Self { kv, ..self }
    }

    /// What one position of a sequence needs.
    pub fn page_shape(&self) -> PageShape {
        PageShape {
            layers: self.config.layers,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
            format: self.kv,
        }
    }

    /// Tokens that there are.
    pub fn vocab(&self) -> usize {
        self.config.vocab
    }

    /// Bytes of the matrices: what a step with few tokens reads.
    pub fn weight_bytes(&self) -> usize {
        let layers = self.layers.iter().map(Layer::bytes).sum::<usize>();
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        layers + output.bytes()
    }

    /// Computes one step; gives the wanted logits, rows of the vocabulary's size, in the order of
    /// parts and tokens.
    ///
    /// # Panics
    /// When a token is beyond the vocabulary, or a part has no tokens or no memory for them.
    pub fn step<'w>(
        &self,
        compute: &Compute,
        parts: &mut [Part<'_>],
        work: &'w mut Work,
    ) -> &'w [f32] {
        let rows = rows(parts);
        self.embed(compute, parts, work);
        let positions: Vec<usize> = rows.iter().map(|row| row.position).collect();
        self.rotation.prepare(compute, &positions, &mut work.angles);
        if let Some(rotation) = &self.window_rotation {
            rotation.prepare(compute, &positions, &mut work.window_angles);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            self.attention(compute, (index, layer), &rows, parts, work);
            self.feed_forward(compute, layer, work);
        }
        self.logits(compute, parts, work);
        for part in parts.iter_mut() {
            part.kv.advance(part.tokens.len());
        }
        &work.logits
    }

    fn embed(&self, compute: &Compute, parts: &[Part<'_>], work: &mut Work) {
        let tokens: Vec<u32> = parts.iter().flat_map(|part| part.tokens).copied().collect();
        let scale = self.config.embedding_scale;
        work.x.resize(tokens.len() * self.config.width, 0.0);
        each_row(compute, &mut work.x, self.config.width, |row, x| {
            self.embedding.row(tokens[row] as usize, x);
            for x in x {
                *x *= scale;
            }
        });
    }

    fn attention(
        &self,
        compute: &Compute,
        (index, layer): (usize, &Layer),
        rows: &[Row],
        parts: &mut [Part<'_>],
        work: &mut Work,
    ) {
        self.normed(compute, &layer.attn_norm, work);
        let qkv = &mut [
            (&layer.q, &mut work.q),
            (&layer.k, &mut work.k),
            (&layer.v, &mut work.v),
        ];
        apply(compute, &work.input, qkv);
        self.turn(compute, layer, work);

        let kv_width = self.config.kv_width();
        let keys = work.k.chunks_exact(kv_width);
        let values = work.v.chunks_exact(kv_width);
        for ((row, key), value) in rows.iter().zip(keys).zip(values) {
            let kv = &mut parts[row.part].kv;
            kv.write(compute.kernel, index, row.position, key, value);
        }
        let view = View {
            layer: index,
            heads: self.config.heads,
            window: layer.window,
            soft_cap: self.config.attention_softcap,
        };
        work.attended.resize(work.q.len(), 0.0);
        attend_all(compute, &view, rows, parts, &work.q, &mut work.attended);
        let width = self.config.q_width();
        fill(
            compute,
            &mut work.input,
            work.x.len() / self.config.width,
            width,
            |row, to| {
                to.copy_from_slice(&work.attended[row * width..][..width]);
            },
        );
        apply(compute, &work.input, &mut [(&layer.o, &mut work.y)]);
        self.add_back(compute, layer.post_attn_norm.as_ref(), work);
    }

    /// Norms the heads of queries and keys where the model does, and turns them by position.
    fn turn(&self, compute: &Compute, layer: &Layer, work: &mut Work) {
        let (rotation, angles) = match (&self.window_rotation, layer.window) {
            (Some(rotation), Some(_)) => (rotation, &work.window_angles),
            _ => (&self.rotation, &work.angles),
        };
        let turn = |vectors: &mut [f32], norm: Option<&Vec<f32>>, row: usize, scale: f32| {
            for head in vectors.chunks_exact_mut(self.config.head_dim) {
                if let Some(norm) = norm {
                    ops::rms_norm_inplace(compute.kernel, head, norm, self.config.norm_eps);
                }
                rotation.turn(compute.kernel, head, angles, row, scale);
            }
        };
        let queries = work.q.chunks_exact_mut(self.config.q_width());
        let keys = work.k.chunks_exact_mut(self.config.kv_width());
        let mut both: Vec<_> = queries.zip(keys).collect();
        compute
            .pool
            .each(&mut both, ROWS_TOGETHER, |row, (queries, keys)| {
                turn(
                    queries,
                    layer.q_norm.as_ref(),
                    row,
                    self.config.attention_scale,
                );
                turn(keys, layer.k_norm.as_ref(), row, 1.0);
            });
    }

    fn feed_forward(&self, compute: &Compute, layer: &Layer, work: &mut Work) {
        self.normed(compute, &layer.ffn_norm, work);
        let gate_and_up = &mut [(&layer.gate, &mut work.gate), (&layer.up, &mut work.up)];
        apply(compute, &work.input, gate_and_up);
        let width = self.config.ffn_width;
        let rows = work.x.len() / self.config.width;
        fill(compute, &mut work.input, rows, width, |row, to| {
            to.copy_from_slice(&work.gate[row * width..][..width]);
            let up = &work.up[row * width..][..width];
            match self.config.activation {
                Activation::Silu => ops::silu_mul(compute.kernel, to, up),
                Activation::GeluTanh => ops::gelu_mul(compute.kernel, to, up),
            }
        });
        apply(compute, &work.input, &mut [(&layer.down, &mut work.y)]);
        self.add_back(compute, layer.post_ffn_norm.as_ref(), work);
    }

    fn logits(&self, compute: &Compute, parts: &[Part<'_>], work: &mut Work) {
        let width = self.config.width;
        let mut wanted = Vec::new();
        let mut end = 0;
        for part in parts {
            end += part.tokens.len();
            wanted.extend(end - part.logits.min(part.tokens.len())..end);
        }
        work.logits.resize(wanted.len() * self.config.vocab, 0.0);
        if wanted.is_empty() {
            return;
        }
        fill(compute, &mut work.input, wanted.len(), width, |row, to| {
            let x = &work.x[wanted[row] * width..][..width];
            ops::rms_norm(compute.kernel, x, &self.norm, self.config.norm_eps, to);
        });
        let matrix = self.output.as_ref().unwrap_or(&self.embedding);
        let out = &mut work.logits;
        multiply(compute, &work.input, &mut [Product { matrix, out }]);
        if let Some(cap) = self.config.logit_softcap {
            each_row(compute, &mut work.logits, self.config.vocab, |_, logits| {
                ops::soft_cap(compute.kernel, logits, cap);
            });
        }
    }

    /// Makes the residual stream, normed, the next input.
    fn normed(&self, compute: &Compute, weight: &[f32], work: &mut Work) {
        let (width, eps) = (self.config.width, self.config.norm_eps);
        fill(
            compute,
            &mut work.input,
            work.x.len() / width,
            width,
            |row, to| {
                let x = &work.x[row * width..][..width];
                ops::rms_norm(compute.kernel, x, weight, eps, to);
            },
        );
    }

    /// Adds what a block made to the residual stream.
    fn add_back(&self, compute: &Compute, norm: Option<&Vec<f32>>, work: &mut Work) {
        let (width, eps) = (self.config.width, self.config.norm_eps);
        let rows = work
            .x
            .chunks_exact_mut(width)
            .zip(work.y.chunks_exact_mut(width));
        let mut rows: Vec<_> = rows.collect();
        compute.pool.each(&mut rows, ROWS_TOGETHER, |_, (x, y)| {
            if let Some(norm) = norm {
                ops::rms_norm_inplace(compute.kernel, y, norm, eps);
            }
            ops::add(compute.kernel, x, y);
        });
    }
}

fn rows(parts: &[Part<'_>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        assert!(!part.tokens.is_empty(), "a part has at least one token");
        let start = part.kv.len();
        rows.extend((0..part.tokens.len()).map(|offset| Row {
            part: index,
            position: start + offset,
        }));
    }
    rows
}

/// Applies several matrices to one input, and adds their biases.
fn apply(compute: &Compute, input: &Input, linears: &mut [(&Linear, &mut Vec<f32>)]) {
    let mut products: Vec<Product<'_>> = linears
        .iter_mut()
        .map(|(linear, out)| {
            out.resize(input.rows() * linear.weight.rows(), 0.0);
            Product {
                matrix: &linear.weight,
                out,
            }
        })
        .collect();
    multiply(compute, input, &mut products);
    for (linear, out) in linears {
        if let Some(bias) = &linear.bias {
            each_row(compute, out, bias.len(), |_, row| {
                ops::add(compute.kernel, row, bias);
            });
        }
    }
}

/// Calls `each` with every row of a buffer.
fn each_row(
    compute: &Compute,
    buffer: &mut [f32],
    width: usize,
    each: impl Fn(usize, &mut [f32]) + Sync,
) {
    let mut rows: Vec<_> = buffer.chunks_exact_mut(width).collect();
    compute
        .pool
        .each(&mut rows, ROWS_TOGETHER, |row, to| each(row, to));
}

/// Makes an input whose rows `write` writes.
fn fill(
    compute: &Compute,
    input: &mut Input,
    rows: usize,
    width: usize,
    write: impl Fn(usize, &mut [f32]) + Sync,
) {
    let kernel: Kernel = compute.kernel;
    input.resize(rows, width);
    let mut rows = input.rows_mut();
    compute.pool.each(&mut rows, ROWS_TOGETHER, |row, to| {
        to.fill(kernel, |to| write(row, to));
    });
}
