//! How fast products are, for each kernel: `cargo run --release -p kwaainet-kernels --example speed`.
//!
//! Prints, for a matrix of one layer's size in several formats and batches, the gigabytes of weights
//! per second and the 10^9 integer operations per second. The matrices together are larger than any
//! cache, so that one row of input shows memory's speed.

#![expect(clippy::print_stdout, reason = "a tool that prints a table")]
#![expect(clippy::disallowed_methods, reason = "a tool that measures time")]

use std::time::Instant;

use kwaainet_kernels::{Compute, Format, Input, Kernel, Matrix, Pool, Product, multiply};

const ROWS: usize = 1536;
const COLS: usize = 768;
const MATRICES: usize = 150;

fn main() {
    let threads = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(2);
    let only = std::env::args().nth(2);
    for kernel in Kernel::all() {
        if only.as_ref().is_some_and(|only| only != kernel.name()) {
            continue;
        }
        let pool = Pool::new(threads).expect("threads");
        let compute = Compute { kernel, pool };
        for format in [
            Format::Q4_1,
            Format::Q8_0,
            Format::Q5_0,
            Format::Q4K,
            Format::Q6K,
            Format::F16,
        ] {
            let bytes: Vec<u8> = (0..ROWS * COLS / format.group() * format.group_bytes())
                .map(|i| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3] & 0x3F)
                .collect();
            let read = |to: &mut [u8], from: usize| {
                to.copy_from_slice(&bytes[from..from + to.len()]);
                Ok::<_, ()>(())
            };
            let pack = || Matrix::pack(format, (ROWS, COLS), &compute.pool, read).expect("fits");
            let begin = Instant::now();
            let matrices: Vec<Matrix> = (0..MATRICES).map(|_| pack()).collect();
            let packing = (bytes.len() * MATRICES) as f64 / begin.elapsed().as_secs_f64() / 1e9;
            print!("{:8} {format:5?} pack {packing:5.2} GB/s |", kernel.name());
            for batch in [1, 2, 4, 8, 16, 32, 128, 512] {
                let x: Vec<f32> = (0..batch * COLS).map(|i| (i % 17) as f32 - 8.0).collect();
                let mut input = Input::default();
                input.set(kernel, &x, COLS);
                let mut out = vec![0.0; batch * ROWS];
                let mut best = f64::MAX;
                let count = (MATRICES / batch.div_ceil(2)).max(4);
                for _ in 0..3 {
                    let begin = Instant::now();
                    for matrix in &matrices[..count] {
                        multiply(
                            &compute,
                            &input,
                            &mut [Product {
                                matrix,
                                out: &mut out,
                            }],
                        );
                    }
                    best = best.min(begin.elapsed().as_secs_f64() / count as f64);
                }
                let gops = (2 * ROWS * COLS * batch) as f64 / best / 1e9;
                let gbs = bytes.len() as f64 / best / 1e9;
                print!(" {batch}: {gbs:.1} GB/s {gops:.0}");
            }
            println!();
        }
    }
}
