//! Calls of tools: how a model is told of them, how its calls are read, and how they are forced.
//!
//! A model's template shows to which family it belongs, and the family's row in one table says how
//! calls are written. The text of each choice goes through a parser that takes the calls out of it.
//! Where a call has to follow its schema, a grammar is made for the matcher. Nothing here samples, and
//! nothing here believes what a model writes.

mod call_id;
mod caller;
mod family;
mod forced;
mod json;
mod parser;
mod reader;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use kwaainet_core::{BackendError, Conversation, Grammar, GrammarKind, Role, Tool, ToolMode};

use crate::tokenizer::TextModel;
pub(crate) use call_id::shortened;
pub(crate) use caller::Caller;
pub(crate) use family::Family;
use forced::{Forced, Otherwise};
use parser::Parser;
pub(crate) use words::{in_words, one_call_each, without_system};

/// How calls are read out of the choices of one request.
#[derive(Clone, Debug)]
pub(crate) struct CallFormat {
    family: &'static Family,
    names: Arc<[String]>,
    /// A grammar sees to it how calls are written.
    is_forced: bool,
    /// An answer may hold several calls.
    parallel: bool,
    /// Control tokens that are a family's marks: they are read as if they were spelled out.
    marks: Arc<[u32]>,
}

impl CallFormat {
    fn parser(&self) -> Parser {
        Parser::new(self.family, Arc::clone(&self.names), self.is_forced)
    }

    /// How the token is spelled, if it stands for no text but marks a call.
    pub(crate) fn spelling<'t>(&self, token: u32, text: &'t TextModel) -> Option<&'t [u8]> {
        let is_mark = self.marks.contains(&token);
        text.piece(token).filter(|_| is_mark).map(str::as_bytes)
    }
}

/// What tools make of a request.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// None where nothing may be called.
    pub(crate) format: Option<CallFormat>,
    /// What the answers have to belong to: the first of these that can be enforced. Empty where
    /// nothing is forced.
    pub(crate) grammars: Vec<Grammar>,
}

impl Plan {
    /// For a conversation whose answers would have to belong to `format` without any tools.
    ///
    /// # Errors
    /// When that does not go together with the tools.
    pub(crate) fn new(
        chat: &Conversation,
        format: Option<&Grammar>,
        text: &TextModel,
    ) -> Result<Self, BackendError> {
        let tools = callable(chat);
        if tools.is_empty() {
            return Ok(Self::default());
        }
        let family = text.call_family();
        let otherwise = match (chat.tool_choice.mode, format) {
            (ToolMode::Required, _) => Some(Otherwise::Nothing),
            (_, Some(format)) => Some(Otherwise::Format(&format.kind)),
            _ if chat.tool_choice.only.is_some() => Some(Otherwise::Text),
            _ if tools.iter().any(|tool| tool.strict) => Some(Otherwise::Text),
            _ => None,
        };
        let mut grammars = Vec::new();
        if let Some(otherwise) = otherwise {
            // A schema that cannot be enforced counts only for those who insist on it.
            for only_strict in [false, true] {
                let forced = Forced {
                    family,
                    tools: tools.clone(),
                    parallel: chat.parallel_calls,
                    only_strict,
                };
                let lark = forced.lark(otherwise, &|mark| text.control_token(mark));
                let lark = lark.map_err(|reason| BackendError::Invalid {
                    param: format.map_or("tools", |format| format.param),
                    reason: reason.to_owned(),
                })?;
                grammars.push(Grammar {
                    kind: GrammarKind::Lark(lark),
                    param: "tools",
                });
            }
            grammars.dedup();
        }
        let marks = family
            .spellings()
            .filter_map(|mark| text.control_token(mark));
        Ok(Self {
            format: Some(CallFormat {
                family,
                names: tools.iter().map(|tool| tool.name.clone()).collect(),
                is_forced: !grammars.is_empty(),
                parallel: chat.parallel_calls,
                marks: marks.collect(),
            }),
            grammars,
        })
    }
}

/// Whether a conversation holds more than what was said.
pub(crate) fn concerns(chat: &Conversation) -> bool {
    let of_tools = |message: &kwaainet_core::Message| {
        message.role == Role::Tool || !message.tool_calls.is_empty()
    };
    !shown(chat).is_empty() || chat.messages.iter().any(of_tools)
}

/// The tools that the model is told of.
pub(crate) fn shown(chat: &Conversation) -> &[Tool] {
    match chat.tool_choice.mode {
        ToolMode::None => &[],
        ToolMode::Auto | ToolMode::Required => &chat.tools,
    }
}

/// The tools that the model may call.
fn callable(chat: &Conversation) -> Vec<&Tool> {
    let only = chat.tool_choice.only.as_ref();
    let may = |tool: &&Tool| only.is_none_or(|only| only.contains(&tool.name));
    shown(chat).iter().filter(may).collect()
}
