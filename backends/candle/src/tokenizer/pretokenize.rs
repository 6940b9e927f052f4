//! How byte-level vocabularies cut a text into words. The rule has no description in a GGUF file,
//! only a name (`tokenizer.ggml.pre`); each model was trained with its own and knows no other.
//!
//! The rules are regular expressions that end in "white space, but leave the last of it to the next
//! word" (`\s+(?!\S)|\s+`). Written as `\s+` with the last character given back by hand, they need
//! no look-ahead, so that the time is linear in the text, whatever the text is.

mod rules;

use regex::{Regex, RegexBuilder};

use super::TextError;
use super::vocab::bad;

/// What a rule's automaton may grow to; with less, texts in many scripts make it start over.
const AUTOMATON_BYTES_MAX: usize = 16 << 20;

/// Cuts texts into words.
pub(super) struct PreTokenizer {
    cuts: Vec<Cut>,
    /// A word that is a token as a whole is taken as such, without asking the merges.
    pub(super) whole_words_first: bool,
    /// Whether the model wants its start token where the file does not say.
    pub(super) adds_bos: bool,
}

impl PreTokenizer {
    /// The rule of that name.
    pub(super) fn named(name: &str) -> Result<Self, TextError> {
        let rule = rules::find(name).ok_or_else(|| {
            bad(format!(
                "the rule '{name}' for cutting text into words is not known here"
            ))
        })?;
        Ok(Self {
            cuts: rule
                .patterns
                .iter()
                .map(|pattern| Cut::new(pattern))
                .collect(),
            whole_words_first: rule.whole_words_first,
            adds_bos: rule.adds_bos,
        })
    }

    /// The words of a text; put together they are the text.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        self.cuts.iter().fold(vec![text], |words, cut| {
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                cut.split(word, &mut finer);
            }
            finer
        })
    }
}

/// One regular expression: what it matches is a word, and so is what lies between two matches.
struct Cut {
    regex: Regex,
    space: Space,
}

/// What becomes of white space before a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    /// The expression has the last word.
    AsMatched,
    /// Its last character is left to what follows.
    GivesBack,
    /// The same, unless it ends with the line: another part of the expression took that.
    GivesBackWithinLines,
}

impl Cut {
    fn new(pattern: &str) -> Self {
        let space = if pattern.ends_with(r"|\s*[\r\n]+|\s+") {
            Space::GivesBackWithinLines
        } else if pattern.ends_with(r"|\s+") {
            Space::GivesBack
        } else {
            Space::AsMatched
        };
        Self {
            regex: RegexBuilder::new(pattern)
                .dfa_size_limit(AUTOMATON_BYTES_MAX)
                .build()
                .expect("each of our rules compiles, as a test shows"),
            space,
        }
    }

    fn split<'t>(&self, text: &'t str, words: &mut Vec<&'t str>) {
        let mut at = 0;
        while let Some(found) = self.regex.find_at(text, at) {
            let end = self.end(text, found.start(), found.end());
            words.extend(
                [&text[at..found.start()], &text[found.start()..end]]
                    .iter()
                    .filter(|word| !word.is_empty()),
            );
            at = end;
        }
        if at < text.len() {
            words.push(&text[at..]);
        }
    }

    /// Where a match ends after white space was given back.
    fn end(&self, text: &str, start: usize, end: usize) -> usize {
        let word = &text[start..end];
        let keeps = match self.space {
            Space::AsMatched => true,
            Space::GivesBack => false,
            Space::GivesBackWithinLines => word.ends_with(['\r', '\n']),
        };
        if keeps || end == text.len() || !word.chars().all(char::is_whitespace) {
            return end;
        }
        match word.char_indices().next_back() {
            Some((last, _)) if last > 0 => start + last,
            _ => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
    use tokenizers::{
        OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
        SplitDelimiterBehavior,
    };

    const NAMES: [&str; 11] = [
        "default",
        "gpt-2",
        "smollm",
        "llama-bpe",
        "qwen2",
        "qwen35",
        "gpt-4o",
        "tekken",
        "deepseek-llm",
        "deepseek-coder",
        "deepseek-v3",
    ];

    /// The rules as the models' authors wrote them, for an engine with look-ahead.
    fn originals(name: &str) -> Vec<Split> {
        let original = |pattern: &&str| {
            let original = match pattern.strip_suffix(r"|\s+") {
                Some(start) => format!(r"{start}|\s+(?!\S)|\s+"),
                None => (*pattern).to_owned(),
            };
            Split::new(
                SplitPattern::Regex(original),
                SplitDelimiterBehavior::Isolated,
                false,
            )
            .expect("the original rule compiles")
        };
        let rule = rules::find(name).expect("the rule is known");
        rule.patterns.iter().map(original).collect()
    }

    fn split_by(originals: &[Split], text: &str) -> Vec<String> {
        let mut words = PreTokenizedString::from(text);
        for split in originals {
            split
                .pre_tokenize(&mut words)
                .expect("the original rule works");
        }
        let words = words.get_splits(OffsetReferential::Original, OffsetType::Byte);
        words
            .into_iter()
            .map(|(word, _, _)| word.to_owned())
            .collect()
    }

    #[test]
    fn words_are_those_of_the_original_rules() {
        let parts = [
            " ", "  ", "\n", "\r\n", "\t", "\u{A0}", "a", "The", "don't", "'LL", "é", "É", "日本",
            "カナ", "1", "2345", "٣", "½", ".", "...", "!?", "=", "/", "_", "😀", "e\u{301}", "ß",
            "한국", "ж", "\u{200D}", "\u{FFFF}", "$", "（", "」",
        ];
        let mut seed = 7_u32;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) as usize % below
        };
        for name in NAMES {
            let ours = PreTokenizer::named(name).expect("the rule is known");
            let originals = originals(name);
            for _ in 0..40 {
                let count = next(14);
                let text: String = (0..count).map(|_| parts[next(parts.len())]).collect();
                assert_eq!(
                    ours.split(&text),
                    split_by(&originals, &text),
                    "{name}: {text:?}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_rule_is_named() {
        let error = PreTokenizer::named("surprise")
            .err()
            .expect("there is no such rule");
        assert!(error.to_string().contains("'surprise'"));
    }
}
