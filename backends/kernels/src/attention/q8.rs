//! Attention over pages of eight-bit numbers, by exact integer products: 32 components of a key at a
//! time, and the values of a page's 32 positions at a time.
//!
//! What meets the numbers is quantized too, but to thirteen bits, so that hardly anything is lost but
//! what the page lost: queries block after block, and weights, each times the scale of its position's
//! values, page after page.

use super::{FEW, Form, Head, Query, Scratch, Weighted, finish};
use crate::input::{BLOCK, SMALLEST};
use crate::lanes::{LANES, Lanes};
use crate::lines::prefetch;
use crate::page::q8::Tile;
use crate::page::{PAGE, Page};

/// Pages of tiles.
pub(super) struct Tiles;

/// Steps that each number of eight bits is divided into.
const STEPS: f32 = 128.0;

/// 32 numbers of thirteen bits and a sign: 128 times the high part plus the low one.
#[derive(Clone, Copy, Default)]
pub(super) struct Fine {
    high: [[i8; LANES]; 2],
    low: [[i8; LANES]; 2],
    /// What sums of products with biased numbers have too much, negated.
    correction: f32,
    scale: f32,
}

impl Form for Tiles {
    #[inline(always)]
    fn score<L: Lanes, const N: usize>(
        head: &Head<'_>,
        pages: &[Page],
        queries: &[Query<'_>],
        scratch: &mut Scratch,
    ) {
        scratch.blocks.clear();
        for query in queries {
            for part in query.vector.chunks(BLOCK) {
                let mut x = [[0.0; LANES]; 2];
                x.as_flattened_mut()[..part.len()].copy_from_slice(part);
                let mut block = Fine::default();
                quantize_finely::<L>([L::load(&x[0]), L::load(&x[1])], &mut block);
                scratch.blocks.push(block);
            }
        }
        let (scores, blocks) = (&mut scratch.scores, &scratch.blocks);
        let width = pages.len() * PAGE;
        for (index, page) in pages.iter().enumerate() {
            let (keys, _) = page.tiles(head.shape, head.layer, head.kv_head);
            if let (true, Some(next)) = (N <= FEW, pages.get(index + 1)) {
                fetch(next.tiles(head.shape, head.layer, head.kv_head).0);
            }
            assert!(blocks.len() == N * keys.len(), "as many blocks as a key");
            let mut sums = [[L::splat(0.0); 2]; N];
            for (block, tile) in keys.iter().enumerate() {
                let scales = [L::load(&tile.scales[0]), L::load(&tile.scales[1])];
                let with = each_of::<N>(blocks, keys.len(), block);
                let dots = products::<L, N>(tile, with);
                for (sums, (dots, with)) in sums.iter_mut().zip(dots.iter().zip(with)) {
                    for (sum, (dot, scale)) in sums.iter_mut().zip(dots.iter().zip(&scales)) {
                        let scale = L::mul(*scale, L::splat(with.scale));
                        *sum = L::add(*sum, L::mul(*dot, scale));
                    }
                }
            }
            for (n, sums) in sums.iter().enumerate() {
                let to = &mut scores[n * width + index * PAGE..][..PAGE];
                for (sum, to) in sums.iter().zip(to.as_chunks_mut::<LANES>().0) {
                    L::store(*sum, to);
                }
            }
        }
    }

    #[inline(always)]
    fn weigh<L: Lanes, const N: usize>(
        view: &Weighted<'_, N>,
        queries: &mut [Query<'_>],
        blocks: &mut Vec<Fine>,
    ) {
        let head = view.head;
        let first = view.positions.start / PAGE;
        let pages = &head.pages[first..view.positions.end.div_ceil(PAGE)];
        blocks.resize(N * pages.len(), Fine::default());
        for block in 0..head.shape.head_dim.div_ceil(BLOCK) {
            for (index, page) in pages.iter().enumerate() {
                if let (true, Some(next)) = (N <= FEW, pages.get(index + 1)) {
                    fetch(std::slice::from_ref(values_of(head, next, block)));
                }
                let scales = &values_of(head, page, block).scales;
                let scales = [L::load(&scales[0]), L::load(&scales[1])];
                for (n, row) in view.weights.chunks_exact(view.width).enumerate() {
                    let (row, _) = row[index * PAGE..][..PAGE].as_chunks::<LANES>();
                    let low = L::mul(L::load(&row[0]), scales[0]);
                    let high = L::mul(L::load(&row[1]), scales[1]);
                    quantize_finely::<L>([low, high], &mut blocks[n * pages.len() + index]);
                }
            }
            let mut outs = [[L::splat(0.0); 2]; N];
            for (index, page) in pages.iter().enumerate() {
                let with = each_of::<N>(blocks, pages.len(), index);
                let dots = products::<L, N>(values_of(head, page, block), with);
                for (outs, (dots, with)) in outs.iter_mut().zip(dots.iter().zip(with)) {
                    for (out, dot) in outs.iter_mut().zip(dots) {
                        *out = L::add(*out, L::mul(*dot, L::splat(with.scale)));
                    }
                }
            }
            for (query, (outs, sum)) in queries.iter_mut().zip(outs.iter().zip(view.sums)) {
                for (half, out) in outs.iter().enumerate() {
                    finish::<L>(query, block * BLOCK + half * LANES, *out, *sum);
                }
            }
        }
    }
}

/// One block of the values of a page.
#[inline(always)]
fn values_of<'a>(head: &Head<'a>, page: &'a Page, block: usize) -> &'a Tile {
    let (_, values) = page.tiles(head.shape, head.layer, head.kv_head);
    &values[block]
}

/// The block at `index` of each of `N` rows of `width`.
#[inline(always)]
fn each_of<const N: usize>(blocks: &[Fine], width: usize, index: usize) -> [&Fine; N] {
    let mut each = [&blocks[index]; N];
    for (n, each) in each.iter_mut().enumerate() {
        *each = &blocks[n * width + index];
    }
    each
}

/// Quantizes a block to thirteen bits and a sign, in place: copies of bytes just written are slow. The
/// scale is a power of two, so that only rounding to whole numbers loses anything; the largest number is
/// from 2^12 to 2^13.
#[inline(always)]
fn quantize_finely<L: Lanes>(block: [L::F; 2], to: &mut Fine) {
    let largest = L::max_across(L::max(L::abs(block[0]), L::abs(block[1])));
    if largest < SMALLEST {
        *to = Fine::default();
        return;
    }
    let exponent = largest.to_bits() >> 23;
    // With e the exponent less its bias of 127: 2^(5 - e), of which the low part makes 2^(12 - e).
    let inverse = L::splat(f32::from_bits((259 - exponent) << 23));
    let mut sum = L::splat(0.0);
    for (x, (high, low)) in block.iter().zip(to.high.iter_mut().zip(&mut to.low)) {
        let x = L::mul(*x, inverse);
        let whole = L::round(x);
        // Exact, so that both parts together are 128 x, rounded.
        let rest = L::sub(x, L::to_float(whole));
        let steps = L::round(L::mul(rest, L::splat(STEPS)));
        L::store_i8(whole, high);
        L::store_i8(steps, low);
        if L::BIASED {
            let whole = L::mul(L::to_float(whole), L::splat(STEPS));
            sum = L::add(sum, L::add(whole, L::to_float(steps)));
        }
    }
    if L::BIASED {
        // A whole number far below 2^24: exact in any order.
        to.correction = -128.0 * L::sum_across(sum);
    }
    to.scale = f32::from_bits((exponent - 12) << 23);
}

/// The exact sums of products of a tile's numbers with each of `with`, as f32.
#[inline(always)]
fn products<L: Lanes, const N: usize>(tile: &Tile, with: [&Fine; N]) -> [[L::F; 2]; N] {
    let mut out = [[L::splat(0.0); 2]; N];
    if N == 1 || L::WIDE {
        let sums = dots::<L, N, 2>(tile, 0, with);
        for (out, sums) in out.iter_mut().zip(&sums) {
            *out = *sums;
        }
    } else {
        // Two halves one after the other, for want of registers.
        for half in 0..2 {
            let sums = dots::<L, N, 1>(tile, half, with);
            for (out, sums) in out.iter_mut().zip(&sums) {
                out[half] = sums[0];
            }
        }
    }
    out
}

/// Of `V` vectors from `first` on.
#[inline(always)]
fn dots<L: Lanes, const N: usize, const V: usize>(
    tile: &Tile,
    first: usize,
    with: [&Fine; N],
) -> [[L::F; V]; N] {
    let mut high = [[L::splat_int(0); V]; N];
    let mut low = high;
    for (four, row) in tile.numbers.iter().enumerate() {
        let mut numbers = [L::load_bytes(&row[first]); V];
        for (numbers, bytes) in numbers.iter_mut().zip(&row[first..]) {
            *numbers = L::load_bytes(bytes);
            if L::BIASED {
                *numbers = L::sub_bytes(*numbers, 0x80);
            }
        }
        let parts = with.iter().zip(high.iter_mut().zip(&mut low));
        for (with, (high, low)) in parts {
            let (x, y) = (word(&with.high, four), word(&with.low, four));
            for (numbers, (high, low)) in numbers.iter().zip(high.iter_mut().zip(low)) {
                *high = L::dot8(*high, *numbers, x);
                *low = L::dot8(*low, *numbers, y);
            }
        }
    }
    let mut out = [[L::splat(0.0); V]; N];
    let parts = high.iter().zip(&low).zip(&with);
    for (out, ((high, low), with)) in out.iter_mut().zip(parts) {
        for (out, (high, low)) in out.iter_mut().zip(high.iter().zip(low)) {
            let mut high = L::mul(L::to_float(*high), L::splat(STEPS));
            if L::BIASED {
                high = L::add(high, L::splat(with.correction));
            }
            // Until here all is exact: few bits, and as many zeros. This is rounded, as the whole
            // number would be.
            *out = L::add(high, L::to_float(*low));
        }
    }
    out
}

/// Four numbers as [`Lanes::dot8`] takes them.
#[inline(always)]
fn word(numbers: &[[i8; LANES]; 2], index: usize) -> i32 {
    let [a, b, c, d] = numbers.as_flattened().as_chunks::<4>().0[index];
    i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8])
}

#[inline(always)]
fn fetch(tiles: &[Tile]) {
    prefetch(tiles.as_ptr().cast(), size_of_val(tiles));
}
