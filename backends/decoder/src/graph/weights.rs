//! Tensors of a file as matrices and vectors.

use std::ops::Range;

use kwaainet_kernels::{Format, Matrix, PackError, Pool};

use crate::{FileError, Gguf, StorageType};

/// Packs a whole tensor of `(rows, cols)`.
pub(super) fn matrix(
    file: &Gguf,
    name: &str,
    (rows, cols): (usize, usize),
    pool: &Pool,
) -> Result<Matrix, FileError> {
    some_rows(file, name, (rows, cols), 0..rows, pool)
}

/// Packs some rows of a tensor.
pub(super) fn some_rows(
    file: &Gguf,
    name: &str,
    (rows, cols): (usize, usize),
    range: Range<usize>,
    pool: &Pool,
) -> Result<Matrix, FileError> {
    let tensor = file.tensor(name, &[cols, rows])?;
    let start = tensor.bytes() / rows * range.start;
    let read = |to: &mut [u8], from: usize| tensor.read_at(to, start + from);
    Matrix::pack(format(tensor.storage()), (range.len(), cols), pool, read).map_err(|error| {
        match error {
            PackError::Read(error) => error,
            PackError::Shape { .. } => {
                FileError::malformed(format!("the tensor '{name}': {error}"))
            }
        }
    })
}

/// Reads a vector, which GGUF keeps in f32.
pub(super) fn vector(file: &Gguf, name: &str, len: usize) -> Result<Vec<f32>, FileError> {
    let raw = file.read(name, &[len])?;
    if raw.storage != StorageType::F32 {
        return Err(FileError::Unsupported(format!(
            "the vector '{name}' in {:?}",
            raw.storage
        )));
    }
    let (floats, _) = raw.bytes.as_chunks::<4>();
    Ok(floats
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect())
}

/// Reads a vector if it is there.
pub(super) fn optional_vector(
    file: &Gguf,
    name: &str,
    len: usize,
) -> Result<Option<Vec<f32>>, FileError> {
    if file.has(name) {
        vector(file, name, len).map(Some)
    } else {
        Ok(None)
    }
}

fn format(storage: StorageType) -> Format {
    match storage {
        StorageType::F32 => Format::F32,
        StorageType::F16 => Format::F16,
        StorageType::BF16 => Format::Bf16,
        StorageType::Q4_0 => Format::Q4_0,
        StorageType::Q4_1 => Format::Q4_1,
        StorageType::Q5_0 => Format::Q5_0,
        StorageType::Q5_1 => Format::Q5_1,
        StorageType::Q8_0 => Format::Q8_0,
        StorageType::Q2K => Format::Q2K,
        StorageType::Q3K => Format::Q3K,
        StorageType::Q4K => Format::Q4K,
        StorageType::Q5K => Format::Q5K,
        StorageType::Q6K => Format::Q6K,
    }
}
