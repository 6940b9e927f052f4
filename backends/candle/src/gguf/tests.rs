//! Files that are not what they should be.

use super::*;
use crate::graph::Decoder;
use crate::testing::{ARCHITECTURES, Noise, Tiny};

/// Reads bytes as a model, all the way.
fn load(bytes: &[u8]) -> Result<(), ModelError> {
    let dir = tempfile::tempdir().expect("there is room for temporary files");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("the directory is new");
    let mut file = Gguf::open(&path)?;
    let config = ModelConfig::read(&file)?;
    Decoder::load(&mut file, config).map(|_| ())
}

fn sound() -> Vec<u8> {
    std::fs::read(Tiny::new("llama").file().path).expect("it was just written")
}

/// Replaces the first such bytes; what replaces them is as long.
fn with(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at = bytes.windows(old.len()).position(|window| window == old);
    let at = at.expect("the file has these bytes");
    bytes[at..at + new.len()].copy_from_slice(new);
    bytes
}

/// A value that follows a key, with its type before it.
fn set_u32(bytes: Vec<u8>, key: &str, old: u32, new: u32) -> Vec<u8> {
    let entry = |value: u32| [key.as_bytes(), &4_u32.to_le_bytes(), &value.to_le_bytes()].concat();
    with(bytes, &entry(old), &entry(new))
}

fn complaint(bytes: &[u8]) -> String {
    load(bytes).expect_err("the file is bad").to_string()
}

#[test]
fn every_architecture_loads() {
    for architecture in ARCHITECTURES {
        let bytes = std::fs::read(Tiny::new(architecture).file().path);
        assert_eq!(load(&bytes.expect("it was just written")), Ok(()));
    }
}

#[test]
fn a_file_cut_short_says_where() {
    let bytes = sound();
    let len = bytes.len();
    let error = load(&bytes[..len - 1000]).expect_err("the last tensor is not whole");
    let text = error.to_string();
    let ModelError::CutShort {
        tensor,
        end,
        len: found,
    } = error
    else {
        panic!("{text}");
    };
    assert!(end <= len as u64 && found == len as u64 - 1000, "{text}");
    assert!(
        text.starts_with("the model file is cut short: tensor "),
        "{text}"
    );
    assert!(text.contains(&tensor), "{text}");
    for cut in [4, 8, 23, 24, 100, 2000] {
        let error = load(&bytes[..cut]).expect_err("the header is not whole");
        assert_eq!(error, ModelError::HeaderCutShort { len: cut as u64 });
    }
}

#[test]
fn other_files_are_not_gguf() {
    for bytes in [&b""[..], b"GGU", b"PK\x03\x04 and more", &[0; 4096]] {
        assert_eq!(load(bytes), Err(ModelError::NotGguf));
    }
    let missing = Gguf::open("/nonexistent/model.gguf".as_ref()).err();
    assert!(matches!(missing, Some(ModelError::Unreadable { .. })));
}

#[test]
fn an_unknown_architecture_is_named_with_the_known_ones() {
    // The architecture is also the prefix of its keys; only the name itself matters.
    let bytes = with(
        sound(),
        b"\x05\0\0\0\0\0\0\0llama",
        b"\x05\0\0\0\0\0\0\0alpac",
    );
    assert_eq!(
        complaint(&bytes),
        "unknown architecture 'alpac'; the known ones are llama, qwen2, qwen3, gemma3"
    );
}

#[test]
fn senseless_values_are_refused() {
    let heads = set_u32(sound(), "llama.attention.head_count", 4, 0);
    assert!(complaint(&heads).contains("'llama.attention.head_count' is U32(0)"));
    let heads = set_u32(sound(), "llama.attention.head_count", 4, 3);
    assert!(complaint(&heads).contains("3 heads cannot share 2 key heads"));
    let odd = set_u32(sound(), "llama.attention.key_length", 16, 15);
    assert!(complaint(&odd).contains("15 key"));
    let layers = set_u32(sound(), "llama.block_count", 2, 3);
    assert!(complaint(&layers).contains("'blk.2.attn_norm.weight' is missing"));
    let width = set_u32(sound(), "llama.feed_forward_length", 96, 1 << 30);
    assert!(complaint(&width).contains("feed_forward_length"));
    let width = set_u32(sound(), "llama.feed_forward_length", 96, 128);
    assert!(complaint(&width).contains("has the shape"));
    let context = set_u32(sound(), "llama.context_length", 256, u32::MAX);
    assert!(complaint(&context).contains("context_length"));
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_memory_is_taken() {
    let huge = u64::MAX.to_le_bytes();
    for at in [8, 16] {
        let mut bytes = sound();
        bytes[at..at + 8].copy_from_slice(&huge);
        assert!(complaint(&bytes).contains("it claims"), "count at {at}");
    }
    // The length of the first key, and the version.
    let mut bytes = sound();
    bytes[24..32].copy_from_slice(&huge);
    assert!(matches!(
        load(&bytes),
        Err(ModelError::HeaderCutShort { .. })
    ));
    let mut bytes = sound();
    bytes[4] = 9;
    assert!(complaint(&bytes).contains("version 9"));
    bytes[4..8].copy_from_slice(&[0, 0, 0, 3]);
    assert!(complaint(&bytes).contains("big-endian"));
}

#[test]
fn complaints_quote_no_more_than_a_line_of_the_file() {
    // A header with no tensors and this one key.
    let with_key = |key: &str, value: &[u8]| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend((key.len() as u64).to_le_bytes());
        bytes.extend(key.as_bytes());
        bytes.extend(value);
        complaint(&bytes)
    };
    let text = "x".repeat(5_000);
    let value = [
        &8_u32.to_le_bytes()[..],
        &5_000_u64.to_le_bytes(),
        text.as_bytes(),
    ];
    let complaint = with_key("general.alignment", &value.concat());
    assert!(complaint.ends_with("its alignment is no whole number"));
    let value = [4_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
    let complaint = with_key("general.alignment", &value);
    assert!(complaint.ends_with("its alignment is 3"));
    let complaint = with_key(&"ü".repeat(5_000), &[99, 0, 0, 0]);
    let cut = format!("the value of '{}' has", "ü".repeat(80));
    assert!(complaint.contains(&cut), "{complaint}");
}

#[test]
fn a_damaged_header_is_an_error_and_never_a_panic() {
    let sound = sound();
    let header = sound.len().min(14_000);
    let mut noise = Noise(99);
    for _ in 0..3_000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + noise.next() % 4 {
            let at = noise.next() as usize % header;
            bytes[at] = noise.next() as u8;
        }
        // Damage to a text or a weight goes unnoticed; all that counts is that this returns.
        let _ = load(&bytes);
    }
}
