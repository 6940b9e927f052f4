//! Reads the JSON of calls: finds names and arguments in it, and passes arguments on as they come.

use serde_json::Value;

use super::json::{Broken, Json};

/// Of arguments that come before their name, or as JSON within a text, in bytes.
const HELD_BYTES_MAX: usize = 64 << 10;
/// Of a key or a name, in bytes, with quotes and escapes.
const WORD_BYTES_MAX: usize = 1 << 10;

/// What a letter brought.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// A call of this function begins.
    pub(super) begins: Option<String>,
    /// More of its arguments.
    pub(super) arguments: String,
    /// It is whole.
    pub(super) ends: bool,
}

/// The JSON of a call, of a list of calls, or of arguments alone.
#[derive(Debug)]
pub(super) struct Reader {
    json: Json,
    /// How deep the keys of a call lie.
    level: usize,
    /// A key or a name while it comes, as it is written.
    word: String,
    taking: Taking,
    call: Call,
}

/// What becomes of the value that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    Nothing,
    Name,
    /// Arguments, passed on as they come.
    Stream,
    /// Arguments that cannot be passed on yet.
    Held,
}

/// What is known of a call.
#[derive(Debug, Default)]
struct Call {
    name: Option<String>,
    /// There are arguments, or there will be.
    has_arguments: bool,
    held: String,
    begun: bool,
}

impl Reader {
    /// For a call that names its function, or a list of such.
    pub(super) fn of_calls() -> Self {
        Self {
            json: Json::new(),
            level: 1,
            word: String::new(),
            taking: Taking::Nothing,
            call: Call::default(),
        }
    }

    /// For the arguments of a function that was named before.
    pub(super) fn of_arguments(name: String) -> Self {
        let mut reader = Self::of_calls();
        reader.level = 0;
        reader.call.name = Some(name);
        reader
    }

    pub(super) fn is_over(&self) -> bool {
        self.json.is_over()
    }

    /// Whether it is in a list, but in none of its calls.
    pub(super) fn is_between(&self) -> bool {
        self.level == 2 && self.json.depth() == 1
    }

    /// Takes the next letter; `names` are the functions that there are.
    ///
    /// # Errors
    /// When it is no call.
    pub(super) fn push(&mut self, c: char, names: &[String]) -> Result<Step, Broken> {
        let (depth, was_in_key) = (self.json.depth(), self.json.is_in_key());
        let begins = self.json.wants_value() && !c.is_whitespace() && c != ']';
        self.json.push(c)?;
        let mut step = Step::default();
        if begins && depth == 0 && c == '[' {
            if self.level == 0 {
                return Err(Broken);
            }
            self.level = 2;
        }
        if begins && depth == 1 && self.level == 2 && c != '{' {
            return Err(Broken);
        }
        if depth == self.level {
            if was_in_key || self.json.is_in_key() {
                if !was_in_key {
                    self.word.clear();
                }
                self.spell(c)?;
            } else if begins {
                self.value_begins(c, &mut step)?;
            }
        }
        self.take(c, names, &mut step)?;
        let is_call = self.level > 0 && depth == self.level;
        if is_call && self.json.depth() < self.level {
            self.call_ends(&mut step)?;
        }
        Ok(step)
    }

    /// A value begins that belongs to a key of the call, or is all there is.
    fn value_begins(&mut self, c: char, step: &mut Step) -> Result<(), Broken> {
        let key = if self.level == 0 {
            "arguments".to_owned()
        } else {
            decode(&self.word)?
        };
        match key.as_str() {
            "name" if c == '"' && self.call.name.is_none() => {
                self.word.clear();
                self.taking = Taking::Name;
            }
            "arguments" | "parameters" if !self.call.has_arguments => {
                self.call.has_arguments = true;
                self.taking = match (c, &self.call.name) {
                    ('{', Some(name)) => {
                        step.begins = Some(name.clone());
                        self.call.begun = true;
                        Taking::Stream
                    }
                    ('{' | '"' | 'n', _) => Taking::Held,
                    _ => return Err(Broken),
                };
            }
            "name" | "arguments" | "parameters" => return Err(Broken),
            _ => {}
        }
        Ok(())
    }

    /// Takes a letter of a value that is wanted.
    fn take(&mut self, c: char, names: &[String], step: &mut Step) -> Result<(), Broken> {
        match self.taking {
            Taking::Nothing => return Ok(()),
            Taking::Stream => step.arguments.push(c),
            Taking::Name => self.spell(c)?,
            Taking::Held if self.call.held.len() >= HELD_BYTES_MAX => return Err(Broken),
            Taking::Held => self.call.held.push(c),
        }
        if self.json.depth() != self.level || !self.json.is_behind_value() {
            return Ok(());
        }
        match std::mem::replace(&mut self.taking, Taking::Nothing) {
            Taking::Stream => step.ends = self.level == 0,
            Taking::Name => {
                let name = decode(&self.word)?;
                if !names.contains(&name) {
                    return Err(Broken);
                }
                self.call.name = Some(name);
                if !self.call.held.is_empty() {
                    self.begin_with_held(step)?;
                }
            }
            Taking::Held if self.call.name.is_some() => self.begin_with_held(step)?,
            Taking::Held | Taking::Nothing => {}
        }
        Ok(())
    }

    /// The name is known, and the arguments are complete.
    fn begin_with_held(&mut self, step: &mut Step) -> Result<(), Broken> {
        let held = std::mem::take(&mut self.call.held);
        step.arguments = match held.as_bytes().first() {
            Some(b'{') => held,
            Some(b'"') => {
                let inner = decode(&held)?;
                let value: Value = serde_json::from_str(&inner).map_err(|_| Broken)?;
                if !value.is_object() {
                    return Err(Broken);
                }
                inner
            }
            // There are none, or null.
            _ => "{}".to_owned(),
        };
        step.begins.clone_from(&self.call.name);
        self.call.begun = true;
        Ok(())
    }

    fn call_ends(&mut self, step: &mut Step) -> Result<(), Broken> {
        if !self.call.begun {
            if self.call.name.is_none() {
                return Err(Broken);
            }
            self.begin_with_held(step)?;
        }
        self.call = Call::default();
        step.ends = true;
        Ok(())
    }

    fn spell(&mut self, c: char) -> Result<(), Broken> {
        if self.word.len() >= WORD_BYTES_MAX {
            return Err(Broken);
        }
        self.word.push(c);
        Ok(())
    }
}

/// What a text of JSON says.
fn decode(text: &str) -> Result<String, Broken> {
    serde_json::from_str(text).map_err(|_| Broken)
}
