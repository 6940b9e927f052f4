//! Pages of keys and values: the unit in which their memory is counted and shared.
//!
//! A page holds [`PAGE`] positions of every layer and head, in half floats ([`f16`]) or in numbers of
//! eight bits with scales ([`q8`]). Once a page is shared it is never written.

pub(crate) mod f16;
pub(crate) mod q8;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kernel::Kernel;
use q8::Tile;

/// Positions of a page.
pub const PAGE: usize = 32;

/// The largest half float. No key or value is kept larger, so that nothing in a page is infinite.
const LARGEST: f32 = 65_504.0;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvFormat {
    /// In half floats.
    #[default]
    F16,
    /// In blocks of 32 eight-bit numbers with a scale.
    Q8,
}

impl KvFormat {
    /// The numerics class of what is computed with it: equal classes give equal bits.
    pub fn numerics(self) -> &'static str {
        match self {
            Self::F16 => crate::NUMERICS,
            Self::Q8 => crate::NUMERICS_Q8,
        }
    }
}

/// What a position holds, the same for all pages of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageShape {
    /// Layers of the model.
    pub layers: usize,
    /// Heads of keys, and of values, in each layer.
    pub kv_heads: usize,
    /// Components of a head.
    pub head_dim: usize,
    /// How these are kept.
    pub format: KvFormat,
}

impl PageShape {
    /// Bytes of a page.
    pub fn page_bytes(&self) -> u64 {
        let head = match self.format {
            KvFormat::F16 => f16::head_bytes(self),
            KvFormat::Q8 => q8::head_bytes(self),
        };
        (self.heads() * head) as u64
    }

    /// Heads of all layers.
    fn heads(&self) -> usize {
        self.layers * self.kv_heads
    }

    /// The place of a layer's head among them.
    fn head(&self, layer: usize, head: usize) -> usize {
        layer * self.kv_heads + head
    }
}

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
        self.keep(match self.shape.format {
            KvFormat::F16 => Content::F16(f16::zeros(&self.shape)),
            KvFormat::Q8 => Content::Q8(q8::zeros(&self.shape)),
        })
    }

    /// A page of its own with the same content.
    pub fn copy(&self, page: &Page) -> Page {
        self.keep(page.0.content.clone())
    }

    fn keep(&self, content: Content) -> Page {
        self.live.fetch_add(1, Ordering::Relaxed);
        let live = Arc::clone(&self.live);
        Page(Arc::new(Held { content, live }))
    }
}

/// A page, which several sequences may hold.
#[derive(Clone)]
pub struct Page(Arc<Held>);

struct Held {
    content: Content,
    live: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Content {
    F16(Box<[f16::Halves]>),
    Q8(Box<[Tile]>),
}

impl Drop for Held {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One position of one layer, to be written.
struct Position<'a> {
    shape: &'a PageShape,
    layer: usize,
    slot: usize,
    /// Of all heads.
    keys: &'a [f32],
    values: &'a [f32],
}

impl Page {
    /// Whether somebody else holds it too.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Writes one position of one layer; `keys` and `values` hold all heads. What a half float cannot
    /// hold becomes the largest that it can, in either format.
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
        let position = Position {
            shape,
            layer,
            slot,
            keys,
            values,
        };
        match &mut held.content {
            Content::F16(halves) => kernel.run(f16::Write { halves, position }),
            Content::Q8(tiles) => kernel.run(q8::Write { tiles, position }),
        }
    }

    /// The keys of a head, one row of [`PAGE`] for each component; then its values, [`PAGE`] rows of
    /// the head's size, padded.
    ///
    /// # Panics
    /// When the page holds something else.
    #[inline]
    pub(crate) fn halves(&self, shape: &PageShape, layer: usize, head: usize) -> (&[u16], &[u16]) {
        let Content::F16(halves) = &self.0.content else {
            unreachable!("a page has its shape's format")
        };
        f16::head(halves, shape, shape.head(layer, head))
    }

    /// The keys of a head, then its values, a tile for each block of components.
    ///
    /// # Panics
    /// When the page holds something else.
    #[inline]
    pub(crate) fn tiles(&self, shape: &PageShape, layer: usize, head: usize) -> (&[Tile], &[Tile]) {
        let Content::Q8(tiles) = &self.0.content else {
            unreachable!("a page has its shape's format")
        };
        q8::head(tiles, shape, shape.head(layer, head))
    }
}
