//! Pages of keys and values: the unit in which their memory is counted and shared.
//!
//! A page holds [`PAGE`] positions of every layer and head, in half floats. Keys lie transposed, so
//! that a lane is a position; values lie as they come, so that a lane is a dimension. Once a page is
//! shared it is never written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::{Kernel, Task};
use crate::lanes::{LANES, Lanes};

/// Positions of a page.
pub const PAGE: usize = 32;

/// The largest half float.
const LARGEST: f32 = 65_504.0;

/// What a position holds, the same for all pages of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageShape {
    /// Layers of the model.
    pub layers: usize,
    /// Heads of keys, and of values, in each layer.
    pub kv_heads: usize,
    /// Components of a head.
    pub head_dim: usize,
}

impl PageShape {
    /// Bytes of a page.
    pub fn page_bytes(&self) -> u64 {
        (self.halves() * size_of::<u16>()) as u64
    }

    fn halves(&self) -> usize {
        self.layers * self.kv_heads * self.head_halves()
    }

    /// Half floats of one head's keys and values.
    fn head_halves(&self) -> usize {
        PAGE * (self.head_dim + self.value_dim())
    }

    /// Values are padded to whole vectors.
    pub(crate) fn value_dim(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    fn head(&self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * self.head_halves()
    }
}

/// Sixteen half floats at a time, so that no vector crosses a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Halves([u16; LANES]);

/// Makes pages of one shape and counts those that exist.
#[derive(Clone)]
pub struct Pages {
    shape: PageShape,
    live: Arc<AtomicUsize>,
}

impl Pages {
    /// None exist yet.
    pub fn new(shape: PageShape) -> Self {
        Self {
            shape,
            live: Arc::default(),
        }
    }

    /// Of each page.
    pub fn shape(&self) -> &PageShape {
        &self.shape
    }

    /// Pages that somebody holds; one that several hold counts once.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// A page of zeros.
    pub fn page(&self) -> Page {
        let count = self.shape.halves().div_ceil(LANES);
        self.keep(vec![Halves([0; LANES]); count].into_boxed_slice())
    }

    /// A page of its own with the same content.
    pub fn copy(&self, page: &Page) -> Page {
        self.keep(page.0.halves.clone())
    }

    fn keep(&self, halves: Box<[Halves]>) -> Page {
        self.live.fetch_add(1, Ordering::Relaxed);
        let live = Arc::clone(&self.live);
        Page(Arc::new(Held { halves, live }))
    }
}

/// A page, which several sequences may hold.
#[derive(Clone)]
pub struct Page(Arc<Held>);

struct Held {
    halves: Box<[Halves]>,
    live: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Page {
    /// Whether somebody else holds it too.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Writes one position of one layer; `keys` and `values` hold all heads. What a half float cannot
    /// hold becomes the largest that it can.
    ///
    /// # Panics
    /// When the page is shared, or lengths do not go with the shape.
    pub fn write(
        &mut self,
        kernel: Kernel,
        shape: &PageShape,
        layer: usize,
        slot: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        assert!(
            slot < PAGE
                && layer < shape.layers
                && keys.len() == shape.kv_heads * shape.head_dim
                && values.len() == keys.len(),
            "a position of this page"
        );
        let held = Arc::get_mut(&mut self.0).expect("a shared page is never written");
        kernel.run(Write {
            halves: flattened_mut(&mut held.halves),
            shape,
            layer,
            slot,
            keys,
            values,
        });
    }

    /// The keys of a head, one row of [`PAGE`] for each component; then its values, [`PAGE`] rows of
    /// the head's size, padded.
    pub(crate) fn head(&self, shape: &PageShape, layer: usize, head: usize) -> (&[u16], &[u16]) {
        let all = flattened(&self.0.halves);
        let both = &all[shape.head(layer, head)..][..shape.head_halves()];
        both.split_at(PAGE * shape.head_dim)
    }
}

fn flattened(halves: &[Halves]) -> &[u16] {
    // SAFETY: `Halves` is sixteen u16 without padding.
    unsafe { std::slice::from_raw_parts(halves.as_ptr().cast(), halves.len() * LANES) }
}

fn flattened_mut(halves: &mut [Halves]) -> &mut [u16] {
    // SAFETY: as above; any u16 is a valid one.
    unsafe { std::slice::from_raw_parts_mut(halves.as_mut_ptr().cast(), halves.len() * LANES) }
}

struct Write<'a> {
    halves: &'a mut [u16],
    shape: &'a PageShape,
    layer: usize,
    slot: usize,
    keys: &'a [f32],
    values: &'a [f32],
}

impl Task for Write<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (dim, padded) = (self.shape.head_dim, self.shape.value_dim());
        let heads = self
            .keys
            .chunks_exact(dim)
            .zip(self.values.chunks_exact(dim));
        for (head, (key, value)) in heads.enumerate() {
            let both = &mut self.halves[self.shape.head(self.layer, head)..];
            let (keys, values) = both.split_at_mut(PAGE * dim);
            let mut halves = [0; LANES];
            for (part, rows) in key.chunks(LANES).zip(keys.chunks_mut(LANES * PAGE)) {
                to_halves::<L>(part, &mut halves);
                for (half, row) in halves.iter().zip(rows.chunks_exact_mut(PAGE)) {
                    row[self.slot] = *half;
                }
            }
            let values = &mut values[self.slot * padded..][..padded];
            for (part, to) in value.chunks(LANES).zip(values.as_chunks_mut().0) {
                to_halves::<L>(part, to);
            }
        }
    }
}

#[inline(always)]
fn to_halves<L: Lanes>(part: &[f32], to: &mut [u16; LANES]) {
    let mut lanes = [0.0; LANES];
    lanes[..part.len()].copy_from_slice(part);
    let x = L::max(L::load(&lanes), L::splat(-LARGEST));
    L::store_f16(L::min(x, L::splat(LARGEST)), to);
}
