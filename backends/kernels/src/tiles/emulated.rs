//! What the instructions do, for tests on machines without them.

use super::{LINE, ROWS, Shapes, Sums, Tiles};

/// Eight registers, of which nothing is known until they are written.
pub(crate) struct Emulated {
    shapes: [(usize, usize); 8],
    tiles: [[[u8; LINE]; ROWS]; 8],
}

impl Emulated {
    fn rows(&self, tile: u8) -> usize {
        self.shapes[usize::from(tile)].0
    }

    fn row_bytes(&self, tile: u8) -> usize {
        self.shapes[usize::from(tile)].1
    }

    fn tile(&self, tile: u8) -> &[[u8; LINE]; ROWS] {
        assert!(self.rows(tile) > 0, "tile {tile} is configured");
        &self.tiles[usize::from(tile)]
    }
}

impl Tiles for Emulated {
    unsafe fn configure(shapes: &Shapes) -> Self {
        assert_eq!((shapes.palette, shapes.start_row), (1, 0));
        assert_eq!(shapes.reserved, [0; 14]);
        assert!(shapes.rows[8..].iter().all(|&rows| rows == 0));
        assert!(shapes.row_bytes[8..].iter().all(|&bytes| bytes == 0));
        let shape = |tile: usize| {
            let shape = (
                usize::from(shapes.rows[tile]),
                usize::from(shapes.row_bytes[tile]),
            );
            assert!(shape.0 <= ROWS && shape.1 <= LINE && (shape.0 == 0) == (shape.1 == 0));
            shape
        };
        Self {
            shapes: std::array::from_fn(shape),
            tiles: [[[0; LINE]; ROWS]; 8],
        }
    }

    unsafe fn load<const TILE: u8>(&mut self, from: *const i8, stride: usize) {
        let (rows, bytes) = (self.rows(TILE), self.row_bytes(TILE));
        assert!(rows > 0, "tile {TILE} is configured");
        let tile = &mut self.tiles[usize::from(TILE)];
        *tile = [[0; LINE]; ROWS];
        for (row, to) in tile.iter_mut().take(rows).enumerate() {
            // SAFETY: the caller has as many rows of as many bytes.
            let row =
                unsafe { std::slice::from_raw_parts(from.cast::<u8>().add(row * stride), bytes) };
            to[..bytes].copy_from_slice(row);
        }
    }

    fn zero<const TILE: u8>(&mut self) {
        self.tiles[usize::from(TILE)] = [[0; LINE]; ROWS];
    }

    fn multiply<const SUMS: u8, const A: u8, const B: u8>(&mut self) {
        // Anything else is an invalid instruction.
        assert!(SUMS != A && SUMS != B && A != B);
        assert_eq!(self.rows(SUMS), self.rows(A));
        assert_eq!(self.row_bytes(SUMS), self.row_bytes(B));
        assert_eq!(self.row_bytes(A), 4 * self.rows(B));
        let (a, b, mut sums) = (*self.tile(A), *self.tile(B), *self.tile(SUMS));
        for (m, row) in sums.iter_mut().enumerate().take(self.rows(SUMS)) {
            let (row, _) = row.as_chunks_mut::<4>();
            for (n, sum) in row.iter_mut().enumerate().take(self.row_bytes(SUMS) / 4) {
                let products = (0..self.row_bytes(A)).map(|k| {
                    let with = b[k / 4][4 * n + k % 4];
                    i32::from(a[m][k] as i8) * i32::from(with as i8)
                });
                *sum = products
                    .fold(i32::from_le_bytes(*sum), i32::wrapping_add)
                    .to_le_bytes();
            }
        }
        self.tiles[usize::from(SUMS)] = sums;
    }

    fn store<const TILE: u8>(&self, to: &mut Sums) {
        let rows = self.tile(TILE).iter().zip(&mut to.0).take(self.rows(TILE));
        for (row, to) in rows {
            let (fours, _) = row[..self.row_bytes(TILE)].as_chunks::<4>();
            for (four, to) in fours.iter().zip(to) {
                *to = i32::from_le_bytes(*four);
            }
        }
    }
}
