//! Follows JSON letter by letter: where in it one is, and whether it still is JSON (RFC 8259).

/// Deeper JSON is taken for none.
const DEPTH_MAX: usize = 128;

/// An object or a list, as far as it has come.
#[derive(Debug)]
pub(super) struct Json {
    containers: Vec<Container>,
    at: At,
}

/// It is no JSON, or one that is not followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    Object,
    List,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    /// A comma, or the end of the container.
    Next,
    Text {
        is_key: bool,
        escape: Escape,
    },
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Word(&'static str),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    /// So many hexadecimal digits are missing.
    Hex(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    E,
    Sign,
    Exponent,
}

impl Json {
    pub(super) fn new() -> Self {
        Self {
            containers: Vec::new(),
            at: At::Value,
        }
    }

    /// Containers that are open.
    pub(super) fn depth(&self) -> usize {
        self.containers.len()
    }

    pub(super) fn wants_value(&self) -> bool {
        matches!(self.at, At::Value | At::ValueOrEnd)
    }

    pub(super) fn is_in_key(&self) -> bool {
        matches!(self.at, At::Text { is_key: true, .. })
    }

    /// Whether a value has just ended.
    pub(super) fn is_behind_value(&self) -> bool {
        matches!(self.at, At::Next | At::Over)
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Takes the next letter.
    pub(super) fn push(&mut self, c: char) -> Result<(), Broken> {
        match self.at {
            At::Text { is_key, escape } => self.text(c, is_key, escape)?,
            At::Number(number) => match number.after(c) {
                Some(next) => self.at = At::Number(next),
                None if number.may_end() => {
                    self.at = At::Next;
                    return self.push(c);
                }
                None => return Err(Broken),
            },
            At::Word(rest) => {
                let rest = rest.strip_prefix(c).ok_or(Broken)?;
                self.at = if rest.is_empty() {
                    At::Next
                } else {
                    At::Word(rest)
                };
            }
            At::Over => return Err(Broken),
            _ if matches!(c, ' ' | '\t' | '\n' | '\r') => {}
            At::Value => self.value(c)?,
            At::ValueOrEnd if c == ']' => self.close(),
            At::ValueOrEnd => self.value(c)?,
            At::KeyOrEnd if c == '}' => self.close(),
            At::Key | At::KeyOrEnd if c == '"' => self.at = Self::text_begins(true),
            At::Key | At::KeyOrEnd => return Err(Broken),
            At::Colon if c == ':' => self.at = At::Value,
            At::Colon => return Err(Broken),
            At::Next => match (self.containers.last(), c) {
                (Some(Container::Object), ',') => self.at = At::Key,
                (Some(Container::List), ',') => self.at = At::Value,
                (Some(Container::Object), '}') | (Some(Container::List), ']') => self.close(),
                _ => return Err(Broken),
            },
        }
        Ok(())
    }

    fn text_begins(is_key: bool) -> At {
        At::Text {
            is_key,
            escape: Escape::None,
        }
    }

    fn text(&mut self, c: char, is_key: bool, escape: Escape) -> Result<(), Broken> {
        let escape = match (escape, c) {
            (Escape::None, '"') => {
                self.at = if is_key { At::Colon } else { At::Next };
                return Ok(());
            }
            (Escape::None, '\\') => Escape::Begun,
            (Escape::None, '\0'..='\x1F') => return Err(Broken),
            (Escape::None, _) => Escape::None,
            (Escape::Begun, 'u') => Escape::Hex(4),
            (Escape::Begun, '"' | '\\' | '/' | 'b' | 'f' | 'n' | 'r' | 't') => Escape::None,
            (Escape::Hex(1), c) if c.is_ascii_hexdigit() => Escape::None,
            (Escape::Hex(missing), c) if c.is_ascii_hexdigit() => Escape::Hex(missing - 1),
            (Escape::Begun | Escape::Hex(_), _) => return Err(Broken),
        };
        self.at = At::Text { is_key, escape };
        Ok(())
    }

    fn value(&mut self, c: char) -> Result<(), Broken> {
        let is_container = matches!(c, '{' | '[');
        if (self.depth() == 0 && !is_container) || self.depth() == DEPTH_MAX {
            return Err(Broken);
        }
        self.at = match c {
            '{' => {
                self.containers.push(Container::Object);
                At::KeyOrEnd
            }
            '[' => {
                self.containers.push(Container::List);
                At::ValueOrEnd
            }
            '"' => Self::text_begins(false),
            '-' => At::Number(Number::Minus),
            '0' => At::Number(Number::Zero),
            '1'..='9' => At::Number(Number::Whole),
            't' => At::Word("rue"),
            'f' => At::Word("alse"),
            'n' => At::Word("ull"),
            _ => return Err(Broken),
        };
        Ok(())
    }

    fn close(&mut self) {
        self.containers.pop();
        self.at = if self.containers.is_empty() {
            At::Over
        } else {
            At::Next
        };
    }
}

impl Number {
    fn after(self, c: char) -> Option<Self> {
        Some(match (self, c) {
            (Self::Minus, '0') => Self::Zero,
            (Self::Minus, '1'..='9') | (Self::Whole, '0'..='9') => Self::Whole,
            (Self::Zero | Self::Whole, '.') => Self::Point,
            (Self::Point | Self::Fraction, '0'..='9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, 'e' | 'E') => Self::E,
            (Self::E, '+' | '-') => Self::Sign,
            (Self::E | Self::Sign | Self::Exponent, '0'..='9') => Self::Exponent,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(
            self,
            Self::Zero | Self::Whole | Self::Fraction | Self::Exponent
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is followed to its end.
    fn follows(text: &str) -> bool {
        let mut json = Json::new();
        text.chars().all(|c| json.push(c).is_ok()) && json.is_over()
    }

    #[test]
    fn it_follows_what_a_parser_accepts() {
        for text in [
            "{}",
            "[]",
            "[1, -0.5e+3, 0, 10E2, true, false, null]",
            r#"{"a": {"b": [[], {}]}, "c\"\\\u00fc": "\n/"}"#,
            "[ 1 ,\n2 ]",
            "[01]",
            "[1.]",
            "[-]",
            "[1e]",
            "[.5]",
            "[tru]",
            "[nul1]",
            "[1,]",
            "{,}",
            r#"{"a"}"#,
            r#"{"a":1,}"#,
            "{a: 1}",
            "[\"\n\"]",
            r#"["\x"]"#,
            r#"["\u12g4"]"#,
            "[}",
            "{]",
            "[] ]",
            "[1 2]",
            "['a']",
        ] {
            let parsed = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert_eq!(follows(text), parsed, "{text}");
        }
        assert!(!follows("1"), "only objects and lists");
        assert!(!follows(&("[".repeat(200) + &"]".repeat(200))));
    }
}
