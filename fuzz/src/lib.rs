//! What the targets read: the families of `kwaainet-federation`, and model files.

use kwaainet_decoder::{FileError, Gguf, ModelConfig};
use kwaainet_federation::fuzz::Family;

/// Model files, which come from anybody too.
pub const GGUF: &str = "gguf";
/// A tensor of a file that is made up says little when it is read, and takes its time.
const TENSOR_MAX: usize = 1 << 16;

/// The names of all targets.
pub fn names() -> impl Iterator<Item = &'static str> {
    Family::ALL.iter().map(|family| family.name).chain([GGUF])
}

/// Reads bytes as the node does.
///
/// # Panics
/// When there is no such target, or something happens that must not.
pub fn read(name: &str, bytes: &[u8]) {
    match Family::named(name) {
        Some(family) => family.read(bytes),
        None if name == GGUF => {
            let _refused = read_gguf(bytes);
        }
        None => panic!("there is no target '{name}'"),
    }
}

/// Good bytes to begin with.
///
/// # Panics
/// When there is no such target.
pub fn sample(name: &str, seed: u64) -> Vec<u8> {
    match Family::named(name) {
        Some(family) => family.sample(seed),
        None if name == GGUF => gguf(seed),
        None => panic!("there is no target '{name}'"),
    }
}

fn read_gguf(bytes: &[u8]) -> Result<(), FileError> {
    let file = Gguf::from_bytes(bytes.to_vec())?;
    let config = ModelConfig::read(&file);
    for name in ["token_embd.weight", "output_norm.weight", "a"] {
        let Some(dims) = file.dims(name) else {
            continue;
        };
        let dims: Vec<_> = dims.iter().map(|dim| *dim as usize).collect();
        let tensor = file.tensor(name, &dims)?;
        assert!(tensor.bytes() <= bytes.len(), "a tensor lies within its file");
        if tensor.bytes() <= TENSOR_MAX {
            file.read(name, &dims)?;
        }
    }
    config.map(drop)
}

/// A small file with every kind of value, and as many tensors as the seed says.
fn gguf(seed: u64) -> Vec<u8> {
    let tensors = seed % 3;
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut keys: Vec<Vec<u8>> = vec![
        [text("general.architecture"), 8_u32.to_le_bytes().into(), text("llama")].concat(),
        [text("general.alignment"), 4_u32.to_le_bytes().into(), 32_u32.to_le_bytes().into()].concat(),
    ];
    for (key, value) in [
        ("block_count", 1_u32),
        ("context_length", 64),
        ("embedding_length", 4),
        ("feed_forward_length", 8),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ] {
        let key = text(&format!("llama.{key}"));
        keys.push([key, 4_u32.to_le_bytes().into(), value.to_le_bytes().into()].concat());
    }
    let words = ["a", "b", "c"].map(text).concat();
    let list = [9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat();
    keys.push([text("tokenizer.ggml.tokens"), list, 3_u64.to_le_bytes().into(), words].concat());
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(tensors.to_le_bytes());
    file.extend((keys.len() as u64).to_le_bytes());
    file.extend(keys.concat());
    for (number, name) in ["token_embd.weight", "a"].iter().take(tensors as usize).enumerate() {
        file.extend(text(name));
        file.extend(2_u32.to_le_bytes());
        file.extend([4_u64, 3].map(u64::to_le_bytes).concat());
        file.extend(0_u32.to_le_bytes());
        file.extend((number as u64 * 64).to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.resize(file.len() + tensors as usize * 64, 1);
    file
}
