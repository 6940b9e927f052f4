//! Small GGUF files, made in memory.

use kwaainet_decoder::Value;
use kwaainet_kernels::Format;

/// What becomes a file.
#[derive(Clone)]
pub(crate) struct Builder {
    metadata: Vec<(String, Value)>,
    tensors: Vec<TensorSpec>,
}

#[derive(Clone)]
struct TensorSpec {
    name: String,
    dims: Vec<u64>,
    /// ggml's number.
    storage: u32,
}

pub(crate) const ARCHITECTURES: [&str; 6] = ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3"];
/// ggml's numbers of F32 and Q8_0.
const F32: u32 = 0;
const Q8_0: u32 = 8;
const ALIGNMENT: usize = 32;

/// A decoder of one layer with all metadata, and as many tensors as it takes to have a few.
pub(crate) fn tiny(architecture: &str) -> Builder {
    let key = |key: &str| format!("{architecture}.{key}");
    let text = |text: &str| Value::String(text.into());
    let words = ["<s>", "</s>", "a", "b"].map(text).into();
    let metadata = vec![
        ("general.architecture".into(), text(architecture)),
        (key("block_count"), Value::U32(1)),
        (key("context_length"), Value::U32(256)),
        (key("embedding_length"), Value::U32(64)),
        (key("feed_forward_length"), Value::U32(96)),
        (key("attention.head_count"), Value::U32(4)),
        (key("attention.head_count_kv"), Value::U32(2)),
        (key("attention.layer_norm_rms_epsilon"), Value::F32(1e-5)),
        ("tokenizer.ggml.tokens".into(), Value::Array(words)),
        (
            "tokenizer.ggml.scores".into(),
            Value::Array([0.0, 1.0, 2.0, 3.0].map(Value::F32).into()),
        ),
    ];
    let mut file = Builder {
        metadata,
        tensors: Vec::new(),
    };
    file.tensor("token_embd.weight", Q8_0, &[64, 4]);
    file.tensor("output_norm.weight", F32, &[64]);
    file.tensor("blk.0.attn_norm.weight", F32, &[64]);
    file.tensor("blk.0.attn_q.weight", Q8_0, &[64, 64]);
    file
}

impl Builder {
    /// Adds a key or changes its value.
    pub(crate) fn set(&mut self, key: &str, value: Value) -> &mut Self {
        self.metadata.retain(|(known, _)| known != key);
        self.metadata.push((key.into(), value));
        self
    }

    /// Adds a tensor of ggml's storage type.
    pub(crate) fn tensor(&mut self, name: &str, storage: u32, dims: &[u64]) -> &mut Self {
        self.tensors.push(TensorSpec {
            name: name.into(),
            dims: dims.into(),
            storage,
        });
        self
    }

    /// The file, its tensors filled with numbers that count up.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut file, key);
            file.extend(kind(value).to_le_bytes());
            write(&mut file, value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            text(&mut file, &tensor.name);
            file.extend((tensor.dims.len() as u32).to_le_bytes());
            for dim in &tensor.dims {
                file.extend(dim.to_le_bytes());
            }
            file.extend(tensor.storage.to_le_bytes());
            file.extend((data.len() as u64).to_le_bytes());
            data.extend((0..tensor.len()).map(|i| i as u8));
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(data);
        file
    }
}

impl TensorSpec {
    /// Bytes; none of an unknown storage type.
    fn len(&self) -> usize {
        Format::from_ggml(self.storage).map_or(0, |storage| {
            let elements = self.dims.iter().product::<u64>() as usize;
            elements / storage.group() * storage.group_bytes()
        })
    }
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    }
}

fn write(file: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(number) => file.push(*number),
        Value::I8(number) => file.extend(number.to_le_bytes()),
        Value::U16(number) => file.extend(number.to_le_bytes()),
        Value::I16(number) => file.extend(number.to_le_bytes()),
        Value::U32(number) => file.extend(number.to_le_bytes()),
        Value::I32(number) => file.extend(number.to_le_bytes()),
        Value::F32(number) => file.extend(number.to_le_bytes()),
        Value::Bool(flag) => file.push((*flag).into()),
        Value::String(words) => text(file, words),
        Value::Array(values) => {
            // An empty one is of numbers.
            file.extend(values.first().map_or(4, kind).to_le_bytes());
            file.extend((values.len() as u64).to_le_bytes());
            for value in values {
                write(file, value);
            }
        }
        Value::U64(number) => file.extend(number.to_le_bytes()),
        Value::I64(number) => file.extend(number.to_le_bytes()),
        Value::F64(number) => file.extend(number.to_le_bytes()),
    }
}

fn text(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}
