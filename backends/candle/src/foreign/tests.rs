//! candle's models against `transformers`, on tiny random models (tests/foreign, and those of the
//! decoder), and what is refused.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use kwaainet_core::{
    Backend, BackendError, GenerateParams, GenerateRequest, Message, ModelId, PrincipalId, Prompt,
    Role, SystemClock,
};
use kwaainet_testkit::{GenerateSubject, Subject, conformance};
use serde_json::Value as Json;

use super::*;
use crate::testing::{Noise, Tiny};
use crate::{CandleBackend, CandleConfig, EngineLimits, Files, Library, LibraryEntry};

/// Of the largest logit: how far candle's may be away. All is in f32 here, so it is the order of sums.
const BOUND: f32 = 2e-5;

const OWN: &str = "tests/foreign";
const DECODERS: &str = "../decoder/tests/reference";

fn path(folder: &str, file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(file)
}

/// Loads a file onto the CPU as if for that device.
fn load(path: &Path, device: Device) -> Result<Foreign, ModelError> {
    let file = Gguf::open(path)?;
    let architecture = find(&file, device)?.ok_or(ModelError::BrokeDown)?;
    Foreign::load(&file, path, architecture, Device::Cpu, 1 << 30)
}

struct Fixture {
    model: PathBuf,
    tokens: Vec<u32>,
    logits: Vec<(usize, Vec<f32>)>,
}

fn fixture(folder: &str, name: &str) -> Fixture {
    let text = std::fs::read_to_string(path(folder, &format!("{name}.json")));
    let json: Json = serde_json::from_str(&text.expect("it is there")).expect("it is JSON");
    let list = |json: &Json| json.as_array().expect("a list").clone();
    let tokens = list(&json["tokens"]).into_iter();
    let rows = list(&json["logits"]).into_iter().map(|row| {
        let values = list(&row["values"]).into_iter();
        let values = values.map(|value| value.as_f64().expect("a number") as f32);
        let position = row["position"].as_u64().expect("a position") as usize;
        (position, values.collect())
    });
    Fixture {
        model: path(folder, json["model"].as_str().expect("a file's name")),
        tokens: tokens
            .map(|id| id.as_u64().expect("an id") as u32)
            .collect(),
        logits: rows.collect(),
    }
}

/// The logits after `tokens`, of which the first `prompt` are taken as a prompt is.
fn logits(model: &mut Foreign, tokens: &[u32], prompt: usize) -> Vec<f32> {
    model.forget();
    let (mut at, mut last) = (0, Vec::new());
    while at < tokens.len() {
        let end = if at < prompt { prompt } else { at + 1 };
        let takes = model.takes(at, end - at);
        last = model
            .forward(&tokens[at..at + takes], at)
            .expect("it computes");
        at += takes;
    }
    last
}

/// Compares the whole text as a prompt, and a prompt of two tokens with the rest after it; says how far
/// they are apart, as a part of the largest logit.
fn apart(folder: &str, name: &str, device: Device) -> f32 {
    let fixture = fixture(folder, name);
    let mut model = load(&fixture.model, device).expect("candle knows it");
    let (mut largest, mut apart) = (0.0_f32, 0.0_f32);
    for (position, theirs) in &fixture.logits {
        let tokens = &fixture.tokens[..=*position];
        if tokens.len() > model.context() || tokens.len() < model.prompt_min() {
            continue;
        }
        for prompt in [tokens.len(), 2.min(tokens.len())] {
            let ours = logits(&mut model, tokens, prompt);
            for (ours, theirs) in ours.iter().zip(theirs) {
                largest = largest.max(theirs.abs());
                apart = apart.max((ours - theirs).abs());
            }
        }
    }
    assert!(largest > 1.0, "{name}: nothing was compared");
    apart / largest
}

#[test]
fn logits_are_those_of_transformers() {
    let own = ["phi2", "glm4", "lfm2", "mixtral"].map(|name| (OWN, name, Device::Cpu));
    let decoders = ["llama", "qwen2", "qwen3", "phi3"];
    let on_gpus = decoders.map(|name| (DECODERS, name, Device::Cuda));
    for (folder, name, device) in own.into_iter().chain(on_gpus) {
        let apart = apart(folder, name, device);
        assert!(
            apart < BOUND,
            "{name}: {apart:.1e} of the largest logit apart"
        );
    }
}

struct One(PathBuf);

impl Library for One {
    fn list(&self) -> Vec<LibraryEntry> {
        vec![LibraryEntry {
            id: "tiny".into(),
            files: Files::Gguf(self.0.clone()),
            created: 0,
            digest: None,
        }]
    }

    fn find(&self, model: &ModelId) -> Option<LibraryEntry> {
        self.list().into_iter().find(|entry| entry.id == *model)
    }
}

fn backend(file: &Path) -> Arc<CandleBackend> {
    let config = CandleConfig {
        id: "local".into(),
        max_loaded: 1,
        limits: EngineLimits::default(),
        drafts: HashMap::new(),
        audio_seconds_max: 60,
    };
    let library = Arc::new(One(file.to_owned()));
    Arc::new(CandleBackend::new(
        config,
        library,
        Arc::new(SystemClock::default()),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_candles_is_served_like_ours() {
    let file = Tiny::new("phi2").file();
    let backend = backend(&file.path);
    let probe = Arc::clone(&backend);
    let mut subject = Subject::new(move || {
        let stats = probe.engine_stats();
        async move { (stats.running, stats.queued, stats.kv_tokens) == (0, 0, 0) }
    });
    subject.generate = Some(GenerateSubject {
        model: "tiny".into(),
        context: 256,
        prompts: vec![
            Prompt::Chat(vec![Message::new(Role::User, "hello world")].into()),
            Prompt::Text("a word".into()),
            Prompt::Tokens((20..40).collect()),
        ],
        counts_tokens: true,
        logprobs: true,
        seed: true,
    });
    subject.tokenize = true;
    conformance(backend, subject).await;
}

#[tokio::test]
async fn a_model_of_candles_has_no_numerics_class() {
    for (architecture, exact) in [("phi2", false), ("llama", true)] {
        let file = Tiny::new(architecture).file();
        let backend = backend(&file.path);
        assert_eq!(backend.report().models[0].numerics, None, "not known yet");
        backend.preload(&"tiny".into()).await.expect("it loads");
        let facts = backend.report().models.remove(0);
        assert!(facts.loaded);
        assert_eq!(facts.numerics.is_some(), exact, "{architecture}");
    }
}

#[tokio::test]
async fn a_prompt_too_short_to_forget_the_last_one_is_refused() {
    let backend = backend(&path(OWN, "lfm2.gguf"));
    let ask = |prompt| GenerateRequest {
        model: "tiny".into(),
        prompt: Prompt::Tokens(prompt),
        params: GenerateParams {
            max_tokens: Some(1),
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    };
    let refused = backend.generate(ask(vec![5])).await.err();
    assert!(matches!(
        refused,
        Some(BackendError::Unsupported {
            param: "prompt",
            ..
        })
    ));
    assert!(backend.generate(ask(vec![5, 6])).await.is_ok());
}

fn complaint(path: &Path, device: Device) -> String {
    match load(path, device) {
        Ok(_) => panic!("candle is to refuse {}", path.display()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_candle_would_leave_out_is_refused_by_name() {
    let on_gpu = |name| complaint(&path(DECODERS, &format!("{name}.gguf")), Device::Cuda);
    assert_eq!(
        on_gpu("llama3"),
        "candle cannot compute the model: its llama leaves out the tensor 'rope_freqs.weight'"
    );
    assert!(on_gpu("phi3_longrope").contains("leaves out"));
    let unknown = on_gpu("gemma2");
    assert!(
        unknown.starts_with("unknown architecture 'gemma2'"),
        "{unknown}"
    );
}

#[test]
fn an_unknown_architecture_is_told_with_all_that_are_known() {
    let file = Tiny::new("mamba").file();
    let unknown = complaint(&file.path, Device::Cpu);
    assert_eq!(
        unknown,
        "unknown architecture 'mamba'; the known ones are llama, qwen2, qwen3, gemma2, gemma3, \
         phi3, glm4, lfm2, phi2"
    );
}

#[test]
fn on_a_cpu_our_decoder_comes_first() {
    for (folder, name, by_candle) in [
        (OWN, "phi2", true),
        (OWN, "mixtral", true),
        (DECODERS, "mistral", false),
        (DECODERS, "gemma2", false),
    ] {
        let file = Gguf::open(&path(folder, &format!("{name}.gguf"))).expect("it is there");
        let found = find(&file, Device::Cpu).expect("somebody knows it");
        assert_eq!(found.is_some(), by_candle, "{name}");
    }
}

#[test]
fn senseless_sizes_are_refused_before_candle_sees_them() {
    let file = Tiny::new("phi2").file();
    let bytes = std::fs::read(&file.path).expect("it was just written");
    for (key, value) in [
        ("phi2.block_count", u32::MAX),
        ("phi2.attention.head_count", 0),
        ("phi2.embedding_length", 1 << 30),
    ] {
        let at = bytes.windows(key.len()).position(|w| w == key.as_bytes());
        // Behind the key its type, a number of four bytes.
        let at = at.expect("it is there") + key.len() + 4;
        let mut broken = bytes.clone();
        broken[at..at + 4].copy_from_slice(&value.to_le_bytes());
        std::fs::write(&file.path, broken).expect("it is ours");
        let complaint = complaint(&file.path, Device::Cpu);
        assert!(complaint.contains(key), "{complaint}");
    }
}

/// A panic is caught where models are loaded; memory without bound could not be.
#[test]
fn damaged_headers_end_in_an_error_at_worst() {
    let dir = tempfile::tempdir().expect("there is room for temporary files");
    let damaged = dir.path().join("damaged.gguf");
    let (mut noise, mut refused) = (Noise(1), 0);
    for round in 0..200 {
        let name = ["phi2", "glm4", "lfm2", "mixtral"][round % 4];
        let whole = path(OWN, &format!("{name}.gguf"));
        let mut bytes = std::fs::read(whole).expect("it is there");
        for _ in 0..=round % 3 {
            // Mostly before the vocabulary, where the sizes are.
            let end = [900, 900, 900, 9_000][noise.next() as usize % 4];
            let at = 24 + noise.next() as usize % end;
            let what = [0, 1, 0x7F, 0xFF, noise.next() as u8][noise.next() as usize % 5];
            let len = [1, 4][noise.next() as usize % 2];
            bytes[at..at + len].fill(what);
        }
        std::fs::write(&damaged, bytes).expect("it is ours");
        let loaded = std::panic::catch_unwind(|| load(&damaged, Device::Cpu).map(|_| ()));
        refused += usize::from(!matches!(loaded, Ok(Ok(()))));
    }
    assert!(refused > 50, "only {refused} were refused");
}

#[test]
fn memory_bounds_the_context() {
    let file = Tiny::new("phi2").context(4_000).file();
    let gguf = Gguf::open(&file.path).expect("it is sound");
    let architecture = find(&gguf, Device::Cpu)
        .expect("it is known")
        .expect("by candle");
    let load = |kv_bytes| Foreign::load(&gguf, &file.path, architecture, Device::Cpu, kv_bytes);
    assert_eq!(load(1 << 30).map(|model| model.context()), Ok(4_000));
    // Two layers of keys and values of four heads of sixteen f32, and sixteen angles.
    let position = 2 * 2 * 4 * 16 * 4 + 16 * 4;
    assert_eq!(load(100 * position).map(|model| model.context()), Ok(100));
    assert_eq!(load(1).map(|model| model.context()), Ok(1));
}
