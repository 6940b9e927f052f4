//! Languages that a text has to belong to: JSON, schemas, regular expressions, context-free grammars.
//!
//! A request's grammar is compiled before it is let in, away from the async threads, and bounded in
//! size and time; what cannot be enforced is refused with a sentence. While a sequence is generated,
//! its [`Matching`] says which tokens may come next. llguidance does the parsing; this module decides
//! what it is given, and is the only one that knows it. Nothing here looks at logits.

mod cache;
mod format;
mod lark;
mod matching;
mod pattern;
mod schema;
mod vocabulary;

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use kwaainet_core::{BackendError, Grammar, GrammarKind, PrincipalId};
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::tokenizer::TextModel;
use cache::Cache;
pub(crate) use matching::{Mask, Matching};

/// The longest grammar that is read, in bytes.
const SOURCE_BYTES_MAX: usize = 256 << 10;
/// Grammars that are compiled at the same time, those that nobody waits for any more included.
const COMPILING_MAX: usize = 4;
/// How long a caller waits for his.
const PATIENCE: Duration = Duration::from_secs(10);
/// Its parts are followed into each other; takes memory only as far as they go.
const STACK_BYTES: usize = 256 << 20;
/// States of the lexer, about half a kilobyte each. Sequences have their own. Nine for each character
/// of the longest text whose length is bounded.
const LEXER_STATES_MAX: usize = 150_000;
/// Ways of reading a text at the same time, at one place and in one mask: what a step of everybody
/// may be held up by one grammar.
const WAYS_MAX: usize = 700;
const WAYS_IN_MASK_MAX: usize = 20_000;

/// The grammars of one model.
pub(crate) struct Grammars {
    text: Arc<TextModel>,
    /// Made when first needed: takes a second for a large vocabulary.
    factory: OnceLock<Result<Arc<ParserFactory>, String>>,
    cache: Mutex<Cache>,
    compiling: Arc<Semaphore>,
}

/// A grammar, ready to be matched from the start as often as wanted.
#[derive(Clone)]
pub(crate) struct Compiled {
    fresh: Arc<Matcher>,
    param: &'static str,
}

impl Compiled {
    /// Matches a text from its start.
    pub(crate) fn start(&self) -> Matching {
        Matching::new(self.fresh.deep_clone(), self.param)
    }
}

impl Grammars {
    pub(crate) fn new(text: Arc<TextModel>) -> Self {
        Self {
            text,
            factory: OnceLock::new(),
            cache: Mutex::default(),
            compiling: Arc::new(Semaphore::new(COMPILING_MAX)),
        }
    }

    /// Makes a grammar ready; takes up to ten seconds, so not for async threads. What one owner has
    /// compiled is quick for himself only.
    ///
    /// # Errors
    /// `Invalid` with the grammar's field for what cannot be enforced, `Busy` while others compile.
    pub(crate) fn compile(
        &self,
        grammar: &Grammar,
        owner: &PrincipalId,
    ) -> Result<Compiled, BackendError> {
        let invalid = |reason: String| BackendError::Invalid {
            param: grammar.param,
            reason,
        };
        let source = source(&grammar.kind);
        if source.len() > SOURCE_BYTES_MAX {
            return Err(invalid(format!(
                "the grammar is longer than {SOURCE_BYTES_MAX} bytes"
            )));
        }
        let known = self.cache().find(owner, &source);
        let fresh = match known {
            Some(fresh) => fresh,
            None => {
                let permit = Arc::clone(&self.compiling).try_acquire_owned();
                let permit = permit.map_err(|_| busy())?;
                let compiled = self.compile_beside(grammar.kind.clone(), permit);
                let fresh = compiled?.map_err(invalid)?;
                self.cache().keep(owner, source, &fresh);
                fresh
            }
        };
        Ok(Compiled {
            fresh,
            param: grammar.param,
        })
    }

    /// On a thread with a deep stack, which is left behind when it takes too long.
    fn compile_beside(
        &self,
        kind: GrammarKind,
        permit: OwnedSemaphorePermit,
    ) -> Result<Result<Arc<Matcher>, String>, BackendError> {
        let internal = |reason: String| BackendError::Internal(reason);
        let factory = self
            .factory
            .get_or_init(|| vocabulary::factory(&self.text, limits()));
        let factory = Arc::clone(factory.as_ref().map_err(|e| internal(e.clone()))?);
        let (sender, receiver) = sync_channel(1);
        let work = move || {
            let compiled = compile(&factory, &kind);
            drop(permit);
            // Nobody may be waiting any more.
            let _ = sender.send(compiled);
        };
        thread::Builder::new()
            .name("grammar".into())
            .stack_size(STACK_BYTES)
            .spawn(work)
            .map_err(|e| internal(e.to_string()))?;
        match receiver.recv_timeout(PATIENCE) {
            Ok(compiled) => Ok(compiled),
            Err(RecvTimeoutError::Timeout) => Ok(Err(format!(
                "the grammar takes longer than {} seconds to prepare",
                PATIENCE.as_secs()
            ))),
            Err(RecvTimeoutError::Disconnected) => {
                Err(internal("the compiler of grammars broke down".into()))
            }
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limits() -> ParserLimits {
    ParserLimits {
        max_lexer_states: LEXER_STATES_MAX,
        max_items_in_row: WAYS_MAX,
        step_max_items: WAYS_IN_MASK_MAX,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

fn busy() -> BackendError {
    BackendError::Busy {
        reason: "other grammars are being prepared".into(),
        retry_after: Duration::from_secs(1),
    }
}

/// What tells a grammar from others.
fn source(kind: &GrammarKind) -> String {
    match kind {
        GrammarKind::JsonObject => "object".into(),
        GrammarKind::JsonSchema(schema) => format!("schema {schema}"),
        GrammarKind::Regex(regex) => format!("regex {regex}"),
        GrammarKind::Lark(lark) => format!("lark {lark}"),
        GrammarKind::Choice(texts) => format!("choice {}", json!(texts)),
    }
}

/// Compiles a grammar and sees that it begins with something.
fn compile(factory: &ParserFactory, kind: &GrammarKind) -> Result<Arc<Matcher>, String> {
    let (grammar, what) = match kind {
        GrammarKind::JsonObject => (json_schema(&json!({"type": "object"}))?, "the schema"),
        GrammarKind::JsonSchema(schema) => (json_schema(schema)?, "the schema"),
        GrammarKind::Regex(regex) => (TopLevelGrammar::from_regex(regex), "the regular expression"),
        GrammarKind::Lark(lark) => (
            TopLevelGrammar::from_lark(lark::canonical(lark)?),
            "the grammar",
        ),
        GrammarKind::Choice(texts) => (TopLevelGrammar::from_regex(&choice(texts)?), "the choice"),
    };
    let mut matcher = Matcher::new(factory.create_parser(grammar));
    // The first mask is the slowest; all requests begin with it.
    matcher
        .compute_mask_or_eos()
        .map_err(|error| explain(what, &error.to_string()))?;
    Ok(Arc::new(matcher))
}

fn json_schema(schema: &Value) -> Result<TopLevelGrammar, String> {
    let schema = with_options(schema::canonical(schema)?);
    Ok(TopLevelGrammar::from_json_schema(schema))
}

/// One way only to write each JSON: a space after commas and colons and no other white space, so that
/// it cannot go on for ever; only the shortest escapes.
fn with_options(mut schema: Value) -> Value {
    if let Value::Object(schema) = &mut schema {
        let options = json!({
            "whitespace_flexible": false,
            "item_separator": ", ",
            "key_separator": ": ",
            "json_allowed_escapes": "nrbtf\\\"",
        });
        schema.insert("x-guidance".into(), options);
    }
    schema
}

fn choice(texts: &[String]) -> Result<String, String> {
    let escaped: Vec<String> = texts
        .iter()
        .filter(|t| !t.is_empty())
        .map(|t| regex::escape(t))
        .collect();
    if escaped.is_empty() {
        return Err("there is nothing to choose from".into());
    }
    let may_be_empty = if escaped.len() < texts.len() { "?" } else { "" };
    Ok(format!("(?:{}){may_be_empty}", escaped.join("|")))
}

/// What llguidance says, for callers, who know their keywords.
fn explain(what: &str, error: &str) -> String {
    let said = [
        ("Unsatisfiable", "no JSON satisfies the schema"),
        ("unsatisfiable", "no JSON satisfies the schema"),
        ("NoExtensionBias", "nothing matches the grammar"),
        (
            "min/maxProperties",
            "the keywords 'minProperties' and 'maxProperties' of the schema can be enforced only \
             where all named properties are required",
        ),
        (
            "patternProperty",
            "the keyword 'patternProperties' of the schema cannot be enforced where two patterns \
             may match one name",
        ),
        (
            "schema too large",
            "the schema is too large once 'allOf', 'anyOf', 'oneOf' and dependencies are multiplied out",
        ),
        (
            "stack level exceeded",
            "the schema leads too deep where 'allOf' and '$ref' come together",
        ),
        (
            "circular references",
            "the keyword '$ref' of the schema cannot be enforced where it leads back to itself and \
             other keywords stand beside it",
        ),
        (
            "multipleOf",
            "the keyword 'multipleOf' of the schema cannot be enforced with this number",
        ),
        (
            "regex is empty",
            "the keyword 'pattern' of the schema is too complex to be enforced",
        ),
    ];
    let known = said.iter().find(|(words, _)| error.contains(words));
    match known {
        Some((_, sentence)) => (*sentence).to_owned(),
        None => format!("{what} cannot be enforced: {}", first_sentence(error)),
    }
}

/// Of an error that says more than a caller needs.
fn first_sentence(error: &str) -> &str {
    let line = error.lines().next().unwrap_or_default().trim();
    line.char_indices()
        .nth(300)
        .map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests;
