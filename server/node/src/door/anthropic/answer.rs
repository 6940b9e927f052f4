//! What the model says, as Anthropic's message and as its events. An answer has at least one block:
//! one of no text if nothing was said, since clients look at the first without asking.

use kwaainet_core::{CallDelta, Delta, Event, FinishReason, ToolCall, Usage};
use kwaainet_openapi::{
    AnthropicBlock, AnthropicBlockDelta, AnthropicEvent, AnthropicMessage, AnthropicStop,
    AnthropicUsage,
};
use serde_json::{Map, Value};

use super::error;
use crate::door::ApiError;
use crate::door::stream::{Collected, Framing, Piece, Shape};

/// What all pieces of an answer share.
pub(super) struct Head {
    pub(super) id: String,
    pub(super) model: String,
}

impl Head {
    /// The whole answer.
    pub(super) fn message(self, said: Collected, tokens: Usage) -> AnthropicMessage {
        let mut content = Vec::with_capacity(said.calls.len() + 1);
        if !said.text.is_empty() || said.calls.is_empty() {
            content.push(AnthropicBlock::Text { text: said.text });
        }
        content.extend(said.calls.into_iter().map(call));
        let reason = said.reason.unwrap_or(FinishReason::Stop);
        AnthropicMessage {
            stop_reason: Some(stop_reason(reason, said.stopped_by.as_deref())),
            stop_sequence: said.stopped_by,
            ..self.begun(content, tokens)
        }
    }

    fn begun(self, content: Vec<AnthropicBlock>, tokens: Usage) -> AnthropicMessage {
        AnthropicMessage {
            id: self.id,
            kind: "message",
            role: "assistant",
            model: self.model,
            content,
            stop_reason: None,
            stop_sequence: None,
            usage: usage(tokens),
        }
    }
}

/// A call that was cut has no arguments that anybody could read; the stop reason tells of it.
fn call(call: ToolCall) -> AnthropicBlock {
    let input = serde_json::from_str::<Map<String, Value>>(&call.arguments);
    AnthropicBlock::ToolUse {
        id: call.id,
        name: call.name,
        input: Value::Object(input.unwrap_or_default()),
    }
}

fn usage(usage: Usage) -> AnthropicUsage {
    AnthropicUsage {
        input_tokens: usage.prompt_tokens.saturating_sub(usage.cached_tokens),
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: usage.cached_tokens,
        output_tokens: usage.completion_tokens,
    }
}

fn stop_reason(reason: FinishReason, stopped_by: Option<&str>) -> &'static str {
    match reason {
        FinishReason::Stop if stopped_by.is_some() => "stop_sequence",
        FinishReason::Stop => "end_turn",
        FinishReason::Length => "max_tokens",
        FinishReason::ToolCalls => "tool_use",
        FinishReason::ContentFilter => "refusal",
    }
}

/// The answer as a stream: the message begins, its blocks one after the other, why it ended.
pub(super) struct MessageEvents {
    /// Until the message has begun.
    head: Option<Head>,
    /// How many blocks have begun.
    blocks: u32,
    open: Option<Open>,
    stopped_by: Option<String>,
    reason: FinishReason,
}

/// The block that goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Call,
}

impl MessageEvents {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head: Some(head),
            blocks: 0,
            open: None,
            stopped_by: None,
            reason: FinishReason::Stop,
        }
    }

    fn begin(&mut self, tokens: Usage) -> Vec<AnthropicEvent> {
        let head = self.head.take().into_iter();
        head.map(|head| AnthropicEvent::MessageStart {
            message: head.begun(Vec::new(), tokens),
        })
        .collect()
    }

    fn text(&mut self, delta: Delta) -> Vec<AnthropicEvent> {
        self.stopped_by = delta.stopped_by.or(self.stopped_by.take());
        if delta.text.is_empty() {
            return Vec::new();
        }
        let mut events = match self.open {
            Some(Open::Text) => Vec::new(),
            _ => self.open(
                Open::Text,
                AnthropicBlock::Text {
                    text: String::new(),
                },
            ),
        };
        let text = delta.text;
        events.push(self.more(AnthropicBlockDelta::TextDelta { text }));
        events
    }

    fn call(&mut self, delta: CallDelta) -> Vec<AnthropicEvent> {
        let mut events = match delta.start {
            None => Vec::new(),
            Some(start) => {
                let block = AnthropicBlock::ToolUse {
                    id: start.id,
                    name: start.name,
                    input: Value::Object(Map::new()),
                };
                self.open(Open::Call, block)
            }
        };
        if !delta.arguments.is_empty() {
            let partial_json = delta.arguments;
            events.push(self.more(AnthropicBlockDelta::InputJsonDelta { partial_json }));
        }
        events
    }

    /// Ends the block that goes on, and begins this one.
    fn open(&mut self, kind: Open, content_block: AnthropicBlock) -> Vec<AnthropicEvent> {
        let mut events = self.close();
        events.push(AnthropicEvent::ContentBlockStart {
            index: self.blocks,
            content_block,
        });
        self.blocks += 1;
        self.open = Some(kind);
        events
    }

    fn more(&self, delta: AnthropicBlockDelta) -> AnthropicEvent {
        let index = self.blocks.saturating_sub(1);
        AnthropicEvent::ContentBlockDelta { index, delta }
    }

    fn close(&mut self) -> Vec<AnthropicEvent> {
        let index = self.blocks.saturating_sub(1);
        let open = self.open.take().into_iter();
        open.map(|_| AnthropicEvent::ContentBlockStop { index })
            .collect()
    }

    fn finish(&mut self, reason: FinishReason) -> Vec<AnthropicEvent> {
        self.reason = reason;
        let mut events = Vec::new();
        if self.blocks == 0 {
            let text = String::new();
            events = self.open(Open::Text, AnthropicBlock::Text { text });
        }
        events.extend(self.close());
        events
    }

    fn end(&mut self, tokens: Usage) -> Vec<AnthropicEvent> {
        let stop_sequence = self.stopped_by.take();
        let delta = AnthropicStop {
            stop_reason: stop_reason(self.reason, stop_sequence.as_deref()),
            stop_sequence,
        };
        let usage = usage(tokens);
        vec![
            AnthropicEvent::MessageDelta { delta, usage },
            AnthropicEvent::MessageStop,
        ]
    }
}

impl Shape for MessageEvents {
    const FRAMING: Framing = Framing::Events;

    /// The first event holds the prompt's tokens, which are not known yet.
    fn start(&mut self) -> Vec<Piece> {
        Vec::new()
    }

    fn event(&mut self, event: Event) -> Vec<Piece> {
        let events = match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => self.begin(Usage {
                prompt_tokens,
                cached_tokens,
                completion_tokens: 0,
            }),
            Event::Delta(delta) => self.text(delta),
            Event::Call(delta) => self.call(delta),
            Event::Finished { reason, .. } => self.finish(reason),
            Event::Done(tokens) => self.end(tokens),
        };
        events.iter().map(piece).collect()
    }

    fn error(&mut self, error: &ApiError) -> Vec<Piece> {
        let error = error::object(error);
        vec![piece(&AnthropicEvent::Error { error })]
    }

    fn keep_alive(&self) -> Option<Piece> {
        Some(piece(&AnthropicEvent::Ping))
    }
}

fn piece(event: &AnthropicEvent) -> Piece {
    Piece::json(event).named(match event {
        AnthropicEvent::MessageStart { .. } => "message_start",
        AnthropicEvent::ContentBlockStart { .. } => "content_block_start",
        AnthropicEvent::ContentBlockDelta { .. } => "content_block_delta",
        AnthropicEvent::ContentBlockStop { .. } => "content_block_stop",
        AnthropicEvent::MessageDelta { .. } => "message_delta",
        AnthropicEvent::MessageStop => "message_stop",
        AnthropicEvent::Ping => "ping",
        AnthropicEvent::Error { .. } => "error",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::CallStart;

    #[test]
    fn text_before_and_after_a_call_are_blocks_of_their_own() {
        let mut events = MessageEvents::new(Head {
            id: "msg_1".to_owned(),
            model: "m".to_owned(),
        });
        let text = |text: &str| Delta {
            text: text.to_owned(),
            ..Delta::default()
        };
        let start = CallDelta {
            start: Some(CallStart {
                id: "c".to_owned(),
                name: "f".to_owned(),
            }),
            ..CallDelta::default()
        };
        let arguments = CallDelta {
            arguments: "{}".to_owned(),
            ..CallDelta::default()
        };
        let mut said = events.text(text("a"));
        said.extend(events.text(text("")));
        said.extend(events.call(start));
        said.extend(events.text(text("")));
        said.extend(events.call(arguments));
        said.extend(events.text(text("b")));
        said.extend(events.finish(FinishReason::ToolCalls));
        let short = |event: &AnthropicEvent| {
            let event = serde_json::to_value(event).expect("it is JSON");
            let kind = event["type"].as_str().expect("a type");
            let kind = kind.trim_start_matches("content_block_").to_owned();
            (kind, event["index"].as_u64().expect("an index"))
        };
        let said: Vec<_> = said.iter().map(short).collect();
        let expected = [
            ("start", 0),
            ("delta", 0),
            ("stop", 0),
            ("start", 1),
            ("delta", 1),
            ("stop", 1),
            ("start", 2),
            ("delta", 2),
            ("stop", 2),
        ];
        assert_eq!(said, expected.map(|(kind, index)| (kind.to_owned(), index)));
    }
}
