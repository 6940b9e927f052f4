//! From messages to tokens. The text of a message is text: a control token that is spelled out in it
//! stays letters, while everything else is tokenized exactly as the rendered whole.
//!
//! The template's own control tokens and those that a message spells out look alike once rendered.
//! So each spelling in a message, or in what is said of tools, is broken beforehand by a guard: a character that occurs nowhere
//! else. The rendered text is cut at its control tokens, which are then the template's, and the guards
//! are taken out of what lies between.
//!
//! A template that takes a message apart and joins its parts anew could put together what no part
//! held. Trimming, splitting and appending, which is what templates do, are safe: the end of a
//! message that could begin a control token is guarded too.

use std::borrow::Cow;
use std::collections::HashSet;

use kwaainet_core::{Conversation, Message, ToolCall};
use serde_json::Value;

use super::TextError;
use super::special::{Fragment, Specials};
use crate::template::{CallView, CalledView, ChatTemplate, FunctionView, ToolView, Turn, View};
use crate::tools::{shortened, shown};

/// Renders conversations through one template.
#[derive(Clone, Copy)]
pub(super) struct Renderer<'t> {
    pub(super) template: &'t ChatTemplate,
    pub(super) specials: &'t Specials,
    pub(super) bytes_max: usize,
    /// So many letters and digits have the ids of calls, if the template counts them.
    pub(super) id_len: Option<usize>,
}

impl Renderer<'_> {
    /// Renders a conversation and cuts it at the template's control tokens. The text between has no
    /// guards left and may hold user-defined tokens.
    pub(super) fn render(&self, chat: &Conversation) -> Result<Rendered, TextError> {
        let guard = Guard::new(chat, self.template.source())?;
        let turns = chat.messages.iter().map(|m| self.turn(m, &guard)).collect();
        let tools = shown(chat).iter().map(|tool| {
            let function = FunctionView::new(tool);
            let text = |text: String| guard.protect(&text, self.specials).into_owned();
            ToolView {
                r#type: "function",
                function: FunctionView {
                    name: text(function.name),
                    description: function.description.map(text),
                    parameters: self.value(&function.parameters, &guard),
                },
            }
        });
        let view = View {
            turns,
            tools: tools.collect(),
        };
        Ok(Rendered {
            text: self.template.render(&view, self.bytes_max)?,
            guard,
        })
    }

    fn turn<'m>(&self, message: &'m Message, guard: &Guard) -> Turn<'m> {
        let text = |text: &'m str| guard.protect(text, self.specials);
        Turn {
            role: message.role.as_str(),
            content: text(&message.content),
            name: message.name.as_deref().map(text),
            tool_calls: message
                .tool_calls
                .iter()
                .map(|c| self.call(c, guard))
                .collect(),
            tool_call_id: message.tool_call_id.as_deref().map(|id| self.id(id, guard)),
        }
    }

    fn call(&self, call: &ToolCall, guard: &Guard) -> CallView {
        CallView {
            id: self.id(&call.id, guard),
            r#type: "function",
            function: CalledView {
                name: guard.protect(&call.name, self.specials).into_owned(),
                arguments: self.value(&arguments(call), guard),
            },
        }
    }

    fn id(&self, id: &str, guard: &Guard) -> String {
        match self.id_len {
            Some(len) => shortened(id, len),
            None => guard.protect(id, self.specials).into_owned(),
        }
    }

    /// JSON with each text in it guarded. Written out, its texts stand within quotes, so that nothing
    /// comes together between them.
    fn value(&self, value: &Value, guard: &Guard) -> Value {
        let text = |text: &str| guard.protect(text, self.specials).into_owned();
        match value {
            Value::String(inner) => Value::String(text(inner)),
            Value::Array(values) => values.iter().map(|v| self.value(v, guard)).collect(),
            Value::Object(members) => {
                let members = members.iter();
                Value::Object(
                    members
                        .map(|(k, v)| (text(k), self.value(v, guard)))
                        .collect(),
                )
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// As a value, or as the text that it is.
fn arguments(call: &ToolCall) -> Value {
    let value = serde_json::from_str(&call.arguments).ok();
    value.unwrap_or_else(|| Value::String(call.arguments.clone()))
}

/// Every text of a conversation.
fn texts(chat: &Conversation) -> impl Iterator<Item = Cow<'_, str>> {
    let of_message = |message: &'_ Message| {
        let calls = message.tool_calls.iter().flat_map(|call| {
            let decoded = arguments(call).to_string();
            [
                call.id.clone(),
                call.name.clone(),
                call.arguments.clone(),
                decoded,
            ]
        });
        calls.collect::<Vec<_>>()
    };
    let of_tools = shown(chat).iter().flat_map(|tool| {
        let schema = tool.parameters.as_ref().map(Value::to_string);
        [Some(tool.name.clone()), tool.description.clone(), schema]
    });
    let plain = chat.messages.iter().flat_map(|message| {
        let ids = message.tool_call_id.as_deref();
        [Some(message.content.as_str()), message.name.as_deref(), ids]
    });
    let made = chat.messages.iter().flat_map(of_message);
    let made = made.chain(of_tools.flatten()).map(Cow::Owned);
    plain.flatten().map(Cow::Borrowed).chain(made)
}

/// How long a conversation is, in bytes.
pub(super) fn length(chat: &Conversation) -> usize {
    texts(chat).map(|text| text.len()).sum()
}

/// A rendered conversation with its guards.
pub(super) struct Rendered {
    text: String,
    guard: Guard,
}

impl Rendered {
    /// The template's control tokens, and the text between them free of guards.
    pub(super) fn parts<'r>(&'r self, specials: &Specials) -> Vec<Part<'r>> {
        let part = |fragment| match fragment {
            Fragment::Token(id) => Part::Token(id),
            Fragment::Text(text) => Part::Text(self.guard.remove(text)),
        };
        specials
            .split(&self.text, true)
            .into_iter()
            .map(part)
            .collect()
    }

    /// The text with its guards.
    pub(super) fn raw(&self) -> &str {
        &self.text
    }

    /// The text without guards.
    #[cfg(test)]
    pub(super) fn text(&self) -> Cow<'_, str> {
        self.guard.remove(&self.text)
    }
}

/// A part of a rendered conversation.
pub(super) enum Part<'r> {
    Token(u32),
    Text(Cow<'r, str>),
}

/// A character that occurs neither in the conversation nor in the template.
struct Guard(char);

impl Guard {
    fn new(chat: &Conversation, template: &str) -> Result<Self, TextError> {
        // Private use: no letter, no space, no case, so that no filter changes it.
        let candidates = '\u{10_0000}'..='\u{10_FFFD}';
        let mut taken: HashSet<char> = HashSet::new();
        for text in texts(chat).chain([Cow::Borrowed(template)]) {
            taken.extend(text.chars().filter(|letter| candidates.contains(letter)));
        }
        candidates
            .clone()
            .find(|candidate| !taken.contains(candidate))
            .map(Self)
            .ok_or_else(|| TextError::Text("it holds every private-use character".to_owned()))
    }

    /// The text with a guard after the first character of each control token that it spells out, or
    /// that its end could become a part of.
    fn protect<'t>(&self, text: &'t str, specials: &Specials) -> Cow<'t, str> {
        let mut starts = specials.control_starts(text);
        starts.extend(specials.unfinished_starts(text));
        starts.extend(specials.unfinished_starts(text.trim_end()));
        if starts.is_empty() {
            return Cow::Borrowed(text);
        }
        starts.sort_unstable();
        starts.dedup();
        let mut out = String::with_capacity(text.len() + starts.len() * self.0.len_utf8());
        let mut at = 0;
        for start in starts {
            let end = start + text[start..].chars().next().map_or(0, char::len_utf8);
            out.push_str(&text[at..end]);
            out.push(self.0);
            at = end;
        }
        out.push_str(&text[at..]);
        Cow::Owned(out)
    }

    fn remove<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.contains(self.0) {
            Cow::Owned(text.replace(self.0, ""))
        } else {
            Cow::Borrowed(text)
        }
    }
}
