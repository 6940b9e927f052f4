//! A GGUF file as a source of metadata and tensors.
//!
//! It owns the open file and believes nothing in it: when [`Gguf::open`] returns, every tensor of a
//! known storage type lies within the file and no two of them share bytes, so that all tensors
//! together never take more memory than the file is long. What the values mean is
//! [`ModelConfig`](crate::ModelConfig)'s business.

mod backing;
mod header;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use kwaainet_kernels::Format;

use crate::error::{FileError, quoted};
use backing::Backing;
use header::TensorEntry;
pub use value::Value;

/// An open file whose layout has been checked. It can be read by many threads at once.
pub struct Gguf {
    backing: Backing,
    metadata: HashMap<String, Value>,
    tensors: BTreeMap<String, TensorEntry>,
    data_start: u64,
}

/// A tensor as it lies in the file.
pub struct Tensor<'a> {
    backing: &'a Backing,
    storage: Format,
    bytes: usize,
    /// From the start of the file.
    at: u64,
}

/// A tensor's raw bytes.
pub struct RawTensor {
    /// What they mean.
    pub storage: Format,
    /// Rows one after the other, each a whole number of blocks.
    pub bytes: Vec<u8>,
}

impl Gguf {
    /// Opens a file and checks that all of it is there.
    ///
    /// # Errors
    /// When it cannot be read, is no GGUF file, is cut short or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        Self::new(Backing::disk(File::open(path).map_err(unreadable)?))
    }

    /// Takes a file that is in memory already, and checks that all of it is there.
    ///
    /// # Errors
    /// When it is no GGUF file, is cut short or contradicts itself.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, FileError> {
        Self::new(Backing::Memory(bytes))
    }

    fn new(backing: Backing) -> Result<Self, FileError> {
        let len = backing.len().map_err(unreadable)?;
        let header = header::read(backing.reader(), len)?;
        check_extents(&header, len)?;
        Ok(Self {
            backing,
            metadata: header.metadata,
            tensors: header.tensors,
            data_start: header.data_start,
        })
    }

    /// The metadata as the file gives it.
    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.metadata
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor, ggml's order: the innermost dimension first.
    pub fn dims(&self, name: &str) -> Option<&[u64]> {
        self.tensors.get(name).map(|entry| entry.dims.as_slice())
    }

    /// Finds a tensor that must have exactly this shape (innermost dimension first).
    ///
    /// # Errors
    /// When it is missing, has another shape or a storage type that is not computed with.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor<'_>, FileError> {
        let entry = self
            .tensors
            .get(name)
            .ok_or_else(|| FileError::Malformed(format!("the tensor '{name}' is missing")))?;
        let expected: Vec<u64> = dims.iter().map(|&dim| dim as u64).collect();
        if entry.dims != expected {
            return Err(FileError::Malformed(format!(
                "the tensor '{name}' has the shape {:?} instead of {expected:?}",
                entry.dims
            )));
        }
        let storage = Format::from_ggml(entry.storage).ok_or_else(|| {
            FileError::Unsupported(format!("the storage type {} (of {name})", entry.storage))
        })?;
        let bytes = size(entry, storage)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or_else(|| impossible(name, entry))?;
        Ok(Tensor {
            backing: &self.backing,
            storage,
            bytes,
            at: self.data_start + entry.offset,
        })
    }

    /// Reads a whole tensor that must have exactly this shape (innermost dimension first).
    ///
    /// # Errors
    /// As [`Self::tensor`], and when the file cannot be read.
    pub fn read(&self, name: &str, dims: &[usize]) -> Result<RawTensor, FileError> {
        let tensor = self.tensor(name, dims)?;
        let mut bytes = vec![0; tensor.bytes];
        tensor.read_at(&mut bytes, 0)?;
        Ok(RawTensor {
            storage: tensor.storage,
            bytes,
        })
    }
}

impl Tensor<'_> {
    /// How its numbers are stored.
    pub fn storage(&self) -> Format {
        self.storage
    }

    /// Its size in the file.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Fills `into` with the tensor's bytes from byte `offset` on, such as some of its rows. Nothing
    /// but the tensor is ever read.
    ///
    /// # Errors
    /// When the tensor ends before that, or the file cannot be read.
    pub fn read_at(&self, into: &mut [u8], offset: usize) -> Result<(), FileError> {
        let end = offset.checked_add(into.len());
        if end.is_none_or(|end| end > self.bytes) {
            return Err(unreadable(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.backing
            .read_exact_at(into, self.at + offset as u64)
            .map_err(unreadable)
    }
}

/// Checks that all tensors lie within a file of `len` bytes, each for itself.
fn check_extents(header: &header::Header, len: u64) -> Result<(), FileError> {
    let mut extents = Vec::new();
    for (name, entry) in &header.tensors {
        let Some(storage) = Format::from_ggml(entry.storage) else {
            continue;
        };
        let start = entry.offset.checked_add(header.data_start);
        let end = start.and_then(|start| start.checked_add(size(entry, storage)?));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(impossible(name, entry));
        };
        extents.push((start, end, name));
    }
    if let Some(&(_, end, tensor)) = extents.iter().max_by_key(|(_, end, _)| *end)
        && end > len
    {
        return Err(FileError::CutShort {
            tensor: quoted(tensor).into(),
            end,
            len,
        });
    }
    extents.sort_unstable();
    for pair in extents.windows(2) {
        if let [(_, end, first), (start, _, second)] = pair
            && start < end
        {
            return Err(FileError::Malformed(format!(
                "the tensors '{}' and '{}' overlap",
                quoted(first),
                quoted(second)
            )));
        }
    }
    Ok(())
}

/// Bytes of a tensor; `None` when its shape does not go with its storage type.
fn size(entry: &TensorEntry, storage: Format) -> Option<u64> {
    let block = storage.group() as u64;
    let row = *entry.dims.first()?;
    let elements = entry
        .dims
        .iter()
        .try_fold(1_u64, |product, &dim| product.checked_mul(dim))?;
    if elements == 0 || !row.is_multiple_of(block) {
        return None;
    }
    (elements / block).checked_mul(storage.group_bytes() as u64)
}

fn impossible(name: &str, entry: &TensorEntry) -> FileError {
    FileError::Malformed(format!(
        "the tensor '{}' has the impossible shape {:?}",
        quoted(name),
        entry.dims
    ))
}

fn unreadable(error: std::io::Error) -> FileError {
    FileError::unreadable("the model file", &error)
}
