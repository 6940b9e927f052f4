//! The decoder: one graph for every architecture, parametrised by [`ModelConfig`].
//!
//! It owns the weights, never a sequence's state: each step is handed the tokens and the
//! [`KvCache`] of every sequence that takes part. What a sequence gets does not depend on who else
//! takes part, on how its prompt is cut into chunks, or on the number of threads.

mod attention;
mod kv;
mod layer;
mod matrix;
mod ops;
mod parallel;
mod rotation;
mod widen;

use kwaainet_decoder::{Activation, FileError, Gguf, ModelConfig};

use attention::{View, attend};
pub(crate) use kv::{KvCache, KvShape, PAGE, pages_for};
use layer::{Layer, apply_all};
use matrix::{Input, Matrix, vector};
pub(crate) use parallel::threads;
use rotation::{Angles, Rotation};

/// A decoder's weights.
pub(crate) struct Decoder {
    config: ModelConfig,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// `None` where the embedding serves both ends.
    output: Option<Matrix>,
    rotation: Rotation,
    /// Of layers with a window, where they turn differently.
    window_rotation: Option<Rotation>,
}

/// One sequence's share of a step.
pub(crate) struct Part<'a> {
    /// What follows the positions in `kv`; each below the vocabulary's size.
    pub(crate) tokens: &'a [u32],
    /// Has memory for the tokens; holds them when the step is done.
    pub(crate) kv: &'a mut KvCache,
    /// Whether the logits after the last token are wanted.
    pub(crate) wants_logits: bool,
}

/// Buffers of a step, kept to be used again.
#[derive(Default)]
pub(crate) struct Work {
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
    /// Reads the weights of `file`.
    ///
    /// # Errors
    /// For missing tensors, wrong shapes, and storage types and features that are not computed.
    pub(crate) fn load(file: &Gguf, config: ModelConfig) -> Result<Self, FileError> {
        refuse_unknown_parts(&config)?;
        let (width, vocab) = (config.width, config.vocab);
        let embedding = Matrix::load_whole(file, "token_embd.weight", vocab, width)?;
        let layers = (0..config.layers)
            .map(|index| Layer::load(file, index, &config))
            .collect::<Result<_, _>>()?;
        let norm = vector(file, "output_norm.weight", width)?;
        let output = if file.has("output.weight") {
            Some(Matrix::load_whole(file, "output.weight", vocab, width)?)
        } else {
            None
        };
        let factors = config.rope.factors;
        let factors = factors.map(|name| vector(file, name, config.rope.dims / 2));
        let factors = factors.transpose()?;
        let style = config.rope_style;
        Ok(Self {
            embedding,
            layers,
            norm,
            output,
            rotation: Rotation::new(&config.rope, style, factors.as_deref()),
            window_rotation: config
                .window
                .map(|window| Rotation::new(&window.rope, style, None)),
            config,
        })
    }

    /// What one position of a sequence needs.
    pub(crate) fn kv_shape(&self) -> KvShape {
        KvShape {
            layers: self.config.layers,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
        }
    }

    /// Tokens that there are.
    pub(crate) fn vocab(&self) -> usize {
        self.config.vocab
    }

    /// Computes one step; gives the wanted logits, one row of the vocabulary's size for each part
    /// that asked, in order.
    ///
    /// # Errors
    /// Only when candle refuses what was checked before: a fault.
    pub(crate) fn step<'w>(
        &self,
        parts: &mut [Part<'_>],
        work: &'w mut Work,
    ) -> candle_core::Result<&'w [f32]> {
        let rows = rows(parts);
        self.embed(parts, work)?;
        let positions = || rows.iter().map(|row| row.position);
        self.rotation.prepare(positions(), &mut work.angles);
        if let Some(rotation) = &self.window_rotation {
            rotation.prepare(positions(), &mut work.window_angles);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            self.attention(index, layer, &rows, parts, work)?;
            self.feed_forward(layer, work)?;
        }
        for part in parts.iter_mut() {
            part.kv.advance(part.tokens.len());
        }
        self.logits(parts, work)?;
        Ok(&work.logits)
    }

    fn embed(&self, parts: &[Part<'_>], work: &mut Work) -> candle_core::Result<()> {
        let width = self.config.width;
        let tokens = || parts.iter().flat_map(|part| part.tokens);
        work.x.resize(tokens().count() * width, 0.0);
        for (token, x) in tokens().zip(work.x.chunks_exact_mut(width)) {
            self.embedding.row(*token, x)?;
            for x in x {
                *x *= self.config.embedding_scale;
            }
        }
        Ok(())
    }

    fn attention(
        &self,
        index: usize,
        layer: &Layer,
        rows: &[Row],
        parts: &mut [Part<'_>],
        work: &mut Work,
    ) -> candle_core::Result<()> {
        self.norm_rows(&work.x, &layer.attn_norm, &mut work.y);
        work.input.set(&work.y, self.config.width);
        let qkv = &mut [
            (&layer.q, &mut work.q),
            (&layer.k, &mut work.k),
            (&layer.v, &mut work.v),
        ];
        apply_all(&work.input, qkv)?;

        let (rotation, angles) = match (&self.window_rotation, layer.window) {
            (Some(rotation), Some(_)) => (rotation, &work.window_angles),
            _ => (&self.rotation, &work.angles),
        };
        let turn = |vectors: &mut [f32], norm: Option<&Vec<f32>>, width: usize| {
            parallel::pieces(vectors, width, |row, vector| {
                for head in vector.chunks_exact_mut(self.config.head_dim) {
                    if let Some(norm) = norm {
                        ops::rms_norm_inplace(head, norm, self.config.norm_eps);
                    }
                    rotation.turn(head, row, angles);
                }
            });
        };
        let kv_width = self.config.kv_width();
        turn(&mut work.q, layer.q_norm.as_ref(), self.config.q_width());
        turn(&mut work.k, layer.k_norm.as_ref(), kv_width);

        let keys = work.k.chunks_exact(kv_width);
        let values = work.v.chunks_exact(kv_width);
        for ((row, key), value) in rows.iter().zip(keys).zip(values) {
            parts[row.part].kv.write(index, row.position, key, value);
        }
        self.attend(index, layer, rows, parts, work);
        work.input.set(&work.attended, self.config.q_width());
        apply_all(&work.input, &mut [(&layer.o, &mut work.y)])?;
        self.add_back(layer.post_attn_norm.as_ref(), work);
        Ok(())
    }

    /// Every head of every row by itself.
    fn attend(
        &self,
        index: usize,
        layer: &Layer,
        rows: &[Row],
        parts: &[Part<'_>],
        work: &mut Work,
    ) {
        let (heads, dim) = (self.config.heads, self.config.head_dim);
        let group = heads / self.config.kv_heads;
        work.attended.resize(work.q.len(), 0.0);
        parallel::pieces(&mut work.attended, dim, |piece, out| {
            let row = &rows[piece / heads];
            let end = row.position + 1;
            let view = View {
                kv: parts[row.part].kv,
                layer: index,
                kv_head: piece % heads / group,
                positions: end.saturating_sub(layer.window.unwrap_or(end))..end,
            };
            let query = &work.q[piece * dim..(piece + 1) * dim];
            attend(query, self.config.attention_scale, &view, out);
        });
    }

    fn feed_forward(&self, layer: &Layer, work: &mut Work) -> candle_core::Result<()> {
        self.norm_rows(&work.x, &layer.ffn_norm, &mut work.y);
        work.input.set(&work.y, self.config.width);
        let gate_and_up = &mut [(&layer.gate, &mut work.gate), (&layer.up, &mut work.up)];
        apply_all(&work.input, gate_and_up)?;
        let width = self.config.ffn_width;
        parallel::pieces(&mut work.gate, width, |row, gate| {
            let up = &work.up[row * width..(row + 1) * width];
            match self.config.activation {
                Activation::Silu => ops::silu_mul(gate, up),
                Activation::GeluTanh => ops::gelu_mul(gate, up),
            }
        });
        work.input.set(&work.gate, width);
        apply_all(&work.input, &mut [(&layer.down, &mut work.y)])?;
        self.add_back(layer.post_ffn_norm.as_ref(), work);
        Ok(())
    }

    fn logits(&self, parts: &[Part<'_>], work: &mut Work) -> candle_core::Result<()> {
        let width = self.config.width;
        work.logits.clear();
        work.y.clear();
        let mut rows = work.x.chunks_exact(width);
        for part in parts {
            let last = rows.nth(part.tokens.len() - 1);
            if let (true, Some(last)) = (part.wants_logits, last) {
                let start = work.y.len();
                work.y.resize(start + width, 0.0);
                ops::rms_norm(last, &self.norm, self.config.norm_eps, &mut work.y[start..]);
            }
        }
        if work.y.is_empty() {
            return Ok(());
        }
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        output.logits(&work.y, &mut work.logits)
    }

    fn norm_rows(&self, x: &[f32], weight: &[f32], out: &mut Vec<f32>) {
        let width = self.config.width;
        out.resize(x.len(), 0.0);
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            ops::rms_norm(x, weight, self.config.norm_eps, out);
        }
    }

    /// Adds what a block made to the residual stream.
    fn add_back(&self, norm: Option<&Vec<f32>>, work: &mut Work) {
        if let Some(norm) = norm {
            for y in work.y.chunks_exact_mut(self.config.width) {
                ops::rms_norm_inplace(y, norm, self.config.norm_eps);
            }
        }
        ops::add(&mut work.x, &work.y);
    }
}

fn refuse_unknown_parts(config: &ModelConfig) -> Result<(), FileError> {
    let unknown = if config.fused_qkv || config.fused_gate_up {
        "fused matrices"
    } else if config.attention_softcap.is_some() || config.logit_softcap.is_some() {
        "capped scores or logits"
    } else {
        return Ok(());
    };
    Err(FileError::Unsupported(unknown.into()))
}

fn rows(parts: &[Part<'_>]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let start = part.kv.len();
        rows.extend((0..part.tokens.len()).map(|offset| Row {
            part: index,
            position: start + offset,
        }));
    }
    rows
}

#[cfg(test)]
mod tests;
