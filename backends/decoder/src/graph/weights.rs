//! Tensors of a file as matrices and vectors.

use std::ops::Range;

use kwaainet_kernels::{Format, Matrix, PackError, Pool};

use crate::{FileError, Gguf};

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
    Matrix::pack(tensor.storage(), (range.len(), cols), pool, read).map_err(|error| match error {
        PackError::Read(error) => error,
        PackError::Shape { .. } => FileError::malformed(format!("the tensor '{name}': {error}")),
    })
}

/// Reads a vector, which GGUF keeps in f32.
pub(super) fn vector(file: &Gguf, name: &str, len: usize) -> Result<Vec<f32>, FileError> {
    let raw = file.read(name, &[len])?;
    if raw.storage != Format::F32 {
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
