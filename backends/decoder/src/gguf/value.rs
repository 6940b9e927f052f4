//! A value of a file's metadata.

/// What a key of the metadata stands for, in the type that the file gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned byte.
    U8(u8),
    /// A signed byte.
    I8(i8),
    /// Two bytes, unsigned.
    U16(u16),
    /// Two bytes, signed.
    I16(i16),
    /// Four bytes, unsigned.
    U32(u32),
    /// Four bytes, signed.
    I32(i32),
    /// Eight bytes, unsigned.
    U64(u64),
    /// Eight bytes, signed.
    I64(i64),
    /// Single precision.
    F32(f32),
    /// Double precision.
    F64(f64),
    /// A truth value.
    Bool(bool),
    /// A text; what was not UTF-8 in the file is replaced.
    String(String),
    /// Values of one type, never arrays themselves.
    Array(Vec<Value>),
}

impl Value {
    /// A whole number that is not negative, however it is stored.
    pub fn to_u64(&self) -> Option<u64> {
        match *self {
            Self::U8(number) => Some(number.into()),
            Self::U16(number) => Some(number.into()),
            Self::U32(number) => Some(number.into()),
            Self::U64(number) => Some(number),
            Self::I8(number) => u64::try_from(number).ok(),
            Self::I16(number) => u64::try_from(number).ok(),
            Self::I32(number) => u64::try_from(number).ok(),
            Self::I64(number) => u64::try_from(number).ok(),
            Self::F32(_) | Self::F64(_) | Self::Bool(_) | Self::String(_) | Self::Array(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_from_zero_on_are_counts() {
        for seven in [Value::U8(7), Value::I8(7), Value::I32(7), Value::U64(7)] {
            assert_eq!(seven.to_u64(), Some(7));
        }
        for other in [
            Value::I8(-1),
            Value::I64(-7),
            Value::F32(7.0),
            Value::Bool(true),
            Value::String("7".into()),
            Value::Array(vec![Value::U8(7)]),
        ] {
            assert_eq!(other.to_u64(), None);
        }
    }
}
