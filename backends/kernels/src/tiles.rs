//! Matrix tiles: Intel's AMX for signed bytes, and what its instructions mean in plain code.
//!
//! Eight registers of up to 16 rows of 64 bytes, and an instruction that multiplies two of them into a
//! third. Instructions: Intel's Software Developer's Manual, volume 2, chapter "AMX"; how Linux grants
//! them: its `Documentation/arch/x86/xstate.rst`. No machine that this was written on has them, so
//! everything but the instructions themselves is tested with [`Emulated`] in their place; and a
//! machine's own are used only after they have passed [`are_right`].

#[cfg(target_arch = "x86_64")]
mod amx;
mod check;
#[cfg(test)]
mod emulated;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::{Amx, is_here};
#[cfg(test)]
pub(crate) use emulated::Emulated;

/// Rows of the largest tile.
pub(crate) const ROWS: usize = 16;
/// The stride of tiles whose rows follow one another, in bytes.
pub(crate) const LINE: usize = 64;

/// Sixteen rows of sixteen sums.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(crate) struct Sums(pub(crate) [[i32; ROWS]; ROWS]);

/// The tile registers of one thread, configured from its making until it is dropped.
///
/// Each method but `configure` is one instruction.
pub(crate) trait Tiles {
    /// # Safety
    /// The machine has the instructions, and this thread has no other tiles meanwhile.
    unsafe fn configure(shapes: &Shapes) -> Self;
    /// Takes a tile's rows from memory.
    ///
    /// # Safety
    /// As many rows as the tile has, each as long as its rows, begin at `from` and every `stride`
    /// bytes after.
    unsafe fn load<const TILE: u8>(&mut self, from: *const i8, stride: usize);
    /// Makes a tile zero.
    fn zero<const TILE: u8>(&mut self);
    /// Adds to sum n of row m of tile `SUMS`, for each k, the four products of signed bytes 4k to
    /// 4k + 3 of row m of tile `A` with bytes 4n to 4n + 3 of row k of tile `B`.
    fn multiply<const SUMS: u8, const A: u8, const B: u8>(&mut self);
    /// Writes a tile of sums.
    fn store<const TILE: u8>(&self, to: &mut Sums);
}

/// The shapes of the eight tiles, as the instruction takes them.
#[repr(C, align(64))]
pub(crate) struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const _: () = assert!(size_of::<Shapes>() == 64);

impl Shapes {
    /// For products over `depth` bytes, a multiple of 4 and at most 64: tiles 0 and 1 hold sums, 2 and
    /// 4 sixteen rows of `depth` bytes, 3 and 5 what they are multiplied with.
    pub(crate) const fn of_depth(depth: usize) -> Self {
        assert!(depth.is_multiple_of(4) && depth <= LINE);
        let mut shapes = Self {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let mut pair = 0;
        while pair < 2 {
            let (sums, a, b) = (pair, 2 + 2 * pair, 3 + 2 * pair);
            (shapes.rows[sums], shapes.row_bytes[sums]) = (ROWS as u8, LINE as u16);
            (shapes.rows[a], shapes.row_bytes[a]) = (ROWS as u8, depth as u16);
            (shapes.rows[b], shapes.row_bytes[b]) = (depth as u8 / 4, LINE as u16);
            pair += 1;
        }
        shapes
    }
}
