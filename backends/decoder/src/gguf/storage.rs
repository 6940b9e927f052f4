//! How a tensor's numbers are stored.
//!
//! Numbers and layouts: `enum ggml_type` in ggml's `ggml.h`, the blocks in its `ggml-common.h`.

/// The storage types that are computed with. A row of a tensor is a whole number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    BF16,
    /// 4 bits and a scale.
    Q4_0,
    /// 4 bits, a scale and an offset.
    Q4_1,
    /// 5 bits and a scale.
    Q5_0,
    /// 5 bits, a scale and an offset.
    Q5_1,
    /// 8 bits and a scale.
    Q8_0,
    /// 2 bits, with scales and offsets of 4 bits for each 16 numbers.
    Q2K,
    /// 3 bits, with scales of 6 bits for each 16 numbers.
    Q3K,
    /// 4 bits, with scales and offsets of 6 bits for each 32 numbers.
    Q4K,
    /// 5 bits, with scales and offsets of 6 bits for each 32 numbers.
    Q5K,
    /// 6 bits, with scales of 8 bits for each 16 numbers.
    Q6K,
}

impl StorageType {
    /// The type of ggml's number, if it is one of these.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Numbers in a block.
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            // A scale of two bytes, an offset of two, the fifth bits, the nibbles.
            Self::Q4_0 => 2 + 16,
            Self::Q4_1 => 2 + 2 + 16,
            Self::Q5_0 => 2 + 4 + 16,
            Self::Q5_1 => 2 + 2 + 4 + 16,
            Self::Q8_0 => 2 + 32,
            // The low bits, the high bits, the inner scales and offsets, the outer ones.
            Self::Q2K => 64 + 16 + 2 + 2,
            Self::Q3K => 64 + 32 + 12 + 2,
            Self::Q4K => 128 + 12 + 2 + 2,
            Self::Q5K => 128 + 32 + 12 + 2 + 2,
            Self::Q6K => 128 + 64 + 16 + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_the_bits_that_ggml_says() {
        // Bits per number, as ggml's documents give them.
        let known = [
            (0, 32.0),
            (1, 16.0),
            (2, 4.5),
            (3, 5.0),
            (6, 5.5),
            (7, 6.0),
            (8, 8.5),
            (10, 2.625),
            (11, 3.4375),
            (12, 4.5),
            (13, 5.5),
            (14, 6.5625),
            (30, 16.0),
        ];
        for (number, bits) in known {
            let storage = StorageType::from_number(number).expect("it is a known type");
            let stored = 8.0 * storage.block_bytes() as f64 / storage.block_len() as f64;
            assert_eq!(stored, bits, "{storage:?}");
        }
        let types = (0..1000).filter_map(StorageType::from_number);
        assert_eq!(types.count(), known.len());
    }
}
