//! What a sequence gets does not depend on how it is computed.

use super::*;
use crate::testing::{ARCHITECTURES, Noise, Tiny};

fn prompt(seed: u64, len: usize) -> Vec<u32> {
    let mut noise = Noise(seed);
    (0..len).map(|_| (noise.next() % 260) as u32).collect()
}

/// The logits after each of the last tokens, with the prompt cut into pieces of `chunk`.
fn logits_in_chunks(decoder: &Decoder, tokens: &[u32], chunk: usize) -> Vec<f32> {
    let (mut kv, mut work) = (KvCache::new(decoder.kv_shape()), Work::default());
    let mut last = Vec::new();
    for tokens in tokens.chunks(chunk) {
        kv.reserve(kv.len() + tokens.len());
        let mut parts = [Part {
            tokens,
            kv: &mut kv,
            wants_logits: true,
        }];
        let logits = decoder
            .step(&mut parts, &mut work)
            .expect("the step is sound");
        last = logits.to_vec();
    }
    last
}

#[test]
fn logits_do_not_depend_on_how_a_prompt_is_cut() {
    for architecture in ARCHITECTURES {
        let decoder = Tiny::new(architecture).load().decoder;
        let tokens = prompt(7, 70);
        let whole = logits_in_chunks(&decoder, &tokens, 70);
        assert!(whole.iter().all(|x| x.is_finite()) && whole.len() == decoder.vocab());
        for chunk in [1, 2, 7, 32, 33] {
            let cut = logits_in_chunks(&decoder, &tokens, chunk);
            assert!(cut == whole, "{architecture} in pieces of {chunk}");
        }
    }
}

#[test]
fn logits_do_not_depend_on_who_else_is_in_the_step() {
    for architecture in ARCHITECTURES {
        let decoder = Tiny::new(architecture).load().decoder;
        let prompts: Vec<_> = (1..6).map(|i| prompt(i, 9 * i as usize)).collect();
        let mut kvs: Vec<_> = prompts
            .iter()
            .map(|_| KvCache::new(decoder.kv_shape()))
            .collect();
        let mut parts: Vec<_> = kvs
            .iter_mut()
            .zip(&prompts)
            .enumerate()
            .map(|(i, (kv, tokens))| {
                kv.reserve(tokens.len());
                Part {
                    tokens,
                    kv,
                    // One that is only being read must not shift the others' rows.
                    wants_logits: i != 2,
                }
            })
            .collect();
        let mut work = Work::default();
        let together = decoder
            .step(&mut parts, &mut work)
            .expect("the step is sound");
        let asked = prompts.iter().enumerate().filter(|(i, _)| *i != 2);
        let rows = together.chunks_exact(decoder.vocab());
        assert_eq!(rows.len(), 4);
        for ((index, tokens), row) in asked.zip(rows) {
            let alone = logits_in_chunks(&decoder, tokens, tokens.len());
            assert!(alone == row, "{architecture}, sequence {index}");
        }
    }
}

#[test]
fn a_copied_prefix_goes_on_like_the_original() {
    let decoder = Tiny::new("llama").load().decoder;
    let tokens = prompt(3, 50);
    let (mut kv, mut work) = (KvCache::new(decoder.kv_shape()), Work::default());
    kv.reserve(50);
    let mut step = |kv: &mut KvCache, tokens: &[u32]| {
        kv.reserve(kv.len() + tokens.len());
        let mut parts = [Part {
            tokens,
            kv,
            wants_logits: true,
        }];
        decoder
            .step(&mut parts, &mut work)
            .map(<[f32]>::to_vec)
            .expect("the step is sound")
    };
    let whole = step(&mut kv, &tokens);
    let mut copy = kv.prefix(40);
    assert_eq!(step(&mut copy, &tokens[40..]), whole);
}

#[test]
fn a_window_hides_what_is_far_back() {
    // Two layers that see 8 tokens each reach 14 tokens back.
    let decoder = Tiny::new("gemma3").all_windows().load().decoder;
    let tokens = prompt(5, 40);
    let changed = |at: usize| {
        let mut tokens = tokens.clone();
        tokens[at] = (tokens[at] + 1) % 260;
        logits_in_chunks(&decoder, &tokens, 40)
    };
    let original = logits_in_chunks(&decoder, &tokens, 40);
    assert!(changed(39 - 15) == original, "beyond the windows");
    assert!(changed(39 - 14) != original, "at the edge of the windows");
}

#[test]
fn what_cannot_be_computed_is_refused_with_its_reason() {
    let file = Tiny::new("llama").file();
    let gguf = Gguf::open(&file.path).expect("the file is sound");
    let complaint = |change: fn(&mut ModelConfig)| {
        let mut config = ModelConfig::read(&gguf).expect("the metadata is sound");
        change(&mut config);
        let error = Decoder::load(&gguf, config).err();
        error.expect("the model does not fit").to_string()
    };
    let missing = complaint(|config| config.layers = 3);
    assert!(missing.ends_with("'blk.2.attn_norm.weight' is missing"));
    let misshapen = complaint(|config| config.ffn_width = 128);
    assert!(misshapen.contains("has the shape [64, 96] instead of [64, 128]"));
    let fused = complaint(|config| config.fused_qkv = true);
    assert!(fused.contains("fused matrices"));
    let capped = complaint(|config| config.logit_softcap = Some(30.0));
    assert!(capped.contains("capped scores"));
}
