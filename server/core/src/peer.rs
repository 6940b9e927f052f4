//! Other nodes, as routing and the doors see them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::Load;

/// A node: the 32 bytes of its Ed25519 public key. The same bytes are its iroh `EndpointId`, its libp2p
/// `PeerId` and its `did:key`. Spelled in lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

impl NodeId {
    /// The first ten digits, for people to read. Not unique.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..5])
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({})", self.short())
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text that is no node's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no node id: 64 hexadecimal digits")]
pub struct BadNodeId(String);

impl FromStr for NodeId {
    type Err = BadNodeId;

    fn from_str(text: &str) -> Result<Self, BadNodeId> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| BadNodeId(text.to_owned()))
    }
}

/// How far a node is trusted. The best is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The owner's own.
    T0,
    /// Of somebody whom the owner invited, or who invited the owner.
    T1,
    /// Of a swarm that the owner joined.
    T2,
    /// Anybody's. Who runs it can read what it serves.
    T3,
}

impl Tier {
    /// Its number, 0 to 3.
    pub fn number(self) -> u8 {
        match self {
            Self::T0 => 0,
            Self::T1 => 1,
            Self::T2 => 2,
            Self::T3 => 3,
        }
    }

    /// The one of this number.
    pub fn of_number(number: u8) -> Option<Self> {
        [Self::T0, Self::T1, Self::T2, Self::T3]
            .into_iter()
            .find(|tier| tier.number() == number)
    }

    /// Whether it may see what is confidential.
    pub fn is_confidential(self) -> bool {
        self <= Self::T1
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.number())
    }
}

/// A text that is no tier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no tier; there are: t0 (own), t1 (invited), t2 (swarm), t3 (public)")]
pub struct BadTier(String);

impl FromStr for Tier {
    type Err = BadTier;

    fn from_str(text: &str) -> Result<Self, BadTier> {
        let digit = text.strip_prefix(['t', 'T']).unwrap_or(text);
        let number = digit.parse().ok().and_then(Self::of_number);
        number.ok_or_else(|| BadTier(text.to_owned()))
    }
}

/// Grams of CO2 equivalent for each kilowatt-hour that a node uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GridIntensity {
    /// The grams.
    pub g_per_kwh: f32,
    /// How the node knows.
    pub evidence: GridEvidence,
}

/// How a grid intensity is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GridEvidence {
    /// The owner said so.
    Stated,
    /// A yearly average of the country.
    Yearly,
    /// A live source.
    Live,
}

/// What is known of the node behind a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PeerFacts {
    /// Which node.
    pub node: NodeId,
    /// How far it is trusted.
    pub tier: Tier,
    /// Where it says that it stands, like `de` or `eu-west`, in lower case.
    pub region: Option<String>,
    /// What it asks, in micro-VDA for each 1,000 tokens.
    pub price: Option<u64>,
    /// What its power costs the climate.
    pub grid: Option<GridIntensity>,
    /// Watts that it says it uses for its work, for figures of carbon.
    pub watts: Option<f32>,
    /// There and back.
    #[serde(serialize_with = "millis")]
    pub rtt: Duration,
    /// Whether its traffic goes through a relay.
    pub relayed: bool,
    /// What it last said it has to do, with what this node itself gave it since.
    pub load: Load,
    /// Jobs of this node that it works on.
    pub ours: u32,
}

fn millis<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1e3)
}
