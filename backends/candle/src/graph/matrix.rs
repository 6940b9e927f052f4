//! A weight matrix in its quantized form: the one place where candle computes.
//!
//! candle's kernels are called directly, not through its tensors. Its tensors choose repacked kernels
//! for some shapes, which keep a second copy of the weights and may round otherwise for one row than
//! for many; the plain kernels compute each (row, column) alone and in one order, so a sequence gets
//! the same bits whatever else is in the batch.
//!
//! Of the plain kernels' two entries the one for f16 is taken wherever its rounding is far below that
//! of the 8-bit activations, because the other one shares its work out over candle's own threads,
//! which wait for each other by spinning: beside one busy process that makes a token take forty times
//! as long. Here the work is shared out by rayon, which waits for nobody who does not run. Only the
//! logits, which have to be exact in f32, take the other entry, once in a step.

use candle_core::quantized::{GgmlDType, QuantizedType};
use half::f16;
use half::slice::HalfFloatSliceExt;
use kwaainet_decoder::{FileError, Gguf, RawTensor, StorageType};
use rayon::prelude::*;

use super::ops::dot;
use super::widen::{BLOCK, widen};

/// Rows that one thread computes at a time. Each time the input is quantized anew, which costs as
/// much as some ten rows.
const PIECE: usize = 256;

/// `rows x cols`, each row quantized for itself.
pub(super) struct Matrix {
    pieces: Vec<Piece>,
    rows: usize,
    cols: usize,
}

/// Some rows of a matrix.
struct Piece {
    weights: Box<dyn QuantizedType>,
    /// What has to be added to all weights of a block, in the order of the blocks.
    offsets: Option<Vec<f32>>,
    rows: usize,
}

/// The rows that matrices are applied to, made ready once for all of them.
#[derive(Default)]
pub(super) struct Input {
    cols: usize,
    /// Each row divided by its scale.
    halves: Vec<f16>,
    /// Powers of two, for each row.
    scales: Vec<f32>,
    /// Of the components of each block.
    sums: Vec<f32>,
}

impl Input {
    /// Takes rows of `cols` components.
    pub(super) fn set(&mut self, x: &[f32], cols: usize) {
        self.cols = cols;
        self.scales.clear();
        self.sums.clear();
        self.halves.resize(x.len(), f16::ZERO);
        for (x, halves) in x.chunks_exact(cols).zip(self.halves.chunks_exact_mut(cols)) {
            let scale = scale(x);
            for (x, half) in x.iter().zip(halves) {
                *half = f16::from_f32(x / scale);
            }
            self.scales.push(scale);
            self.sums
                .extend(x.chunks_exact(BLOCK).map(|block| block.iter().sum::<f32>()));
        }
    }
}

/// A power of two that brings the largest component to between a quarter and a half, so that
/// neither the components nor their products leave the range of f16.
fn scale(x: &[f32]) -> f32 {
    let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let power_of_two = f32::from_bits(largest.to_bits() & f32::INFINITY.to_bits());
    if power_of_two > 0.0 {
        power_of_two * 4.0
    } else {
        1.0
    }
}

/// Applies several matrices to one input: each `out` is given rows as long as its matrix is high.
pub(super) fn apply_all(
    input: &Input,
    products: &mut [(&Matrix, &mut Vec<f32>)],
) -> candle_core::Result<()> {
    let tasks: Vec<&Piece> = products
        .iter()
        .flat_map(|(matrix, _)| &matrix.pieces)
        .collect();
    let done = tasks
        .par_iter()
        .map(|piece| piece.apply(input))
        .collect::<Vec<_>>();
    let mut done = done.into_iter();
    for (matrix, out) in products {
        out.resize(input.scales.len() * matrix.rows, 0.0);
        let mut start = 0;
        for (piece, result) in matrix.pieces.iter().zip(&mut done) {
            let result = result?;
            let rows = out.chunks_exact_mut(matrix.rows);
            for (out, result) in rows.zip(result.chunks_exact(piece.rows)) {
                out[start..start + piece.rows].copy_from_slice(result);
            }
            start += piece.rows;
        }
    }
    Ok(())
}

impl Matrix {
    /// Reads a tensor.
    pub(super) fn load(
        file: &Gguf,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Self, FileError> {
        Ok(Self::new(
            file.read(name, &[cols, rows])?,
            rows,
            cols,
            PIECE,
        ))
    }

    /// Reads a tensor that gives logits and may be read row by row.
    pub(super) fn load_whole(
        file: &Gguf,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Self, FileError> {
        Ok(Self::new(file.read(name, &[cols, rows])?, rows, cols, rows))
    }

    fn new(raw: RawTensor, rows: usize, cols: usize, piece: usize) -> Self {
        let row_bytes = raw.bytes.len() / rows;
        let pieces = raw.bytes.chunks(piece * row_bytes);
        let dtype = dtype(raw.storage);
        let pieces = pieces.map(|bytes| Piece::new(dtype, bytes, bytes.len() / row_bytes));
        Self {
            pieces: pieces.collect(),
            rows,
            cols,
        }
    }

    /// The product in full f32, by candle's own threads.
    pub(super) fn logits(&self, x: &[f32], out: &mut Vec<f32>) -> candle_core::Result<()> {
        let [whole] = self.pieces.as_slice() else {
            candle_core::bail!("only a whole matrix gives logits");
        };
        let m = x.len() / self.cols;
        out.resize(m * self.rows, 0.0);
        whole.weights.matmul_t((m, self.cols, self.rows), x, out)?;
        if let Some(offsets) = &whole.offsets {
            let rows = x
                .chunks_exact(self.cols)
                .zip(out.chunks_exact_mut(self.rows));
            for (x, out) in rows {
                let sums = x.chunks_exact(BLOCK).map(|block| block.iter().sum());
                add_offsets(offsets, &sums.collect::<Vec<f32>>(), out);
            }
        }
        Ok(())
    }

    /// Copies one row of a whole matrix into `out`, dequantized.
    pub(super) fn row(&self, index: u32, out: &mut [f32]) -> candle_core::Result<()> {
        let [whole] = self.pieces.as_slice() else {
            candle_core::bail!("only a whole matrix is read row by row");
        };
        let row = whole.weights.embedding(&[index], self.rows, self.cols)?;
        out.copy_from_slice(row.as_slice::<f32>()?);
        if let Some(offsets) = &whole.offsets {
            let blocks = self.cols / BLOCK;
            let offsets = &offsets[index as usize * blocks..][..blocks];
            for (block, offset) in out.chunks_exact_mut(BLOCK).zip(offsets) {
                for weight in block {
                    *weight += offset;
                }
            }
        }
        Ok(())
    }
}

impl Piece {
    fn new(dtype: GgmlDType, bytes: &[u8], rows: usize) -> Self {
        let wide = widen(dtype, bytes);
        Self {
            weights: wide.dtype.from_data(wide.bytes),
            offsets: wide.offsets,
            rows,
        }
    }

    fn apply(&self, input: &Input) -> candle_core::Result<Vec<f32>> {
        let m = input.scales.len();
        let mut halves = vec![f16::ZERO; m * self.rows];
        let shape = (m, input.cols, self.rows);
        self.weights
            .matmul_t_f16(shape, &input.halves, &mut halves)?;
        let mut out = vec![0.0; halves.len()];
        halves.convert_to_f32_slice(&mut out);
        let blocks = input.sums.len() / m;
        for (row, out) in out.chunks_exact_mut(self.rows).enumerate() {
            for out in out.iter_mut() {
                *out *= input.scales[row];
            }
            if let Some(offsets) = &self.offsets {
                add_offsets(offsets, &input.sums[row * blocks..][..blocks], out);
            }
        }
        Ok(out)
    }
}

/// An offset counts once for the sum of all components that its block meets.
fn add_offsets(offsets: &[f32], sums: &[f32], out: &mut [f32]) {
    for (out, offsets) in out.iter_mut().zip(offsets.chunks_exact(sums.len())) {
        *out += dot(sums, offsets);
    }
}

/// candle's name for a storage type.
fn dtype(storage: StorageType) -> GgmlDType {
    match storage {
        StorageType::F32 => GgmlDType::F32,
        StorageType::F16 => GgmlDType::F16,
        StorageType::BF16 => GgmlDType::BF16,
        StorageType::Q4_0 => GgmlDType::Q4_0,
        StorageType::Q4_1 => GgmlDType::Q4_1,
        StorageType::Q5_0 => GgmlDType::Q5_0,
        StorageType::Q5_1 => GgmlDType::Q5_1,
        StorageType::Q8_0 => GgmlDType::Q8_0,
        StorageType::Q2K => GgmlDType::Q2K,
        StorageType::Q3K => GgmlDType::Q3K,
        StorageType::Q4K => GgmlDType::Q4K,
        StorageType::Q5K => GgmlDType::Q5K,
        StorageType::Q6K => GgmlDType::Q6K,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    const TYPES: [StorageType; 13] = [
        StorageType::F32,
        StorageType::F16,
        StorageType::BF16,
        StorageType::Q4_0,
        StorageType::Q4_1,
        StorageType::Q5_0,
        StorageType::Q5_1,
        StorageType::Q8_0,
        StorageType::Q2K,
        StorageType::Q3K,
        StorageType::Q4K,
        StorageType::Q5K,
        StorageType::Q6K,
    ];
    const ROWS: usize = 39;
    const COLS: usize = 512;

    /// A matrix of noise, cut and whole, and its weights as candle dequantizes them.
    fn noise(storage: StorageType) -> (Matrix, Matrix, Vec<f32>) {
        let tensor = Noise(9).quantized(ROWS, COLS, dtype(storage));
        let plain = tensor.dequantize(&candle_core::Device::Cpu);
        let plain = plain
            .and_then(|t| t.flatten_all()?.to_vec1())
            .expect("it is plain data");
        let bytes = tensor.data().expect("it lies in memory").into_owned();
        let raw = |bytes| RawTensor { storage, bytes };
        let cut = Matrix::new(raw(bytes.clone()), ROWS, COLS, 16);
        let whole = Matrix::new(raw(bytes), ROWS, COLS, ROWS);
        (cut, whole, plain)
    }

    fn product(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
        let (mut input, mut out) = (Input::default(), Vec::new());
        input.set(x, COLS);
        apply_all(&input, &mut [(matrix, &mut out)]).expect("the shapes agree");
        out
    }

    fn logits(matrix: &Matrix, x: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        matrix.logits(x, &mut out).expect("the shapes agree");
        out
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        for storage in TYPES {
            let (cut, whole, _) = noise(storage);
            let x = Noise(5).floats(7 * COLS);
            let (products, all) = (product(&cut, &x), logits(&whole, &x));
            for (row, x) in x.chunks(COLS).enumerate() {
                let range = row * ROWS..(row + 1) * ROWS;
                assert!(product(&cut, x) == products[range.clone()], "{storage:?}");
                assert!(logits(&whole, x) == all[range], "{storage:?}");
            }
        }
    }

    #[test]
    fn products_and_rows_are_those_of_the_dequantized_weights() {
        for storage in TYPES {
            let (cut, whole, plain) = noise(storage);
            let x = Noise(6).floats(COLS);
            let sized = |size: f32| x.iter().map(|x| x * size).collect::<Vec<_>>();
            for (size, out) in [
                (1.0, logits(&whole, &x)),
                (1e-6, product(&cut, &sized(1e-6))),
                (1.0, product(&cut, &x)),
                (1e9, product(&cut, &sized(1e9))),
            ] {
                for (out, plain) in out.iter().zip(plain.chunks(COLS)) {
                    // Components are quantized to 8 bits, with independent errors.
                    let (out, exact) = (out / size, dot(&x, plain));
                    assert!((out - exact).abs() < 0.3, "{storage:?}: {out} and {exact}");
                }
            }
            let mut row = vec![0.0; COLS];
            for (index, plain) in plain.chunks(COLS).enumerate() {
                whole.row(index as u32, &mut row).expect("the row is there");
                let apart = row.iter().zip(plain).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f32::max) < 1e-6, "{storage:?}, row {index}");
            }
        }
    }

    #[test]
    fn nothing_gives_nothing() {
        let (cut, _, _) = noise(StorageType::Q4_1);
        assert!(product(&cut, &[0.0; COLS]).iter().all(|&x| x == 0.0));
    }
}
