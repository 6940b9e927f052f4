//! What a token of a loaded model costs: the figures that a measurement needs and nobody else does.

use kwaainet_decoder::Decoder;
use kwaainet_kernels::{Kernel, PAGE};

use crate::tokenizer::TextModel;

/// Facts of one loaded decoder.
#[derive(Clone, Debug)]
pub struct ModelCosts {
    /// The instructions that compute it.
    pub kernel: Kernel,
    /// Bytes of weights that a step reads, however many sequences take part in it.
    pub weight_bytes: u64,
    /// Tokens that there are; ids are below.
    pub vocab: usize,
    /// Tokens that end an answer.
    pub end_tokens: Vec<u32>,
    /// Bytes that one layer holds of one position's keys and values.
    position_bytes: u64,
    /// How many positions each layer sees at most.
    windows: Vec<usize>,
}

impl ModelCosts {
    pub(crate) fn of(decoder: &Decoder, text: &TextModel, kernel: Kernel) -> Self {
        let (shape, config) = (decoder.page_shape(), decoder.config());
        let window = |layer| config.window_of(layer).map(|window| window.tokens);
        Self {
            kernel,
            weight_bytes: decoder.weight_bytes() as u64,
            vocab: decoder.vocab(),
            end_tokens: text.ends().to_vec(),
            position_bytes: shape.page_bytes() / (PAGE * shape.layers) as u64,
            windows: (0..shape.layers)
                .map(|layer| window(layer).unwrap_or(usize::MAX))
                .collect(),
        }
    }

    /// Bytes of keys and values that one token of one sequence reads, after so many positions.
    pub fn kv_bytes(&self, positions: usize) -> u64 {
        let seen: usize = self.windows.iter().map(|most| positions.min(*most)).sum();
        seen as u64 * self.position_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_with_a_window_reads_no_more_than_that() {
        let costs = ModelCosts {
            kernel: Kernel::scalar(),
            weight_bytes: 0,
            vocab: 1,
            end_tokens: Vec::new(),
            position_bytes: 10,
            windows: vec![512, usize::MAX],
        };
        assert_eq!(costs.kv_bytes(100), 2 * 100 * 10);
        assert_eq!(costs.kv_bytes(1000), (512 + 1000) * 10);
    }
}
