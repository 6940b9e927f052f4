//! What a file says of a model that candle is to compute: checked here, since candle takes everything at
//! its word.

use kwaainet_decoder::{FileError, Gguf, Keys, Value};

use super::architecture::{Architecture, Rotates};
use crate::ModelError;

/// Bytes of a number as candle keeps keys and values.
const NUMBER: usize = size_of::<f32>();

/// A model's shape, as far as memory depends on it.
pub(super) struct Facts {
    pub(super) layers: usize,
    pub(super) head_dim: usize,
    /// Components of a head that are rotated.
    pub(super) rotated: usize,
    pub(super) experts: usize,
    pub(super) vocab: usize,
    /// Tokens that a sequence may have.
    pub(super) context: usize,
}

impl Facts {
    /// Reads the metadata; the context is as long as it is right and as `kv_bytes` hold.
    pub(super) fn read(
        file: &Gguf,
        architecture: &Architecture,
        kv_bytes: u64,
    ) -> Result<Self, ModelError> {
        let keys = Keys::new(file, architecture.name);
        let layers = keys.count("block_count", 1 << 10)?;
        let width = keys.count("embedding_length", 1 << 16)?;
        let heads = keys.count("attention.head_count", 1 << 12)?;
        let head_dim = keys.count_or("attention.key_length", (width / heads).max(1), 1 << 12)?;
        let value_dim = keys.count_or("attention.value_length", head_dim, 1 << 12)?;
        if value_dim != head_dim {
            return Err(left_out(architecture, "values of another size than keys"));
        }
        let rotated = rotated(&keys, architecture, head_dim)?;
        check_rotation(&keys, architecture)?;
        // Keys and values, and the sines and cosines of a position.
        let position = NUMBER * (2 * kv_heads(&keys, heads, layers)? * head_dim + rotated);
        let room = usize::try_from(kv_bytes / position as u64).unwrap_or(usize::MAX);
        // candle's windows are not always those of the model: none is needed up to its length.
        let right = architecture
            .context_max
            .min(keys.window()?.unwrap_or(usize::MAX));
        let context = keys.count("context_length", 1 << 24)?;
        Ok(Self {
            layers,
            head_dim,
            rotated,
            experts: experts(&keys)?,
            vocab: vocab(file)?,
            context: context
                .min(right)
                .min(room)
                .max(architecture.pieces.prompt_min()),
        })
    }
}

/// Whether the file holds experts, of which each token meets only some.
pub(super) fn has_experts(file: &Gguf, name: &str) -> bool {
    let count = Keys::new(file, name)
        .find("expert_count")
        .and_then(Value::to_u64);
    count.is_some_and(|count| count > 0)
}

/// candle's model would compute something else than the file asks for.
pub(super) fn left_out(architecture: &Architecture, what: &str) -> ModelError {
    let name = architecture.name;
    ModelError::Candle(format!("its {name} leaves out {what}"))
}

fn experts(keys: &Keys<'_>) -> Result<usize, FileError> {
    match keys.find("expert_count").and_then(Value::to_u64) {
        Some(0) | None => Ok(0),
        Some(_) => keys.count("expert_count", 1 << 10),
    }
}

/// Key heads of all layers together.
fn kv_heads(keys: &Keys<'_>, heads: usize, layers: usize) -> Result<usize, FileError> {
    match keys.find("attention.head_count_kv") {
        Some(Value::Array(each)) if each.len() == layers => {
            let each = each.iter().filter_map(Value::to_u64);
            Ok(each.map(|count| count.min(heads as u64) as usize).sum())
        }
        _ => Ok(layers * keys.count_or("attention.head_count_kv", heads, 1 << 12)?),
    }
}

fn rotated(
    keys: &Keys<'_>,
    architecture: &Architecture,
    head_dim: usize,
) -> Result<usize, ModelError> {
    let usual = match architecture.rotates {
        Rotates::All | Rotates::AsManyAsTheFileSays => head_dim,
        Rotates::Half => head_dim / 2,
    };
    let said = keys.count_or("rope.dimension_count", usual, head_dim)?;
    if said != usual && architecture.rotates != Rotates::AsManyAsTheFileSays {
        return Err(left_out(
            architecture,
            &format!("a rotation of {said} components"),
        ));
    }
    Ok(said)
}

fn check_rotation(keys: &Keys<'_>, architecture: &Architecture) -> Result<(), ModelError> {
    match keys.find("rope.scaling.type") {
        None => {}
        Some(Value::String(kind)) if kind == "none" => {}
        Some(_) => return Err(left_out(architecture, "the scaling of positions")),
    }
    match (architecture.rope_base, keys.find("rope.freq_base")) {
        (Some(base), Some(said)) if *said != Value::F32(base) => {
            Err(left_out(architecture, "a base of the rotation of its own"))
        }
        _ => Ok(()),
    }
}

fn vocab(file: &Gguf) -> Result<usize, FileError> {
    match file.dims("token_embd.weight") {
        Some(&[_, rows]) if (1..=1 << 22).contains(&rows) => Ok(rows as usize),
        _ => Err(FileError::Malformed(
            "the tensor 'token_embd.weight' is missing or no matrix".into(),
        )),
    }
}
