//! Where a job may be done, and what is best. What is not known of a node does not fulfil a constraint.

use serde::Serialize;

use crate::{Candidate, ModelDigest, NodeId, Numerics, Tier};

/// What a client demands of the place where its job is done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Constraints {
    /// What counts among the places that are left.
    pub prefer: Prefer,
    /// Nodes of this tier or a better one.
    pub tier_min: Option<Tier>,
    /// Nodes in one of these regions or a part of it (`eu-west` is a part of `eu`), in lower case; empty for
    /// all.
    pub regions: Vec<String>,
    /// Grams of CO2 equivalent for 1,000 tokens at most.
    pub max_gco2_per_1k: Option<f64>,
    /// Micro-VDA for 1,000 tokens at most.
    pub max_price: Option<u64>,
    /// Who may read it.
    pub data_class: DataClass,
    /// Milliseconds to the first token at most, as far as can be foreseen.
    pub max_ttft_ms: Option<u64>,
    /// One of these nodes; `None` for all.
    pub peers: Option<Vec<NodeId>>,
    /// What computes exactly these bits, and nothing else; `None` for all.
    pub bits: Option<Bits>,
    /// Whether another node may go on in the middle where it would not compute the same bits.
    pub inexact: bool,
}

/// What computes the same answers: this file, computed in this way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Of the model's file.
    pub digest: ModelDigest,
    /// How it is computed.
    pub numerics: Numerics,
}

impl Bits {
    /// Of a candidate, where both are known.
    pub fn of(candidate: &Candidate) -> Option<Self> {
        Some(Self {
            digest: candidate.model.digest?,
            numerics: candidate.model.numerics.clone()?,
        })
    }
}

/// What is best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// This node where it has the model and the job need not wait long for its turn, and the fastest
    /// otherwise.
    #[default]
    Local,
    /// The answer that is complete first.
    Fast,
    /// The fewest grams.
    Green,
    /// The lowest price.
    Cheap,
}

/// Who may read what a job is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DataClass {
    /// This node, and others of tiers 0 and 1, never two of them at once. No upstream server: who reads along
    /// there is not known.
    Confidential,
    /// This node and the servers that its owner configured: what is kept here is not sent to other nodes.
    Own,
    /// Whatever node the other constraints leave.
    #[default]
    Normal,
}

/// Through which door a job came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A client of this node.
    #[default]
    Client,
    /// Another node: it is done here or refused, so that no job goes round in circles.
    Peer(NodeId),
}
