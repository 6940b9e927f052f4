//! The nouns of a node, the seams between its parts, and its pure policy.
//!
//! Nothing here opens a socket, reads a file or speaks SQL. A request enters as a
//! [`Principal`] and a [`Job`], passes [`Admission`], is given a [`Route`] by [`plan`], runs on a
//! [`Backend`], and leaves as a stream of [`Event`]s and exactly one [`Receipt`]. The
//! [`Hallway`] is that path in one place.

mod admission;
mod affinity;
mod assurance;
mod auth;
mod backend;
mod clock;
mod constraints;
mod continued;
mod course;
mod energy;
mod event;
mod hallway;
mod ids;
mod job;
pub mod merkle;
mod meter;
mod open_door;
mod peer;
mod receipt;
mod router;
mod session;
mod sharing;
mod speech;

pub use admission::{Admission, AdmissionError, AdmissionLimits, AdmissionLoad, Admitted};
pub use assurance::{Assurance, BadAssurance, Unlocks};
pub use auth::{ApiKey, AuthError, BadScope, KeyRecord, Principal, Scope, Scopes};
pub use backend::{
    Backend, BackendError, BackendReport, BoxFuture, EmbedRequest, Embeddings, EventStream,
    GenerateRequest, Load, ModelDigest, ModelFacts, ModelKind, Numerics, Reserved, Resume,
    TextTokens, Tokenized, TranscribeRequest,
};
pub use clock::{Clock, ManualClock, SystemClock, civil_date};
pub use constraints::{Bits, Constraints, DataClass, Origin, Prefer};
pub use course::{Course, Served, Stages};
pub use energy::{Carbon, EnergyMeter, EnergyMethod, Footprint, JobEnergy};
pub use event::{
    CallDelta, CallStart, Delta, Event, FinishReason, TokenLogprob, TopLogprob, Usage,
};
pub use hallway::{Hallway, JobError};
pub use ids::{BackendId, JobId, KeyId, ModelId, PrincipalId, random_id};
pub use job::{
    Conversation, EmbedInput, GenerateParams, Grammar, GrammarKind, Job, Message, Priority, Prompt,
    Role, Sampling, Tool, ToolCall, ToolChoice, ToolMode, Work,
};
pub use meter::MeteredStream;
pub use open_door::{Browser, OpenDoor, is_loopback_authority, is_loopback_origin};
pub use peer::{BadNodeId, BadTier, GridEvidence, GridIntensity, NodeId, PeerFacts, Tier};
pub use receipt::{Outcome, Receipt};
pub use router::{
    Backends, Candidate, Chosen, Dropped, Estimate, Here, Own, Place, Reason, Route, RouteError,
    Snapshot, plan,
};
pub use session::{SessionId, SessionRecord, SessionToken, SignedIn};
pub use sharing::SharingSecret;
pub use speech::{SpeechSegment, SpeechTask, Transcribe, Transcript};
