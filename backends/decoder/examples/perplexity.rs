//! The perplexity of a text: `cargo run --release -p kwaainet-decoder --example perplexity --
//! MODEL.gguf IDS.json [f16|q8 [TOKENS]]`.
//!
//! IDS.json is `{"bos": ID or null, "ids": [...]}`: the text's tokens, and the token that each window
//! begins with if the model wants one. Windows are of 512 tokens, and the second half of each counts,
//! as in llama.cpp's `llama-perplexity -c 512`. f16 or q8 is how keys and values are kept; of the text, the
//! first TOKENS tokens are taken, or all.

#![expect(clippy::print_stdout, reason = "a tool that prints its result")]

use std::path::Path;

use kwaainet_decoder::{Decoder, Gguf, KvCache, ModelConfig, Part, Work};
use kwaainet_kernels::{Compute, Kernel, KvFormat, PageShape, Pages, Pool};

const WINDOW: usize = 512;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("a GGUF file");
    let text = std::fs::read_to_string(arguments.next().expect("a file of ids"));
    let text: serde_json::Value = serde_json::from_str(&text.expect("readable")).expect("JSON");
    let ids = text["ids"].as_array().expect("a list of ids").iter();
    let mut ids: Vec<u32> = ids.map(|id| id.as_u64().expect("an id") as u32).collect();
    let bos = text["bos"].as_u64();
    let kv = match arguments.next().as_deref() {
        None | Some("f16") => KvFormat::F16,
        Some("q8") => KvFormat::Q8,
        Some(other) => panic!("f16 or q8, not {other}"),
    };
    if let Some(tokens) = arguments.next() {
        ids.truncate(tokens.parse().expect("a number of tokens"));
    }

    let compute = Compute {
        kernel: Kernel::best(),
        pool: Pool::new(2).expect("threads"),
    };
    let file = Gguf::open(Path::new(&path)).expect("a sound file");
    let config = ModelConfig::read(&file).expect("a known model");
    let decoder = Decoder::load(&file, config, &compute).expect("sound weights");

    let (mut sum, mut count) = (0.0, 0);
    for window in ids.chunks_exact_mut(WINDOW) {
        if let Some(bos) = bos {
            window[0] = bos as u32;
        }
        let (loss, tokens) = losses(&decoder, &compute, kv, window);
        sum += loss;
        count += tokens;
    }
    let perplexity = f64::exp(sum / f64::from(count));
    println!(
        "{perplexity:.4} over {count} of {} tokens, {kv:?}",
        ids.len()
    );
}

/// The sum of the negative logarithms of the second half's probabilities, and how many they are.
fn losses(decoder: &Decoder, compute: &Compute, kv: KvFormat, window: &[u32]) -> (f64, u32) {
    let maker = Pages::new(PageShape {
        format: kv,
        ..decoder.page_shape()
    });
    let (mut kv, mut work) = (KvCache::new(&maker), Work::default());
    let (mut sum, mut count) = (0.0, 0);
    // In pieces, so that the logits of a large vocabulary stay small.
    for (index, tokens) in window.chunks(64).enumerate() {
        kv.reserve(kv.len() + tokens.len());
        let first = index * 64;
        let logits = if first < WINDOW / 2 { 0 } else { tokens.len() };
        let part = Part {
            tokens,
            kv: &mut kv,
            logits,
        };
        let rows = decoder.step(compute, &mut [part], &mut work);
        for (offset, row) in rows.chunks_exact(decoder.vocab()).enumerate() {
            if let Some(&next) = window.get(first + offset + 1) {
                sum -= log_probability(row, next as usize);
                count += 1;
            }
        }
    }
    (sum, count)
}

fn log_probability(logits: &[f32], token: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let exps = logits.iter().map(|x| f64::from(x - largest).exp());
    f64::from(logits[token] - largest) - exps.sum::<f64>().ln()
}
