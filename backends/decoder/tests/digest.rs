//! The bits of real models, on every machine.
//!
//! The digests below were computed once, by the scalar kernel. Whoever computes `kwaai-canonical/1`, or
//! `kwaai-canonical/1+kv-q8`, gets them: with any kernel, any number of threads, any cut of the prompt. They change with the class and
//! never without it.

use std::path::PathBuf;

use kwaainet_decoder::{Decoder, Gguf, KvCache, ModelConfig, Part, Work};
use kwaainet_kernels::{Compute, Kernel, KvFormat, PageShape, Pages, Pool};
use sha2::{Digest, Sha256};

/// Tokens of the prompt, which are followed by as many greedy ones as [`DRAWN`].
const PROMPT: usize = 24;
const DRAWN: usize = 4;

const SMOLLM2: &str = "d41e2e1ebd1457f6d9fa80a396aef539638ebabe9d1ede2b01831f3cef756c9a";
const SMOLLM2_Q8: &str = "06d51b5ec0c83273ea0b469a34fdd238c04cddcee97585cf802c4f883a3cec17";
const GEMMA3: &str = "b40fb2fc0ff6cb4cdabd7ccd3800ec654b2d1f5feaac5be3ab9f4ebacd3af2e0";

/// `KWAAINET_TEST_MODELS`, else the cache that `kwaainet pull` fills.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration file"
)]
fn model(name: &str) -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = var("KWAAINET_TEST_MODELS")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("kwaainet")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/kwaainet")))
        .expect("HOME is set");
    let entries = std::fs::read_dir(cache.join("models").join(name)).ok();
    let mut paths = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    paths
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .unwrap_or_else(|| panic!("this test needs the model {name}: run `kwaainet pull {name}`"))
}

/// All logits, after every token, as one digest.
fn digest(decoder: &Decoder, compute: &Compute, kv: KvFormat, chunk: usize) -> String {
    let vocab = decoder.vocab();
    let maker = Pages::new(PageShape {
        format: kv,
        ..decoder.page_shape()
    });
    let (mut kv, mut work) = (KvCache::new(&maker), Work::default());
    let mut hash = Sha256::new();
    let mut step = |tokens: &[u32]| {
        kv.reserve(kv.len() + tokens.len());
        let part = Part {
            tokens,
            kv: &mut kv,
            logits: tokens.len(),
        };
        let logits = decoder.step(compute, &mut [part], &mut work);
        for logit in logits {
            hash.update(logit.to_le_bytes());
        }
        best(&logits[logits.len() - vocab..])
    };
    let prompt: Vec<u32> = (0..PROMPT as u32)
        .map(|i| 1_000 + i * 977 % 20_011)
        .collect();
    let mut next = 0;
    for tokens in prompt.chunks(chunk) {
        next = step(tokens);
    }
    for _ in 0..DRAWN {
        next = step(&[next]);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// Emulated machines are slow, and have shown the small models all of their kernels elsewhere.
fn kernels() -> Vec<Kernel> {
    if cfg!(target_arch = "x86_64") {
        Kernel::all()
    } else {
        vec![Kernel::best()]
    }
}

fn check(name: &str, kv: KvFormat, expected: &str) {
    let file = Gguf::open(&model(name)).expect("the file is sound");
    for kernel in kernels() {
        for (threads, chunk) in [(2, PROMPT), (1, 7), (3, 16), (4, 1)] {
            let pool = Pool::new(threads).expect("there are threads");
            let compute = Compute { kernel, pool };
            let config = ModelConfig::read(&file).expect("the model is known");
            let decoder = Decoder::load(&file, config, &compute).expect("the weights are sound");
            let digest = digest(&decoder, &compute, kv, chunk);
            assert_eq!(
                digest, expected,
                "{name}, {kv:?}, {kernel:?}, {threads} threads, pieces of {chunk}"
            );
            if kernel == Kernel::scalar() || cfg!(not(target_arch = "x86_64")) {
                // Slow, and its independence of threads and pieces is shown by the tiny models.
                break;
            }
        }
    }
}

#[test]
fn the_bits_of_smollm2_are_those_of_every_machine() {
    check("smollm2-135m-instruct", KvFormat::F16, SMOLLM2);
}

#[test]
fn the_bits_of_smollm2_with_keys_and_values_in_eight_bits_are_too() {
    check("smollm2-135m-instruct", KvFormat::Q8, SMOLLM2_Q8);
}

#[test]
fn the_bits_of_gemma3_are_those_of_every_machine() {
    check("gemma3-270m", KvFormat::F16, GEMMA3);
}
