//! Requests and answers: one that is plain, and as many as a seed makes.

use std::time::Duration;

use kwaainet_core::{
    BackendError, CallDelta, CallStart, Conversation, Delta, EmbedInput, Event, FinishReason,
    GenerateParams, Grammar, GrammarKind, Message, ModelDigest, Numerics, Priority, Prompt, Resume,
    Role, Sampling, TokenLogprob, Tokenized, Tool, ToolCall, ToolChoice, ToolMode, TopLogprob,
};
use serde_json::{Value, json};

use super::wire::request::{Request, Wanted};
use super::wire::says::{self, say};
use super::wire::{error, event, list, names, refusal};

/// What is asked.
pub(super) const MODEL: &str = "talker";

/// A request that the scripted server does.
#[cfg(test)]
pub(super) fn generation() -> Request {
    Request {
        id: [3; 16],
        budget: Duration::from_secs(60),
        model: MODEL.into(),
        digest: None,
        numerics: None,
        scope: [4; 16],
        tied: false,
        work: Wanted::Generate {
            prompt: Prompt::Text("once upon a time".into()),
            params: Box::new(GenerateParams {
                max_tokens: Some(4),
                ..GenerateParams::default()
            }),
            resume: None,
        },
    }
}

/// Gives a generation a past.
#[cfg(test)]
pub(super) fn resume(request: &mut Request, past: Resume) {
    if let Wanted::Generate { resume, .. } = &mut request.work {
        *resume = Some(past);
    }
}

/// Numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below this.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub(super) fn coin(&mut self) -> bool {
        self.number() & 1 == 1
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        let at = self.below(all.len() as u64) as usize;
        all[at].clone()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.coin().then(|| make(self))
    }

    fn some<T>(&mut self, max: u64, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(max + 1);
        (0..count).map(|_| make(self)).collect()
    }

    fn text(&mut self) -> String {
        let letters = ['a', 'ß', '\0', '\n', '€', '𝄞', '"', '\u{202E}'];
        self.some(12, |dice| dice.of(&letters))
            .into_iter()
            .collect()
    }

    fn id(&mut self) -> u32 {
        self.number() as u32 >> self.below(32)
    }

    fn float(&mut self, min: f32, max: f32) -> f32 {
        let part = self.below(1_001) as f32 / 1_000.0;
        (min + (max - min) * part).clamp(min, max)
    }

    /// Any 32 bits as a float.
    fn any_float(&mut self) -> f32 {
        f32::from_bits(self.number() as u32)
    }

    fn json(&mut self, depth: u64) -> Value {
        match self.below(if depth == 0 { 4 } else { 6 }) {
            0 => Value::Null,
            1 => json!(self.coin()),
            2 => json!(self.number() as i64),
            3 => json!(self.text()),
            4 => Value::Array(self.some(3, |dice| dice.json(depth - 1))),
            _ => {
                let fields = self.some(3, |dice| (dice.text(), dice.json(depth - 1)));
                Value::Object(fields.into_iter().collect())
            }
        }
    }

    pub(super) fn request(&mut self) -> Request {
        Request {
            id: std::array::from_fn(|_| self.number() as u8),
            budget: Duration::from_millis(1 + self.below(1 << 40)),
            model: MODEL.into(),
            digest: self.maybe(|dice| ModelDigest([dice.number() as u8; 32])),
            numerics: self.maybe(|_| Numerics::of("kwaai-canonical/1")),
            scope: std::array::from_fn(|_| self.number() as u8),
            tied: self.below(8) == 0,
            work: self.work(),
        }
    }

    fn work(&mut self) -> Wanted {
        match self.below(6) {
            0 => Wanted::Embed {
                inputs: self.some(4, Self::input),
                dimensions: self.maybe(Self::id),
            },
            1 => Wanted::Tokenize(Tokenized::Text {
                text: self.text(),
                add_special: self.coin(),
                parse_special: self.coin(),
            }),
            2 => Wanted::Tokenize(Tokenized::Chat(self.chat())),
            3 => Wanted::Detokenize(self.some(9, Self::id)),
            _ => {
                let params = self.params();
                let resume = self.maybe(|dice| {
                    let max = params.max_tokens.unwrap_or(5).min(5);
                    let choice = |_| dice.some(u64::from(max), Self::id);
                    Resume {
                        choices: (0..params.n).map(choice).collect(),
                    }
                });
                Wanted::Generate {
                    prompt: self.prompt(),
                    params: Box::new(params),
                    resume,
                }
            }
        }
    }

    fn input(&mut self) -> EmbedInput {
        match self.coin() {
            true => EmbedInput::Text(self.text()),
            false => EmbedInput::Tokens(self.some(5, Self::id)),
        }
    }

    fn prompt(&mut self) -> Prompt {
        match self.below(4) {
            0 => Prompt::Chat(self.chat()),
            1 => Prompt::Text(self.text()),
            2 => Prompt::Infill {
                prefix: self.text(),
                suffix: self.text(),
            },
            _ => Prompt::Tokens(self.some(9, Self::id)),
        }
    }

    fn chat(&mut self) -> Conversation {
        let tools: Vec<Tool> = (0..self.below(3))
            .map(|number| Tool {
                name: format!("tool-{number}"),
                description: self.maybe(Self::text),
                parameters: self.maybe(|dice| dice.json(3)),
                strict: self.coin(),
            })
            .collect();
        let only = tools.first().map(|tool| vec![tool.name.clone()]);
        Conversation {
            messages: self.some(4, Self::message),
            tool_choice: ToolChoice {
                mode: self.of(&[ToolMode::Auto, ToolMode::Required, ToolMode::None]),
                only: only.filter(|_| self.coin()),
            },
            tools,
            parallel_calls: self.coin(),
        }
    }

    fn message(&mut self) -> Message {
        Message {
            role: self.of(&[Role::System, Role::User, Role::Assistant, Role::Tool]),
            content: self.text(),
            name: self.maybe(Self::text),
            tool_calls: self.some(2, |dice| ToolCall {
                id: dice.text(),
                name: dice.text(),
                arguments: dice.text(),
            }),
            tool_call_id: self.maybe(Self::text),
        }
    }

    fn params(&mut self) -> GenerateParams {
        let echo = self.coin();
        GenerateParams {
            n: 1 + self.below(4) as u16,
            max_tokens: self.maybe(|dice| dice.id().max(u32::from(!echo))),
            max_tokens_param: self.of(names::ALL),
            stop: self.some(3, |dice| format!("{}.", dice.text())),
            logprobs: self.maybe(|dice| dice.below(21) as u8),
            sampling: self.sampling(),
            grammar: self.maybe(Self::grammar),
            echo,
            priority: self.of(&[Priority::Interactive, Priority::Batch]),
        }
    }

    fn sampling(&mut self) -> Sampling {
        Sampling {
            temperature: self.float(0.0, 2.0),
            top_p: self.float(0.0, 1.0),
            top_k: self.id(),
            min_p: self.float(0.0, 1.0),
            frequency_penalty: self.float(-2.0, 2.0),
            presence_penalty: self.float(-2.0, 2.0),
            repetition_penalty: self.float(0.1, 10.0),
            logit_bias: self.some(4, |dice| (dice.id(), dice.float(-100.0, 100.0))),
            seed: self.maybe(Self::number),
        }
    }

    fn grammar(&mut self) -> Grammar {
        let kind = match self.below(5) {
            0 => GrammarKind::JsonObject,
            1 => GrammarKind::JsonSchema(self.json(3)),
            2 => GrammarKind::Regex(self.text()),
            3 => GrammarKind::Lark(self.text()),
            _ => GrammarKind::Choice(self.some(4, Self::text)),
        };
        let param = self.of(names::ALL);
        Grammar { kind, param }
    }

    /// Anything but the end.
    pub(super) fn event(&mut self) -> Event {
        match self.below(4) {
            0 => Event::Started {
                prompt_tokens: self.id(),
                cached_tokens: self.id(),
            },
            1 => Event::Delta(Delta {
                choice: self.id(),
                text: self.text(),
                tokens: self.id(),
                ids: self.some(4, Self::id),
                logprobs: self.some(3, |dice| TokenLogprob {
                    chosen: dice.top(),
                    top: dice.some(3, Self::top),
                }),
                stopped_by: self.maybe(Self::text),
            }),
            2 => Event::Call(CallDelta {
                choice: self.id(),
                index: self.id(),
                start: self.maybe(|dice| CallStart {
                    id: dice.text(),
                    name: dice.text(),
                }),
                arguments: self.text(),
            }),
            _ => Event::Finished {
                choice: self.id(),
                reason: self.of(&[
                    FinishReason::Stop,
                    FinishReason::Length,
                    FinishReason::ToolCalls,
                    FinishReason::ContentFilter,
                ]),
            },
        }
    }

    /// Anything that a server may say.
    pub(super) fn say(&mut self) -> say::Kind {
        let usage = says::Usage {
            prompt_tokens: 4,
            cached_tokens: 0,
            completion_tokens: self.below(3) as u32,
        };
        match self.below(9) {
            0 => say::Kind::Accept(says::Accept::default()),
            1 => say::Kind::Reject(refusal::write(refusal::Refusal::Draining, None)),
            2 => say::Kind::Progress(says::Progress::default()),
            3 | 4 => {
                let made: Vec<_> = (0..self.below(4)).map(|_| self.event()).collect();
                let said = made.into_iter().map(|e| event::write(e).expect("no end"));
                say::Kind::Events(says::Events {
                    seq: self.below(2),
                    events: list::write(said),
                })
            }
            5 => say::Kind::Vectors(says::Vectors {
                seq: self.below(2),
                dimensions: 2,
                values: vec![0; 8],
            }),
            6 => say::Kind::Tokens(says::Tokens {
                seq: self.below(2),
                context: 9,
                ids: vec![1, 2],
            }),
            7 => say::Kind::End(says::End {
                usage: Some(usage),
                receipt: vec![1],
                cut: self.coin(),
            }),
            _ => say::Kind::Failed(says::Failed {
                error: Some(error::write(BackendError::Internal("x".into()))),
                receipt: vec![1],
            }),
        }
    }

    fn top(&mut self) -> TopLogprob {
        TopLogprob {
            bytes: self.some(5, |dice| dice.number() as u8),
            logprob: self.any_float(),
        }
    }
}
