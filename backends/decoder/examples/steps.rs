//! How long the steps of a decoder take, without engine, sampling or text:
//! `cargo run --release -p kwaainet-decoder --example steps -- MODEL.gguf [THREADS [SEQUENCES CONTEXT TOKENS]]`.
//!
//! Each step is timed with keys and values in both formats, by turns.

#![expect(clippy::print_stdout, reason = "a tool that prints a table")]
#![expect(clippy::disallowed_methods, reason = "a tool that measures time")]

use std::path::Path;
use std::time::Instant;

use kwaainet_decoder::{Decoder, Gguf, KvCache, ModelConfig, Part, Work};
use kwaainet_kernels::{Compute, Kernel, KvFormat, PageShape, Pages, Pool};

const RUNS: usize = 9;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a GGUF file");
    let mut numbers = arguments.map(|n| n.parse().expect("a number"));
    let threads = numbers.next().unwrap_or(2);
    let only: Vec<usize> = numbers.collect();
    let compute = Compute {
        kernel: Kernel::best(),
        pool: Pool::new(threads).expect("threads"),
    };
    let begin = Instant::now();
    let file = Gguf::open(Path::new(&path)).expect("a sound file");
    let config = ModelConfig::read(&file).expect("a known model");
    let decoder = Decoder::load(&file, config, &compute).expect("sound weights");
    let megabytes = decoder.weight_bytes() as f64 / 1e6;
    println!(
        "{:?}, {threads} threads, {megabytes:.0} MB a step, loaded in {:.2} s",
        compute.kernel,
        begin.elapsed().as_secs_f64()
    );
    for (sequences, context, tokens) in [
        (1, 0, 128),
        (1, 0, 512),
        (1, 1024, 512),
        (1, 16, 1),
        (1, 1024, 1),
        (1, 4096, 1),
        (2, 16, 1),
        (4, 16, 1),
        (8, 16, 1),
        (16, 16, 1),
        (16, 256, 1),
        (32, 16, 1),
        (64, 16, 1),
    ] {
        if !only.is_empty() && only != [sequences, context, tokens] {
            continue;
        }
        let (f16, q8) = time(&decoder, &compute, sequences, context, tokens);
        println!(
            "{sequences:3} sequences at {context:4}, {tokens:3} tokens each: {:8.3} ms, {:7.1} tokens/s; \
             q8 {:8.3} ms, f16 / q8 {:.3}",
            f16 * 1e3,
            (sequences * tokens) as f64 / f16,
            q8 * 1e3,
            f16 / q8
        );
    }
}

/// Seconds of a step, the median of several, with keys and values in half floats and in eight bits.
fn time(
    decoder: &Decoder,
    compute: &Compute,
    sequences: usize,
    context: usize,
    tokens: usize,
) -> (f64, f64) {
    let ids: Vec<u32> = (0..context + tokens)
        .map(|i| 100 + (i as u32 * 7919) % 9000)
        .collect();
    let mut work = Work::default();
    let mut step = |kvs: &mut [KvCache], ids: &[u32], logits| {
        let mut parts: Vec<Part<'_>> = kvs
            .iter_mut()
            .map(|kv| {
                kv.reserve(kv.len() + ids.len());
                Part {
                    tokens: ids,
                    kv,
                    logits,
                }
            })
            .collect();
        let begin = Instant::now();
        decoder.step(compute, &mut parts, &mut work);
        begin.elapsed().as_secs_f64()
    };
    let mut formats = [KvFormat::F16, KvFormat::Q8].map(|format| {
        let maker = Pages::new(PageShape {
            format,
            ..decoder.page_shape()
        });
        let mut kvs: Vec<KvCache> = (0..sequences).map(|_| KvCache::new(&maker)).collect();
        for chunk in ids[..context].chunks(128) {
            step(&mut kvs, chunk, 0);
        }
        kvs
    });
    let runs = if tokens == 1 { 40 * RUNS } else { RUNS };
    let mut all = [const { Vec::new() }; 2];
    for _ in 0..runs {
        for (kvs, all) in formats.iter_mut().zip(&mut all) {
            all.push(step(kvs, &ids[context..], 1));
            kvs.iter_mut().for_each(|kv| kv.truncate(context));
        }
    }
    let [f16, q8] = all.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all[runs / 2]
    });
    (f16, q8)
}
