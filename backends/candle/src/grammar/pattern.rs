//! ECMA-262 regular expressions, as `pattern` writes them, in the syntax of the matcher's parser.
//!
//! Validators differ in what `\s`, `\w` and their like mean beyond ASCII. Where they do, the narrower
//! reading is taken on both sides, so that what is generated matches for all of them. Nothing is
//! guessed: what cannot be said exactly is refused.

use std::iter::Peekable;
use std::str::Chars;

/// White space by ECMA-262 and by Python alike, and by one of them.
const SPACE: &str =
    r"\t\n\x0B\x0C\r \x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}";
const SPACE_TO_ANY: &str = r"\t\n\x0B\x0C\r \x{1C}-\x{1F}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}";
const DIGIT: &str = "0-9";
const DIGIT_TO_ANY: &str = r"\p{Nd}";
const WORD: &str = "0-9A-Za-z_";
const WORD_TO_ANY: &str = r"\p{L}\p{M}\p{N}_";
const ANY: &str = r"[^\n\r\x{2028}\x{2029}]";
const EVERYTHING: &str = r"[\x{0}-\x{10FFFF}]";
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// Translates a pattern.
///
/// # Errors
/// What of it cannot be enforced, as the end of "the pattern has ...".
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() * 2),
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
}

/// What an escape stands for.
enum Escape {
    Char(char),
    Set(Set),
    /// A property of Unicode, as it is written.
    Property(String),
}

/// Such as `\d`, or `\D` if negated.
#[derive(Clone, Copy)]
struct Set {
    name: char,
    negated: bool,
}

impl Set {
    /// A class: for all readings, or for one at least if `wide`.
    fn class(self, wide: bool) -> String {
        // Wide is what is not narrow the other way round.
        let (narrow, to_any) = match self.name {
            'd' => (DIGIT, DIGIT_TO_ANY),
            'w' => (WORD, WORD_TO_ANY),
            _ => (SPACE, SPACE_TO_ANY),
        };
        let inside = if self.negated == wide { narrow } else { to_any };
        let not = if self.negated { "^" } else { "" };
        format!("[{not}{inside}]")
    }
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => match self.escape(false)? {
                    Escape::Char(c) => self.literal(c),
                    Escape::Set(set) => self.out.push_str(&set.class(false)),
                    Escape::Property(class) => self.out.push_str(&class),
                },
                '.' => self.out.push_str(ANY),
                '[' => self.class()?,
                '(' => self.group()?,
                '{' => self.braces()?,
                '^' | '$' | '|' | '*' | '+' | '?' | ')' => self.out.push(c),
                c => self.literal(c),
            }
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || c == ' ' || c == '/' || !c.is_ascii() {
            self.out.push(c);
        } else {
            self.out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
        }
    }

    fn group(&mut self) -> Result<(), String> {
        if self.rest.next_if_eq(&'?').is_some() {
            match self.rest.next() {
                Some(':') => {}
                Some('=' | '!') => return Err("a lookahead".into()),
                Some('<') => {
                    if matches!(self.rest.peek(), Some('=' | '!')) {
                        return Err("a lookbehind".into());
                    }
                    if !self.rest.by_ref().any(|c| c == '>') {
                        return Err("a group whose name does not end".into());
                    }
                }
                _ => return Err("a group of an unknown kind".into()),
            }
        }
        self.out.push_str("(?:");
        Ok(())
    }

    /// A quantifier, or a brace that stands for itself.
    fn braces(&mut self) -> Result<(), String> {
        let ahead: String = self.rest.clone().take_while(|c| *c != '}').collect();
        let closed = self.rest.clone().any(|c| c == '}');
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let quantifies = match ahead.split_once(',') {
            None => is_number(&ahead),
            Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        };
        if !(closed && quantifies) {
            self.literal('{');
            return Ok(());
        }
        if ahead.split(',').any(|count| count.len() > 6) {
            return Err("a repetition of more than a million times".into());
        }
        self.out.push_str(&format!("{{{ahead}}}"));
        self.rest.by_ref().find(|c| *c == '}');
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let negated = self.rest.next_if_eq(&'^').is_some();
        let mut inside = String::new();
        loop {
            let from = match self.member()? {
                None => break,
                Some(Escape::Char(c)) => c,
                Some(Escape::Set(set)) => {
                    inside.push_str(&set.class(negated));
                    continue;
                }
                Some(Escape::Property(class)) => {
                    inside.push_str(&class);
                    continue;
                }
            };
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            if !is_range {
                inside.push_str(&hex(from));
                continue;
            }
            self.rest.next();
            match self.member()? {
                Some(Escape::Char(to)) if from <= to => {
                    inside.push_str(&format!("{}-{}", hex(from), hex(to)));
                }
                _ => return Err("a range of characters without an order".into()),
            }
        }
        match (negated, inside.is_empty()) {
            (false, true) => self.out.push_str(NOTHING),
            (true, true) => self.out.push_str(EVERYTHING),
            (false, false) => self.out.push_str(&format!("[{inside}]")),
            (true, false) => self.out.push_str(&format!("[^{inside}]")),
        }
        Ok(())
    }

    /// The next member of a class; none at its end.
    fn member(&mut self) -> Result<Option<Escape>, String> {
        match self.rest.next() {
            None => Err("a class of characters that does not end".into()),
            Some(']') => Ok(None),
            Some('\\') => self.escape(true).map(Some),
            Some(c) => Ok(Some(Escape::Char(c))),
        }
    }

    fn escape(&mut self, in_class: bool) -> Result<Escape, String> {
        let c = self
            .rest
            .next()
            .ok_or("a backslash at its end".to_owned())?;
        let character = |c| Ok(Escape::Char(c));
        match c {
            'd' | 'w' | 's' | 'D' | 'W' | 'S' => Ok(Escape::Set(Set {
                name: c.to_ascii_lowercase(),
                negated: c.is_ascii_uppercase(),
            })),
            'p' | 'P' => self.property(c),
            't' => character('\t'),
            'n' => character('\n'),
            'r' => character('\r'),
            'f' => character('\x0C'),
            'v' => character('\x0B'),
            'b' if in_class => character('\x08'),
            'b' | 'B' => Err(format!("a word boundary (\\{c})")),
            '0' if !self.rest.peek().is_some_and(char::is_ascii_digit) => character('\0'),
            '0'..='9' | 'k' => Err(format!("a reference to a group (\\{c})")),
            'c' => match self.rest.next() {
                Some(letter) if letter.is_ascii_alphabetic() => {
                    character(char::from(letter as u8 % 32))
                }
                _ => Err("a control character without its letter".into()),
            },
            'x' => self.hex_digits(2).and_then(scalar).map(Escape::Char),
            'u' => self.unicode().map(Escape::Char),
            c if c.is_ascii_alphanumeric() => Err(format!("the unknown escape \\{c}")),
            c => character(c),
        }
    }

    fn property(&mut self, letter: char) -> Result<Escape, String> {
        let malformed = || "a property of characters that is malformed".to_owned();
        if self.rest.next() != Some('{') {
            return Err(malformed());
        }
        let name: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '=';
        if name.is_empty() || !name.chars().all(sound) {
            return Err(malformed());
        }
        Ok(Escape::Property(format!("\\{letter}{{{name}}}")))
    }

    fn unicode(&mut self) -> Result<char, String> {
        if self.rest.next_if_eq(&'{').is_some() {
            let digits: String = self.rest.by_ref().take_while(|c| *c != '}').collect();
            let code = u32::from_str_radix(&digits, 16);
            return scalar(code.map_err(|_| "a malformed escape \\u".to_owned())?);
        }
        let high = self.hex_digits(4)?;
        if !(0xD800..0xDC00).contains(&high) {
            return scalar(high);
        }
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('\\') && ahead.next() == Some('u') {
            self.rest = ahead;
            let low = self.hex_digits(4)?;
            if (0xDC00..0xE000).contains(&low) {
                return scalar(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00));
            }
        }
        scalar(high)
    }

    fn hex_digits(&mut self, count: usize) -> Result<u32, String> {
        let digits: String = self.rest.by_ref().take(count).collect();
        let all = digits.len() == count;
        let code = u32::from_str_radix(&digits, 16).ok().filter(|_| all);
        code.ok_or("an escape without its digits".into())
    }
}

fn scalar(code: u32) -> Result<char, String> {
    char::from_u32(code).ok_or("half of a surrogate pair".into())
}

fn hex(c: char) -> String {
    format!("\\x{{{:X}}}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        let translated = translate(pattern).expect("it can be translated");
        let regex = regex::Regex::new(&translated).expect("it is well-formed");
        regex.is_match(text)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_ecma_262() {
        for (pattern, yes, no) in [
            (r"^\d{3}-\d{4}$", "555-1234", "555-12345"),
            (r"^[\w.+-]+@x\.y$", "a.b+c@x.y", "a b@x.y"),
            (r"^[[a]]$", "[]", "a"),
            (r"^[a&&b]+$", "a&b", "c"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^\/\-\u0041\x42\cJ$", "/-AB\n", "/-AB"),
            (r"^\uD83D\uDE00$", "😀", "x"),
            (r"^[^]$", "\n", ""),
            (r"^.$", "é", "\u{2028}"),
            (r"^[\b]$", "\u{8}", "b"),
            (r"^\p{Lu}\P{Lu}$", "Éé", "éé"),
            (r"^(?<year>\d+)(?:x|y)$", "12x", "12z"),
            (r"^[^\d\s]+$", "abc", "a 1"),
            (r"a#b", "xa#bx", "ab"),
        ] {
            assert!(matches(pattern, yes), "{pattern} {yes:?}");
            assert!(!matches(pattern, no), "{pattern} {no:?}");
        }
    }

    #[test]
    fn where_validators_differ_the_narrower_reading_counts() {
        for (pattern, text) in [
            (r"^\s$", "\u{FEFF}"),
            (r"^\S$", "\u{FEFF}"),
            (r"^\S$", "\u{85}"),
            (r"^\w$", "é"),
            (r"^\W$", "é"),
            (r"^[^\w]$", "é"),
            (r"^[^\W]$", "é"),
            (r"^\D$", "\u{661}"),
            (r"^[^\D]$", "\u{661}"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text:?}");
        }
        assert!(matches(r"^[^\W]\S\s$", "aé "));
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        for (pattern, reason) in [
            ("^(?!x)", "lookahead"),
            ("(?<=x)y", "lookbehind"),
            (r"(a)\1", "reference"),
            (r"\bword", "boundary"),
            ("(?i)x", "unknown kind"),
            ("[a", "does not end"),
            ("[z-a]", "order"),
            (r"\", "backslash"),
            (r"\uD800", "surrogate"),
            ("a{9999999}", "million"),
            (r"\y", "unknown escape"),
        ] {
            let error = translate(pattern).expect_err(pattern);
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }
}
