//! Events to OpenAI's text completions, whole and in pieces, which have one shape.

use kwaainet_core::{Delta, Event, FinishReason, Footprint, ModelId, TokenLogprob, Usage};
use kwaainet_openapi::{Completion, CompletionChoice, CompletionLogprobs};

use super::super::ApiError;
use super::super::footprint;
use super::super::params::IncludeUsage;
use super::super::stream::{self, Collected, Framing, Piece, Shape};

/// The pieces of an answer.
pub(super) struct CompletionChunks {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: ModelId,
    pub(super) include_usage: IncludeUsage,
    /// Whether the usage says what it took of energy, and what that was.
    pub(super) carbon: bool,
    pub(super) took: Option<Footprint>,
    pub(super) logprobs: bool,
    /// Characters sent so far, for each choice.
    pub(super) offsets: Vec<u32>,
}

impl CompletionChunks {
    /// All of it in one piece.
    pub(super) fn whole(mut self, choices: Vec<Collected>, usage: Usage) -> Completion {
        let choices = (0_u32..).zip(choices).map(|(index, choice)| {
            let delta = Delta {
                choice: index,
                text: choice.text,
                logprobs: choice.logprobs,
                ..Delta::default()
            };
            self.choice(delta, Some(choice.reason.unwrap_or(FinishReason::Stop)))
        });
        let choices = choices.collect();
        self.completion(choices, Some(usage))
    }

    fn completion(&self, choices: Vec<CompletionChoice>, usage: Option<Usage>) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.to_string(),
            choices,
            system_fingerprint: stream::fingerprint(),
            usage: self
                .include_usage
                .0
                .then(|| usage.map(|usage| self.usage(usage))),
        }
    }

    fn usage(&self, usage: Usage) -> kwaainet_openapi::Usage {
        let took = self.took.as_ref().filter(|_| self.carbon);
        kwaainet_openapi::Usage {
            kwaai: took.map(footprint::usage),
            ..stream::usage(usage)
        }
    }

    fn choice(&mut self, delta: Delta, reason: Option<FinishReason>) -> CompletionChoice {
        let offset = &mut self.offsets[delta.choice as usize];
        let start = *offset;
        *offset += characters(delta.text.as_bytes());
        CompletionChoice {
            text: delta.text,
            index: delta.choice,
            logprobs: self.logprobs.then(|| wire_logprobs(delta.logprobs, start)),
            finish_reason: reason.map(FinishReason::as_str),
        }
    }

    fn delta(&mut self, delta: Delta) -> Option<Completion> {
        if delta.text.is_empty() && delta.logprobs.is_empty() {
            return None;
        }
        let choice = self.choice(delta, None);
        Some(self.completion(vec![choice], None))
    }

    fn finished(&mut self, choice: u32, reason: FinishReason) -> Completion {
        let last = Delta {
            choice,
            ..Delta::default()
        };
        let mut choice = self.choice(last, Some(reason));
        choice.logprobs = None;
        self.completion(vec![choice], None)
    }

    fn done(&self, usage: Usage) -> Vec<Piece> {
        let last = self.include_usage.0;
        let last = last.then(|| Piece::json(&self.completion(Vec::new(), Some(usage))));
        last.into_iter().chain([Piece::text("[DONE]")]).collect()
    }
}

impl Shape for CompletionChunks {
    const FRAMING: Framing = Framing::Events;

    fn start(&mut self) -> Vec<Piece> {
        Vec::new()
    }

    fn event(&mut self, event: Event) -> Vec<Piece> {
        let chunk = match event {
            Event::Started { .. } | Event::Call(_) => None,
            Event::Delta(delta) => self.delta(delta),
            Event::Finished { choice, reason } => Some(self.finished(choice, reason)),
            Event::Done(usage) => return self.done(usage),
        };
        chunk.iter().map(Piece::json).collect()
    }

    fn took(&mut self, footprint: Footprint) {
        self.took = Some(footprint);
    }

    fn error(&mut self, error: &ApiError) -> Vec<Piece> {
        vec![Piece::json(&error.body())]
    }
}

fn wire_logprobs(logprobs: Vec<TokenLogprob>, start: u32) -> CompletionLogprobs {
    let mut wire = CompletionLogprobs::default();
    let mut offset = start;
    for token in logprobs {
        let text = String::from_utf8_lossy(&token.chosen.bytes).into_owned();
        wire.text_offset.push(offset);
        offset += characters(&token.chosen.bytes);
        wire.tokens.push(text.clone());
        // The first token of a text has nothing before it that could make it probable.
        let chosen = Some(token.chosen.logprob).filter(|logprob| !logprob.is_nan());
        wire.token_logprobs.push(chosen);
        wire.top_logprobs.push(chosen.map(|chosen| {
            let any = !token.top.is_empty();
            let top = token.top.into_iter().map(|top| {
                let text = String::from_utf8_lossy(&top.bytes).into_owned();
                (text, top.logprob)
            });
            let own = any.then_some((text, chosen));
            own.into_iter().chain(top).collect()
        }));
    }
    wire
}

/// Characters that begin in these bytes, so that tokens that share a character count it once.
fn characters(bytes: &[u8]) -> u32 {
    bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::TopLogprob;

    fn token(bytes: &[u8], logprob: f32, top: &[(&[u8], f32)]) -> TokenLogprob {
        let one = |bytes: &[u8], logprob| TopLogprob {
            bytes: bytes.to_vec(),
            logprob,
        };
        TokenLogprob {
            chosen: one(bytes, logprob),
            top: top
                .iter()
                .map(|(bytes, logprob)| one(bytes, *logprob))
                .collect(),
        }
    }

    #[test]
    fn offsets_count_the_characters_of_the_text() {
        let tokens = vec![
            token("é".as_bytes(), -1.0, &[]),
            token(b"\xF0\x9F", -1.0, &[]),
            token(b"\x98\x80", -1.0, &[]),
            token(b"b", -1.0, &[]),
        ];
        assert_eq!(wire_logprobs(tokens, 5).text_offset, [5, 6, 7, 7]);
    }

    #[test]
    fn the_first_token_of_a_text_has_no_probability() {
        let wire = wire_logprobs(vec![token(b"a", f32::NAN, &[])], 0);
        assert_eq!(wire.token_logprobs, [None]);
        assert_eq!(wire.top_logprobs, [None]);
    }

    #[test]
    fn the_chosen_token_is_among_its_alternatives() {
        let wire = wire_logprobs(vec![token(b"a", -3.0, &[(b"b", -1.0)])], 0);
        let top = wire.top_logprobs[0].as_ref().expect("there are some");
        assert_eq!(top["a"], -3.0);
        assert_eq!(top["b"], -1.0);
        let none = wire_logprobs(vec![token(b"a", -3.0, &[])], 0);
        assert!(none.top_logprobs[0].as_ref().expect("a map").is_empty());
    }
}
