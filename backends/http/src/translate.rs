//! From the chunks of an OpenAI stream to the node's events. Pure: bytes are read elsewhere.
//!
//! A chunk's text is passed on as it is. Tokens are counted as the upstream counts them in its
//! usage chunk; until that comes, a piece of text counts for as many tokens as it has
//! log-probabilities, or for one.

use std::collections::VecDeque;

use kwaainet_core::{BackendError, Delta, Event, FinishReason, Usage};

use crate::calls::Calls;
use crate::chunk::{Chunk, WireCall, WireChoice, WireDelta, WireUsage};
use crate::errors::{self, Asked};
use crate::logprobs::WireLogprobs;
use crate::upstream::failed;

/// Follows one stream.
pub(crate) struct Translator {
    choices: Vec<Followed>,
    /// So many alternatives for each token, if any are wanted.
    logprobs: Option<u8>,
    /// Whether tools were offered.
    tools: bool,
    counted: u32,
    usage: Option<WireUsage>,
    asked: Asked,
}

/// What is known of one choice.
#[derive(Clone, Default)]
struct Followed {
    finished: bool,
    /// Pieces of text before the first log-probability.
    bare_pieces: u32,
    has_logprobs: bool,
    calls: Calls,
}

/// A server that holds text back for a stop text may release a part of a token before the rest,
/// and its log-probability only then. It never does so twice without giving any.
const BARE_PIECES_MAX: u32 = 1;

impl Translator {
    pub(crate) fn new(choices: u16, logprobs: Option<u8>, tools: bool, asked: Asked) -> Self {
        Self {
            choices: vec![Followed::default(); usize::from(choices)],
            logprobs,
            tools,
            counted: 0,
            usage: None,
            asked,
        }
    }

    /// Appends the events of one chunk.
    pub(crate) fn take(
        &mut self,
        data: &[u8],
        events: &mut VecDeque<Event>,
    ) -> Result<(), BackendError> {
        let chunk: Chunk = serde_json::from_slice(data)
            .map_err(|_| failed("its stream holds something that is no chunk of an answer"))?;
        if chunk.error.is_some() || chunk.object.as_deref() == Some("error") {
            return Err(errors::from_stream(data, &self.asked));
        }
        if let Some(usage) = chunk.usage.filter(WireUsage::has_counts) {
            self.usage = Some(usage);
        }
        for choice in chunk.choices.unwrap_or_default() {
            self.choice(choice, events)?;
        }
        Ok(())
    }

    /// Whether every choice is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.choices.iter().all(|choice| choice.finished)
    }

    /// The last event, once the upstream has said all.
    pub(crate) fn done(&self) -> Result<Event, BackendError> {
        if !self.is_complete() {
            return Err(failed("its stream ended before the answer was complete"));
        }
        Ok(Event::Done(match &self.usage {
            Some(usage) => usage.in_our_words(self.counted),
            None => Usage {
                completion_tokens: self.counted,
                ..Usage::default()
            },
        }))
    }

    fn choice(
        &mut self,
        mut choice: WireChoice,
        events: &mut VecDeque<Event>,
    ) -> Result<(), BackendError> {
        let index = choice.index.unwrap_or_default();
        if index as usize >= self.choices.len() {
            return Err(failed("it answered with a choice that was not asked for"));
        }
        let reason = choice.finish_reason.as_deref();
        let reason = reason
            .filter(|word| !word.is_empty())
            .map(finish_reason)
            .transpose()?;
        let calls = self.calls(choice.delta.as_mut())?;
        let delta = self.delta(choice, !calls.is_empty());
        let followed = &mut self.choices[index as usize];
        let says_nothing = delta.text.is_empty() && delta.tokens == 0;
        if followed.finished {
            // Some servers repeat the end of a choice in the chunk that carries the usage.
            return if says_nothing {
                Ok(())
            } else {
                Err(failed("it went on after the end of an answer"))
            };
        }
        followed.finished = reason.is_some();
        followed.has_logprobs |= !delta.logprobs.is_empty();
        followed.bare_pieces += u32::from(!delta.text.is_empty() && !followed.has_logprobs);
        if self.logprobs.is_some() && followed.lacks_logprobs() {
            return Err(BackendError::Unsupported {
                param: "logprobs",
                reason: "the upstream server gives no log-probabilities".into(),
            });
        }
        if !says_nothing {
            self.counted = self.counted.saturating_add(delta.tokens);
            events.push_back(Event::Delta(delta));
        }
        for call in calls {
            events.push_back(Event::Call(followed.calls.take(index, call)?));
        }
        if let Some(reason) = reason {
            let reason = followed.reason(reason)?;
            events.push_back(Event::Finished {
                choice: index,
                reason,
            });
        }
        Ok(())
    }

    /// Takes the pieces of tool calls out of a delta.
    fn calls(&self, delta: Option<&mut WireDelta>) -> Result<Vec<WireCall>, BackendError> {
        let Some(delta) = delta else {
            return Ok(Vec::new());
        };
        let calls = delta.tool_calls.take().unwrap_or_default();
        if delta.function_call.is_some() || !(self.tools || calls.is_empty()) {
            return Err(tool_call());
        }
        Ok(calls)
    }

    fn delta(&self, choice: WireChoice, calls: bool) -> Delta {
        let said = choice.delta.unwrap_or_default();
        let text = [choice.text, said.content, said.refusal];
        let text: String = text.into_iter().flatten().collect();
        let mut logprobs = choice
            .logprobs
            .map_or_else(Vec::new, WireLogprobs::into_tokens);
        for token in &mut logprobs {
            // Some servers add the chosen token to the best ones.
            token
                .top
                .truncate(usize::from(self.logprobs.unwrap_or_default()));
        }
        let thought = said.reasoning_content.or(said.reasoning);
        let thinks = thought.is_some_and(|text| !text.is_empty());
        let at_least = usize::from(thinks || calls || !text.is_empty());
        Delta {
            choice: choice.index.unwrap_or_default(),
            tokens: logprobs.len().max(at_least) as u32,
            text,
            ids: Vec::new(),
            logprobs: match self.logprobs {
                Some(_) => logprobs,
                None => Vec::new(),
            },
            stopped_by: None,
        }
    }
}

impl Followed {
    /// Why it ended. Some servers say `stop` after calls as well.
    fn reason(&self, reason: FinishReason) -> Result<FinishReason, BackendError> {
        match (reason, self.calls.any()) {
            (FinishReason::Stop, true) => Ok(FinishReason::ToolCalls),
            (FinishReason::ToolCalls, false) => Err(tool_call()),
            (reason, _) => Ok(reason),
        }
    }

    fn lacks_logprobs(&self) -> bool {
        let bare_max = if self.finished { 0 } else { BARE_PIECES_MAX };
        !self.has_logprobs && self.bare_pieces > bare_max
    }
}

fn finish_reason(word: &str) -> Result<FinishReason, BackendError> {
    match word {
        "stop" | "eos" | "eos_token" | "stop_sequence" => Ok(FinishReason::Stop),
        "length" => Ok(FinishReason::Length),
        "content_filter" => Ok(FinishReason::ContentFilter),
        "tool_calls" => Ok(FinishReason::ToolCalls),
        _ => Err(failed(
            "it ended an answer for a reason that is not known here",
        )),
    }
}

fn tool_call() -> BackendError {
    failed("it speaks of a tool call that nobody asked for or that did not come")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{CallDelta, CallStart};
    use std::sync::Arc;

    fn translator(choices: u16, logprobs: Option<u8>) -> Translator {
        let asked = Asked {
            model: "m".into(),
            main: "messages",
            max_tokens: "max_tokens",
            hidden: Arc::from([]),
        };
        Translator::new(choices, logprobs, false, asked)
    }

    fn take(translator: &mut Translator, chunk: &str) -> Result<Vec<Event>, BackendError> {
        let mut events = VecDeque::new();
        translator.take(chunk.as_bytes(), &mut events)?;
        Ok(events.into())
    }

    fn delta(text: &str, tokens: u32) -> Event {
        Event::Delta(Delta {
            text: text.into(),
            tokens,
            ..Delta::default()
        })
    }

    fn finished(reason: FinishReason) -> Event {
        Event::Finished { choice: 0, reason }
    }

    #[test]
    fn a_chat_as_openai_streams_it() {
        let mut stream = translator(1, None);
        let role = r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#;
        assert_eq!(take(&mut stream, role), Ok(vec![]));
        let text = r#"{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}"#;
        assert_eq!(take(&mut stream, text), Ok(vec![delta("Hi", 1)]));
        assert!(stream.done().is_err(), "it is not complete");
        let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        assert_eq!(
            take(&mut stream, end),
            Ok(vec![finished(FinishReason::Stop)])
        );
        let uncounted = Usage {
            completion_tokens: 1,
            ..Usage::default()
        };
        assert_eq!(stream.done(), Ok(Event::Done(uncounted)));
        let usage = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11,"prompt_tokens_details":{"cached_tokens":4}}}"#;
        assert_eq!(take(&mut stream, usage), Ok(vec![]));
        let counted = Usage {
            prompt_tokens: 9,
            cached_tokens: 4,
            completion_tokens: 2,
        };
        assert_eq!(stream.done(), Ok(Event::Done(counted)));
    }

    #[test]
    fn a_completion_with_its_end_and_usage_in_one_chunk_and_the_end_again() {
        let mut stream = translator(1, None);
        let all = r#"{"choices":[{"text":" x","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
        let expected = vec![delta(" x", 1), finished(FinishReason::Length)];
        assert_eq!(take(&mut stream, all), Ok(expected));
        let again = r#"{"choices":[{"text":"","index":0,"finish_reason":"length"}]}"#;
        assert_eq!(take(&mut stream, again), Ok(vec![]));
        let more = r#"{"choices":[{"text":"y","index":0}]}"#;
        assert!(take(&mut stream, more).is_err());
    }

    #[test]
    fn nulls_are_no_counts_and_no_fault() {
        let mut stream = translator(1, None);
        let nulls = r#"{"choices":[{"index":null,"delta":{"content":"x"}}],"usage":{"prompt_tokens":null,"completion_tokens":null}}"#;
        assert_eq!(take(&mut stream, nulls), Ok(vec![delta("x", 1)]));
        let end = r#"{"choices":[{"index":null,"text":"","finish_reason":"stop"}],"usage":{}}"#;
        assert_eq!(
            take(&mut stream, end),
            Ok(vec![finished(FinishReason::Stop)])
        );
        let mut usage = Usage {
            completion_tokens: 1,
            ..Usage::default()
        };
        assert_eq!(stream.done(), Ok(Event::Done(usage)));
        let half = r#"{"usage":{"prompt_tokens":4,"completion_tokens":null}}"#;
        assert_eq!(take(&mut stream, half), Ok(vec![]));
        usage.prompt_tokens = 4;
        assert_eq!(stream.done(), Ok(Event::Done(usage)));
    }

    #[test]
    fn thinking_costs_tokens_and_is_not_shown() {
        let mut stream = translator(1, None);
        for said in [
            r#""reasoning_content":"hm""#,
            r#""content":null,"reasoning":"hm""#,
            r#""content":"","reasoning":"hm","reasoning_content":"hm""#,
        ] {
            let chunk =
                format!(r#"{{"choices":[{{"index":0,"delta":{{{said}}},"finish_reason":""}}]}}"#);
            assert_eq!(take(&mut stream, &chunk), Ok(vec![delta("", 1)]), "{said}");
        }
    }

    #[test]
    fn log_probabilities_count_tokens_and_must_not_be_missing() {
        let chunk = r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":{"content":[
            {"token":"a","logprob":-1,"bytes":[97],"top_logprobs":[]},
            {"token":"b","logprob":-3,"bytes":[98],"top_logprobs":[
                {"token":"a","logprob":-1},{"token":"b","logprob":-3}]}]}}]}"#;
        let events = take(&mut translator(1, Some(1)), chunk).expect("it is good");
        let Event::Delta(both) = &events[0] else {
            panic!("{events:?}");
        };
        assert_eq!((both.tokens, both.logprobs.len()), (2, 2));
        assert_eq!(both.logprobs[1].top.len(), 1, "as many as were asked for");

        let bare = r#"{"choices":[{"index":0,"delta":{"content":"ab"},"logprobs":null}]}"#;
        let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        for next in [bare, end] {
            let mut stream = translator(1, Some(0));
            assert_eq!(take(&mut stream, bare), Ok(vec![delta("ab", 1)]));
            let refused = take(&mut stream, next);
            let named = matches!(
                refused,
                Err(BackendError::Unsupported {
                    param: "logprobs",
                    ..
                })
            );
            assert!(named, "{refused:?}");
        }
        let mut stream = translator(1, Some(1));
        for piece in [bare, chunk, bare, end] {
            assert!(take(&mut stream, piece).is_ok(), "it came in time: {piece}");
        }
    }

    #[test]
    fn calls_are_passed_on_if_tools_were_offered() {
        let mut stream = translator(1, None);
        stream.tools = true;
        let call = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}}]}}]}"#;
        let start = CallStart {
            id: "x".into(),
            name: "a".into(),
        };
        let called = Event::Call(CallDelta {
            start: Some(start),
            arguments: "{}".into(),
            ..CallDelta::default()
        });
        assert_eq!(take(&mut stream, call), Ok(vec![delta("", 1), called]));
        let end = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
        assert_eq!(
            take(&mut stream, end),
            Ok(vec![finished(FinishReason::ToolCalls)])
        );
    }

    #[test]
    fn what_cannot_be_passed_on_is_an_error_of_the_upstream() {
        for chunk in [
            "no json",
            "[]x",
            r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"bored"}]}"#,
            r#"{"error":{"message":"the machine burns","type":"server_error"}}"#,
            "{\"choices\":[{\"index\":0,\"text\":\"\u{0}\"}]}",
        ] {
            let result = take(&mut translator(1, None), chunk);
            assert!(
                matches!(result, Err(BackendError::Upstream { .. })),
                "{chunk}: {result:?}"
            );
        }
    }
}
