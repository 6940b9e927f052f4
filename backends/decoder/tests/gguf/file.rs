//! The layout of a file.

use kwaainet_decoder::{FileError, Gguf, Value};
use kwaainet_kernels::Format;

use crate::support::{Builder, tiny};

fn open(bytes: &[u8]) -> Result<Gguf, FileError> {
    Gguf::from_bytes(bytes.into())
}

fn complaint(bytes: &[u8]) -> String {
    let error = open(bytes).err();
    error.expect("the file is bad").to_string()
}

fn sound() -> Vec<u8> {
    tiny("llama").bytes()
}

fn built(change: impl FnOnce(&mut Builder)) -> Vec<u8> {
    let mut file = tiny("llama");
    change(&mut file);
    file.bytes()
}

#[test]
fn every_type_of_value_is_read_as_it_was_written() {
    let values = [
        Value::U8(1),
        Value::I8(-1),
        Value::U16(60_000),
        Value::I16(-2),
        Value::U32(1 << 31),
        Value::I32(-3),
        Value::U64(1 << 63),
        Value::I64(-4),
        Value::F32(0.5),
        Value::F64(-0.25),
        Value::Bool(true),
        Value::String("ü".into()),
        Value::Array(vec![
            Value::String("a".into()),
            Value::String(String::new()),
        ]),
        Value::Array(Vec::new()),
    ];
    let bytes = built(|file| {
        for (index, value) in values.iter().enumerate() {
            file.set(&format!("test.{index}"), value.clone());
        }
    });
    let gguf = open(&bytes).expect("the file is sound");
    for (index, value) in values.iter().enumerate() {
        let read = gguf.metadata().get(&format!("test.{index}"));
        assert_eq!(read, Some(value));
    }
}

#[test]
fn tensors_are_the_same_from_disk_from_memory_and_from_many_threads() {
    let bytes = sound();
    let dir = tempfile::tempdir().expect("there is room for temporary files");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, &bytes).expect("the directory is new");
    let on_disk = Gguf::open(&path).expect("the file is sound");
    let in_memory = open(&bytes).expect("the file is sound");
    let shapes: [(&str, &[usize]); 3] = [
        ("token_embd.weight", &[64, 4]),
        ("output_norm.weight", &[64]),
        ("blk.0.attn_q.weight", &[64, 64]),
    ];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    for (name, dims) in shapes {
                        let [disk, memory] = [&on_disk, &in_memory]
                            .map(|gguf| gguf.read(name, dims).expect("it is there"));
                        assert!(disk.bytes == memory.bytes, "{name}");
                        let counted = (0..disk.bytes.len()).map(|i| i as u8);
                        assert!(disk.bytes.iter().copied().eq(counted), "{name}");
                    }
                }
            });
        }
    });
}

#[test]
fn a_part_of_a_tensor_is_read_and_nothing_beyond_it() {
    let gguf = open(&sound()).expect("the file is sound");
    let tensor = gguf.tensor("blk.0.attn_q.weight", &[64, 64]);
    let tensor = tensor.expect("it is there");
    let row = 2 * 34;
    assert_eq!((tensor.storage(), tensor.bytes()), (Format::Q8_0, 64 * row));
    let mut rows = vec![0; 2 * row];
    tensor.read_at(&mut rows, 62 * row).expect("these are rows");
    let counted = (62 * row..64 * row).map(|i| i as u8);
    assert!(rows.into_iter().eq(counted));
    for offset in [62 * row + 1, usize::MAX] {
        let error = tensor.read_at(&mut vec![0; 2 * row], offset);
        assert!(matches!(error, Err(FileError::Unreadable { .. })));
    }
}

#[test]
fn a_tensor_must_be_there_in_the_expected_shape_and_a_known_type() {
    const Q8_K: u32 = 15;
    let bytes = built(|file| {
        file.tensor("odd", Q8_K, &[256, 1]);
    });
    let gguf = open(&bytes).expect("an odd type does no harm until it is asked for");
    let complaint = |name, dims| {
        let error = gguf.read(name, dims).err();
        error.expect("there is no such tensor").to_string()
    };
    assert!(complaint("none", &[1]).ends_with("the tensor 'none' is missing"));
    let shape = complaint("output_norm.weight", &[32, 2]);
    assert!(shape.ends_with("'output_norm.weight' has the shape [64] instead of [32, 2]"));
    let unsupported = complaint("odd", &[256, 1]);
    assert_eq!(
        unsupported,
        "the model needs the storage type 15 (of odd), which is not supported"
    );
    assert_eq!(gguf.dims("odd"), Some(&[256, 1][..]));
    assert!(gguf.has("odd") && !gguf.has("none"));
}

#[test]
fn a_file_cut_short_says_where() {
    let bytes = sound();
    let len = bytes.len() as u64;
    let error = open(&bytes[..bytes.len() - 1000]).err();
    assert_eq!(
        error,
        Some(FileError::CutShort {
            tensor: "blk.0.attn_q.weight".into(),
            end: len,
            len: len - 1000
        })
    );
    for cut in [4, 8, 23, 24, 100, 600] {
        let error = open(&bytes[..cut]).err();
        assert_eq!(error, Some(FileError::HeaderCutShort { len: cut as u64 }));
    }
}

#[test]
fn other_files_are_not_gguf() {
    for bytes in [&b""[..], b"GGU", b"PK\x03\x04 and more", &[0; 4096]] {
        assert_eq!(open(bytes).err(), Some(FileError::NotGguf));
    }
    let missing = Gguf::open("/nonexistent/model.gguf".as_ref()).err();
    assert!(matches!(missing, Some(FileError::Unreadable { .. })));
}

#[test]
fn impossible_tensors_are_refused() {
    const F32: u32 = 0;
    const Q8_0: u32 = 8;
    for (storage, dims) in [
        (F32, &[][..]),
        (F32, &[0, 5]),
        (Q8_0, &[33, 1]),
        (F32, &[1 << 40, 1 << 40]),
        (F32, &[1 << 62]),
    ] {
        let mut bytes = sound();
        // The last tensor's place in the list, written anew with this shape.
        let name = b"blk.0.attn_q.weight";
        let at = bytes.windows(name.len()).position(|window| window == name);
        bytes.truncate(at.expect("it is listed") + name.len());
        bytes.extend((dims.len() as u32).to_le_bytes());
        bytes.extend(dims.iter().flat_map(|dim: &u64| dim.to_le_bytes()));
        bytes.extend(storage.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        let complaint = complaint(&bytes);
        assert!(
            complaint.ends_with(&format!("has the impossible shape {dims:?}")),
            "{complaint}"
        );
    }
}

#[test]
fn tensors_that_share_bytes_are_refused() {
    // Else a small file could be read into any amount of memory.
    let mut bytes = sound();
    let norm = b"blk.0.attn_norm.weight";
    let at = bytes.windows(norm.len()).position(|window| window == norm);
    let at = at.expect("it is listed") + norm.len() + 4 + 8 + 4;
    // Where the list says that it is; four bytes earlier is what comes before it.
    let listed = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("there are eight"));
    bytes[at..at + 8].copy_from_slice(&(listed - 4).to_le_bytes());
    assert!(
        complaint(&bytes)
            .ends_with("the tensors 'output_norm.weight' and 'blk.0.attn_norm.weight' overlap")
    );
    let twice = built(|file| {
        file.tensor("output_norm.weight", 0, &[64]);
    });
    assert!(complaint(&twice).ends_with("the tensor 'output_norm.weight' is listed twice"));
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
    let error = open(&bytes).err();
    assert!(matches!(error, Some(FileError::HeaderCutShort { .. })));
    let mut bytes = sound();
    bytes[4] = 9;
    assert!(complaint(&bytes).contains("version 9"));
    bytes[4..8].copy_from_slice(&[0, 0, 0, 3]);
    assert!(complaint(&bytes).contains("big-endian"));
}

#[test]
fn arrays_claim_no_more_elements_than_the_rest_of_the_file_could_hold() {
    // One key, an array of this type and length, and 800 bytes of zeros.
    let with_array = |kind: u32, count: u64| {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, b'k', 9, 0, 0, 0]);
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.resize(bytes.len() + 800, 0);
        open(&bytes).err()
    };
    // Bytes, numbers of two, four and eight bytes, and empty texts.
    for (kind, size) in [(0, 1), (2, 2), (6, 4), (12, 8), (8, 8)] {
        assert_eq!(with_array(kind, 800 / size), None);
        let error = with_array(kind, 800 / size + 1);
        assert!(matches!(error, Some(FileError::HeaderCutShort { .. })));
    }
    let nested = with_array(9, 1).map(|error| error.to_string());
    assert!(nested.is_some_and(|nested| nested.ends_with("the array 'k' is nested")));
}

#[test]
fn complaints_quote_no_more_than_a_line_of_the_file() {
    let text = |len| Value::String("x".repeat(len));
    let alignment = |value| {
        complaint(&built(|file| {
            file.set("general.alignment", value);
        }))
    };
    assert!(alignment(text(5_000)).ends_with("its alignment is no whole number"));
    assert!(alignment(Value::U32(3)).ends_with("its alignment is 3"));
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(10_000_u64.to_le_bytes());
    bytes.extend("ü".repeat(5_000).as_bytes());
    bytes.extend([99, 0, 0, 0]);
    let cut = format!("the value of '{}' has", "ü".repeat(80));
    assert!(complaint(&bytes).contains(&cut));
}
