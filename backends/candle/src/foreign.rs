//! Models that candle computes: architectures that our decoder does not know, and all that candle knows
//! on a GPU.
//!
//! They are the exception: one sequence at a time, and not exact, since candle's bits depend on the
//! machine and on how a prompt is cut. It owns what candle has to be told and kept from; whose turn
//! it is, the engine decides. A file that asks for something that candle would leave out is refused.

mod architecture;
mod device;
mod facts;
mod network;
mod source;

use std::path::Path;

use candle_core::{DType, Tensor};
use kwaainet_decoder::{FileError, Gguf, ModelConfig, Value};

use crate::ModelError;
use crate::error::first_line;
use architecture::{ARCHITECTURES, OnCpus, Pieces};
use facts::{Facts, has_experts, left_out};
use network::Network;
use source::Source;

pub(crate) use architecture::Architecture;
pub use device::Device;

/// A loaded model of candle's.
pub(crate) struct Foreign {
    network: Box<dyn Network>,
    device: candle_core::Device,
    pieces: Pieces,
    vocab: usize,
    context: usize,
}

/// The architecture of a file that candle is to compute; `None` for what our decoder computes, and for
/// what it has to complain about.
///
/// # Errors
/// For an architecture that nobody knows.
pub(crate) fn find(
    file: &Gguf,
    device: Device,
) -> Result<Option<&'static Architecture>, FileError> {
    let Some(Value::String(name)) = file.metadata().get("general.architecture") else {
        return Ok(None);
    };
    let ours = ModelConfig::architectures();
    let found = ARCHITECTURES.iter().find(|known| known.name == name);
    let by_candle = found.filter(|known| match known.on_cpus {
        _ if device != Device::Cpu => true,
        OnCpus::Candle => true,
        OnCpus::CandleWithExperts => has_experts(file, name),
        OnCpus::OurDecoder => false,
    });
    if by_candle.is_some() || (device == Device::Cpu && ours.contains(&name.as_str())) {
        return Ok(by_candle);
    }
    let candles = ARCHITECTURES.iter().map(|known| known.name);
    let known: Vec<_> = match device {
        Device::Cpu => {
            let others = candles.filter(|name| !ours.contains(name));
            ours.iter().copied().chain(others).collect()
        }
        Device::Cuda | Device::Metal => candles.collect(),
    };
    Err(FileError::UnknownArchitecture {
        name: name.chars().take(80).collect(),
        known: known.join(", "),
    })
}

impl Foreign {
    /// Reads the file that `file` is the header of. Takes as long as the file takes to read.
    ///
    /// # Errors
    /// When candle cannot compute it, or would compute something else than it says.
    pub(crate) fn load(
        file: &Gguf,
        path: &Path,
        architecture: &'static Architecture,
        device: Device,
        kv_bytes: u64,
    ) -> Result<Self, ModelError> {
        let facts = Facts::read(file, architecture, kv_bytes)?;
        let device = device.open()?;
        let (mut source, mut content) = Source::open(path)?;
        let tensors = source::places(&content);
        source::prepare(&mut content, architecture.name, &facts);
        let network = (architecture.load)(content, &mut source, &device)
            .map_err(|error| ModelError::Candle(first_line(&error)))?;
        if let Some(tensor) = source.unread(&tensors) {
            return Err(left_out(architecture, &format!("the tensor '{tensor}'")));
        }
        let mut model = Self {
            network,
            device,
            pieces: architecture.pieces,
            vocab: facts.vocab,
            context: facts.context,
        };
        model.try_out()?;
        Ok(model)
    }

    /// Tokens that a sequence may have.
    pub(crate) fn context(&self) -> usize {
        self.context
    }

    /// Tokens that there are.
    pub(crate) fn vocab(&self) -> usize {
        self.vocab
    }

    /// Tokens that a prompt has to have.
    pub(crate) fn prompt_min(&self) -> usize {
        self.pieces.prompt_min()
    }

    /// How many of the `left` next tokens may be taken at once, after `at` others.
    pub(crate) fn takes(&self, at: usize, left: usize) -> usize {
        self.pieces.takes(at, left)
    }

    /// Takes the next tokens of the sequence, after `at` others; gives the logits after the last one.
    ///
    /// # Errors
    /// When the device does not do it, mostly for want of memory.
    pub(crate) fn forward(&mut self, tokens: &[u32], at: usize) -> Result<Vec<f32>, ModelError> {
        let logits = Tensor::new(tokens, &self.device)
            .and_then(|tokens| tokens.unsqueeze(0))
            .and_then(|tokens| self.network.forward(&tokens, at))
            .and_then(|logits| logits.flatten_all()?.to_dtype(DType::F32)?.to_vec1())
            .map_err(|error| ModelError::Candle(first_line(&error)))?;
        if logits.len() == self.vocab {
            return Ok(logits);
        }
        let found = logits.len();
        Err(ModelError::Candle(format!(
            "there are {found} logits for {} tokens",
            self.vocab
        )))
    }

    /// Forgets the sequence; the next one begins at position 0.
    pub(crate) fn forget(&mut self) {
        self.network.forget();
    }

    /// Shapes that do not go together show only when they meet.
    fn try_out(&mut self) -> Result<(), ModelError> {
        let first = self.context.min(2);
        self.forward(&[0; 2][..first], 0)?;
        if self.context > first {
            self.forward(&[0], first)?;
        }
        self.forget();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
