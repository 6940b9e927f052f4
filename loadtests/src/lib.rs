//! Load on servers that speak OpenAI's API, and what they made of it.
//!
//! A [`Load`] is a closed loop: so many requests are under way at once, and one that ends makes room for
//! the next. It is put on one [`Side`] or on two in turns, and the [`Report`] compares them. `chat` and
//! `embed` do one request each, `tally` counts. Nothing is sent to another machine unless [`Target::new`]
//! is told that it may be. The program `kwaai-load` is this library's command line; the node's own
//! comparison with other servers uses it too. [`Fake`] is the server that costs nothing.

mod chat;
mod compare;
mod documents;
mod embed;
mod fake;
mod histogram;
mod load;
mod outcome;
mod prompt;
mod random;
mod report;
mod sse;
mod tally;
mod target;
mod terminal;
mod time;

pub use compare::{Comparison, median};
pub use documents::{Bulk, Written, load as load_documents};
pub use fake::Fake;
pub use load::{Load, Side, Work};
pub use prompt::Prompts;
pub use report::Report;
pub use target::{Target, TargetError};
pub use terminal::{note, say};
pub use time::Deadline;
