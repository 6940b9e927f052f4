//! Loading, sharing, evicting and failing, seen through the backend.

use std::path::PathBuf;

use futures_util::StreamExt;
use futures_util::future::join_all;
use kwaainet_core::{
    Backend, BackendError, EmbedInput, EmbedRequest, GenerateParams, GenerateRequest, ManualClock,
    Message, PrincipalId, Prompt, Role, Tokenized,
};
use kwaainet_decoder::FileError;

use super::*;
use crate::testing::{END, Tiny, TinyFile};
use crate::{CandleBackend, CandleConfig, FileStamp, KvFormat};

/// Three names for one file, and what it hashed to.
struct Names(PathBuf, Mutex<Option<ModelDigest>>);

impl Library for Names {
    fn list(&self) -> Vec<LibraryEntry> {
        let entry = |name: &&str| LibraryEntry {
            id: ModelId::from(*name),
            files: Files::Gguf(self.0.clone()),
            created: 5,
            digest: *self.1.lock().expect("no holder panics"),
        };
        ["a", "b", "c"].iter().map(entry).collect()
    }

    fn find(&self, model: &ModelId) -> Option<LibraryEntry> {
        self.list().into_iter().find(|entry| entry.id == *model)
    }

    fn hashed(&self, entry: &LibraryEntry, stamp: FileStamp, digest: ModelDigest) {
        let metadata = self.0.metadata().expect("it is there");
        assert_eq!(FileStamp::of(&metadata), Some(stamp));
        assert_eq!(entry.files, Files::Gguf(self.0.clone()));
        *self.1.lock().expect("no holder panics") = Some(digest);
    }
}

struct Bench {
    backend: CandleBackend,
    clock: Arc<ManualClock>,
    file: TinyFile,
}

fn bench(max_loaded: usize) -> Bench {
    bench_with(max_loaded, EngineLimits::default())
}

fn bench_with(max_loaded: usize, limits: EngineLimits) -> Bench {
    let file = Tiny::new("llama").file();
    let library = Arc::new(Names(file.path.clone(), Mutex::default()));
    let clock = Arc::new(ManualClock::default());
    let config = CandleConfig {
        id: "local".into(),
        max_loaded,
        limits,
        drafts: HashMap::new(),
        audio_seconds_max: 60,
    };
    Bench {
        backend: CandleBackend::new(config, library, Arc::clone(&clock) as _),
        clock,
        file,
    }
}

impl Bench {
    fn loaded(&self) -> Vec<String> {
        let models = self.backend.report().models.into_iter();
        models
            .filter(|m| m.loaded)
            .map(|m| m.id.to_string())
            .collect()
    }

    async fn generate(
        &self,
        model: &str,
        prompt: Prompt,
    ) -> Result<kwaainet_core::EventStream, BackendError> {
        let mut params = GenerateParams {
            max_tokens: Some(200),
            ..GenerateParams::default()
        };
        // Noise would end its texts at random, before anybody has read them.
        params.sampling.logit_bias = vec![(END, f32::NEG_INFINITY)];
        let request = GenerateRequest {
            model: model.into(),
            prompt,
            params,
            owner: PrincipalId::operator(),
            resume: None,
        };
        self.backend.generate(request).await
    }
}

fn text() -> Prompt {
    Prompt::Text("hello".into())
}

#[tokio::test]
async fn a_model_is_loaded_by_its_first_request_and_once() {
    let bench = bench(2);
    assert!(bench.loaded().is_empty());
    assert_eq!(bench.backend.report().models[0].context, None);
    let together = join_all((0..8).map(|_| bench.generate("a", text()))).await;
    assert!(together.iter().all(Result::is_ok));
    assert_eq!(bench.loaded(), ["a"]);
    assert_eq!(bench.backend.report().models[0].context, Some(256));
    // One engine has all of them: eight engines would not all have these.
    assert_eq!(bench.backend.shelf.books().loaded.len(), 1);
}

#[tokio::test]
async fn how_keys_and_values_are_kept_is_part_of_the_numerics_class() {
    for (kv, class) in [
        (KvFormat::F16, "kwaai-canonical/1"),
        (KvFormat::Q8, "kwaai-canonical/1+kv-q8"),
    ] {
        let limits = EngineLimits {
            kv,
            ..EngineLimits::default()
        };
        let bench = bench_with(1, limits);
        assert!(bench.generate("a", text()).await.is_ok());
        let numerics = bench.backend.report().models[0].numerics.clone();
        assert_eq!(numerics, Some(Numerics::of(class)));
    }
}

#[tokio::test]
async fn what_was_hashed_once_is_known_without_being_loaded() {
    let bench = bench(1);
    let of = |model: usize| {
        let facts = bench.backend.report().models.swap_remove(model);
        (facts.loaded, facts.digest, facts.numerics)
    };
    assert_eq!(of(1), (false, None, None));
    bench.backend.preload(&"a".into()).await.expect("it loads");
    let (loaded, digest, numerics) = of(0);
    assert!(loaded && digest.is_some() && numerics.is_some());
    assert_eq!(of(1), (false, digest, numerics));
    std::fs::write(&bench.file.path, b"nothing").expect("it can be written");
    assert_eq!(of(1), (false, digest, None), "it would not be loaded");
}

#[tokio::test]
async fn the_least_recently_used_idle_model_makes_room() {
    let bench = bench(2);
    for model in ["a", "b", "a", "c"] {
        bench
            .backend
            .preload(&model.into())
            .await
            .expect("there is room");
    }
    assert_eq!(bench.loaded(), ["a", "c"]);
}

#[tokio::test]
async fn busy_models_are_not_taken_away() {
    let bench = bench(1);
    // Busy from the first moment on, whether or not the engine has looked at the request.
    let events = bench.generate("a", text()).await.expect("it loads");
    let refused = bench.generate("b", text()).await.err();
    assert!(
        matches!(refused, Some(BackendError::Busy { .. })),
        "{refused:?}"
    );
    let refused = bench.backend.preload(&"b".into()).await;
    assert_eq!(refused, Err(ModelError::NoRoom { limit: 1 }));
    drop(events);
    for _ in 0..500 {
        if bench.backend.preload(&"b".into()).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the dropped stream still holds its model");
}

#[tokio::test]
async fn a_failure_is_given_again_for_a_while_and_then_tried_again() {
    let bench = bench(1);
    let bytes = std::fs::read(&bench.file.path).expect("it was just written");
    std::fs::write(&bench.file.path, b"not a model").expect("it is ours");
    assert_eq!(
        bench.backend.preload(&"a".into()).await,
        Err(FileError::NotGguf.into())
    );
    let refused = bench.generate("a", text()).await.err();
    let Some(BackendError::Internal(reason)) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("'a'") && reason.contains("not a GGUF file"),
        "{reason}"
    );

    std::fs::write(&bench.file.path, bytes).expect("it is ours");
    bench.clock.advance(FAILURE_KEPT - Duration::from_millis(1));
    assert_eq!(
        bench.backend.preload(&"a".into()).await,
        Err(FileError::NotGguf.into())
    );
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.backend.preload(&"a".into()).await, Ok(()));
}

#[tokio::test]
async fn a_load_that_panics_is_a_failure_like_any_other() {
    let bench = bench(1);
    let (shelf, id) = (&bench.backend.shelf, ModelId::from("a"));
    let entry = shelf.library().find(&id).expect("it is listed");
    let fault = shelf.load(&entry, |_, _| panic!("a fault of the reader's"));
    assert_eq!(fault.err(), Some(broke_off()));
    assert_eq!(bench.backend.preload(&id).await, Err(broke_off()));
    bench.clock.advance(FAILURE_KEPT);
    assert_eq!(bench.backend.preload(&id).await, Ok(()));
}

#[tokio::test]
async fn a_load_goes_on_without_the_request_that_asked_for_it() {
    // A load that is done before its request is looked at again has nobody to lose: then once more.
    for _ in 0..100 {
        let bench = bench(1);
        let left = {
            let model = ModelId::from("a");
            let asks = bench.backend.preload(&model);
            tokio::pin!(asks);
            futures_util::poll!(&mut asks).is_pending()
        };
        if left {
            return assert!(
                is_loaded_soon(&bench).await,
                "the load stopped with its request"
            );
        }
    }
    panic!("no request ever waited for its load");
}

async fn is_loaded_soon(bench: &Bench) -> bool {
    for _ in 0..500 {
        if bench.loaded() == ["a"] {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_model_is_asked_only_what_it_can_do() {
    let bench = bench(1);
    let embed = EmbedRequest {
        model: "a".into(),
        inputs: vec![EmbedInput::Text("x".into())],
        dimensions: None,
    };
    let refused = bench.backend.embed(embed).await.err();
    assert!(matches!(
        refused,
        Some(BackendError::Unsupported { param: "model", .. })
    ));
    let unknown = bench.generate("d", text()).await.err();
    assert!(matches!(unknown, Some(BackendError::ModelNotFound(_))));
}

#[tokio::test]
async fn a_conversation_needs_a_template() {
    let bench = bench(1);
    let message = || Message::new(Role::User, "hello");
    let chat = || Prompt::Chat(vec![message()].into());
    let tokens = bench
        .backend
        .tokenize("a".into(), Tokenized::Chat(vec![message()].into()))
        .await;
    assert!(tokens.is_ok());
    // The template's key is made another one of the same length.
    let bytes = std::fs::read(&bench.file.path).expect("it was just written");
    let key = b"tokenizer.chat_template";
    let at = bytes
        .windows(key.len())
        .position(|w| w == key)
        .expect("it has a template");
    let mut bytes = bytes;
    bytes[at + key.len() - 1] = b'_';
    std::fs::write(&bench.file.path, bytes).expect("it is ours");
    let refused = bench.generate("b", chat()).await.err();
    let Some(BackendError::Unsupported { param, reason }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(param, "messages");
    assert!(reason.contains("/v1/completions"), "{reason}");
}

#[tokio::test]
async fn after_shutdown_nothing_is_loaded() {
    let bench = bench(1);
    let mut events = bench.generate("a", text()).await.expect("it loads");
    bench.backend.shutdown().await;
    assert!(bench.loaded().is_empty());
    let mut last = None;
    while let Some(event) = events.next().await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Err(BackendError::Internal(_)))));
    assert!(bench.generate("a", text()).await.is_err());
}

#[tokio::test]
async fn an_engine_that_broke_down_is_reported_and_then_replaced() {
    let bench = bench(1);
    bench.backend.preload(&"a".into()).await.expect("it loads");
    let model = bench
        .backend
        .shelf
        .loaded(&"a".into())
        .expect("it is loaded");
    let Loaded::Generator(generator) = &*model else {
        panic!("it generates");
    };
    generator.break_down().await;
    let report = bench.backend.report();
    assert!(!report.models[0].loaded);
    assert!(
        report
            .unavailable
            .is_some_and(|reason| reason.contains("'a' broke down"))
    );
    let refused = bench.backend.preload(&"a".into()).await;
    assert_eq!(refused, Err(ModelError::BrokeDown));
    bench.clock.advance(FAILURE_KEPT);
    assert_eq!(bench.backend.report().unavailable, None);
    assert_eq!(bench.backend.preload(&"a".into()).await, Ok(()));
}
