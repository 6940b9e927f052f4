//! The engine's own speed, measured through the seam that every request takes.
//!
//! Every prompt is made of tokens that no other has, so that nothing comes out of the cache of
//! prefixes but where that is what is measured. End tokens are kept from being drawn, so that every
//! answer is as long as asked for.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use kwaainet_candle::{CandleBackend, ModelCosts};
use kwaainet_core::{
    Backend, BackendError, Clock, Event, GenerateParams, GenerateRequest, Grammar, GrammarKind,
    ModelId, PrincipalId, Prompt, Sampling, Tokenized,
};
use serde_json::json;

/// Most sequences that are measured together.
pub(super) const SEQUENCES_MAX: usize = 32;

const PREFILL: [usize; 3] = [128, 512, 2_048];
const SEQUENCES: [usize; 6] = [1, 2, 4, 8, 16, SEQUENCES_MAX];
const SHORT: usize = 16;
const LONG: usize = 1_024;
/// Of each sequence whose decoding is measured.
const ANSWER: usize = 128;
const ANSWER_QUICK: usize = 32;
/// What follows a shared prefix.
const OWN: usize = 16;

/// One measurement. Sizes are in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// A prompt, until its first token is there.
    Prefill { tokens: usize },
    /// Sequences that all generate, each after a prompt of `context`.
    Decode {
        sequences: usize,
        context: usize,
        answer: usize,
    },
    /// A prompt whose first `tokens` were in another one just before.
    CachedPrefix { tokens: usize },
    /// Sequences whose answers follow a JSON schema, and the same ones without it.
    Schema {
        sequences: usize,
        context: usize,
        answer: usize,
    },
}

/// What one run of a test came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sample {
    /// Tokens a second.
    Prefill(f64),
    Decode {
        tokens_per_s: f64,
        /// Of the machine's read bandwidth, by the weights and the keys and values that had to be read.
        share: f64,
    },
    CachedPrefix {
        cold_s: f64,
        warm_s: f64,
        /// Prompt tokens of the second request that were not computed.
        cached: u32,
    },
    /// Seconds for a token of each sequence, without the schema and with it.
    Schema { free_s: f64, bound_s: f64 },
}

impl Test {
    /// What is measured of a model with so long a context.
    pub(super) fn all(quick: bool, context: usize) -> Vec<Self> {
        let prefill = PREFILL.map(|tokens| Self::Prefill { tokens });
        let answer = if quick { ANSWER_QUICK } else { ANSWER };
        let decode = |sequences, context| Self::Decode {
            sequences,
            context,
            answer,
        };
        let short = SEQUENCES.map(|sequences| decode(sequences, SHORT));
        let schema = |sequences| Self::Schema {
            sequences,
            context: SHORT,
            answer,
        };
        let cached = Self::CachedPrefix { tokens: LONG };
        let rest = [decode(1, LONG), cached, schema(1), schema(8)];
        let all = prefill.into_iter().chain(short).chain(rest);
        all.filter(|test| test.positions() <= context && !(quick && test.is_long()))
            .collect()
    }

    /// Of each of its sequences.
    fn positions(self) -> usize {
        match self {
            Self::Prefill { tokens } => tokens + 1,
            Self::Decode {
                context, answer, ..
            }
            | Self::Schema {
                context, answer, ..
            } => context + answer,
            Self::CachedPrefix { tokens } => tokens + OWN + 1,
        }
    }

    /// Whether a quick look leaves it out.
    fn is_long(self) -> bool {
        match self {
            Self::Prefill { tokens } => tokens > 512,
            Self::Decode { sequences, .. } => ![1, 8, 16].contains(&sequences),
            Self::CachedPrefix { .. } | Self::Schema { .. } => false,
        }
    }
}

/// A loaded model under measurement.
pub(super) struct Bench<'a> {
    backend: &'a CandleBackend,
    model: ModelId,
    costs: ModelCosts,
    context: usize,
    clock: &'a dyn Clock,
    prompts: AtomicU64,
}

/// When tokens came, in seconds, and how many together.
type Arrivals = Vec<(f64, u32)>;

struct Answer {
    arrivals: Arrivals,
    cached: u32,
}

impl<'a> Bench<'a> {
    pub(super) async fn new(
        backend: &'a CandleBackend,
        model: ModelId,
        clock: &'a dyn Clock,
    ) -> anyhow::Result<Self> {
        let nothing = Tokenized::Text {
            text: String::new(),
            add_special: false,
            parse_special: false,
        };
        let context = backend.tokenize(model.clone(), nothing).await?.context;
        Ok(Self {
            costs: backend.costs(&model).await?,
            backend,
            model,
            context: context as usize,
            clock,
            prompts: AtomicU64::new(0),
        })
    }

    /// Tokens that a sequence may have.
    pub(super) fn context(&self) -> usize {
        self.context
    }

    /// Read in each step.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.costs.weight_bytes
    }

    /// Touches all weights and starts all threads; the first step of a process is no measure.
    pub(super) async fn warm_up(&self) -> anyhow::Result<()> {
        let answer = self.ask(self.fresh(SHORT), SHORT, None).await;
        answer.context("the model cannot be measured")?;
        Ok(())
    }

    /// One run; `limit` is the machine's read bandwidth in bytes a second.
    pub(super) async fn run(&self, test: Test, limit: f64) -> anyhow::Result<Sample> {
        match test {
            Test::Prefill { tokens } => {
                let (seconds, _) = self.first(self.fresh(tokens)).await?;
                Ok(Sample::Prefill(tokens as f64 / seconds))
            }
            Test::Decode {
                sequences,
                context,
                answer,
            } => {
                let tokens_per_s = self.decode(sequences, context, answer, None).await?;
                let kv = self.costs.kv_bytes(context + answer / 2);
                let bytes = self.costs.weight_bytes as f64 / sequences as f64 + kv as f64;
                Ok(Sample::Decode {
                    tokens_per_s,
                    share: bytes * tokens_per_s / limit,
                })
            }
            Test::Schema {
                sequences,
                context,
                answer,
            } => {
                let free = self.decode(sequences, context, answer, None).await?;
                let schema = Some(schema());
                let bound = self.decode(sequences, context, answer, schema).await?;
                Ok(Sample::Schema {
                    free_s: sequences as f64 / free,
                    bound_s: sequences as f64 / bound,
                })
            }
            Test::CachedPrefix { tokens } => {
                let prefix = self.fresh(tokens);
                let prompt = || [prefix.clone(), self.fresh(OWN)].concat();
                let (cold_s, _) = self.first(prompt()).await?;
                let (warm_s, cached) = self.first(prompt()).await?;
                Ok(Sample::CachedPrefix {
                    cold_s,
                    warm_s,
                    cached,
                })
            }
        }
    }

    /// Tokens a second over all of so many sequences.
    async fn decode(
        &self,
        sequences: usize,
        context: usize,
        answer: usize,
        grammar: Option<Grammar>,
    ) -> anyhow::Result<f64> {
        let ask = |_| self.ask(self.fresh(context), answer, grammar.clone());
        let answers = try_join_all((0..sequences).map(ask)).await?;
        let arrivals: Vec<_> = answers.into_iter().map(|a| a.arrivals).collect();
        together(&arrivals).context("the sequences never overlapped")
    }

    /// Seconds until the first token, and how many of the prompt's were cached.
    async fn first(&self, prompt: Vec<u32>) -> anyhow::Result<(f64, u32)> {
        let begin = self.clock.monotonic().as_secs_f64();
        let answer = self.ask(prompt, 1, None).await?;
        let first = answer.arrivals.first().context("nothing was said")?;
        Ok((first.0 - begin, answer.cached))
    }

    async fn ask(
        &self,
        prompt: Vec<u32>,
        tokens: usize,
        grammar: Option<Grammar>,
    ) -> anyhow::Result<Answer> {
        let ends = self.costs.end_tokens.iter();
        let request = GenerateRequest {
            model: self.model.clone(),
            owner: PrincipalId::operator(),
            resume: None,
            prompt: Prompt::Tokens(prompt),
            params: GenerateParams {
                max_tokens: Some(tokens as u32),
                grammar,
                sampling: Sampling {
                    temperature: 0.0,
                    logit_bias: ends.map(|id| (*id, f32::NEG_INFINITY)).collect(),
                    ..Sampling::default()
                },
                ..GenerateParams::default()
            },
        };
        let mut answer = Answer {
            arrivals: Vec::new(),
            cached: 0,
        };
        let mut events = self.backend.generate(request).await?;
        while let Some(event) = events.next().await {
            match event? {
                Event::Delta(delta) => {
                    let now = self.clock.monotonic().as_secs_f64();
                    answer.arrivals.push((now, delta.tokens));
                }
                Event::Done(usage) => answer.cached = usage.cached_tokens,
                Event::Started { .. } | Event::Call(_) | Event::Finished { .. } => {}
            }
        }
        let came: u32 = answer.arrivals.iter().map(|(_, tokens)| tokens).sum();
        ensure!(
            came as usize == tokens,
            BackendError::Internal(format!("{came} tokens came where {tokens} were asked for"))
        );
        Ok(answer)
    }

    /// A prompt that no other begins like.
    fn fresh(&self, tokens: usize) -> Vec<u32> {
        let prompt = self.prompts.fetch_add(1, Ordering::Relaxed);
        let token = |place: usize| {
            let mut hasher = DefaultHasher::new();
            (prompt, place).hash(&mut hasher);
            (hasher.finish() % self.costs.vocab as u64) as u32
        };
        (0..tokens).map(token).collect()
    }
}

/// A list as tools ask for it, so long that no answer ends before it is cut.
fn schema() -> Grammar {
    let entry = json!({
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": 80},
            "kind": {"enum": ["bug", "feature", "question"]},
            "votes": {"type": "integer", "minimum": 0},
            "done": {"type": "boolean"},
            "labels": {"type": "array", "items": {"type": "string"}, "maxItems": 4},
            "owner": {"anyOf": [{"type": "string", "format": "email"}, {"type": "null"}]},
        },
        "required": ["title", "kind", "votes", "done", "labels", "owner"],
        "additionalProperties": false,
    });
    Grammar {
        kind: GrammarKind::JsonSchema(json!({"type": "array", "items": entry, "minItems": 1_000})),
        param: "response_format",
    }
}

/// Tokens a second over all sequences, from when each has its first token to when the first one has its
/// last; none if there is no such time.
fn together(sequences: &[Arrivals]) -> Option<f64> {
    let mut span = (f64::MIN, f64::MAX);
    for arrivals in sequences {
        span.0 = span.0.max(arrivals.first()?.0);
        span.1 = span.1.min(arrivals.last()?.0);
    }
    let inside = |(at, _): &&(f64, u32)| span.0 < *at && *at <= span.1;
    let tokens = sequences.iter().flatten().filter(inside).map(|(_, n)| n);
    let tokens: u32 = tokens.sum();
    (span.0 < span.1).then(|| f64::from(tokens) / (span.1 - span.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_when_all_sequences_generate_counts() {
        let every = |from: f64, step: f64| -> Arrivals {
            (0..11).map(|i| (from + step * f64::from(i), 1)).collect()
        };
        assert_eq!(
            together(&[every(0.0, 1.0)]),
            Some(1.0),
            "ten after the first"
        );
        // From 5 to 10 the first gives five and the second ten.
        assert_eq!(together(&[every(0.0, 1.0), every(5.0, 0.5)]), Some(3.0));
        assert_eq!(together(&[every(0.0, 1.0), every(20.0, 1.0)]), None);
        assert_eq!(together(&[vec![(0.0, 1)]]), None, "one token has no pace");
        let pairs = vec![(0.0, 1), (1.0, 2), (2.0, 2)];
        assert_eq!(together(&[pairs]), Some(2.0), "tokens count, not arrivals");
    }

    #[test]
    fn what_does_not_fit_in_the_context_is_left_out() {
        let all = Test::all(false, 8_192);
        assert_eq!(all.len(), 3 + 6 + 2 + 2);
        let small = Test::all(false, 600);
        assert!(small.iter().all(|test| test.positions() <= 600));
        assert!(small.contains(&Test::Prefill { tokens: 512 }));
        assert!(!small.contains(&Test::CachedPrefix { tokens: LONG }));
    }

    #[test]
    fn a_quick_look_is_a_part_of_the_whole() {
        let quick = Test::all(true, 8_192);
        assert_eq!(quick.len(), 2 + 3 + 2 + 2);
    }
}
