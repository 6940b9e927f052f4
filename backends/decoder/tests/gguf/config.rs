//! The configuration that is read from metadata. Expected values: llama.cpp's `src/models`.

use kwaainet_decoder::{Activation, FileError, Gguf, ModelConfig, RopeStyle, Value};

use crate::support::{ARCHITECTURES, Builder, tiny};

fn read(file: &Builder) -> Result<ModelConfig, FileError> {
    let gguf = Gguf::from_bytes(file.bytes()).expect("the file is sound");
    ModelConfig::read(&gguf)
}

/// The configuration of a tiny model with these keys besides.
fn with(architecture: &str, keys: &[(&str, Value)]) -> Result<ModelConfig, FileError> {
    let mut file = tiny(architecture);
    for (key, value) in keys {
        file.set(&format!("{architecture}.{key}"), value.clone());
    }
    read(&file)
}

fn sound(architecture: &str, keys: &[(&str, Value)]) -> ModelConfig {
    with(architecture, keys).expect("the metadata is sound")
}

fn complaint(architecture: &str, keys: &[(&str, Value)]) -> String {
    let error = with(architecture, keys).expect_err("the metadata is bad");
    error.to_string()
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

#[test]
fn every_architecture_has_the_sizes_that_its_file_names() {
    for architecture in ARCHITECTURES {
        let config = sound(architecture, &[]);
        assert_eq!((config.layers, config.width, config.vocab), (1, 64, 4));
        assert_eq!((config.heads, config.kv_heads, config.head_dim), (4, 2, 16));
        assert_eq!((config.q_width(), config.kv_width()), (64, 32));
        assert_eq!((config.ffn_width, config.context), (96, 256));
        assert_eq!((config.rope.dims, config.rope.scale), (16, 1.0));
        assert_eq!(config.norm_eps, 1e-5);
        let head = sound(architecture, &[("attention.key_length", Value::U32(32))]);
        assert_eq!((head.head_dim, head.q_width()), (32, 128));
    }
}

#[test]
fn architectures_differ_where_they_should() {
    let traits = |architecture| {
        let config = sound(architecture, &[]);
        (
            config.activation == Activation::GeluTanh,
            config.qk_norm,
            config.post_norms,
            config.fused_qkv && config.fused_gate_up,
            config.rope_style == RopeStyle::Pairs,
            config.embedding_scale,
        )
    };
    assert_eq!(traits("llama"), (false, false, false, false, true, 1.0));
    assert_eq!(traits("qwen2"), (false, false, false, false, false, 1.0));
    assert_eq!(traits("qwen3"), (false, true, false, false, false, 1.0));
    assert_eq!(traits("gemma2"), (true, false, true, false, false, 8.0));
    assert_eq!(traits("gemma3"), (true, true, true, false, false, 8.0));
    assert_eq!(traits("phi3"), (false, false, false, true, false, 1.0));
}

#[test]
fn only_gemma_caps_scores_and_logits() {
    for architecture in ["llama", "qwen2", "qwen3", "gemma3", "phi3"] {
        let config = sound(architecture, &[]);
        assert_eq!(
            (config.attention_softcap, config.logit_softcap),
            (None, None)
        );
    }
    let usual = sound("gemma2", &[]);
    assert_eq!(
        (usual.attention_softcap, usual.logit_softcap),
        (Some(50.0), Some(30.0))
    );
    let keys = [
        ("attn_logit_softcapping", Value::F32(5.0)),
        ("final_logit_softcapping", Value::F32(0.0)),
    ];
    let named = sound("gemma2", &keys);
    assert_eq!(
        (named.attention_softcap, named.logit_softcap),
        (Some(5.0), None)
    );
    let capped = sound("gemma3", &[("final_logit_softcapping", Value::F32(9.0))]);
    assert_eq!(
        (capped.attention_softcap, capped.logit_softcap),
        (None, Some(9.0))
    );
    for cap in [-1.0, f32::NAN, f32::INFINITY] {
        let keys = [("attn_logit_softcapping", Value::F32(cap))];
        assert!(complaint("gemma2", &keys).contains("attn_logit_softcapping"));
    }
}

#[test]
fn the_largest_gemmas_scale_scores_by_the_width() {
    let scale = |architecture, layers| {
        let keys = [
            ("block_count", Value::U32(layers)),
            ("attention.key_length", Value::U32(64)),
        ];
        sound(architecture, &keys).attention_scale
    };
    assert_eq!([scale("gemma2", 42), scale("gemma3", 46)], [0.125; 2]);
    assert_eq!([scale("gemma2", 46), scale("gemma3", 62)], [0.25; 2]);
    assert_eq!(scale("llama", 46), 0.125);
}

#[test]
fn windows_cover_the_layers_that_they_should() {
    let layers = |architecture: &str, window: u32| {
        let keys = [("attention.sliding_window", Value::U32(window))];
        let config = sound(architecture, &keys);
        let tokens = |layer| config.window_of(layer).map(|window| window.tokens);
        (0..7).map(tokens).collect::<Vec<_>>()
    };
    let (seen, all) = (Some(8), None);
    assert_eq!(layers("llama", 8), [all; 7]);
    assert_eq!(layers("phi3", 8), [seen; 7]);
    assert_eq!(layers("phi3", 256), [all; 7], "as long as the context");
    assert_eq!(layers("phi3", 0), [all; 7]);
    assert_eq!(layers("gemma2", 8), [seen, all, seen, all, seen, all, seen]);
    assert_eq!(
        layers("gemma3", 8),
        [seen, seen, seen, seen, seen, all, seen]
    );
    assert_eq!(layers("gemma3", 0), [all; 7]);
    let usual = sound("gemma2", &[]).window.expect("gemma 2 has windows");
    assert_eq!(usual.tokens, 4096);
}

#[test]
fn windows_rotate_by_their_own_base_and_unstretched_only_in_gemma_3() {
    let keys = [
        ("attention.sliding_window", Value::U32(8)),
        ("rope.freq_base", Value::F32(5e5)),
        ("rope.scaling.type", text("linear")),
        ("rope.scaling.factor", Value::F32(4.0)),
    ];
    let rope = |architecture| {
        let config = sound(architecture, &keys);
        assert_eq!((config.rope.base, config.rope.scale), (5e5, 0.25));
        let window = config.window.expect("there is a window");
        (window.rope.base, window.rope.scale)
    };
    assert_eq!(rope("gemma3"), (1e4, 1.0));
    assert_eq!(rope("gemma2"), (5e5, 0.25));
    assert_eq!(rope("phi3"), (5e5, 0.25));
}

#[test]
fn linear_scaling_is_known_by_both_of_its_keys() {
    let scale = |keys: &[(&str, Value)]| sound("llama", keys).rope.scale;
    let factor = ("rope.scaling.factor", Value::F32(2.0));
    assert_eq!(scale(std::slice::from_ref(&factor)), 0.5);
    assert_eq!(scale(&[("rope.scale_linear", Value::F32(8.0))]), 0.125);
    assert_eq!(scale(&[("rope.scaling.type", text("none")), factor]), 1.0);
}

#[test]
fn other_rope_scalings_are_refused_by_name() {
    for (architecture, kind) in [("qwen2", "yarn"), ("phi3", "yarn"), ("llama", "longrope")] {
        let complaint = complaint(architecture, &[("rope.scaling.type", text(kind))]);
        let expected = format!("the model needs the rope scaling '{kind}', which is not supported");
        assert_eq!(complaint, expected);
    }
}

#[test]
fn the_context_decides_between_long_and_short_factors() {
    let factors = |original: u32| {
        let mut file = tiny("phi3");
        file.tensor("rope_factors_long.weight", 0, &[6])
            .tensor("rope_factors_short.weight", 0, &[6])
            .set("phi3.rope.dimension_count", Value::U32(12))
            .set("phi3.rope.scaling.attn_factor", Value::F32(1.25))
            .set("phi3.attention.sliding_window", Value::U32(8))
            .set(
                "phi3.rope.scaling.original_context_length",
                Value::U32(original),
            );
        let config = read(&file).expect("the metadata is sound");
        assert_eq!((config.rope.dims, config.rope.magnitude), (12, 1.25));
        let window = config.window.expect("there is a window");
        assert_eq!(window.rope, config.rope);
        let gguf = Gguf::from_bytes(file.bytes()).expect("the file is sound");
        let limited = ModelConfig::read_with_context(&gguf, 100);
        let limited = limited.expect("the metadata is sound");
        assert_eq!(limited.context, 100);
        (config.rope.factors, limited.rope.factors)
    };
    let (long, short) = (
        Some("rope_factors_long.weight"),
        Some("rope_factors_short.weight"),
    );
    assert_eq!(factors(99), (long, long));
    assert_eq!(factors(255), (long, short));
    assert_eq!(factors(256), (short, short));
    assert_eq!(sound("phi3", &[]).rope.factors, None);
}

#[test]
fn llama_3_brings_its_factors_as_a_tensor() {
    let mut file = tiny("llama");
    file.tensor("rope_freqs.weight", 0, &[8]);
    let config = read(&file).expect("the metadata is sound");
    assert_eq!(config.rope.factors, Some("rope_freqs.weight"));
    assert_eq!(sound("llama", &[]).rope.factors, None);
}

#[test]
fn an_unknown_architecture_is_named_with_the_known_ones() {
    assert_eq!(
        complaint("alpaca", &[]),
        "unknown architecture 'alpaca'; the known ones are llama, qwen2, qwen3, gemma2, gemma3, phi3"
    );
    let mut file = tiny("llama");
    file.set("general.architecture", Value::U32(1));
    let error = read(&file).expect_err("a number is no name").to_string();
    assert!(error.ends_with("it does not name its architecture"));
    file.set("general.architecture", text(&"x".repeat(5_000)));
    let error = read(&file).expect_err("nobody knows it").to_string();
    assert!(error.contains(&format!("'{}'", "x".repeat(80))), "{error}");
}

#[test]
fn senseless_values_are_refused() {
    let heads = |count| complaint("llama", &[("attention.head_count", count)]);
    assert!(heads(Value::U32(0)).ends_with("'llama.attention.head_count' is U32(0)"));
    assert!(heads(Value::U32(3)).ends_with("3 heads cannot share 2 key heads"));
    assert!(heads(text("four")).ends_with("'llama.attention.head_count' is a text"));
    let each = Value::Array(vec![Value::U32(4)]);
    assert_eq!(
        heads(each),
        "the model needs a different 'llama.attention.head_count' for each layer, \
         which is not supported"
    );
    let refused = [
        ("attention.key_length", 15, "15 key"),
        ("attention.value_length", 8, "16 key and 8 value"),
        ("feed_forward_length", 1 << 30, "feed_forward_length"),
        ("context_length", u32::MAX, "context_length"),
        ("rope.dimension_count", 17, "rope.dimension_count"),
        ("rope.dimension_count", 7, "rope.dimension_count"),
        ("embedding_length", 128, "with 128 as its width"),
        ("expert_count", 8, "8 experts"),
    ];
    for (key, value, words) in refused {
        let complaint = complaint("llama", &[(key, Value::U32(value))]);
        assert!(complaint.contains(words), "{complaint}");
    }
    let epsilon = ("attention.layer_norm_rms_epsilon", Value::F32(f32::NAN));
    assert!(complaint("llama", &[epsilon]).contains("layer_norm_rms_epsilon"));
}
