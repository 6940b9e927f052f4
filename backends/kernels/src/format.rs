//! How GGUF stores quantized weights, taken apart into whole numbers and scales.
//!
//! In every quantized format 32 neighbours of a row make a block of whole numbers from zero up. A
//! weight is `scale * (number - zero) + offset`; the scale, and in some formats the offset, is a half
//! float times a small whole number, for all of a block or for each half of it, and therefore exact in
//! f32. Layouts: ggml's `ggml-common.h`.

use crate::input::BLOCK;

/// A storage format of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// 4 bits, a scale per 32.
    Q4_0,
    /// 4 bits, a scale and an offset per 32.
    Q4_1,
    /// 5 bits, a scale per 32.
    Q5_0,
    /// 5 bits, a scale and an offset per 32.
    Q5_1,
    /// 8 bits, a scale per 32.
    Q8_0,
    /// 2 bits, a scale and an offset per 16, in super-blocks of 256.
    Q2K,
    /// 3 bits, a scale per 16, in super-blocks of 256.
    Q3K,
    /// 4 bits, a scale and an offset per 32, in super-blocks of 256.
    Q4K,
    /// 5 bits, a scale and an offset per 32, in super-blocks of 256.
    Q5K,
    /// 6 bits, a scale per 16, in super-blocks of 256.
    Q6K,
}

/// What a quantized format is made of.
pub(crate) trait Quantized: Copy + Send + Sync + 'static {
    const FORMAT: Format;
    /// Of each number.
    const BITS: u32;
    /// What is taken from each number: two to this power, if anything.
    const ZERO: Option<u32>;
    /// Whether each half of a block has its own scale.
    const HALVES: bool;
    /// Whether there are offsets.
    const OFFSET: bool;
    /// Blocks that share a half float.
    const BLOCKS: usize;
}

macro_rules! quantized {
    ($($name:ident: $bits:literal bits, zero $zero:expr, halves $halves:literal, offset $offset:literal, blocks $blocks:literal;)*) => {
        $(
            #[doc = concat!("[`Format::", stringify!($name), "`].")]
            #[derive(Clone, Copy)]
            pub(crate) struct $name;
            impl Quantized for $name {
                const FORMAT: Format = Format::$name;
                const BITS: u32 = $bits;
                const ZERO: Option<u32> = $zero;
                const HALVES: bool = $halves;
                const OFFSET: bool = $offset;
                const BLOCKS: usize = $blocks;
            }
        )*
    };
}

quantized! {
    Q4_0: 4 bits, zero Some(3), halves false, offset false, blocks 1;
    Q4_1: 4 bits, zero None, halves false, offset true, blocks 1;
    Q5_0: 5 bits, zero Some(4), halves false, offset false, blocks 1;
    Q5_1: 5 bits, zero None, halves false, offset true, blocks 1;
    Q8_0: 8 bits, zero Some(7), halves false, offset false, blocks 1;
    Q2K: 2 bits, zero None, halves true, offset true, blocks 8;
    Q3K: 3 bits, zero Some(2), halves true, offset false, blocks 8;
    Q4K: 4 bits, zero None, halves false, offset true, blocks 8;
    Q5K: 5 bits, zero None, halves false, offset true, blocks 8;
    Q6K: 6 bits, zero Some(5), halves true, offset false, blocks 8;
}

/// Calls `$call` with the type of a quantized format as `Q`, or `$float` for the others.
macro_rules! with_format {
    ($format:expr, $q:ident => $call:expr, $float:expr) => {
        match $format {
            $crate::Format::F32 | $crate::Format::F16 | $crate::Format::Bf16 => $float,
            $crate::Format::Q4_0 => {
                type $q = $crate::format::Q4_0;
                $call
            }
            $crate::Format::Q4_1 => {
                type $q = $crate::format::Q4_1;
                $call
            }
            $crate::Format::Q5_0 => {
                type $q = $crate::format::Q5_0;
                $call
            }
            $crate::Format::Q5_1 => {
                type $q = $crate::format::Q5_1;
                $call
            }
            $crate::Format::Q8_0 => {
                type $q = $crate::format::Q8_0;
                $call
            }
            $crate::Format::Q2K => {
                type $q = $crate::format::Q2K;
                $call
            }
            $crate::Format::Q3K => {
                type $q = $crate::format::Q3K;
                $call
            }
            $crate::Format::Q4K => {
                type $q = $crate::format::Q4K;
                $call
            }
            $crate::Format::Q5K => {
                type $q = $crate::format::Q5K;
                $call
            }
            $crate::Format::Q6K => {
                type $q = $crate::format::Q6K;
                $call
            }
        }
    };
}
pub(crate) use with_format;

impl Format {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::F32,
        Self::F16,
        Self::Bf16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// The format of ggml's number (`enum ggml_type` in its `ggml.h`), if it is one of these.
    pub fn from_ggml(number: u32) -> Option<Self> {
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
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Weights that are stored together: rows are whole multiples.
    pub const fn group(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => BLOCK,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K => 8 * BLOCK,
        }
    }

    /// Bytes of such a group.
    pub const fn group_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }
}

/// One group of a quantized format.
pub(crate) struct Group {
    /// Half floats: what scales are multiples of, and what offsets are multiples of.
    pub(crate) scale: u16,
    pub(crate) offset: u16,
    /// As many as the format has in a group.
    pub(crate) blocks: [Block; 8],
}

/// 32 weights. Where the halves have no scales of their own, both entries are the same.
#[derive(Clone, Copy, Default)]
pub(crate) struct Block {
    pub(crate) numbers: [u8; BLOCK],
    pub(crate) scales: [i8; 2],
    pub(crate) offsets: [u8; 2],
}

impl Group {
    /// Takes the bytes of one group apart; `bytes` must be as long as the format's groups.
    pub(crate) fn read<Q: Quantized>(bytes: &[u8]) -> Self {
        let mut group = Self {
            scale: 0,
            offset: 0,
            blocks: [Block::default(); 8],
        };
        match Q::FORMAT {
            Format::Q2K => group.q2k(bytes),
            Format::Q3K => group.q3k(bytes),
            Format::Q4K | Format::Q5K => group.q4k_or_q5k::<Q>(bytes),
            Format::Q6K => group.q6k(bytes),
            _ => group.simple::<Q>(bytes),
        }
        group
    }

    fn simple<Q: Quantized>(&mut self, bytes: &[u8]) {
        let (scale, bytes) = bytes.split_at(2);
        let (offset, bytes) = bytes.split_at(if Q::OFFSET { 2 } else { 0 });
        self.scale = u16::from_le_bytes([scale[0], scale[1]]);
        if Q::OFFSET {
            self.offset = u16::from_le_bytes([offset[0], offset[1]]);
        }
        let block = &mut self.blocks[0];
        (block.scales, block.offsets) = ([1; 2], [1; 2]);
        if Q::BITS == 8 {
            for (number, byte) in block.numbers.iter_mut().zip(bytes) {
                *number = byte ^ 0x80;
            }
            return;
        }
        let (high, low) = bytes.split_at(if Q::BITS == 5 { 4 } else { 0 });
        for i in 0..BLOCK {
            let nibble = low[i % 16] >> (4 * (i / 16)) & 15;
            let bit = high.get(i / 8).map_or(0, |byte| byte >> (i % 8) & 1);
            block.numbers[i] = nibble | bit << 4;
        }
    }

    fn q2k(&mut self, bytes: &[u8]) {
        let (scales, numbers) = (&bytes[..16], &bytes[16..80]);
        self.scale = u16::from_le_bytes([bytes[80], bytes[81]]);
        self.offset = negated(u16::from_le_bytes([bytes[82], bytes[83]]));
        for (index, block) in self.blocks.iter_mut().enumerate() {
            for half in 0..2 {
                let byte = scales[2 * index + half];
                (block.scales[half], block.offsets[half]) = ((byte & 15) as i8, byte >> 4);
            }
            for (i, number) in block.numbers.iter_mut().enumerate() {
                *number = numbers[32 * (index / 4) + i] >> (2 * (index % 4)) & 3;
            }
        }
    }

    fn q3k(&mut self, bytes: &[u8]) {
        let (high, numbers, scales) = (&bytes[..32], &bytes[32..96], &bytes[96..108]);
        self.scale = u16::from_le_bytes([bytes[108], bytes[109]]);
        let scale = |i: usize| {
            let low = scales[i % 8] >> (4 * (i / 8)) & 15;
            let high = scales[8 + i % 4] >> (2 * (i / 4)) & 3;
            (low | high << 4) as i8 - 32
        };
        for (index, block) in self.blocks.iter_mut().enumerate() {
            block.scales = [scale(2 * index), scale(2 * index + 1)];
            for (i, number) in block.numbers.iter_mut().enumerate() {
                let low = numbers[32 * (index / 4) + i] >> (2 * (index % 4)) & 3;
                *number = low | (high[i] >> index & 1) << 2;
            }
        }
    }

    fn q4k_or_q5k<Q: Quantized>(&mut self, bytes: &[u8]) {
        self.scale = u16::from_le_bytes([bytes[0], bytes[1]]);
        self.offset = negated(u16::from_le_bytes([bytes[2], bytes[3]]));
        let (scales, rest) = bytes[4..].split_at(12);
        let (high, low) = rest.split_at(if Q::BITS == 5 { 32 } else { 0 });
        for (index, block) in self.blocks.iter_mut().enumerate() {
            let (scale, offset) = if index < 4 {
                (scales[index] & 63, scales[index + 4] & 63)
            } else {
                let both = scales[index + 4];
                (
                    both & 15 | scales[index - 4] >> 6 << 4,
                    both >> 4 | scales[index] >> 6 << 4,
                )
            };
            (block.scales, block.offsets) = ([scale as i8; 2], [offset; 2]);
            for (i, number) in block.numbers.iter_mut().enumerate() {
                let nibble = low[32 * (index / 2) + i] >> (4 * (index % 2)) & 15;
                let bit = high.get(i).map_or(0, |byte| byte >> index & 1);
                *number = nibble | bit << 4;
            }
        }
    }

    fn q6k(&mut self, bytes: &[u8]) {
        let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
        self.scale = u16::from_le_bytes([bytes[208], bytes[209]]);
        for (index, block) in self.blocks.iter_mut().enumerate() {
            block.scales = [scales[2 * index] as i8, scales[2 * index + 1] as i8];
            // Blocks 0 to 3 and 4 to 7 lie together; the lower two of four have the lower nibbles.
            let (part, within) = (index / 4, index % 4);
            for (i, number) in block.numbers.iter_mut().enumerate() {
                let nibble = low[64 * part + 32 * (within % 2) + i] >> (4 * (within / 2)) & 15;
                *number = nibble | (high[32 * part + i] >> (2 * within) & 3) << 4;
            }
        }
    }
}

/// The K formats take their offsets away; here they are added.
fn negated(half: u16) -> u16 {
    half ^ 0x8000
}
