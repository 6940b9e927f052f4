//! Logits of tiny random models against those that `transformers` computes.
//!
//! The files in `reference/` come from `make_reference.py`. Weights are in F32, so that nothing is
//! quantized; what is left is keys and values in half floats and the order of sums.

use std::fs;
use std::path::{Path, PathBuf};

use kwaainet_decoder::{Decoder, Gguf, KvCache, ModelConfig, Part, Work};
use kwaainet_kernels::{Compute, Kernel, KvFormat, PageShape, Pages, Pool};
use serde_json::Value;

/// Of the largest logit: how far ours may be away. Keys and values in half floats, or in eight bits, move
/// these sharp little models by up to half of it.
const BOUNDS: [(KvFormat, f64); 2] = [(KvFormat::F16, 4e-3), (KvFormat::Q8, 0.06)];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn compute(kernel: Kernel, threads: usize) -> Compute {
    let pool = Pool::new(threads).expect("there are threads");
    Compute { kernel, pool }
}

fn load(model: &str, context: usize, compute: &Compute) -> Decoder {
    let file = Gguf::open(&folder().join(format!("{model}.gguf"))).expect("the file is there");
    let config = ModelConfig::read_with_context(&file, context).expect("the file is sound");
    Decoder::load(&file, config, compute).expect("the weights are there")
}

/// The logits after every token, one row each, with the tokens taken `chunk` at a time.
fn logits(
    decoder: &Decoder,
    compute: &Compute,
    kv: KvFormat,
    tokens: &[u32],
    chunk: usize,
) -> Vec<Vec<f32>> {
    let maker = Pages::new(PageShape {
        format: kv,
        ..decoder.page_shape()
    });
    let (mut kv, mut work) = (KvCache::new(&maker), Work::default());
    let mut all = Vec::new();
    for tokens in tokens.chunks(chunk) {
        kv.reserve(kv.len() + tokens.len());
        let part = Part {
            tokens,
            kv: &mut kv,
            logits: tokens.len(),
        };
        let rows = decoder.step(compute, &mut [part], &mut work);
        all.extend(rows.chunks_exact(decoder.vocab()).map(<[f32]>::to_vec));
    }
    all
}

fn cases() -> Vec<(String, Value)> {
    let files = fs::read_dir(folder()).expect("the folder is there");
    let mut cases: Vec<_> = files
        .map(|file| file.expect("it can be read").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| {
            let text = fs::read_to_string(&path).expect("it can be read");
            let name = path
                .file_stem()
                .expect("it has a name")
                .to_string_lossy()
                .into_owned();
            (name, serde_json::from_str(&text).expect("it is JSON"))
        })
        .collect();
    cases.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(cases.len() >= 11, "{} cases", cases.len());
    cases
}

fn tokens(case: &Value) -> Vec<u32> {
    let tokens = case["tokens"].as_array().expect("there are tokens").iter();
    tokens
        .map(|token| token.as_u64().expect("an id") as u32)
        .collect()
}

fn open(case: &Value, compute: &Compute) -> Decoder {
    let model = case["model"].as_str().expect("it names its model");
    let context = case["context"].as_u64().expect("it has a context");
    load(model.trim_end_matches(".gguf"), context as usize, compute)
}

#[test]
fn logits_are_those_of_transformers() {
    for (name, case) in cases() {
        let compute = compute(Kernel::best(), 2);
        let decoder = open(&case, &compute);
        for (kv, bound) in BOUNDS {
            let ours = logits(&decoder, &compute, kv, &tokens(&case), 64);
            let (mut largest, mut apart) = (0.0_f64, 0.0_f64);
            for kept in case["logits"].as_array().expect("there are logits") {
                let position = kept["position"].as_u64().expect("a position") as usize;
                let theirs = kept["values"].as_array().expect("values");
                assert_eq!(theirs.len(), decoder.vocab());
                for (ours, theirs) in ours[position].iter().zip(theirs) {
                    let theirs = theirs.as_f64().expect("a number");
                    largest = largest.max(theirs.abs());
                    apart = apart.max((f64::from(*ours) - theirs).abs());
                }
            }
            assert!(
                apart <= bound * largest,
                "{name}, {kv:?}: {apart:.2e} apart, the largest logit is {largest:.1}"
            );
        }
    }
}

#[test]
fn bits_do_not_depend_on_kernel_threads_or_chunks() {
    for (name, case) in cases() {
        let tokens = tokens(&case);
        let reference = compute(Kernel::scalar(), 1);
        let decoder = open(&case, &reference);
        let expected =
            BOUNDS.map(|(kv, _)| logits(&decoder, &reference, kv, &tokens, tokens.len()));
        for kernel in Kernel::all() {
            for (threads, chunk) in [(1, 1), (2, 7), (3, 32), (4, 33)] {
                let compute = compute(kernel, threads);
                let decoder = open(&case, &compute);
                for ((kv, _), expected) in BOUNDS.iter().zip(&expected) {
                    let got = logits(&decoder, &compute, *kv, &tokens, chunk);
                    assert!(
                        got == *expected,
                        "{name}, {kv:?}: {kernel:?}, {threads} threads, pieces of {chunk}"
                    );
                }
            }
        }
    }
}
