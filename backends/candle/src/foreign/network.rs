//! candle's models behind one seam.

use candle_core::{Result, Tensor};
use candle_transformers::models::{
    quantized_glm4, quantized_lfm2, quantized_llama, quantized_phi, quantized_phi3,
    quantized_qwen2, quantized_qwen3,
};

/// A model that is fed one sequence, in order.
pub(super) trait Network: Send {
    /// Takes tokens (of shape 1 x n), the first of them at position `at`; gives the logits after the
    /// last one.
    fn forward(&mut self, tokens: &Tensor, at: usize) -> Result<Tensor>;

    /// Forgets the sequence; the next one begins at position 0.
    fn forget(&mut self);
}

/// What candle's models have in common, though candle does not say so.
pub(super) trait Forward: Send + 'static {
    fn forward(&mut self, tokens: &Tensor, at: usize) -> Result<Tensor>;
}

macro_rules! forward {
    ($($model:ty),* $(,)?) => {$(
        impl Forward for $model {
            fn forward(&mut self, tokens: &Tensor, at: usize) -> Result<Tensor> {
                <$model>::forward(self, tokens, at)
            }
        }
    )*};
}

forward!(
    quantized_glm4::ModelWeights,
    quantized_lfm2::ModelWeights,
    quantized_llama::ModelWeights,
    quantized_phi::ModelWeights,
    quantized_phi3::ModelWeights,
    quantized_qwen2::ModelWeights,
    quantized_qwen3::ModelWeights,
);

/// A model of which each sequence gets a copy. Copies share the weights; what a copy has of its own are
/// keys, values and masks, of which candle never drops any.
pub(super) struct Copied<M> {
    untouched: M,
    copy: M,
}

impl<M: Forward + Clone> Copied<M> {
    pub(super) fn boxed(model: M) -> Box<dyn Network> {
        Box::new(Self {
            copy: model.clone(),
            untouched: model,
        })
    }
}

impl<M: Forward + Clone> Network for Copied<M> {
    fn forward(&mut self, tokens: &Tensor, at: usize) -> Result<Tensor> {
        self.copy.forward(tokens, at)
    }

    fn forget(&mut self) {
        self.copy = self.untouched.clone();
    }
}

/// A model that cannot be copied, and forgets a sequence when the next one begins.
pub(super) struct Single<M>(pub(super) M);

impl<M: Forward> Network for Single<M> {
    fn forward(&mut self, tokens: &Tensor, at: usize) -> Result<Tensor> {
        self.0.forward(tokens, at)
    }

    fn forget(&mut self) {}
}
