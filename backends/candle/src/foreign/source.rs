//! A GGUF file as candle reads it: its header put into the form that candle expects, and a note of what
//! candle looked at, so that nothing in the file is left out of the computation unnoticed.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::Shape;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};

use super::facts::Facts;
use crate::ModelError;
use crate::error::first_line;
use kwaainet_decoder::FileError;

/// Matrices of experts, which newer files hold as one tensor and candle expects one by one.
const EXPERTS: [&str; 3] = ["ffn_gate", "ffn_up", "ffn_down"];

/// An open file that remembers where it was read.
pub(super) struct Source {
    file: BufReader<File>,
    visited: HashSet<u64>,
}

impl Source {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<(Self, Content), ModelError> {
        let file = File::open(path).map_err(|e| FileError::unreadable("the model file", &e))?;
        let mut source = Self {
            file: BufReader::new(file),
            visited: HashSet::new(),
        };
        let content = Content::read(&mut source).map_err(|e| ModelError::Candle(first_line(&e)))?;
        Ok((source, content))
    }

    /// The first by name of these tensors that was never read.
    pub(super) fn unread<'a>(&self, tensors: &'a [(String, u64)]) -> Option<&'a str> {
        let unread = tensors.iter().filter(|(_, at)| !self.visited.contains(at));
        unread.map(|(name, _)| name.as_str()).min()
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.file.read(into)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        if let SeekFrom::Start(at) = to {
            self.visited.insert(at);
        }
        self.file.seek(to)
    }
}

/// All tensors with their places in the file.
pub(super) fn places(content: &Content) -> Vec<(String, u64)> {
    let tensors = content.tensor_infos.iter();
    tensors
        .map(|(name, info)| (name.clone(), content.tensor_data_offset + info.offset))
        .collect()
}

/// Says what candle's models want to be told, and takes experts apart.
pub(super) fn prepare(content: &mut Content, name: &str, facts: &Facts) {
    let number = |number: usize| Value::U32(u32::try_from(number).unwrap_or(u32::MAX));
    let mut tell = |key: &str, value| content.metadata.insert(key.to_owned(), value);
    // Tables and caches are made for so many tokens.
    tell(&format!("{name}.context_length"), number(facts.context));
    tell(
        &format!("{name}.rope.dimension_count"),
        number(facts.rotated),
    );
    tell(
        &format!("{name}.attention.key_length"),
        number(facts.head_dim),
    );
    tell(
        &format!("{name}.attention.value_length"),
        number(facts.head_dim),
    );
    // Of Qwen 3's angles, which f16 would spoil beyond position 2048; 0 is f32.
    tell("general.dtype", Value::U32(0));
    for layer in 0..facts.layers {
        for part in EXPERTS {
            take_apart(content, &format!("blk.{layer}.{part}"), facts.experts);
        }
    }
}

fn take_apart(content: &mut Content, part: &str, experts: usize) {
    let Some(all) = content.tensor_infos.get(&format!("{part}_exps.weight")) else {
        return;
    };
    let &[count, rows, columns] = all.shape.dims() else {
        return;
    };
    if count != experts {
        return;
    }
    let (dtype, start) = (all.ggml_dtype, all.offset);
    let bytes = rows * columns / dtype.block_size() * dtype.type_size();
    for expert in 0..experts {
        let one = TensorInfo {
            ggml_dtype: dtype,
            shape: Shape::from((rows, columns)),
            offset: start + (expert * bytes) as u64,
        };
        let name = format!("{part}.{expert}.weight");
        content.tensor_infos.insert(name, one);
    }
}
