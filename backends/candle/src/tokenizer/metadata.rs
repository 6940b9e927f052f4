//! Typed access to a GGUF file's metadata, which may hold anything.

use std::collections::HashMap;

use kwaainet_decoder::Value;

use super::TextError;

/// The metadata of one file.
#[derive(Clone, Copy)]
pub(super) struct Metadata<'a>(pub(super) &'a HashMap<String, Value>);

impl<'a> Metadata<'a> {
    pub(super) fn text(self, key: &str) -> Result<Option<&'a str>, TextError> {
        self.read(key, "text", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn flag(self, key: &str) -> Result<Option<bool>, TextError> {
        self.read(key, "a truth value", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub(super) fn id(self, key: &str) -> Result<Option<u32>, TextError> {
        self.read(key, "a token id", |value| match value {
            Value::U32(id) => Some(*id),
            Value::I32(id) => u32::try_from(*id).ok(),
            Value::U64(id) => u32::try_from(*id).ok(),
            Value::I64(id) => u32::try_from(*id).ok(),
            _ => None,
        })
    }

    pub(super) fn list(self, key: &str) -> Result<Option<&'a [Value]>, TextError> {
        self.read(key, "a list", |value| match value {
            Value::Array(values) => Some(values.as_slice()),
            _ => None,
        })
    }

    fn read<T>(
        self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, TextError> {
        self.0
            .get(key)
            .map(|value| {
                convert(value)
                    .ok_or_else(|| TextError::Vocabulary(format!("{key} is not {expected}")))
            })
            .transpose()
    }
}
