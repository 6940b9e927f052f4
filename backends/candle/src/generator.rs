//! A loaded decoder: requests are checked and tokenized here, then handed to its engine.

mod digest;
mod echo;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;

use kwaainet_core::{
    BackendError, Conversation, Event, EventStream, FinishReason, GenerateParams, Grammar, ModelId,
    Numerics, PrincipalId, Prompt, Resume, TextTokens, Tokenized, Usage,
};
use kwaainet_decoder::{Decoder, FileError, Gguf, ModelConfig};

use crate::backend::{EngineLimits, EngineStats};
use crate::drafts::DraftFile;
use crate::engine::{Engine, Model, Request, SoloModel};
use crate::foreign::{self, Architecture, Foreign};
use crate::grammar::{Compiled, Grammars};
use crate::tokenizer::{TEXT_BYTES_MAX, TextError, TextModel};
use crate::tools::Plan;
use crate::{ModelCosts, ModelError};
pub(crate) use digest::Hashed;
use digest::Hashing;
use echo::{Echo, echoed};

/// Choices of one prompt; the published API has the same bound.
const CHOICES_MAX: u16 = 128;

/// A model that generates.
pub(crate) struct Generator {
    text: Arc<TextModel>,
    grammars: Grammars,
    engine: Engine,
    /// Unknown of candle's models.
    costs: Option<ModelCosts>,
    numerics: Option<Numerics>,
    hashed: Hashed,
    /// Tokens that a prompt has to have.
    prompt_min: usize,
    /// Whether the engine gives log-probabilities of a prompt.
    scores_prompts: bool,
}

impl Generator {
    /// Reads a GGUF file, and that of the model that guesses for it. Takes as long as the files take
    /// to read.
    ///
    /// # Errors
    /// When a file or the machine does not allow it.
    pub(crate) fn load(
        id: &ModelId,
        path: &Path,
        draft: Option<&DraftFile>,
        limits: &EngineLimits,
    ) -> Result<Self, ModelError> {
        let file = Gguf::open(path)?;
        let digest = digest::begin(path);
        if let Some(architecture) = foreign::find(&file, limits.device)? {
            if let Some(draft) = draft {
                return Err(draft.unfit("candle computes the model, and takes no guesses"));
            }
            return Self::load_foreign(id, path, &file, digest, architecture, limits);
        }
        let config = ModelConfig::read(&file)?;
        let text = text_model(&file, config.vocab)?;
        let context = config.context;
        let compute = limits.compute()?;
        let decoder = Decoder::load(&file, config, &compute)?.with_kv(limits.kv);
        let draft = draft
            .map(|draft| draft.load(&text, &compute, limits.kv))
            .transpose()?;
        let costs = ModelCosts::of(&decoder, &text, compute.kernel);
        let model = Model {
            decoder,
            draft,
            compute,
            text: Arc::clone(&text),
        };
        let engine = Engine::start(id.as_str(), model, context, limits)?;
        if engine.context() < context {
            tracing::info!(
                model = %id,
                model_context = context,
                context = engine.context(),
                "the memory for keys and values holds less than the model's context"
            );
        }
        Ok(Self {
            grammars: Grammars::new(Arc::clone(&text)),
            text,
            engine,
            costs: Some(costs),
            numerics: Some(Numerics::of(limits.kv.numerics())),
            hashed: digest::end(digest)?,
            prompt_min: 1,
            scores_prompts: true,
        })
    }

    /// The same for a model that candle computes.
    fn load_foreign(
        id: &ModelId,
        path: &Path,
        file: &Gguf,
        digest: Hashing,
        architecture: &'static Architecture,
        limits: &EngineLimits,
    ) -> Result<Self, ModelError> {
        let network = Foreign::load(file, path, architecture, limits.device, limits.kv_bytes)?;
        let text = text_model(file, network.vocab())?;
        let (context, prompt_min) = (network.context(), network.prompt_min());
        tracing::warn!(
            model = %id,
            architecture = architecture.name,
            device = limits.device.name(),
            context,
            "the model runs through candle: one sequence at a time, and not exact"
        );
        let model = SoloModel {
            network,
            kernel: limits.kernel(),
            text: Arc::clone(&text),
        };
        Ok(Self {
            grammars: Grammars::new(Arc::clone(&text)),
            text,
            engine: Engine::start_solo(id.as_str(), model, context, limits)?,
            costs: None,
            numerics: None,
            hashed: digest::end(digest)?,
            prompt_min,
            scores_prompts: false,
        })
    }

    /// Tokens that a sequence may have.
    pub(crate) fn context(&self) -> u32 {
        self.engine.context() as u32
    }

    /// What it costs, where that is known.
    pub(crate) fn costs(&self) -> Option<&ModelCosts> {
        self.costs.as_ref()
    }

    /// Which bits it computes; candle's depend on the machine.
    pub(crate) fn numerics(&self) -> Option<Numerics> {
        self.numerics.clone()
    }

    /// Its file, as it was when it was loaded.
    pub(crate) fn hashed(&self) -> Hashed {
        self.hashed
    }

    /// Which bits the model of a file would compute if it were loaded. Reads the file's head.
    ///
    /// # Errors
    /// For a file that would not be loaded.
    pub(crate) fn numerics_of(
        path: &Path,
        limits: &EngineLimits,
    ) -> Result<Option<Numerics>, ModelError> {
        let file = Gguf::open(path)?;
        let is_ours = foreign::find(&file, limits.device)?.is_none();
        Ok(is_ours.then(|| Numerics::of(limits.kv.numerics())))
    }

    pub(crate) fn stats(&self) -> EngineStats {
        self.engine.stats()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.engine.is_alive()
    }

    /// Tokenizes a prompt and checks that the request can be done. May take a while for a long one.
    ///
    /// # Errors
    /// For everything that is wrong with the request.
    pub(crate) fn prepare(
        &self,
        prompt: &Prompt,
        params: GenerateParams,
        owner: PrincipalId,
        resume: Option<Resume>,
    ) -> Result<Prepared, BackendError> {
        let field = prompt_field(prompt);
        let tokens = match prompt {
            Prompt::Chat(chat) => self.encode_chat(chat)?,
            Prompt::Infill { prefix, suffix } => self.encode_infill(prefix, suffix)?,
            Prompt::Text(text) => self.encode(text, true, true, field)?,
            Prompt::Tokens(ids) => ids.clone(),
        };
        self.check_ids(tokens.iter(), "prompt")?;
        self.check_ids(
            params.sampling.logit_bias.iter().map(|(id, _)| id),
            "logit_bias",
        )?;
        if tokens.is_empty() {
            return Err(invalid(field, "the prompt has no tokens".into()));
        }
        if tokens.len() < self.prompt_min {
            let reason = format!("this model needs prompts of {} tokens", self.prompt_min);
            return Err(BackendError::Unsupported {
                param: field,
                reason,
            });
        }
        if params.n == 0 || params.n > CHOICES_MAX {
            return Err(invalid(
                "n",
                format!(
                    "n is {}, but from 1 to {CHOICES_MAX} choices can be made",
                    params.n
                ),
            ));
        }
        let max_tokens = self.room(tokens.len(), &params, field)?;
        let plan = self.plan(prompt, &params)?;
        let grammar = self.grammar(&plan, params.grammar.as_ref(), &owner)?;
        let echo = match resume {
            // It was said already.
            Some(_) => Echo::default(),
            None => Echo::new(prompt, &tokens, &params, &self.text, self.scores_prompts)?,
        };
        let begun = self.begun(resume, &params, max_tokens)?;
        let request = Request {
            prompt: tokens,
            n: u32::from(params.n),
            max_tokens,
            stop: params.stop,
            logprobs: params.logprobs,
            seed: params.sampling.seed.unwrap_or_else(random_seed),
            sampling: params.sampling,
            owner,
            priority: params.priority,
            grammar: grammar.filter(|_| max_tokens > 0),
            calls: plan.format,
            begun,
            echo: echo.scored,
        };
        Ok(Prepared {
            request,
            echo: echo.text,
        })
    }

    /// Starts a generation.
    ///
    /// # Errors
    /// When the engine is full or has broken down.
    pub(crate) fn start(&self, prepared: Prepared) -> Result<EventStream, BackendError> {
        let Prepared { request, echo } = prepared;
        let choices = request.n;
        let has_work = request.max_tokens > 0 || request.echo.is_some();
        let events = if has_work {
            self.engine.submit(request)?
        } else {
            nothing_to_do(&request)
        };
        Ok(match echo {
            Some(text) => echoed(events, text, choices),
            None => events,
        })
    }

    /// Token ids of a text or a conversation.
    ///
    /// # Errors
    /// When there is no template, or it refuses the messages.
    pub(crate) fn tokenize(&self, text: &Tokenized) -> Result<TextTokens, BackendError> {
        let ids = match text {
            Tokenized::Text {
                text,
                add_special,
                parse_special,
            } => self.encode(text, *add_special, *parse_special, "prompt")?,
            Tokenized::Chat(chat) => self.encode_chat(chat)?,
        };
        Ok(TextTokens {
            ids,
            context: self.context(),
        })
    }

    /// The text of token ids.
    ///
    /// # Errors
    /// For ids outside the vocabulary.
    pub(crate) fn detokenize(&self, ids: &[u32]) -> Result<String, BackendError> {
        self.check_ids(ids.iter(), "tokens")?;
        Ok(self.text.decode(ids))
    }

    /// Gives the engine what it cannot compute.
    #[cfg(test)]
    pub(crate) async fn break_down(&self) {
        let request = Request {
            prompt: vec![u32::MAX],
            n: 1,
            max_tokens: 1,
            stop: Vec::new(),
            logprobs: None,
            sampling: kwaainet_core::Sampling::default(),
            seed: 0,
            owner: PrincipalId::operator(),
            priority: kwaainet_core::Priority::default(),
            grammar: None,
            calls: None,
            begun: Vec::new(),
            echo: None,
        };
        let events = self.engine.submit(request).expect("there is room");
        let events: Vec<_> = futures_util::StreamExt::collect(events).await;
        assert!(matches!(events.last(), Some(Err(_))));
        while self.engine.is_alive() {
            tokio::task::yield_now().await;
        }
    }

    fn encode(
        &self,
        text: &str,
        add_special: bool,
        parse_special: bool,
        field: &'static str,
    ) -> Result<Vec<u32>, BackendError> {
        self.text
            .encode(text, add_special, parse_special)
            .map_err(|error| refusal(error, field))
    }

    fn encode_chat(&self, chat: &Conversation) -> Result<Vec<u32>, BackendError> {
        self.text
            .encode_chat(chat)
            .map_err(|error| refusal(error, "messages"))
    }

    fn encode_infill(&self, prefix: &str, suffix: &str) -> Result<Vec<u32>, BackendError> {
        let tokens = self.text.encode_infill(prefix, suffix);
        let tokens = tokens.map_err(|error| refusal(error, "prompt"))?;
        tokens.ok_or_else(|| BackendError::Unsupported {
            param: "suffix",
            reason: "the model has no tokens for filling in".into(),
        })
    }

    /// What the prompt's tools ask of the answers.
    fn plan(&self, prompt: &Prompt, params: &GenerateParams) -> Result<Plan, BackendError> {
        match prompt {
            Prompt::Chat(chat) => Plan::new(chat, params.grammar.as_ref(), &self.text),
            Prompt::Text(_) | Prompt::Infill { .. } | Prompt::Tokens(_) => Ok(Plan::default()),
        }
    }

    /// What the choices have to belong to. Of several grammars the first that can be enforced counts.
    fn grammar(
        &self,
        plan: &Plan,
        format: Option<&Grammar>,
        owner: &PrincipalId,
    ) -> Result<Option<Compiled>, BackendError> {
        let wanted = match plan.format {
            Some(_) => plan.grammars.as_slice(),
            None => format.map_or(&[][..], std::slice::from_ref),
        };
        let mut refusal = None;
        for grammar in wanted {
            match self.grammars.compile(grammar, owner) {
                Err(error @ BackendError::Invalid { .. }) => refusal = Some(error),
                compiled => return compiled.map(Some),
            }
        }
        let Some(refusal) = refusal else {
            return Ok(None);
        };
        // Where a format stands beside the tools, whichever is at fault is named.
        if let (Some(_), Some(format)) = (&plan.format, format) {
            self.grammars.compile(format, owner)?;
        }
        Err(refusal)
    }

    fn check_ids<'a>(
        &self,
        mut ids: impl Iterator<Item = &'a u32>,
        field: &'static str,
    ) -> Result<(), BackendError> {
        let vocab = self.text.vocab_len();
        match ids.find(|&&id| id as usize >= vocab) {
            None => Ok(()),
            Some(id) => Err(invalid(
                field,
                format!("the token id {id} is not below {vocab}, the size of the vocabulary"),
            )),
        }
    }

    /// What the choices said elsewhere.
    fn begun(
        &self,
        resume: Option<Resume>,
        params: &GenerateParams,
        max_tokens: usize,
    ) -> Result<Vec<Vec<u32>>, BackendError> {
        let Some(Resume { choices }) = resume else {
            return Ok(Vec::new());
        };
        if self.numerics.is_none() {
            return Err(BackendError::Unsupported {
                param: "resume",
                reason: "what this model says depends on the machine".into(),
            });
        }
        let wrong = |reason: &str| Err(invalid("resume", reason.to_owned()));
        if choices.len() != usize::from(params.n) {
            return wrong("there are not as many choices as were asked for");
        }
        if choices.iter().any(|tokens| tokens.len() > max_tokens) {
            return wrong("a choice has more tokens than it may");
        }
        self.check_ids(choices.iter().flatten(), "resume")?;
        Ok(choices)
    }

    /// Tokens that each choice may have.
    fn room(
        &self,
        prompt: usize,
        params: &GenerateParams,
        field: &'static str,
    ) -> Result<usize, BackendError> {
        let left = self.engine.context().saturating_sub(prompt);
        let overflow = |max_tokens, param| BackendError::ContextOverflow {
            prompt_tokens: u32::try_from(prompt).unwrap_or(u32::MAX),
            max_tokens,
            context: self.context(),
            param,
        };
        match params.max_tokens {
            _ if left == 0 => Err(overflow(0, field)),
            Some(wanted) if wanted as usize > left => {
                Err(overflow(wanted, params.max_tokens_param))
            }
            Some(wanted) => Ok(wanted as usize),
            None => Ok(left),
        }
    }
}

/// The tokenizer and the template of a file with embeddings of so many tokens.
pub(crate) fn text_model(file: &Gguf, vocab: usize) -> Result<Arc<TextModel>, ModelError> {
    let text =
        TextModel::from_gguf(file.metadata()).map_err(|e| ModelError::Tokenizer(e.to_string()))?;
    if text.vocab_len() == vocab {
        return Ok(Arc::new(text));
    }
    let tokens = text.vocab_len();
    let reason = format!("it has {tokens} tokens but {vocab} embeddings");
    Err(FileError::Malformed(reason).into())
}

/// A request that the engine can take as it is.
pub(crate) struct Prepared {
    request: Request,
    /// Is said before anything else, if the engine does not say it.
    echo: Option<String>,
}

fn prompt_field(prompt: &Prompt) -> &'static str {
    match prompt {
        Prompt::Chat(_) => "messages",
        Prompt::Text(_) | Prompt::Infill { .. } | Prompt::Tokens(_) => "prompt",
    }
}

fn invalid(param: &'static str, reason: String) -> BackendError {
    BackendError::Invalid { param, reason }
}

fn refusal(error: TextError, param: &'static str) -> BackendError {
    match error {
        TextError::NoTemplate => BackendError::Unsupported {
            param,
            reason: "the model has no chat template; use /v1/completions with a prompt".into(),
        },
        TextError::Template(reason) => invalid(param, reason),
        TextError::Text(_) => invalid(param, error.to_string()),
        TextError::TooLong => BackendError::InputTooLong {
            param,
            bytes_max: TEXT_BYTES_MAX,
        },
        // Another model may well have a template that works; this one needs its owner.
        TextError::BadTemplate(_) => BackendError::Unsupported {
            param: "messages",
            reason: error.to_string(),
        },
        TextError::Vocabulary(_) => BackendError::Internal(error.to_string()),
    }
}

/// The answer to a request for no tokens at all.
fn nothing_to_do(request: &Request) -> EventStream {
    let prompt_tokens = request.prompt.len() as u32;
    let mut events = vec![Ok(Event::Started {
        prompt_tokens,
        cached_tokens: 0,
    })];
    events.extend((0..request.n).map(|choice| {
        Ok(Event::Finished {
            choice,
            reason: FinishReason::Length,
        })
    }));
    events.push(Ok(Event::Done(Usage {
        prompt_tokens,
        ..Usage::default()
    })));
    Box::pin(futures_util::stream::iter(events))
}

/// The standard library keys each hasher with fresh randomness of the system.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use kwaainet_core::{GrammarKind, Tool};
    use serde_json::json;

    use super::*;
    use crate::testing::Tiny;

    #[test]
    fn of_a_format_and_tools_the_one_at_fault_is_named() {
        let file = Tiny::new("llama").file();
        let limits = EngineLimits::default();
        let generator = Generator::load(&"tiny".into(), &file.path, None, &limits);
        let generator = generator.expect("it loads");
        let refused = |tool, kind| {
            let chat = Conversation {
                tools: vec![Tool {
                    name: "f".to_owned(),
                    description: None,
                    parameters: Some(tool),
                    strict: true,
                }],
                ..Conversation::default()
            };
            let param = "response_format";
            let format = Grammar { kind, param };
            let plan = Plan::new(&chat, Some(&format), &generator.text).expect("they go together");
            let owner = PrincipalId::operator();
            match generator.grammar(&plan, Some(&format), &owner) {
                Ok(_) => None,
                Err(BackendError::Invalid { param, .. }) => Some(param),
                Err(other) => panic!("{other}"),
            }
        };
        let (good, bad) = (json!({"type": "object"}), json!({"$ref": "elsewhere"}));
        let schema = |schema: &serde_json::Value| GrammarKind::JsonSchema(schema.clone());
        assert_eq!(refused(good.clone(), schema(&good)), None);
        assert_eq!(refused(good, schema(&bad)), Some("response_format"));
        assert_eq!(refused(bad.clone(), GrammarKind::JsonObject), Some("tools"));
        assert_eq!(refused(bad.clone(), schema(&bad)), Some("response_format"));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_the_callers_to_know() {
        let too_long = BackendError::InputTooLong {
            param: "prompt",
            bytes_max: 4 << 20,
        };
        assert_eq!(refusal(TextError::TooLong, "prompt"), too_long);
        let broken = refusal(TextError::BadTemplate("syntax error".into()), "messages");
        let BackendError::Unsupported { param, reason } = broken else {
            panic!("{broken:?}");
        };
        assert_eq!(param, "messages");
        assert!(reason.contains("template") && reason.contains("syntax error"));
    }
}
