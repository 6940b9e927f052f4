//! Both ends against each other, and each of them against one that lies.

mod asking;
mod fuzz;
mod harness;
mod lies;
mod receipts;
mod round_trips;
mod serving;
mod speed;
mod tied;
mod together;

use super::samples;
