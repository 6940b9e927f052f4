//! The one suite that every backend passes.
//!
//! It talks to a backend through [`Backend`] only, asks what the [`Subject`] says it can do, and
//! panics at the first broken rule with the rule's name. Each wait is bounded, so a backend that
//! hangs fails too.

mod cancelling;
mod embedding;
mod generation;
mod refusals;
mod sampling;
mod stopping;
mod taking;
mod tokens;

use std::sync::Arc;

use kwaainet_core::{
    Backend, BoxFuture, GenerateParams, GenerateRequest, ModelId, PrincipalId, Prompt, Sampling,
};

/// Tells whether the backend has nothing under way.
pub type IdleProbe = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// What a backend claims, so that the suite can hold it to that.
#[derive(Clone)]
pub struct Subject {
    /// A model that generates, if there is one.
    pub generate: Option<GenerateSubject>,
    /// A model that embeds, if there is one.
    pub embed: Option<EmbedSubject>,
    /// Whether it tokenizes. If not, it has to say `Unsupported`.
    pub tokenize: bool,
    /// Has to become true within 5 s after a stream was dropped.
    pub idle: IdleProbe,
}

/// A model that generates.
#[derive(Clone)]
pub struct GenerateSubject {
    /// Its name.
    pub model: ModelId,
    /// Its context in tokens.
    pub context: u32,
    /// At least one of each kind that it takes. Its greedy answer to each goes on for more than
    /// 12 tokens.
    pub prompts: Vec<Prompt>,
    /// Whether `Started` and each `Delta` say exactly how many tokens there are. If not, only
    /// `Done` has to.
    pub counts_tokens: bool,
    /// Whether it gives log-probabilities. If not, it has to refuse `logprobs`.
    pub logprobs: bool,
    /// Whether a seed fixes the draws. If not, it has to refuse `seed`.
    pub seed: bool,
}

/// A model that embeds.
#[derive(Clone)]
pub struct EmbedSubject {
    /// Its name.
    pub model: ModelId,
    /// The longest input in tokens.
    pub context: u32,
    /// Whether vectors can be shortened. If not, it has to refuse `dimensions`.
    pub dimensions: bool,
}

impl Subject {
    /// Says nothing yet but how to see that the backend is idle.
    pub fn new<F, P>(idle: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = bool> + Send + 'static,
    {
        Self {
            generate: None,
            embed: None,
            tokenize: false,
            idle: Arc::new(move || Box::pin(idle())),
        }
    }
}

/// Holds the backend to everything that [`Backend`] promises.
///
/// # Panics
/// At the first rule that is broken, with its name.
pub async fn conformance(backend: Arc<dyn Backend>, subject: Subject) {
    let backend = backend.as_ref();
    refusals::report(backend, &subject);
    if let Some(model) = &subject.generate {
        for prompt in &model.prompts {
            generation::stream_is_well_formed(backend, model, prompt).await;
            sampling::greedy_is_repeatable(backend, model, prompt).await;
            sampling::log_probabilities(backend, model, prompt).await;
            stopping::stop_texts(backend, model, prompt).await;
        }
        generation::choices_are_independent(backend, model).await;
        generation::streams_do_not_mix(backend, model).await;
        sampling::seeds(backend, model).await;
        refusals::generate(backend, model, subject.embed.as_ref()).await;
        cancelling::dropping_frees(backend, model, &subject.idle).await;
    }
    if let Some(model) = &subject.embed {
        embedding::vectors(backend, model).await;
        embedding::dimensions(backend, model).await;
        refusals::embed(backend, model, subject.generate.as_ref()).await;
    }
    tokens::tokenize(backend, &subject).await;
    cancelling::becomes_idle("idle at the end", &subject.idle).await;
}

/// Most tokens of the suite's answers.
const TOKENS: u32 = 12;

impl GenerateSubject {
    /// A greedy request of `TOKENS` tokens.
    fn request(&self, prompt: &Prompt) -> GenerateRequest {
        GenerateRequest {
            model: self.model.clone(),
            prompt: prompt.clone(),
            params: GenerateParams {
                max_tokens: Some(TOKENS),
                sampling: Sampling {
                    temperature: 0.0,
                    ..Sampling::default()
                },
                ..GenerateParams::default()
            },
            owner: PrincipalId::operator(),
            resume: None,
        }
    }

    fn first_prompt(&self) -> &Prompt {
        let first = self.prompts.first();
        first.expect("a subject that generates has at least one prompt")
    }
}

/// Fails the suite unless the rule holds.
#[track_caller]
fn require(holds: bool, rule: &str, what: impl FnOnce() -> String) {
    assert!(holds, "conformance rule broken: {rule}: {}", what());
}
