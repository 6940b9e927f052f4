//! Vectors of unit length that depend on an input's words and on nothing else.

use kwaainet_core::BackendError;

use super::stir;

/// How many components are kept of a model's own number.
pub(super) fn kept(wanted: Option<u32>, own: u32) -> Result<u32, BackendError> {
    match wanted {
        Some(wanted) if wanted == 0 || wanted > own => Err(BackendError::Invalid {
            param: "dimensions",
            reason: format!("this model has 1 to {own} dimensions"),
        }),
        wanted => Ok(wanted.unwrap_or(own)),
    }
}

/// The first `keep` of `own` components, scaled to unit length.
pub(super) fn vector(words: &[String], own: u32, keep: u32) -> Vec<f32> {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([b' ']));
    let seed = bytes.fold(0, |seed, byte| stir(seed ^ u64::from(byte)));
    let component = |i: u32| {
        let bits = stir(seed ^ stir(u64::from(i))) >> 40;
        bits as f64 / f64::from(1_u32 << 23) - 1.0
    };
    let mut full: Vec<f64> = (0..own).map(component).collect();
    full.truncate(keep as usize);
    let length = full.iter().map(|x| x * x).sum::<f64>().sqrt();
    full.iter().map(|x| (x / length) as f32).collect()
}
