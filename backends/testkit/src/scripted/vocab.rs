//! The fake's tokenizer: one id for each word between white space, and no special tokens.
//!
//! `w0`, `w1`, … have their own number as id. Other words get the next free id when first seen,
//! so ids of other words differ from one backend to the next.

use std::collections::HashMap;
use std::sync::Mutex;

use kwaainet_core::{BackendError, Message};

/// Words `w0` to `w31999`.
pub(super) const NUMBERED: u32 = 32_000;
/// Stands for all words that come when the table is full.
const UNKNOWN: u32 = NUMBERED;
const LEARNED_MAX: usize = 1 << 16;

#[derive(Default)]
pub(super) struct Vocab {
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    words: Vec<String>,
    ids: HashMap<String, u32>,
}

/// The text in one piece for each word, with the space before it; the last has the space after it.
pub(super) fn spaced_words(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| !c.is_whitespace()) {
        let word = &rest[start..];
        let end = start + word.find(char::is_whitespace).unwrap_or(word.len());
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    if let Some(last) = pieces.last_mut() {
        last.push_str(rest);
    }
    pieces
}

impl Vocab {
    /// One id for each word.
    pub(super) fn ids(&self, text: &str) -> Vec<u32> {
        text.split_whitespace().map(|word| self.id(word)).collect()
    }

    /// For each message its role, its speaker's name if any, and its words.
    pub(super) fn chat_ids(&self, messages: &[Message]) -> Vec<u32> {
        let mut ids = Vec::new();
        for message in messages {
            ids.push(self.id(message.role.as_str()));
            ids.extend(self.ids(message.name.as_deref().unwrap_or_default()));
            ids.extend(self.ids(&message.content));
        }
        ids
    }

    /// The words of ids.
    ///
    /// # Errors
    /// `Invalid` for an id that no word has.
    pub(super) fn words(
        &self,
        ids: &[u32],
        param: &'static str,
    ) -> Result<Vec<String>, BackendError> {
        let learned = self.learned.lock().expect("no holder panics");
        ids.iter()
            .map(|&id| {
                learned.word(id).ok_or_else(|| BackendError::Invalid {
                    param,
                    reason: format!("the model has no token {id}"),
                })
            })
            .collect()
    }

    fn id(&self, word: &str) -> u32 {
        let number = word
            .strip_prefix('w')
            .and_then(|digits| digits.parse().ok());
        match number {
            Some(number) if number < NUMBERED && word == format!("w{number}") => number,
            _ => self.learned.lock().expect("no holder panics").id(word),
        }
    }
}

impl Learned {
    fn id(&mut self, word: &str) -> u32 {
        if let Some(&id) = self.ids.get(word) {
            return id;
        }
        if self.words.len() >= LEARNED_MAX {
            return UNKNOWN;
        }
        let id = UNKNOWN + 1 + self.words.len() as u32;
        self.words.push(word.to_owned());
        self.ids.insert(word.to_owned(), id);
        id
    }

    fn word(&self, id: u32) -> Option<String> {
        match id {
            0..NUMBERED => Some(format!("w{id}")),
            UNKNOWN => Some("\u{FFFD}".to_owned()),
            learned => self.words.get((learned - UNKNOWN - 1) as usize).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_ids_and_come_back() {
        let vocab = Vocab::default();
        let ids = vocab.ids("w7  über\nw07 über");
        assert_eq!(ids, [7, 32_001, 32_002, 32_001]);
        let words = vocab.words(&ids, "tokens").expect("they are known");
        assert_eq!(words, ["w7", "über", "w07", "über"]);
    }

    #[test]
    fn pieces_make_up_the_text() {
        assert_eq!(spaced_words(" a\n b  "), [" a", "\n b  "]);
        assert_eq!(spaced_words("  "), Vec::<String>::new());
    }

    #[test]
    fn an_id_without_a_word_is_refused_by_name() {
        let refused = Vocab::default().words(&[1, 32_001], "prompt");
        let Err(BackendError::Invalid { param, reason }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(
            (param, reason.as_str()),
            ("prompt", "the model has no token 32001")
        );
    }

    #[test]
    fn the_table_does_not_grow_for_ever() {
        let vocab = Vocab::default();
        for n in 0..LEARNED_MAX {
            vocab.id(&format!("x{n}"));
        }
        assert_eq!(vocab.id("late"), UNKNOWN);
        assert_eq!(vocab.id("x3"), UNKNOWN + 4);
    }
}
