//! The real models for the tests, from the cache that `kwaainet pull` fills.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use kwaainet_candle::{CandleBackend, CandleConfig, EngineLimits, Files, Library, LibraryEntry};
use kwaainet_core::{ModelId, SystemClock};

pub(crate) const SMOLLM2: &str = "smollm2-135m-instruct";
pub(crate) const GEMMA3: &str = "gemma3-270m";
pub(crate) const MINILM: &str = "all-minilm-l6-v2";

/// `KWAAINET_TEST_MODELS`, else the cache that all nodes of this user share.
#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration file"
)]
fn cache() -> PathBuf {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    var("KWAAINET_TEST_MODELS")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("kwaainet")))
        .or_else(|| var("HOME").map(|home| home.join(".cache/kwaainet")))
        .expect("HOME is set")
}

/// The files of a model.
///
/// # Panics
/// With what to do about it, when they are not there.
fn files(name: &str) -> Files {
    let dir = cache().join("models").join(name);
    let gguf = std::fs::read_dir(&dir).ok().and_then(|entries| {
        let mut paths = entries.flatten().map(|entry| entry.path());
        paths.find(|path| path.extension().is_some_and(|e| e == "gguf"))
    });
    if let Some(path) = gguf {
        return Files::Gguf(path);
    }
    assert!(
        dir.join("model.safetensors").exists(),
        "this test needs the model {name}: run `kwaainet pull {name}`"
    );
    Files::Embedder(dir)
}

struct Fixed(Vec<LibraryEntry>);

impl Library for Fixed {
    fn list(&self) -> Vec<LibraryEntry> {
        self.0.clone()
    }

    fn find(&self, model: &ModelId) -> Option<LibraryEntry> {
        self.0.iter().find(|entry| entry.id == *model).cloned()
    }
}

/// An engine with these models.
pub(crate) fn backend(names: &[&str]) -> Arc<CandleBackend> {
    let entries = names.iter().map(|name| LibraryEntry {
        id: ModelId::from(*name),
        files: files(name),
        created: 0,
        digest: None,
    });
    let config = CandleConfig {
        id: "local".into(),
        max_loaded: 2,
        limits: EngineLimits::default(),
        drafts: HashMap::new(),
        audio_seconds_max: 60,
    };
    let library = Arc::new(Fixed(entries.collect()));
    let clock = Arc::new(SystemClock::default());
    Arc::new(CandleBackend::new(config, library, clock))
}
