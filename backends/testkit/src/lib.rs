//! What tests of several crates share: a scripted backend, and the one suite that every backend
//! passes.
//!
//! Knows `kwaainet-core` and nothing else of the node. Never part of a shipped binary: only
//! `dev-dependencies` and the load tests name it.

mod conformance;
mod scripted;

pub use conformance::{EmbedSubject, GenerateSubject, IdleProbe, Subject, conformance};
pub use scripted::{
    Answer, Builder, Counts, Fault, Script, ScriptHandle, ScriptedBackend, ScriptedCall,
};
