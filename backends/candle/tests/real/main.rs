//! The engine with the real models that the catalogue names.

mod calls;
mod conformance;
mod echo;
mod golden;
mod grammars;
mod models;
