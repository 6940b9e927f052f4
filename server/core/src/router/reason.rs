//! Why a candidate was not chosen. What a reason prints is fit for callers: no address, no secret, no word
//! that another node chose.

use std::fmt;

use crate::{Place, Tier};

/// Why a candidate was not chosen. Where it is a number that is missing, the number is not known.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It takes no work now. The backend's own words, for our log.
    Unavailable(String),
    /// Recordings stay on this node and its upstreams.
    Recording,
    /// It is not one of the nodes that were named.
    NotNamed,
    /// Its tier is not good enough.
    Tier(Option<Tier>),
    /// It may not see what is confidential.
    NotConfidential,
    /// It stands elsewhere.
    Region {
        /// Whether it says where.
        known: bool,
    },
    /// It asks too much: micro-VDA for 1,000 tokens.
    Price(Option<u64>),
    /// It costs the climate too much: grams for 1,000 tokens.
    Carbon(Option<f64>),
    /// It has another file under the model's name.
    OtherFile,
    /// It does not compute the bits that are wanted.
    OtherBits,
    /// The prompt is longer than its context, of so many tokens.
    Context(u32),
    /// Its first token would come too late: milliseconds.
    FirstToken(Option<u64>),
}

impl Reason {
    /// Whether it is a demand of the request that is not met, rather than the candidate's state.
    pub fn is_demand(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Recording | Self::OtherFile | Self::Context(_) => false,
            Self::NotNamed
            | Self::Tier(_)
            | Self::NotConfidential
            | Self::Region { .. }
            | Self::Price(_)
            | Self::Carbon(_)
            | Self::OtherBits
            | Self::FirstToken(_) => true,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(_) => f.write_str("it takes no work now"),
            Self::Recording => f.write_str("recordings are not sent to other nodes"),
            Self::NotNamed => f.write_str("it is not one of the nodes that were named"),
            Self::Tier(Some(tier)) => write!(f, "its tier {tier} is not good enough"),
            Self::Tier(None) => f.write_str("a server that is no node has no tier"),
            Self::NotConfidential => f.write_str("it may not see what is confidential"),
            Self::Region { known: true } => f.write_str("it stands in another region"),
            Self::Region { known: false } => f.write_str("its region is not known"),
            Self::Price(Some(price)) => {
                write!(f, "it asks {price} micro-VDA for 1,000 tokens")
            }
            Self::Price(None) => f.write_str("its price is not known"),
            Self::Carbon(Some(grams)) => write!(f, "1,000 tokens of it cost {grams:.3} g of CO2e"),
            Self::Carbon(None) => f.write_str("what it costs the climate is not known"),
            Self::OtherFile => f.write_str("it has another file under the model's name"),
            Self::OtherBits => f.write_str("it does not compute the same bits"),
            Self::Context(context) => write!(f, "its context of {context} tokens is too short"),
            Self::FirstToken(Some(ms)) => write!(f, "its first token would take {ms} ms"),
            Self::FirstToken(None) => f.write_str("how long its first token takes is not known"),
        }
    }
}

/// A candidate that was not chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// Which.
    pub backend: crate::BackendId,
    /// Whose machine it is on.
    pub place: Place,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.backend, self.reason)
    }
}
