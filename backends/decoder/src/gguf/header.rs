//! The header of a GGUF file: metadata and the list of tensors.
//!
//! The file is somebody else's: every count is checked against the bytes that are left and against a
//! bound of memory before anything is allocated, and each complaint names the key or the tensor. What
//! is made of a header takes at most some 32 bytes for each of the file's (an array of bytes becomes one
//! of [`Value`]s), and never more than the bounds below allow, whatever it claims.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use super::Value;
use crate::error::{FileError, quoted};

/// Larger than any vocabulary with its merges (the largest known have a million of either).
const ELEMENTS_MAX: u64 = 1 << 22;
const KEYS_MAX: u64 = 1 << 16;
const TENSORS_MAX: u64 = 1 << 16;
const STRING_MAX: u64 = 1 << 22;
/// Of all strings together; a vocabulary takes a few megabytes.
const TEXT_MAX: u64 = 1 << 28;
const DIMENSIONS_MAX: u32 = 4;
const ALIGNMENT_DEFAULT: u64 = 32;
const ALIGNMENT_MAX: u64 = 1 << 20;

/// What the header says, not yet believed.
pub(super) struct Header {
    pub(super) metadata: HashMap<String, Value>,
    pub(super) tensors: BTreeMap<String, TensorEntry>,
    /// Where the tensors' bytes begin, from the start of the file.
    pub(super) data_start: u64,
}

/// Where a tensor lies and how it is stored.
pub(super) struct TensorEntry {
    /// ggml's order: the innermost dimension first.
    pub(super) dims: Vec<u64>,
    /// ggml's number for the storage type.
    pub(super) storage: u32,
    /// From `data_start`.
    pub(super) offset: u64,
}

/// Reads a header from the start of a file of `file_len` bytes.
pub(super) fn read(file: impl Read, file_len: u64) -> Result<Header, FileError> {
    let mut source = Source {
        file,
        at: 0,
        len: file_len,
        elements: 0,
        text: 0,
    };
    source.magic()?;
    let tensor_count = source.u64()?;
    let key_count = source.u64()?;
    if tensor_count > TENSORS_MAX || key_count > KEYS_MAX {
        return Err(FileError::malformed(format!(
            "it claims {tensor_count} tensors and {key_count} metadata keys"
        )));
    }
    let mut metadata = HashMap::new();
    for _ in 0..key_count {
        let key = source.string()?;
        let kind = source.u32()?;
        let value = source.value(&key, kind)?;
        metadata.insert(key, value);
    }
    let mut tensors = BTreeMap::new();
    for _ in 0..tensor_count {
        let name = source.string()?;
        let entry = source.tensor(&name)?;
        if tensors.insert(name.clone(), entry).is_some() {
            return Err(FileError::malformed(format!(
                "the tensor '{}' is listed twice",
                quoted(&name)
            )));
        }
    }
    let alignment = match metadata.get("general.alignment") {
        None => ALIGNMENT_DEFAULT,
        Some(value) => match value.to_u64() {
            Some(bytes) if bytes.is_power_of_two() && bytes <= ALIGNMENT_MAX => bytes,
            Some(bytes) => return Err(FileError::malformed(format!("its alignment is {bytes}"))),
            None => return Err(FileError::malformed("its alignment is no whole number")),
        },
    };
    Ok(Header {
        metadata,
        tensors,
        data_start: source.at.next_multiple_of(alignment),
    })
}

/// What a value of this type takes in the file at least.
fn bytes_min(kind: u32) -> u64 {
    match kind {
        2 | 3 => 2,
        4..=6 => 4,
        // A text begins with its length.
        8 | 10..=12 => 8,
        _ => 1,
    }
}

/// The file with what has been taken from it so far.
struct Source<R> {
    file: R,
    at: u64,
    len: u64,
    elements: u64,
    text: u64,
}

impl<R: Read> Source<R> {
    fn magic(&mut self) -> Result<(), FileError> {
        let mut magic = [0; 4];
        if !self.fill(&mut magic)? || &magic != b"GGUF" {
            return Err(FileError::NotGguf);
        }
        match self.u32()? {
            2 | 3 => Ok(()),
            version if version.swap_bytes() <= 3 => Err(FileError::malformed(
                "it is in big-endian byte order, which is not supported",
            )),
            version => Err(FileError::malformed(format!(
                "it has version {version} of the format; versions 2 and 3 are known"
            ))),
        }
    }

    fn value(&mut self, key: &str, kind: u32) -> Result<Value, FileError> {
        const ARRAY: u32 = 9;
        if kind != ARRAY {
            return self.scalar(key, kind);
        }
        let kind = self.u32()?;
        if kind == ARRAY {
            return Err(FileError::malformed(format!(
                "the array '{}' is nested",
                quoted(key)
            )));
        }
        let count = self.u64()?;
        // So memory is also bounded by the file.
        if count.saturating_mul(bytes_min(kind)) > self.left() {
            return Err(self.cut_short());
        }
        self.elements += count;
        if self.elements > ELEMENTS_MAX {
            return Err(FileError::malformed(format!(
                "the array '{}' has {count} elements, too many to be believed",
                quoted(key)
            )));
        }
        let mut values = Vec::with_capacity(count as usize);
        for _ in 0..count {
            values.push(self.scalar(key, kind)?);
        }
        Ok(Value::Array(values))
    }

    fn scalar(&mut self, key: &str, kind: u32) -> Result<Value, FileError> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.bytes()?)),
            1 => Value::I8(i8::from_le_bytes(self.bytes()?)),
            2 => Value::U16(u16::from_le_bytes(self.bytes()?)),
            3 => Value::I16(i16::from_le_bytes(self.bytes()?)),
            4 => Value::U32(self.u32()?),
            5 => Value::I32(i32::from_le_bytes(self.bytes()?)),
            6 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.bytes::<1>()? != [0]),
            8 => Value::String(self.string()?),
            10 => Value::U64(self.u64()?),
            11 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            12 => Value::F64(f64::from_le_bytes(self.bytes()?)),
            _ => {
                return Err(FileError::malformed(format!(
                    "the value of '{}' has the unknown type {kind}",
                    quoted(key)
                )));
            }
        })
    }

    fn tensor(&mut self, name: &str) -> Result<TensorEntry, FileError> {
        let rank = self.u32()?;
        if rank > DIMENSIONS_MAX {
            return Err(FileError::malformed(format!(
                "the tensor '{}' has {rank} dimensions",
                quoted(name)
            )));
        }
        let mut dims = Vec::with_capacity(rank as usize);
        for _ in 0..rank {
            dims.push(self.u64()?);
        }
        Ok(TensorEntry {
            dims,
            storage: self.u32()?,
            offset: self.u64()?,
        })
    }

    /// Text is meant to be UTF-8; what is not is replaced, as some published files have such keys.
    fn string(&mut self) -> Result<String, FileError> {
        let len = self.u64()?;
        if len > self.left() {
            return Err(self.cut_short());
        }
        self.text += len;
        if len > STRING_MAX || self.text > TEXT_MAX {
            return Err(FileError::malformed(format!(
                "a text in it is {len} bytes long"
            )));
        }
        let mut bytes = vec![0; len as usize];
        self.take(&mut bytes)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        Ok(u32::from_le_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, FileError> {
        Ok(u64::from_le_bytes(self.bytes()?))
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        let mut bytes = [0; N];
        self.take(&mut bytes)?;
        Ok(bytes)
    }

    fn take(&mut self, into: &mut [u8]) -> Result<(), FileError> {
        if self.fill(into)? {
            Ok(())
        } else {
            Err(self.cut_short())
        }
    }

    /// Whether there were enough bytes.
    fn fill(&mut self, into: &mut [u8]) -> Result<bool, FileError> {
        match self.file.read_exact(into) {
            Ok(()) => {
                self.at += into.len() as u64;
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
            Err(e) => Err(FileError::unreadable("the model file", &e)),
        }
    }

    fn left(&self) -> u64 {
        self.len.saturating_sub(self.at)
    }

    fn cut_short(&self) -> FileError {
        FileError::HeaderCutShort { len: self.len }
    }
}
