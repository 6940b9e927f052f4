//! Whether instructions compute what they should.

use super::{LINE, ROWS, Shapes, Sums, Tiles};

/// Bytes between the rows of the first operand: any that is not a row's own length.
const STRIDE: usize = 192;

/// Tries known blocks in all the ways in which tiles are used here.
///
/// # Safety
/// As for [`Tiles::configure`].
pub(super) unsafe fn are_right<T: Tiles>() -> bool {
    // SAFETY: as the caller promises.
    unsafe { are_right_at_depth::<T>(32) && are_right_at_depth::<T>(16) }
}

unsafe fn are_right_at_depth<T: Tiles>(depth: usize) -> bool {
    let mut state = 0x1234_5678_u32;
    let mut next = || {
        // A generator by Marsaglia (2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1] as i8
    };
    let mut a = [0; ROWS * STRIDE];
    let mut bs = [[0; 8 * LINE]; 2];
    a.fill_with(&mut next);
    bs.iter_mut().for_each(|b| b.fill_with(&mut next));
    // The largest products too.
    a[..depth].fill(i8::MIN);
    bs[0][..4 * depth].fill(i8::MIN);
    let mut expected = [Sums::default(); 2];
    for (b, expected) in bs.iter().zip(&mut expected) {
        for (m, row) in expected.0.iter_mut().enumerate() {
            for (n, sum) in row.iter_mut().enumerate() {
                let product = |k: usize| {
                    i32::from(a[m * STRIDE + k]) * i32::from(b[k / 4 * LINE + 4 * n + k % 4])
                };
                *sum = (0..depth).map(product).sum();
            }
        }
    }
    let mut sums = [Sums([[-1; ROWS]; ROWS]); 3];
    {
        // SAFETY: as the caller promises.
        let mut tiles = unsafe { T::configure(&Shapes::of_depth(depth)) };
        tiles.zero::<0>();
        tiles.zero::<1>();
        // SAFETY: sixteen rows of `depth` bytes, and `depth / 4` rows of 64.
        unsafe {
            tiles.load::<2>(a.as_ptr(), STRIDE);
            tiles.load::<3>(bs[0].as_ptr(), LINE);
            tiles.load::<4>(a.as_ptr(), STRIDE);
            tiles.load::<5>(bs[1].as_ptr(), LINE);
        }
        tiles.multiply::<0, 2, 3>();
        tiles.multiply::<1, 4, 5>();
        tiles.store::<0>(&mut sums[0]);
        tiles.store::<1>(&mut sums[1]);
        // Sums are added to, and zero makes them begin anew.
        tiles.zero::<1>();
        tiles.multiply::<1, 2, 3>();
        tiles.multiply::<1, 4, 5>();
        tiles.store::<1>(&mut sums[2]);
    }
    let add = |n: usize, m: usize| expected[0].0[m][n] + expected[1].0[m][n];
    sums[0].0 == expected[0].0
        && sums[1].0 == expected[1].0
        && (0..ROWS).all(|m| (0..ROWS).all(|n| sums[2].0[m][n] == add(n, m)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiles::Emulated;

    #[test]
    fn emulated_instructions_are_right() {
        // SAFETY: they are plain code.
        assert!(unsafe { are_right::<Emulated>() });
    }

    /// Sums that begin with one too many.
    struct Wrong(Emulated);

    impl Tiles for Wrong {
        unsafe fn configure(shapes: &Shapes) -> Self {
            // SAFETY: it is plain code.
            Self(unsafe { Emulated::configure(shapes) })
        }
        unsafe fn load<const TILE: u8>(&mut self, from: *const i8, stride: usize) {
            // SAFETY: as the caller promises.
            unsafe { self.0.load::<TILE>(from, stride) }
        }
        fn zero<const TILE: u8>(&mut self) {
            self.0.zero::<TILE>();
        }
        fn multiply<const SUMS: u8, const A: u8, const B: u8>(&mut self) {
            self.0.multiply::<SUMS, A, B>();
        }
        fn store<const TILE: u8>(&self, to: &mut Sums) {
            self.0.store::<TILE>(to);
            to.0[15][15] += 1;
        }
    }

    #[test]
    fn a_single_wrong_sum_is_noticed() {
        // SAFETY: they are plain code.
        assert!(!unsafe { are_right::<Wrong>() });
    }
}
