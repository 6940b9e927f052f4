//! Canonical arithmetic for decoder models on CPUs, class `kwaai-canonical/1`.
//!
//! [`definition`] says, in plain scalar code, what is computed. Everything else computes the same bits
//! faster: matrices packed so that a vector lane is a row ([`Matrix`]), 8-bit inputs ([`Input`]),
//! attention over pages ([`attend`]), the functions between them ([`ops`]), for each instruction set
//! ([`Kernel`]), over several threads ([`Pool`]).
//!
//! Three rules make the bits equal everywhere. Integer products are exact. Every f32 sum has one
//! order, which depends on nothing but the shape: lanes are rows, dimensions or positions, never parts
//! of one register. And only operations that IEEE 754 rounds in one way are used: add, subtract,
//! multiply, divide, square root and conversions; nothing is fused, reassociated, or left to the
//! platform's library.
//!
//! It knows nothing of files, models or requests. All unsafe code of the project is in here.

mod attention;
mod bandwidth;
pub mod definition;
mod format;
mod input;
mod kernel;
mod lanes;
mod lines;
mod matmul;
mod matrix;
pub mod ops;
mod page;
mod pool;
#[cfg(any(test, target_arch = "x86_64"))]
mod tiles;

pub use attention::{Head, Query, attend};
pub use bandwidth::Reading;
pub use format::Format;
pub use input::{BLOCK, Input, InputRow};
pub use kernel::{Kernel, UnknownKernel};
pub use matmul::{Compute, Product, multiply};
pub use matrix::{Matrix, PackError};
pub use page::{KvFormat, PAGE, Page, PageShape, Pages};
pub use pool::{Pool, PoolError};

/// The numerics class: equal classes give equal bits.
pub const NUMERICS: &str = "kwaai-canonical/1";

/// The numerics class where keys and values are kept in eight bits.
pub const NUMERICS_Q8: &str = "kwaai-canonical/1+kv-q8";

#[cfg(test)]
mod tests;
