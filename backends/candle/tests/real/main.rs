//! The engine with the real models that the catalogue names.

mod conformance;
mod golden;
mod grammars;
mod models;
