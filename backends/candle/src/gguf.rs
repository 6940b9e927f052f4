//! A GGUF file as a source of metadata and tensors.
//!
//! It owns the open file and believes nothing in it: when [`Gguf::open`] returns, every tensor of a
//! known storage type lies within the file. What the values mean is [`ModelConfig`]'s business.

mod config;
mod header;

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::Value;

use crate::ModelError;
pub(crate) use config::{Activation, ModelConfig, Rope, RopeStyle};
use header::TensorEntry;

/// An open file whose layout has been checked.
pub(crate) struct Gguf {
    file: File,
    metadata: HashMap<String, Value>,
    tensors: HashMap<String, TensorEntry>,
    data_start: u64,
}

/// A tensor's raw bytes.
pub(crate) struct RawTensor {
    pub(crate) dtype: GgmlDType,
    pub(crate) bytes: Vec<u8>,
}

impl Gguf {
    /// Opens a file and checks that all of it is there.
    ///
    /// # Errors
    /// When it cannot be read, is no GGUF file, is cut short or contradicts itself.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |e| ModelError::unreadable("the model file", &e);
        let file = File::open(path).map_err(unreadable)?;
        let len = file.metadata().map_err(unreadable)?.len();
        let header = header::read(BufReader::new(&file), len)?;
        let gguf = Self {
            file,
            metadata: header.metadata,
            tensors: header.tensors,
            data_start: header.data_start,
        };
        gguf.check_extents(len)?;
        Ok(gguf)
    }

    /// The metadata as the file gives it.
    pub(crate) fn metadata(&self) -> &HashMap<String, Value> {
        &self.metadata
    }

    /// Whether there is such a tensor.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor, ggml's order: the innermost dimension first.
    pub(crate) fn dims(&self, name: &str) -> Option<&[u64]> {
        self.tensors.get(name).map(|entry| entry.dims.as_slice())
    }

    /// Reads a tensor that must have exactly this shape (innermost dimension first).
    pub(crate) fn read(&mut self, name: &str, dims: &[usize]) -> Result<RawTensor, ModelError> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| ModelError::Malformed(format!("the tensor '{name}' is missing")))?;
        let expected: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
        if entry.dims != expected {
            return Err(ModelError::Malformed(format!(
                "the tensor '{name}' has the shape {:?} instead of {expected:?}",
                entry.dims
            )));
        }
        let dtype = storage_type(entry.dtype).ok_or_else(|| {
            ModelError::Unsupported(format!("the storage type {} (of {name})", entry.dtype))
        })?;
        let size = size(entry, dtype).ok_or_else(|| impossible(name, entry))?;
        let mut bytes = vec![0; size as usize];
        self.file
            .seek(SeekFrom::Start(self.data_start + entry.offset))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| ModelError::unreadable("the model file", &e))?;
        Ok(RawTensor { dtype, bytes })
    }

    fn check_extents(&self, len: u64) -> Result<(), ModelError> {
        let mut last: Option<(u64, &str)> = None;
        for (name, entry) in &self.tensors {
            let Some(dtype) = storage_type(entry.dtype) else {
                continue;
            };
            let end = size(entry, dtype)
                .and_then(|size| size.checked_add(entry.offset)?.checked_add(self.data_start))
                .ok_or_else(|| impossible(name, entry))?;
            last = last.max(Some((end, name)));
        }
        match last {
            Some((end, tensor)) if end > len => Err(ModelError::CutShort {
                tensor: header::short(tensor).into(),
                end,
                len,
            }),
            _ => Ok(()),
        }
    }
}

/// Bytes of a tensor; `None` when its shape does not go with its storage type.
fn size(entry: &TensorEntry, dtype: GgmlDType) -> Option<u64> {
    let block = dtype.block_size() as u64;
    let row = *entry.dims.first()?;
    let elements = entry
        .dims
        .iter()
        .try_fold(1_u64, |product, &dim| product.checked_mul(dim))?;
    if elements == 0 || !row.is_multiple_of(block) {
        return None;
    }
    (elements / block).checked_mul(dtype.type_size() as u64)
}

fn impossible(name: &str, entry: &TensorEntry) -> ModelError {
    ModelError::Malformed(format!(
        "the tensor '{}' has the impossible shape {:?}",
        header::short(name),
        entry.dims
    ))
}

/// ggml's numbers for the storage types that candle computes with.
fn storage_type(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
