//! Which model guesses for which, and how the one that guesses is loaded.
//!
//! A draft model belongs to the model that it guesses for: it is loaded and unloaded with it and
//! answers nobody. One that cannot guess makes the other one fail to load, since a configuration that
//! is quietly not kept helps nobody.

use std::path::PathBuf;
use std::sync::Arc;

use kwaainet_core::{Clock, ModelId};
use kwaainet_decoder::{Decoder, Gguf, ModelConfig};
use kwaainet_kernels::{Compute, KvFormat};

use crate::engine::Draft;
use crate::generator::text_model;
use crate::tokenizer::TextModel;
use crate::{Files, LibraryEntry, ModelError};

/// A draft model that is to be loaded.
pub(crate) struct DraftFile {
    id: ModelId,
    path: PathBuf,
    clock: Arc<dyn Clock>,
}

impl DraftFile {
    /// # Errors
    /// When the library has none of this name, or it generates nothing.
    pub(crate) fn new(
        id: &ModelId,
        entry: Option<LibraryEntry>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ModelError> {
        let path = match entry.map(|entry| entry.files) {
            Some(Files::Gguf(path)) => path,
            Some(Files::Embedder(_) | Files::Whisper(_)) => {
                return Err(unfit(id, "it generates nothing"));
            }
            None => return Err(unfit(id, "it is not here and has to be pulled")),
        };
        Ok(Self {
            id: id.clone(),
            path,
            clock,
        })
    }

    /// Reads the file of a model that guesses for one with this vocabulary, and keeps keys and values in
    /// the same format.
    ///
    /// # Errors
    /// When the file cannot be read, or its vocabulary is another one.
    pub(crate) fn load(
        &self,
        text: &TextModel,
        compute: &Compute,
        kv: KvFormat,
    ) -> Result<Draft, ModelError> {
        let decoder = self.decoder(text, compute);
        Ok(Draft {
            decoder: decoder.map_err(|error| self.unfit(error))?.with_kv(kv),
            clock: Arc::clone(&self.clock),
        })
    }

    /// It cannot be used for this reason.
    pub(crate) fn unfit(&self, reason: impl ToString) -> ModelError {
        unfit(&self.id, reason)
    }

    fn decoder(&self, text: &TextModel, compute: &Compute) -> Result<Decoder, ModelError> {
        let file = Gguf::open(&self.path)?;
        let config = ModelConfig::read(&file)?;
        let own = text_model(&file, config.vocab)?;
        if let Some(difference) = own.difference(text) {
            let reason = format!("its vocabulary is another one: {difference}");
            return Err(ModelError::Tokenizer(reason));
        }
        Ok(Decoder::load(&file, config, compute)?)
    }
}

fn unfit(id: &ModelId, reason: impl ToString) -> ModelError {
    ModelError::Draft {
        draft: id.clone(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use futures_util::StreamExt;
    use kwaainet_core::{
        Backend, GenerateParams, GenerateRequest, ManualClock, PrincipalId, Prompt,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::testing::{END, Tiny};
    use crate::{CandleBackend, CandleConfig, EngineLimits, Library};

    /// Every file of a folder, and the folder itself as an embedder.
    struct Folder(TempDir);

    impl Folder {
        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }
    }

    impl Library for Folder {
        fn list(&self) -> Vec<LibraryEntry> {
            Vec::new()
        }

        fn find(&self, model: &ModelId) -> Option<LibraryEntry> {
            let path = self.path(model.as_str());
            let files = match model.as_str() {
                "embedder" => Files::Embedder(path),
                _ => path.exists().then_some(Files::Gguf(path))?,
            };
            Some(LibraryEntry {
                id: model.clone(),
                files,
                created: 0,
                digest: None,
            })
        }
    }

    /// `model`, `small` and `strange`, whose vocabulary is another one.
    fn folder() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("there is room for temporary files"));
        let copy = |seed: u64, name: &str| {
            let file = Tiny::new("llama").seed(seed).file();
            let to = folder.path(name);
            std::fs::copy(&file.path, &to).expect("there is room");
            to
        };
        copy(1, "model");
        copy(1, "small");
        respell(&copy(1, "strange"));
        std::fs::write(folder.path("broken"), "nothing").expect("there is room");
        folder
    }

    /// Makes the last token another one of the same length.
    fn respell(path: &Path) {
        let mut bytes = std::fs::read(path).expect("it was just written");
        let token = [4, 0, 0, 0, 0, 0, 0, 0, 0xE2, 0x96, 0x81, b'w'];
        let at = bytes.windows(token.len()).position(|part| part == token);
        bytes[at.expect("it has this token") + token.len() - 1] = b'z';
        std::fs::write(path, bytes).expect("it is ours");
    }

    fn backend(model: &str, draft: &str, speculate: bool) -> CandleBackend {
        let config = CandleConfig {
            id: "local".into(),
            max_loaded: 1,
            limits: EngineLimits {
                speculate,
                ..EngineLimits::default()
            },
            drafts: HashMap::from([(model.into(), draft.into())]),
            audio_seconds_max: 60,
        };
        CandleBackend::new(config, Arc::new(folder()), Arc::new(ManualClock::default()))
    }

    /// Why a model cannot be loaded.
    async fn refusal(model: &str, draft: &str) -> String {
        let refused = backend(model, draft, true).preload(&model.into()).await;
        refused.expect_err("it cannot guess").to_string()
    }

    #[tokio::test]
    async fn a_draft_model_is_loaded_with_its_model_and_guesses() {
        let backend = backend("model", "small", true);
        let mut params = GenerateParams {
            max_tokens: Some(100),
            ..GenerateParams::default()
        };
        params.sampling.logit_bias = vec![(END, f32::NEG_INFINITY)];
        let request = GenerateRequest {
            model: "model".into(),
            prompt: Prompt::Text("hello".into()),
            params,
            owner: PrincipalId::operator(),
            resume: None,
        };
        let events = backend.generate(request).await.expect("it loads");
        events
            .for_each(async |event| drop(event.expect("it goes well")))
            .await;
        let stats = backend.engine_stats();
        assert!(stats.accepted > 50, "{stats:?}");
    }

    #[tokio::test]
    async fn a_draft_model_that_cannot_guess_is_an_error_that_says_why() {
        for (draft, why) in [
            ("strange", "its vocabulary is another one: token 270"),
            ("missing", "it is not here"),
            ("embedder", "it generates nothing"),
            ("broken", "not a GGUF file"),
        ] {
            let error = refusal("model", draft).await;
            let named = format!("its draft model '{draft}' cannot be used: ");
            assert!(error.starts_with(&named) && error.contains(why), "{error}");
        }
        let error = refusal("embedder", "small").await;
        assert!(error.contains("nothing that could be guessed"), "{error}");
    }

    #[tokio::test]
    async fn where_nothing_is_guessed_no_draft_model_is_loaded() {
        let backend = backend("model", "missing", false);
        assert_eq!(backend.preload(&"model".into()).await, Ok(()));
    }
}
