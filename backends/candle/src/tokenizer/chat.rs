//! From messages to tokens. The text of a message is text: a control token that is spelled out in it
//! stays letters, while everything else is tokenized exactly as the rendered whole.
//!
//! The template's own control tokens and those that a message spells out look alike once rendered.
//! So each spelling in a message is broken beforehand by a guard: a character that occurs nowhere
//! else. The rendered text is cut at its control tokens, which are then the template's, and the guards
//! are taken out of what lies between.
//!
//! A template that takes a message apart and joins its parts anew could put together what no part
//! held. Trimming, splitting and appending, which is what templates do, are safe: the end of a
//! message that could begin a control token is guarded too.

use std::borrow::Cow;
use std::collections::HashSet;

use kwaainet_core::Message;

use super::TextError;
use super::special::{Fragment, Specials};
use crate::template::{ChatTemplate, Turn};

/// Renders a conversation and cuts it at the template's control tokens. The text between has no
/// guards left and may hold user-defined tokens.
pub(super) fn render<'m>(
    messages: &'m [Message],
    template: &ChatTemplate,
    specials: &Specials,
    bytes_max: usize,
) -> Result<Rendered, TextError> {
    let guard = Guard::new(messages, template.source())?;
    let turn = |message: &'m Message| Turn {
        role: message.role.as_str(),
        content: guard.protect(&message.content, specials),
        name: message
            .name
            .as_deref()
            .map(|name| guard.protect(name, specials)),
    };
    let turns: Vec<Turn<'m>> = messages.iter().map(turn).collect();
    Ok(Rendered {
        text: template.render(&turns, bytes_max)?,
        guard,
    })
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

/// A character that occurs neither in the messages nor in the template.
struct Guard(char);

impl Guard {
    fn new(messages: &[Message], template: &str) -> Result<Self, TextError> {
        // Private use: no letter, no space, no case, so that no filter changes it.
        let candidates = '\u{10_0000}'..='\u{10_FFFD}';
        let names = messages
            .iter()
            .filter_map(|message| message.name.as_deref());
        let contents = messages.iter().map(|message| message.content.as_str());
        let taken: HashSet<char> = names
            .chain(contents)
            .chain([template])
            .flat_map(str::chars)
            .filter(|letter| candidates.contains(letter))
            .collect();
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
