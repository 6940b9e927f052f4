//! Ways to damage a file.

use crate::noise::Noise;

/// The header is where damage tells; the rest are weights.
const HEADER: usize = 2_400;
/// Lengths, counts, offsets and dimensions that somebody might try.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    31,
    64,
    255,
    1 << 16,
    1 << 22,
    (1 << 22) + 1,
    1 << 28,
    u32::MAX as u64,
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX as u64,
    u64::MAX,
];

/// One of the files with one to four damages.
pub(crate) fn mutate(noise: &mut Noise, files: &[Vec<u8>]) -> Vec<u8> {
    let mut file = files[noise.below(files.len())].clone();
    for _ in 0..1 + noise.below(4) {
        if file.is_empty() {
            break;
        }
        match noise.below(9) {
            0 | 1 => flip(noise, &mut file),
            2 => replace(noise, &mut file),
            3 => put_number(noise, &mut file),
            4 => shift_number(noise, &mut file),
            5 => truncate(noise, &mut file),
            6 => {
                let other = &files[noise.below(files.len())];
                splice(noise, &mut file, other);
            }
            7 => repeat(noise, &mut file),
            _ => change_type(noise, &mut file),
        }
    }
    file
}

fn place(noise: &mut Noise, file: &[u8]) -> usize {
    noise.below(file.len().min(HEADER))
}

/// A bit of a byte.
fn flip(noise: &mut Noise, file: &mut [u8]) {
    let at = place(noise, file);
    file[at] ^= 1 << noise.below(8);
}

/// A byte.
fn replace(noise: &mut Noise, file: &mut [u8]) {
    let at = place(noise, file);
    file[at] = noise.next() as u8;
}

/// Where a length or a value of eight bytes could be.
fn number(noise: &mut Noise, file: &[u8]) -> Option<usize> {
    let small = |at: &usize| {
        file.get(*at..*at + 8)
            .is_some_and(|bytes| bytes[0] != 0 && bytes[3..].iter().all(|&byte| byte == 0))
    };
    let start = place(noise, file);
    (start..file.len().min(HEADER)).find(small)
}

/// Writes one of the numbers over a length, in eight bytes or in four.
fn put_number(noise: &mut Noise, file: &mut [u8]) {
    if let Some(at) = number(noise, file) {
        let width = noise.one_of(&[4, 8]);
        let new = noise.one_of(&NUMBERS).to_le_bytes();
        file[at..at + width].copy_from_slice(&new[..width]);
    }
}

/// Changes a length a little.
fn shift_number(noise: &mut Noise, file: &mut [u8]) {
    if let Some(at) = number(noise, file) {
        let by = noise.one_of(&[1, 2, 8, 32, u8::MAX]);
        file[at] = file[at].wrapping_add(by);
    }
}

fn truncate(noise: &mut Noise, file: &mut Vec<u8>) {
    let whole = file.len();
    let len = if noise.below(2) == 0 {
        place(noise, file)
    } else {
        noise.below(whole)
    };
    file.truncate(len);
}

/// Goes on with another file.
fn splice(noise: &mut Noise, file: &mut Vec<u8>, other: &[u8]) {
    let from = place(noise, other);
    // At the same place, what follows often makes sense.
    let at = if noise.below(2) == 0 {
        from.min(file.len())
    } else {
        place(noise, file)
    };
    file.truncate(at);
    file.extend(&other[from..]);
}

/// Some bytes twice, or not at all.
fn repeat(noise: &mut Noise, file: &mut Vec<u8>) {
    let at = place(noise, file);
    let end = (at + 1 + noise.below(100)).min(file.len());
    if noise.below(2) == 0 {
        file.drain(at..end);
    } else {
        let again = file[at..end].to_vec();
        file.splice(at..at, again);
    }
}

/// Another type for what might be a value, an array's elements or a tensor.
fn change_type(noise: &mut Noise, file: &mut [u8]) {
    if let Some(at) = number(noise, file) {
        file[at] = noise.below(40) as u8;
    }
}
