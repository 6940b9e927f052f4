//! Events to OpenAI's answers, whole and in chunks.

use kwaainet_core::{
    CallDelta, Delta, Event, FinishReason, Footprint, ModelId, TokenLogprob, ToolCall, Usage,
};
use kwaainet_openapi::{
    AssistantMessage, ChatChoice, ChatChunk, ChatChunkChoice, ChatCompletion, ChatDelta,
    ChatLogprobs, ChatToolCall, ChatToolCallDelta, FunctionCall, FunctionCallDelta,
};

use super::super::ApiError;
use super::super::footprint;
use super::super::params::IncludeUsage;
use super::super::stream::{self, Collected, Framing, Piece, Shape};
use super::tools::CallForm;

/// What all chunks of an answer share.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: ModelId,
}

impl Head {
    pub(super) fn completion(
        self,
        choices: Vec<Collected>,
        usage: Usage,
        logprobs: bool,
        form: CallForm,
    ) -> ChatCompletion {
        let choices = (0_u32..).zip(choices).map(|(index, choice)| ChatChoice {
            index,
            message: message(choice.text, choice.calls, form),
            logprobs: logprobs.then(|| wire_logprobs(choice.logprobs)),
            finish_reason: form.reason(choice.reason.unwrap_or(FinishReason::Stop)),
        });
        ChatCompletion {
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.model.to_string(),
            choices: choices.collect(),
            usage: stream::usage(usage),
            service_tier: "default",
            system_fingerprint: stream::fingerprint(),
        }
    }
}

fn message(text: String, calls: Vec<ToolCall>, form: CallForm) -> AssistantMessage {
    let only_calls = text.is_empty() && !calls.is_empty();
    let function = |call: ToolCall| FunctionCall {
        name: call.name,
        arguments: call.arguments,
    };
    let (tool_calls, function_call) = match form {
        _ if calls.is_empty() => (None, None),
        CallForm::Function => (None, calls.into_iter().next().map(function)),
        CallForm::Tools => {
            let calls = calls.into_iter().map(|call| ChatToolCall {
                id: call.id.clone(),
                kind: "function",
                function: function(call),
            });
            (Some(calls.collect()), None)
        }
    };
    AssistantMessage {
        role: "assistant",
        content: (!only_calls).then_some(text),
        refusal: None,
        annotations: Vec::new(),
        tool_calls,
        function_call,
    }
}

impl CallForm {
    fn reason(self, reason: FinishReason) -> &'static str {
        match (self, reason) {
            (Self::Function, FinishReason::ToolCalls) => "function_call",
            (_, reason) => reason.as_str(),
        }
    }
}

/// The chunks of a streamed answer.
pub(super) struct ChatChunks {
    head: Head,
    include_usage: IncludeUsage,
    /// Whether the usage says what it took of energy, and what that was.
    carbon: bool,
    took: Option<Footprint>,
    logprobs: bool,
    /// How calls are written, if any can come.
    calls: Option<CallForm>,
    /// For each choice, whether its first chunk went out.
    opened: Vec<bool>,
}

impl ChatChunks {
    pub(super) fn new(head: Head, include_usage: IncludeUsage, choices: u32) -> Self {
        Self {
            head,
            include_usage,
            carbon: false,
            took: None,
            logprobs: false,
            calls: None,
            opened: vec![false; choices as usize],
        }
    }

    pub(super) fn with_carbon(self, carbon: bool) -> Self {
        Self { carbon, ..self }
    }

    pub(super) fn with_logprobs(self, logprobs: bool) -> Self {
        Self { logprobs, ..self }
    }

    pub(super) fn with_calls(self, calls: Option<CallForm>) -> Self {
        Self { calls, ..self }
    }

    fn chunk(&self, choices: Vec<ChatChunkChoice>, usage: Option<Usage>) -> ChatChunk {
        ChatChunk {
            id: self.head.id.clone(),
            object: "chat.completion.chunk",
            created: self.head.created,
            model: self.head.model.to_string(),
            service_tier: "default",
            system_fingerprint: stream::fingerprint(),
            choices,
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

    /// A chunk that goes on with one choice.
    fn piece(&self, index: u32, delta: ChatDelta) -> Piece {
        Piece::json(&self.chunk(vec![choice(index, delta)], None))
    }

    /// The first chunk of a choice, unless it went out already. `content` is null where a call is
    /// what comes.
    fn open(&mut self, index: u32, content: Option<String>) -> Option<Piece> {
        let opened = self.opened.get_mut(index as usize)?;
        let first = !std::mem::replace(opened, true);
        let delta = ChatDelta {
            role: Some("assistant"),
            content: Some(content),
            refusal: Some(None),
            ..ChatDelta::default()
        };
        first.then(|| self.piece(index, delta))
    }

    fn open_text(&mut self, index: u32) -> Option<Piece> {
        self.open(index, Some(String::new()))
    }

    fn delta(&mut self, delta: Delta) -> Vec<Piece> {
        if delta.text.is_empty() && delta.logprobs.is_empty() {
            return Vec::new();
        }
        let mut choice = choice(
            delta.choice,
            ChatDelta {
                content: Some(Some(delta.text)),
                ..ChatDelta::default()
            },
        );
        choice.logprobs = self.logprobs.then(|| wire_logprobs(delta.logprobs));
        let opening = self.open_text(delta.choice);
        let more = Piece::json(&self.chunk(vec![choice], None));
        opening.into_iter().chain([more]).collect()
    }

    /// A call begins with its name and goes on with nothing but its arguments: clients take a name or
    /// an id that comes again for more of it, or for another call.
    fn call(&mut self, delta: CallDelta) -> Vec<Piece> {
        let form = self.calls.unwrap_or(CallForm::Tools);
        if form == CallForm::Function && delta.index > 0 {
            return Vec::new();
        }
        let begin = delta.start.map(|start| match form {
            CallForm::Tools => tool_delta(delta.index, Some((start.id, start.name)), String::new()),
            CallForm::Function => function_delta(Some(start.name), String::new()),
        });
        let arguments = Some(delta.arguments).filter(|arguments| !arguments.is_empty());
        let more = arguments.map(|arguments| match form {
            CallForm::Tools => tool_delta(delta.index, None, arguments),
            CallForm::Function => function_delta(None, arguments),
        });
        let opening = self.open(delta.choice, None);
        let deltas = [begin, more].into_iter().flatten();
        let pieces = deltas.map(|wire| self.piece(delta.choice, wire));
        opening.into_iter().chain(pieces).collect()
    }

    fn finished(&mut self, index: u32, reason: FinishReason) -> Vec<Piece> {
        let form = self.calls.unwrap_or(CallForm::Tools);
        let mut choice = choice(index, ChatDelta::default());
        choice.finish_reason = Some(form.reason(reason));
        let opening = self.open_text(index);
        let last = Piece::json(&self.chunk(vec![choice], None));
        opening.into_iter().chain([last]).collect()
    }

    fn done(&self, usage: Usage) -> Vec<Piece> {
        let last = self.include_usage.0;
        let last = last.then(|| Piece::json(&self.chunk(Vec::new(), Some(usage))));
        last.into_iter().chain([Piece::text("[DONE]")]).collect()
    }
}

impl Shape for ChatChunks {
    const FRAMING: Framing = Framing::Events;

    /// Where a call may come, the first chunk of a choice waits for what comes.
    fn start(&mut self) -> Vec<Piece> {
        if self.calls.is_some() {
            return Vec::new();
        }
        let choices = 0..self.opened.len() as u32;
        choices.filter_map(|index| self.open_text(index)).collect()
    }

    fn event(&mut self, event: Event) -> Vec<Piece> {
        match event {
            Event::Started { .. } => Vec::new(),
            Event::Delta(delta) => self.delta(delta),
            Event::Call(delta) => self.call(delta),
            Event::Finished { choice, reason } => self.finished(choice, reason),
            Event::Done(usage) => self.done(usage),
        }
    }

    fn took(&mut self, footprint: Footprint) {
        self.took = Some(footprint);
    }

    fn error(&mut self, error: &ApiError) -> Vec<Piece> {
        vec![Piece::json(&error.body())]
    }
}

fn choice(index: u32, delta: ChatDelta) -> ChatChunkChoice {
    ChatChunkChoice {
        index,
        delta,
        logprobs: None,
        finish_reason: None,
    }
}

fn tool_delta(index: u32, start: Option<(String, String)>, arguments: String) -> ChatDelta {
    let kind = start.as_ref().map(|_| "function");
    let (id, name) = start.unzip();
    let call = ChatToolCallDelta {
        index,
        id,
        kind,
        function: FunctionCallDelta { name, arguments },
    };
    ChatDelta {
        tool_calls: Some(vec![call]),
        ..ChatDelta::default()
    }
}

fn function_delta(name: Option<String>, arguments: String) -> ChatDelta {
    ChatDelta {
        function_call: Some(FunctionCallDelta { name, arguments }),
        ..ChatDelta::default()
    }
}

fn wire_logprobs(logprobs: Vec<TokenLogprob>) -> ChatLogprobs {
    let top = |token: kwaainet_core::TopLogprob| kwaainet_openapi::TopLogprob {
        token: String::from_utf8_lossy(&token.bytes).into_owned(),
        logprob: token.logprob,
        bytes: token.bytes,
    };
    let content = logprobs.into_iter().map(|token| {
        let chosen = top(token.chosen);
        kwaainet_openapi::TokenLogprob {
            token: chosen.token,
            logprob: chosen.logprob,
            bytes: chosen.bytes,
            top_logprobs: token.top.into_iter().map(top).collect(),
        }
    });
    ChatLogprobs {
        content: content.collect(),
        refusal: None,
    }
}

#[cfg(test)]
mod tests;
