//! What may compute a model.

use serde::{Deserialize, Serialize};

use crate::ModelError;
use crate::error::first_line;

/// A kind of processor. GPUs are candle's, behind features of the same names, and untested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Any processor: by our own arithmetic where it knows the architecture, else by candle's.
    #[default]
    Cpu,
    /// The first GPU of NVIDIA's.
    Cuda,
    /// The first GPU of Apple's.
    Metal,
}

impl Device {
    /// The name of the device and of its feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Metal => "metal",
        }
    }

    /// Whether this build can use it.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda => candle_core::utils::cuda_is_available(),
            Self::Metal => candle_core::utils::metal_is_available(),
        }
    }

    /// The device as candle knows it.
    pub(super) fn open(self) -> Result<candle_core::Device, ModelError> {
        let device = match self {
            Self::Cpu => Ok(candle_core::Device::Cpu),
            Self::Cuda => candle_core::Device::new_cuda(0),
            Self::Metal => candle_core::Device::new_metal(0),
        };
        device.map_err(|error| {
            ModelError::Candle(format!("no device {}: {}", self.name(), first_line(&error)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_built_in_cannot_be_opened() {
        assert!(Device::Cpu.is_built_in() && Device::Cpu.open().is_ok());
        for device in [Device::Cuda, Device::Metal] {
            let opened = device.open();
            assert!(device.is_built_in() || matches!(opened, Err(ModelError::Candle(_))));
        }
    }
}
