//! The metadata of one architecture, by short keys and in checked types.

use crate::error::FileError;
use crate::{Gguf, Value};

/// The keys that begin with an architecture's name.
pub struct Keys<'a> {
    file: &'a Gguf,
    prefix: &'a str,
}

impl<'a> Keys<'a> {
    /// Of the architecture that is called so.
    pub fn new(file: &'a Gguf, prefix: &'a str) -> Self {
        Self { file, prefix }
    }

    /// The value as the file gives it.
    pub fn find(&self, key: &str) -> Option<&Value> {
        self.file.metadata().get(&format!("{}.{key}", self.prefix))
    }

    pub(super) fn has_tensor(&self, name: &str) -> bool {
        self.file.has(name)
    }

    /// What to say of a value that makes no sense.
    pub(super) fn bad(&self, key: &str, value: Option<&Value>) -> FileError {
        let prefix = self.prefix;
        match value {
            None => FileError::malformed(format!("'{prefix}.{key}' is missing")),
            Some(Value::Array(_)) => {
                FileError::Unsupported(format!("a different '{prefix}.{key}' for each layer"))
            }
            // A text could be anything of any length.
            Some(Value::String(_)) => FileError::malformed(format!("'{prefix}.{key}' is a text")),
            Some(value) => FileError::malformed(format!("'{prefix}.{key}' is {value:?}")),
        }
    }

    /// A whole number from 1 to `max`.
    ///
    /// # Errors
    /// When it is missing or something else.
    pub fn count(&self, key: &str, max: usize) -> Result<usize, FileError> {
        let value = self.find(key);
        match value.and_then(Value::to_u64) {
            Some(number) if (1..=max as u64).contains(&number) => Ok(number as usize),
            _ => Err(self.bad(key, value)),
        }
    }

    /// The same, or what holds when the file does not say.
    ///
    /// # Errors
    /// When it is something else.
    pub fn count_or(&self, key: &str, default: usize, max: usize) -> Result<usize, FileError> {
        match self.find(key) {
            None => Ok(default),
            Some(_) => self.count(key, max),
        }
    }

    /// Tokens that layers with a window see. Zero means that there is none, as if it were not said.
    ///
    /// # Errors
    /// When it is no whole number.
    pub fn window(&self) -> Result<Option<usize>, FileError> {
        const KEY: &str = "attention.sliding_window";
        match self.find(KEY).map(Value::to_u64) {
            None | Some(Some(0)) => Ok(None),
            Some(_) => self.count(KEY, 1 << 24).map(Some),
        }
    }

    /// A finite number above zero.
    pub(super) fn positive(&self, key: &str, default: Option<f32>) -> Result<f32, FileError> {
        match (self.find(key), default) {
            (None, Some(default)) => Ok(default),
            (Some(Value::F32(number)), _) if number.is_finite() && *number > 0.0 => Ok(*number),
            (other, _) => Err(self.bad(key, other)),
        }
    }

    /// A bound that values are pressed under; zero is none.
    pub(super) fn cap(&self, key: &str, default: Option<f32>) -> Result<Option<f32>, FileError> {
        match self.find(key) {
            None => Ok(default),
            Some(Value::F32(0.0)) => Ok(None),
            Some(_) => self.positive(key, None).map(Some),
        }
    }

    pub(super) fn refuse_experts(&self) -> Result<(), FileError> {
        match self.find("expert_count").and_then(Value::to_u64) {
            Some(experts) if experts > 0 => {
                Err(FileError::Unsupported(format!("{experts} experts")))
            }
            _ => Ok(()),
        }
    }
}
