//! Every kernel equals the definition, bit for bit.

mod attention;

use crate::input::QuantBlock;
use crate::*;

/// Numbers that look random and are the same in every run (SplitMix64: Steele, Lea, Flood 2014).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// Of sizes from a thousandth to a thousand.
    fn floats(&mut self, count: usize) -> Vec<f32> {
        let mut size = || definition::exp(7.0 * self.float());
        let sizes: Vec<f32> = (0..count.div_ceil(24)).map(|_| size()).collect();
        (0..count).map(|i| self.float() * sizes[i / 24]).collect()
    }

    /// Weights in a format: any bits, but half floats and floats of sensible size.
    fn weights(&mut self, format: Format, rows: usize, cols: usize) -> Vec<u8> {
        let groups = rows * cols / format.group();
        let size = format.group_bytes();
        let mut bytes: Vec<u8> = (0..groups * size).map(|_| self.next() as u8).collect();
        let half_at: &[usize] = match format {
            Format::F32 => &[],
            Format::F16 | Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
            Format::Q4_1 | Format::Q5_1 | Format::Q4K | Format::Q5K => &[0, 2],
            Format::Q2K => &[80, 82],
            Format::Q3K => &[108],
            Format::Q6K => &[208],
            Format::Bf16 => &[],
        };
        for group in bytes.chunks_exact_mut(size) {
            for &at in half_at {
                // An exponent of 7 to 14 of 31.
                group[at + 1] = group[at + 1] & 0x9F | 0x1C;
            }
            match format {
                Format::F32 => group.copy_from_slice(&self.float().to_le_bytes()),
                Format::Bf16 => group.copy_from_slice(&self.float().to_le_bytes()[2..]),
                _ => {}
            }
        }
        bytes
    }
}

fn compute(kernel: Kernel, threads: usize) -> Compute {
    let pool = Pool::new(threads).expect("there are threads");
    Compute { kernel, pool }
}

fn pack(format: Format, rows: usize, cols: usize, bytes: &[u8], pool: &Pool) -> Matrix {
    let read = |to: &mut [u8], from: usize| {
        to.copy_from_slice(&bytes[from..from + to.len()]);
        Ok::<_, ()>(())
    };
    Matrix::pack(format, (rows, cols), pool, read).expect("there is such a matrix")
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn products_equal_the_definition_for_every_format_shape_batch_and_thread_count() {
    let mut noise = Noise(1);
    for format in Format::ALL {
        for (rows, groups) in [(1, 1), (15, 3), (16, 2), (33, 5), (70, 2)] {
            let cols = groups * format.group().max(if format.group() == 1 { 13 } else { 1 });
            let bytes = noise.weights(format, rows, cols);
            let x = noise.floats(33 * cols);
            let row_bytes = bytes.len() / rows;
            let expected: Vec<f32> = x
                .chunks_exact(cols)
                .flat_map(|x| {
                    let rows = bytes.chunks_exact(row_bytes);
                    rows.map(move |row| definition::product(format, row, x))
                })
                .collect();
            assert!(expected.iter().all(|x| x.is_finite()), "{format:?}");
            for kernel in Kernel::all() {
                let compute = compute(kernel, 3);
                let matrix = pack(format, rows, cols, &bytes, &compute.pool);
                for batch in [1, 2, 3, 4, 5, 7, 8, 13, 16, 33] {
                    let mut input = Input::default();
                    input.set(kernel, &x[..batch * cols], cols);
                    let mut out = vec![0.0; batch * rows];
                    let product = Product {
                        matrix: &matrix,
                        out: &mut out,
                    };
                    multiply(&compute, &input, &mut [product]);
                    assert!(
                        same(&out, &expected[..batch * rows]),
                        "{format:?} {rows} x {cols}, {kernel:?}, {batch} rows of input"
                    );
                }
            }
        }
    }
}

#[test]
fn a_packed_matrix_gives_its_rows_back() {
    let mut noise = Noise(2);
    let pool = Pool::new(1).expect("there are threads");
    for format in Format::ALL {
        let (rows, cols) = (21, 2 * format.group().max(16));
        let bytes = noise.weights(format, rows, cols);
        let matrix = pack(format, rows, cols, &bytes, &pool);
        let mut out = vec![0.0; cols];
        for (index, row) in bytes.chunks_exact(bytes.len() / rows).enumerate() {
            matrix.row(index, &mut out);
            // An input of a single one meets that one weight; 127 of its 127ths are exact.
            for (col, out) in out.iter().enumerate() {
                let mut one = vec![0.0; cols];
                one[col] = 127.0;
                let weight = definition::product(format, row, &one) / 127.0;
                let near = (weight - out).abs() <= 1e-5 * (1.0 + weight.abs());
                assert!(
                    near,
                    "{format:?}, row {index}, column {col}: {out} for {weight}"
                );
            }
        }
    }
}

#[test]
fn impossible_matrices_and_failed_reads_are_refused() {
    let pool = Pool::new(2).expect("there are threads");
    let huge = usize::MAX / 4;
    for (rows, cols) in [
        (0, 32),
        (2, 0),
        (1, 33),
        (huge, 32),
        (1, huge / 32 * 32),
        (huge, huge / 32 * 32),
    ] {
        let packed = Matrix::pack(Format::Q4_1, (rows, cols), &pool, |_, _| Ok::<_, ()>(()));
        assert!(
            matches!(packed, Err(PackError::Shape { .. })),
            "{rows} x {cols}"
        );
    }
    let packed = Matrix::pack(Format::F16, (64, 64), &pool, |_, _| Err("no disk"));
    assert!(matches!(packed, Err(PackError::Read("no disk"))));
}

#[test]
fn inputs_are_quantized_as_defined() {
    let mut noise = Noise(3);
    for cols in [1, 31, 32, 33, 80] {
        let mut x = noise.floats(4 * cols);
        x[..cols].fill(0.0);
        x[cols] = 1e-38;
        x[2 * cols] = 3e38;
        for kernel in Kernel::all() {
            let mut input = Input::default();
            input.set(kernel, &x, cols);
            assert!(same(input.floats(), &x));
            let expected = x.chunks_exact(cols).flat_map(|row| row.chunks(BLOCK));
            assert_eq!(input.blocks().len(), 4 * cols.div_ceil(BLOCK));
            for (block, x) in input.blocks().iter().zip(expected) {
                check_block(block, &definition::quantize(x), kernel);
            }
        }
    }
}

fn check_block(block: &QuantBlock, expected: &definition::Quantized8, kernel: Kernel) {
    let len = expected.numbers.len();
    assert_eq!(block.numbers[..len], expected.numbers, "{kernel:?}");
    assert!(block.numbers[len..].iter().all(|&n| n == 0));
    assert_eq!(block.scale.to_bits(), expected.scale.to_bits());
    let sum: i32 = expected.numbers.iter().map(|&n| i32::from(n)).sum();
    assert_eq!(block.minus_sum, -sum);
    assert_eq!(block.minus_half_sums[0] + block.minus_half_sums[1], -sum);
    assert_eq!(block.sum, sum as f32 * expected.scale);
}

#[test]
fn what_lies_between_products_equals_the_definition() {
    let mut noise = Noise(4);
    for len in [1, 15, 16, 17, 64, 100, 576] {
        let (x, y) = (noise.floats(len), noise.floats(len));
        let apply = |f: &dyn Fn(f32) -> f32| -> Vec<f32> {
            x.iter().zip(&y).map(|(x, y)| f(*x) * y).collect()
        };
        let silu = apply(&definition::silu);
        let gelu = apply(&definition::gelu);
        let norm = definition::rms_norm(&x, &y, 1e-5);
        let capped: Vec<f32> = x
            .iter()
            .map(|x| 30.0 * definition::tanh(x / 30.0))
            .collect();
        for kernel in Kernel::all() {
            let mut out = x.clone();
            ops::silu_mul(kernel, &mut out, &y);
            assert!(same(&out, &silu), "{kernel:?}: silu of {len}");
            out.copy_from_slice(&x);
            ops::gelu_mul(kernel, &mut out, &y);
            assert!(same(&out, &gelu), "{kernel:?}: gelu of {len}");
            ops::rms_norm(kernel, &x, &y, 1e-5, &mut out);
            assert!(same(&out, &norm), "{kernel:?}: norm of {len}");
            out.copy_from_slice(&x);
            ops::rms_norm_inplace(kernel, &mut out, &y, 1e-5);
            assert!(same(&out, &norm), "{kernel:?}: norm in place of {len}");
            out.copy_from_slice(&x);
            ops::soft_cap(kernel, &mut out, 30.0);
            assert!(same(&out, &capped), "{kernel:?}: cap of {len}");
        }
    }
}

#[test]
fn weights_and_largest_logits_equal_the_definition() {
    let mut noise = Noise(6);
    let odd = [
        f32::NAN,
        -f32::NAN,
        f32::NEG_INFINITY,
        f32::MIN,
        -0.0,
        f32::MIN_POSITIVE,
    ];
    for len in [1, 15, 16, 17, 63, 64, 65, 100, 1024, 4099] {
        for (top, inverse) in [
            (12.0, 1.0),
            (12.0, 0.02),
            (12.0, f32::MAX),
            (f32::MAX, 1e-37),
            (f32::INFINITY, 1.3),
        ] {
            let mut logits: Vec<f32> = (0..len).map(|_| 12.0 * noise.float()).collect();
            for at in 0..len / 7 {
                logits[7 * at + at % 7] = odd[at % odd.len()];
            }
            logits[len / 2] = top;
            let largest: Vec<f32> = logits
                .chunks(ops::GROUP)
                .map(|group| group.iter().copied().fold(f32::NEG_INFINITY, f32::max))
                .collect();
            let best = top.min(f32::MAX);
            for least in [0.0, 1.0, 1e-3 * ops::FULL_WEIGHT, ops::FULL_WEIGHT] {
                let expected: Vec<u64> = logits
                    .iter()
                    .map(|logit| definition::weight(*logit, best, inverse))
                    .map(|weight| if weight as f32 >= least { weight } else { 0 })
                    .collect();
                for kernel in Kernel::all() {
                    let mut out = vec![f32::NAN; largest.len()];
                    ops::largest(kernel, &logits, &mut out);
                    assert_eq!(out, largest, "{kernel:?}: largest of {len}");
                    let how = ops::Weighing {
                        best,
                        inverse,
                        least,
                    };
                    let mut out = vec![f32::NAN; len];
                    let sum = ops::weights(kernel, &logits, how, &mut out);
                    let out: Vec<u64> = out.iter().map(|weight| *weight as u64).collect();
                    assert_eq!(out, expected, "{kernel:?}: {how:?} of {len}");
                    assert_eq!(sum as u64, expected.iter().sum::<u64>());
                }
            }
        }
    }
    let mut none = [0.0];
    ops::largest(
        Kernel::best(),
        &[f32::NAN, f32::NEG_INFINITY, f32::NAN],
        &mut none,
    );
    assert_eq!(none, [f32::NEG_INFINITY]);
    // Half a unit and less is nothing: 2^-41 is e to the power of -28.42.
    assert_eq!(definition::weight(-28.4, 0.0, 1.0), 1);
    assert_eq!(definition::weight(-28.43, 0.0, 1.0), 0);
    assert_eq!(definition::weight(3.0, 3.0, 7.0), 1 << 40);
}

#[test]
fn rotations_equal_the_definition() {
    let mut noise = Noise(6);
    for (len, pairs) in [(2, 1), (64, 32), (80, 16), (96, 48), (7, 3)] {
        let (x, cos, sin) = (noise.floats(len), noise.floats(pairs), noise.floats(pairs));
        for neighbours in [true, false] {
            let expected = definition::rotate(&x, &cos, &sin, neighbours, 0.125);
            for kernel in Kernel::all() {
                let mut out = x.clone();
                ops::rotate(kernel, &mut out, &cos, &sin, neighbours, 0.125);
                assert!(same(&out, &expected), "{kernel:?}: {pairs} pairs of {len}");
            }
        }
    }
}

#[test]
fn functions_are_near_their_true_values() {
    let mut x = -90.0_f64;
    while x < 89.0 {
        let one = x as f32;
        let lanes = crate::ops::exp::<crate::lanes::scalar::Scalar>([one; 16])[0];
        assert_eq!(lanes.to_bits(), definition::exp(one).to_bits(), "exp({x})");
        let (got, true_value) = (
            f64::from(definition::exp(x as f32)),
            f64::from(x as f32).exp(),
        );
        if x < -87.0 {
            assert_eq!(got, 0.0);
        } else if x < 88.0 {
            assert!((got / true_value - 1.0).abs() < 3e-7, "exp({x}) = {got}");
        }
        let (got, true_value) = (
            f64::from(definition::tanh(x as f32)),
            f64::from(x as f32).tanh(),
        );
        assert!((got - true_value).abs() < 3e-7, "tanh({x}) = {got}");
        x += 0.0137;
    }
    assert!((definition::silu(1.0) - 0.731_058_6).abs() < 1e-6);
    assert!((definition::gelu(1.0) - 0.841_192).abs() < 1e-5);
    assert!(definition::gelu(-20.0).abs() < 1e-30);
    assert!(definition::silu(-100.0).abs() < 1e-30);
}

#[test]
fn half_floats_are_what_ieee_754_says() {
    use crate::lanes::scalar::{f16_to_f32, f32_to_f16};
    for half in 0..=u16::MAX {
        let single = f16_to_f32(half);
        if single.is_finite() {
            assert_eq!(f32_to_f16(single), half, "{half:#06x}");
        }
    }
    assert_eq!(f16_to_f32(0x3C00), 1.0);
    assert_eq!(f16_to_f32(0x0001), 2.0_f32.powi(-24));
    assert_eq!(f16_to_f32(0x7BFF), 65_504.0);
    // Halfway cases go to even; just beyond them, up.
    assert_eq!(f32_to_f16(1.0 + 2.0_f32.powi(-11)), 0x3C00);
    assert_eq!(f32_to_f16(1.0 + 3.0 * 2.0_f32.powi(-11)), 0x3C02);
    assert_eq!(f32_to_f16(1.0 + 1.1 * 2.0_f32.powi(-11)), 0x3C01);
    assert_eq!(f32_to_f16(2.0_f32.powi(-25)), 0);
    assert_eq!(f32_to_f16(1.5 * 2.0_f32.powi(-25)), 1);
    assert_eq!(f32_to_f16(1e9), 0x7C00);
}

#[test]
fn a_number_takes_the_bits_that_ggml_says() {
    // Bits per number, as ggml's documents give them.
    let known = [
        (0, 32.0),
        (1, 16.0),
        (2, 4.5),
        (3, 5.0),
        (6, 5.5),
        (7, 6.0),
        (8, 8.5),
        (10, 2.625),
        (11, 3.4375),
        (12, 4.5),
        (13, 5.5),
        (14, 6.5625),
        (30, 16.0),
    ];
    for (number, bits) in known {
        let format = Format::from_ggml(number).expect("it is a known type");
        let stored = 8.0 * format.group_bytes() as f64 / format.group() as f64;
        assert_eq!(stored, bits, "{format:?}");
    }
    let formats = (0..1000).filter_map(Format::from_ggml);
    assert_eq!(formats.count(), known.len());
}
