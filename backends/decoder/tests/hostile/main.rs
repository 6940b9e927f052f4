//! Files that are damaged or made to harm: they are refused or read, without a panic and without more
//! memory than a small multiple of their size.
//!
//! One test in a process of its own, since memory is measured for the whole process. A failure names
//! the seed that shows it again: `KWAAINET_HOSTILE_SEED=seed KWAAINET_HOSTILE_ROUNDS=1`. With more
//! rounds the same test is a long search.

mod mutation;
mod noise;
#[path = "../support/mod.rs"]
mod support;

use std::panic::catch_unwind;

use kwaainet_decoder::{FileError, Gguf, ModelConfig, Value};

use mutation::mutate;
use noise::Noise;
use support::{ARCHITECTURES, tiny};

const SEED: u64 = 20_261_122;
const ROUNDS: u64 = 60_000;
/// The longest of complaints: some sentences, with two texts of 80 characters from the file.
const COMPLAINT_BYTES_MAX: usize = 1_000;
/// Address space that all rounds together may take. A file has a few kilobytes, of which a header may
/// make 32 times as much; the least of the reader's own bounds is four times this.
const MEMORY_BYTES_MAX: u64 = 1 << 20;

#[test]
fn hostile_files_neither_panic_nor_take_memory_without_bound() {
    let files = sound_files();
    let names = names();
    let (seed, rounds) = (setting("SEED", SEED), setting("ROUNDS", ROUNDS));
    for file in &files {
        read(file.clone(), &names).expect("files are sound before they are damaged");
    }
    let slack = take_up_slack();
    let before = address_space("VmPeak:");
    let mut sound = 0;
    for seed in (0..rounds).map(|round| seed.wrapping_add(round)) {
        let read = || read(mutate(&mut Noise(seed), &files), &names);
        let Ok(outcome) = catch_unwind(read) else {
            panic!("KWAAINET_HOSTILE_SEED={seed} KWAAINET_HOSTILE_ROUNDS=1 panics");
        };
        match outcome {
            Ok(()) => sound += 1,
            Err(error) => {
                let complaint = error.to_string();
                assert!(
                    complaint.len() < COMPLAINT_BYTES_MAX,
                    "seed {seed}: {complaint}"
                );
            }
        }
        if let (Some(before), Some(peak)) = (before, address_space("VmPeak:")) {
            let taken = peak - before;
            assert!(taken < MEMORY_BYTES_MAX, "seed {seed}: {taken} bytes");
        }
    }
    drop(slack);
    // Damage that is always found at once would never reach what comes later.
    assert!(
        rounds < 1000 || (rounds / 20..rounds).contains(&sound),
        "{sound} of {rounds} were sound"
    );
}

/// Reads all that there is to read.
fn read(bytes: Vec<u8>, names: &[String]) -> Result<(), FileError> {
    let len = bytes.len();
    let gguf = Gguf::from_bytes(bytes)?;
    let mut total = 0;
    for name in names {
        let Some(dims) = gguf.dims(name) else {
            continue;
        };
        let dims: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
        match gguf.read(name, &dims) {
            Ok(tensor) => total += tensor.bytes.len(),
            Err(FileError::Unsupported(_)) => {}
            Err(error) => panic!("a checked tensor cannot be read: {error}"),
        }
    }
    assert!(total < len, "{total} bytes of tensors in a file of {len}");
    ModelConfig::read(&gguf).map(|config| check(&config))
}

/// What the graph relies on.
fn check(config: &ModelConfig) {
    assert!(config.heads.is_multiple_of(config.kv_heads) && config.head_dim.is_multiple_of(2));
    assert!(config.layers > 0 && config.width > 0 && config.ffn_width > 0 && config.vocab > 0);
    assert!(config.context > 0 && config.norm_eps > 0.0 && config.norm_eps.is_finite());
    assert!(config.attention_scale > 0.0 && config.attention_scale.is_finite());
    for cap in [config.attention_softcap, config.logit_softcap] {
        assert!(cap.is_none_or(|cap| cap > 0.0 && cap.is_finite()));
    }
    let windows = (0..config.layers).filter_map(|layer| config.window_of(layer));
    for rope in windows.map(|window| &window.rope).chain([&config.rope]) {
        assert!(rope.dims.is_multiple_of(2) && (2..=config.head_dim).contains(&rope.dims));
        assert!(rope.base > 0.0 && rope.base.is_finite() && rope.magnitude > 0.0);
        assert!(rope.scale.is_finite() && rope.magnitude.is_finite());
    }
}

/// One of each architecture, with a value of each type and a tensor of each storage type.
fn sound_files() -> Vec<Vec<u8>> {
    let files = ARCHITECTURES.map(|architecture| {
        let mut file = tiny(architecture);
        for (key, value) in [
            ("attention.sliding_window", Value::U16(8)),
            ("rope.dimension_count", Value::U8(12)),
            ("rope.freq_base", Value::F32(5e5)),
            ("rope.scaling.type", Value::String("linear".into())),
            ("rope.scaling.factor", Value::F32(2.0)),
            ("rope.scaling.original_context_length", Value::I64(128)),
            ("final_logit_softcapping", Value::F32(20.0)),
            ("expert_count", Value::I8(0)),
        ] {
            file.set(&format!("{architecture}.{key}"), value);
        }
        file.set("general.alignment", Value::U64(32))
            .set("test.flag", Value::Bool(true))
            .set("test.double", Value::F64(0.5))
            .set("test.bytes", Value::Array([1, 2, 3].map(Value::U8).into()))
            .set("test.shorts", Value::Array([4, 5].map(Value::I16).into()))
            .set("test.kinds", Value::Array([6, 7].map(Value::I32).into()))
            .tensor("rope_freqs.weight", 0, &[6])
            .tensor("rope_factors_long.weight", 0, &[6])
            .tensor("rope_factors_short.weight", 0, &[6]);
        for storage in STORAGE {
            file.tensor(&odd_name(storage), storage, &[256, 1]);
        }
        file.bytes()
    });
    files.into()
}

/// ggml's numbers of all storage types that are known here, and of one that is not.
const STORAGE: [u32; 14] = [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 30, 15];

fn odd_name(storage: u32) -> String {
    format!("blk.0.{storage}")
}

fn names() -> Vec<String> {
    let mut names: Vec<String> = STORAGE.map(odd_name).into();
    names.extend(
        [
            "token_embd.weight",
            "output_norm.weight",
            "blk.0.attn_norm.weight",
            "blk.0.attn_q.weight",
            "rope_freqs.weight",
            "rope_factors_long.weight",
            "rope_factors_short.weight",
        ]
        .map(String::from),
    );
    names
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a test searches is not the node's configuration"
)]
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(format!("KWAAINET_HOSTILE_{name}")).map_or(default, |value| {
        value.parse().expect("the setting is a whole number")
    })
}

/// Takes as much address space as there once was more of, so that whatever is taken next shows as a
/// new peak.
fn take_up_slack() -> Vec<u8> {
    let peak = address_space("VmPeak:").unwrap_or_default();
    let now = address_space("VmSize:").unwrap_or_default();
    Vec::with_capacity((peak - now) as usize)
}

/// Address space of this process in bytes, where the system tells. It counts memory that was asked for
/// and never touched.
fn address_space(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes << 10)
}
