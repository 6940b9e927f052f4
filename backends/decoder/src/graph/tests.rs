//! What a sequence gets does not depend on how it is computed.

use std::path::Path;

use kwaainet_kernels::{Compute, Kernel, KvFormat, PAGE, Pages, Pool};

use super::*;
use crate::{Gguf, ModelConfig};

const MODELS: [&str; 6] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"];
const FORMATS: [KvFormat; 2] = [KvFormat::F16, KvFormat::Q8];

fn compute() -> Compute {
    Compute {
        kernel: Kernel::best(),
        pool: Pool::new(2).expect("there are threads"),
    }
}

fn load(model: &str, compute: &Compute) -> Decoder {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let file = Gguf::open(&folder.join(format!("{model}.gguf"))).expect("the file is there");
    let config = ModelConfig::read(&file).expect("the file is sound");
    Decoder::load(&file, config, compute).expect("the weights are there")
}

fn prompt(seed: u32, len: usize) -> Vec<u32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        x >> 25
    };
    (0..len).map(|_| next()).collect()
}

fn step(decoder: &Decoder, compute: &Compute, kv: &mut KvCache, tokens: &[u32]) -> Vec<f32> {
    kv.reserve(kv.len() + tokens.len());
    let mut parts = [Part {
        tokens,
        kv,
        logits: 1,
    }];
    decoder
        .step(compute, &mut parts, &mut Work::default())
        .to_vec()
}

#[test]
fn logits_do_not_depend_on_who_else_is_in_the_step() {
    let compute = compute();
    for (model, format) in MODELS
        .into_iter()
        .flat_map(|model| FORMATS.map(|kv| (model, kv)))
    {
        let decoder = load(model, &compute).with_kv(format);
        let maker = Pages::new(decoder.page_shape());
        let prompts: Vec<_> = (1..34)
            .map(|i| prompt(i, 1 + 5 * i as usize % 23))
            .collect();
        let alone: Vec<_> = prompts
            .iter()
            .map(|tokens| step(&decoder, &compute, &mut KvCache::new(&maker), tokens))
            .collect();
        for batch in [2, 5, 33] {
            let mut kvs: Vec<_> = (0..batch).map(|_| KvCache::new(&maker)).collect();
            let mut parts: Vec<_> = kvs
                .iter_mut()
                .zip(&prompts)
                .enumerate()
                .map(|(i, (kv, tokens))| {
                    kv.reserve(tokens.len());
                    // One that is only being read must not shift the others' rows.
                    let logits = usize::from(i != 1);
                    Part { tokens, kv, logits }
                })
                .collect();
            let mut work = Work::default();
            let together = decoder.step(&compute, &mut parts, &mut work);
            let expected: Vec<f32> = alone[..batch]
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != 1)
                .flat_map(|(_, row)| row.iter().copied())
                .collect();
            assert!(
                together == expected,
                "{model}, {format:?}, {batch} together"
            );
        }
    }
}

#[test]
fn a_shared_prefix_goes_on_like_the_original_and_leaves_it_alone() {
    let compute = compute();
    for format in FORMATS {
        let decoder = load("llama", &compute).with_kv(format);
        let maker = Pages::new(decoder.page_shape());
        let tokens = prompt(3, 50);
        let mut kv = KvCache::new(&maker);
        let whole = step(&decoder, &compute, &mut kv, &tokens);
        let next = step(&decoder, &compute, &mut kv, &[7]);
        kv.truncate(50);
        for len in [PAGE, 40, 49] {
            let mut shared = kv.prefix(len);
            assert_eq!(maker.live(), 2, "nothing is copied yet");
            assert_eq!(
                shared.lacking(50),
                usize::from(len != PAGE) + usize::from(len == PAGE)
            );
            assert_eq!(step(&decoder, &compute, &mut shared, &tokens[len..]), whole);
            // Something else is written where the original has its own.
            let mut other = kv.prefix(len);
            step(&decoder, &compute, &mut other, &prompt(9, 20));
        }
        assert_eq!(maker.live(), 2);
        assert_eq!(step(&decoder, &compute, &mut kv, &[7]), next);
        drop(kv);
        assert_eq!(maker.live(), 0);
    }
}

#[test]
fn positions_that_were_taken_back_leave_no_trace() {
    let compute = compute();
    for format in FORMATS {
        let decoder = load("gemma3", &compute).with_kv(format);
        let maker = Pages::new(decoder.page_shape());
        let (start, rest) = (prompt(4, 30), prompt(5, 9));
        let mut kv = KvCache::new(&maker);
        step(&decoder, &compute, &mut kv, &start);
        let expected = step(&decoder, &compute, &mut kv, &rest);
        kv.truncate(30);
        step(&decoder, &compute, &mut kv, &prompt(6, 40));
        assert_eq!((kv.len(), kv.pages().len()), (70, 3));
        kv.truncate(30);
        assert_eq!(kv.pages().len(), 1);
        assert!(
            step(&decoder, &compute, &mut kv, &rest) == expected,
            "{format:?}"
        );
    }
}
