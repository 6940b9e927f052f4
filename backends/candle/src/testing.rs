//! Tiny random models for the tests of this crate, so that most of them need no download.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Value, write};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use kwaainet_decoder::{Decoder, Gguf, ModelConfig};
use tempfile::TempDir;

use crate::EngineLimits;
use crate::engine::{Model, SoloModel};
use crate::foreign::{self, Foreign};
use crate::tokenizer::TextModel;

/// A decoder of two layers whose weights are noise.
pub(crate) struct Tiny {
    architecture: &'static str,
    context: u32,
    /// Of the noise.
    seed: u64,
}

/// Its file, which is gone when this is dropped.
pub(crate) struct TinyFile {
    _dir: TempDir,
    pub(crate) path: PathBuf,
}

/// The id of the token that ends a text.
pub(crate) const END: u32 = 2;
const LAYERS: usize = 2;
const WIDTH: usize = 64;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 16;
const FFN: usize = 96;
const WORDS: [&str; 12] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "l",
    "o",
    "w",
    "r",
    "\u{2581}",
    "ü",
    "\u{2581}w",
];

impl Tiny {
    pub(crate) fn new(architecture: &'static str) -> Self {
        Self {
            architecture,
            context: 256,
            seed: 1,
        }
    }

    pub(crate) fn context(mut self, tokens: u32) -> Self {
        self.context = tokens;
        self
    }

    /// Other weights.
    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Writes the file.
    pub(crate) fn file(&self) -> TinyFile {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let path = dir.path().join("tiny.gguf");
        let (metadata, tensors) = (self.metadata(), self.tensors());
        let metadata: Vec<_> = metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let tensors: Vec<_> = tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let mut file = std::fs::File::create(&path).expect("the directory is new");
        write(&mut file, &metadata, &tensors).expect("the model is well-formed");
        TinyFile { _dir: dir, path }
    }

    /// Its tokenizer alone.
    pub(crate) fn text(&self) -> Arc<TextModel> {
        let gguf = Gguf::open(&self.file().path).expect("the file is sound");
        Arc::new(TextModel::from_gguf(gguf.metadata()).expect("the vocabulary is sound"))
    }

    /// Writes and loads it.
    pub(crate) fn load(&self) -> Model {
        let file = self.file();
        let gguf = Gguf::open(&file.path).expect("the file is sound");
        let config = ModelConfig::read(&gguf).expect("the metadata is sound");
        let text = TextModel::from_gguf(gguf.metadata()).expect("the vocabulary is sound");
        let compute = EngineLimits::default()
            .compute()
            .expect("there are threads");
        Model {
            decoder: Decoder::load(&gguf, config, &compute).expect("the tensors are there"),
            draft: None,
            compute,
            text: Arc::new(text),
        }
    }

    /// Writes it and loads it through candle.
    pub(crate) fn load_solo(&self) -> SoloModel {
        let file = self.file();
        let gguf = Gguf::open(&file.path).expect("the file is sound");
        let architecture = foreign::find(&gguf, foreign::Device::Cpu).expect("somebody knows it");
        let architecture = architecture.expect("candle is to compute it");
        let limits = EngineLimits::default();
        let network = Foreign::load(
            &gguf,
            &file.path,
            architecture,
            limits.device,
            limits.kv_bytes,
        );
        let text = TextModel::from_gguf(gguf.metadata()).expect("the vocabulary is sound");
        SoloModel {
            network: network.expect("candle can compute it"),
            kernel: limits.kernel(),
            text: Arc::new(text),
        }
    }

    fn metadata(&self) -> Vec<(String, Value)> {
        let arch = |key: &str| format!("{}.{key}", self.architecture);
        let count = |n: usize| Value::U32(n as u32);
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        tokens.extend(WORDS.map(String::from));
        let kind = |id: usize| match id {
            0 => 2,
            1..3 => 3,
            3..259 => 6,
            _ => 1,
        };
        let kinds = (0..tokens.len()).map(|id| Value::I32(kind(id))).collect();
        let scores = (0..tokens.len()).map(|id| Value::F32(id as f32)).collect();
        let text = |text: &str| Value::String(text.into());
        vec![
            ("general.architecture".into(), text(self.architecture)),
            (arch("block_count"), count(LAYERS)),
            (arch("embedding_length"), count(WIDTH)),
            (arch("attention.head_count"), count(HEADS)),
            (arch("attention.head_count_kv"), count(self.kv_heads())),
            (arch("attention.key_length"), count(HEAD)),
            (arch("feed_forward_length"), count(FFN)),
            (arch("context_length"), Value::U32(self.context)),
            (arch("attention.layer_norm_rms_epsilon"), Value::F32(1e-6)),
            (arch("attention.layer_norm_epsilon"), Value::F32(1e-6)),
            (arch("attention.sliding_window"), count(self.window())),
            (arch("attention.sliding_window_pattern"), Value::U32(2)),
            ("tokenizer.ggml.model".into(), text("llama")),
            (
                "tokenizer.ggml.tokens".into(),
                Value::Array(tokens.iter().map(|token| text(token)).collect()),
            ),
            ("tokenizer.ggml.scores".into(), Value::Array(scores)),
            ("tokenizer.ggml.token_type".into(), Value::Array(kinds)),
            ("tokenizer.ggml.bos_token_id".into(), count(1)),
            ("tokenizer.ggml.eos_token_id".into(), count(END as usize)),
            (
                "tokenizer.chat_template".into(),
                text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"),
            ),
        ]
    }

    fn kv_heads(&self) -> usize {
        match self.architecture {
            "phi2" => HEADS,
            _ => KV_HEADS,
        }
    }

    /// Zero is none.
    fn window(&self) -> usize {
        match self.architecture {
            "phi2" => 0,
            _ => 8,
        }
    }

    fn tensors(&self) -> Vec<(String, QTensor)> {
        if self.architecture == "phi2" {
            return self.phi2_tensors();
        }
        let mut noise = Noise(self.seed);
        let vocab = 3 + 256 + WORDS.len();
        let (q, kv) = (HEADS * HEAD, KV_HEADS * HEAD);
        let has = |architectures: &[&str]| architectures.contains(&self.architecture);
        let mut tensors = vec![
            noise.matrix("token_embd.weight", vocab, WIDTH),
            noise.vector("output_norm.weight", WIDTH, 1.0),
        ];
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            for (part, rows, cols) in [
                ("attn_q", q, WIDTH),
                ("attn_k", kv, WIDTH),
                ("attn_v", kv, WIDTH),
                ("attn_output", WIDTH, q),
                ("ffn_gate", FFN, WIDTH),
                ("ffn_up", FFN, WIDTH),
                ("ffn_down", WIDTH, FFN),
            ] {
                tensors.push(noise.matrix(&name(&format!("{part}.weight")), rows, cols));
                if has(&["qwen2"]) && matches!(part, "attn_q" | "attn_k" | "attn_v") {
                    tensors.push(noise.vector(&name(&format!("{part}.bias")), rows, 0.0));
                }
            }
            let mut norms = vec![("attn_norm", WIDTH), ("ffn_norm", WIDTH)];
            if has(&["qwen3", "gemma3"]) {
                norms.extend([("attn_q_norm", HEAD), ("attn_k_norm", HEAD)]);
            }
            if has(&["gemma3"]) {
                norms.extend([("post_attention_norm", WIDTH), ("post_ffw_norm", WIDTH)]);
            }
            for (part, len) in norms {
                tensors.push(noise.vector(&name(&format!("{part}.weight")), len, 1.0));
            }
        }
        tensors
    }

    /// Phi 2 has biases everywhere, and one norm for both parts of a layer. Those of the logits are so
    /// that it says words only, and never ends.
    fn phi2_tensors(&self) -> Vec<(String, QTensor)> {
        let mut noise = Noise(self.seed);
        let vocab = 3 + 256 + WORDS.len();
        let words = (0..vocab).map(|id| if id < vocab - WORDS.len() { -99.0 } else { 0.0 });
        let mut tensors = vec![
            noise.matrix("token_embd.weight", vocab, WIDTH),
            noise.matrix("output.weight", vocab, WIDTH),
            vector("output.bias", words.collect()),
        ];
        let mut norms = vec!["output_norm".to_owned()];
        let mut matrices = Vec::new();
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            norms.push(name("attn_norm"));
            matrices.extend([
                (name("attn_qkv"), 3 * HEADS * HEAD, WIDTH),
                (name("attn_output"), WIDTH, HEADS * HEAD),
                (name("ffn_up"), FFN, WIDTH),
                (name("ffn_down"), WIDTH, FFN),
            ]);
        }
        for (name, rows, cols) in matrices {
            tensors.push(noise.matrix(&format!("{name}.weight"), rows, cols));
            tensors.push(noise.vector(&format!("{name}.bias"), rows, 0.0));
        }
        for name in norms {
            tensors.push(noise.vector(&format!("{name}.weight"), WIDTH, 1.0));
            tensors.push(noise.vector(&format!("{name}.bias"), WIDTH, 0.0));
        }
        tensors
    }
}

/// Numbers that look random and are the same in every run (SplitMix64: Steele, Lea, Flood 2014).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From -1 to 1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    pub(crate) fn quantized(&mut self, rows: usize, cols: usize, dtype: GgmlDType) -> QTensor {
        let values = self.floats(rows * cols);
        let tensor = Tensor::from_vec(values, (rows, cols), &Device::Cpu);
        let tensor = tensor.and_then(|tensor| QTensor::quantize(&tensor, dtype));
        tensor.expect("the shape suits the type")
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> (String, QTensor) {
        (name.into(), self.quantized(rows, cols, GgmlDType::Q8_0))
    }

    fn vector(&mut self, name: &str, len: usize, around: f32) -> (String, QTensor) {
        let values = (0..len).map(|_| around + 0.3 * self.float()).collect();
        vector(name, values)
    }
}

fn vector(name: &str, values: Vec<f32>) -> (String, QTensor) {
    let len = values.len();
    let tensor = Tensor::from_vec(values, len, &Device::Cpu);
    let tensor = tensor.and_then(|tensor| QTensor::quantize(&tensor, GgmlDType::F32));
    (name.into(), tensor.expect("any shape suits f32"))
}
