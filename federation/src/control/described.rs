//! Between messages and what they mean. Whatever another node says becomes something that is bounded and makes
//! sense: an odd value counts as one that was not said, so that nothing here can fail.

use std::collections::BTreeSet;
use std::time::Duration;

use kwaainet_core::{
    BackendId, Candidate, GridEvidence, GridIntensity, Load, ModelDigest, ModelFacts, ModelId,
    ModelKind, NodeId, Numerics, Place, Snapshot,
};

use super::wire::{
    Card, Evidence, Grid, Kind, Lost, Model, Power, Report, WireIntroduced, WireLoad,
};
use crate::{Introduced, Introduction, PeerAddress};

/// The capability of a node that takes requests on the inference plane.
const INFERENCE: &str = "inference/1";
/// Models of one node at most, so that a report fits its frame.
const MODELS_MAX: usize = 128;
/// Bytes of a model's name.
const NAME_MAX: usize = 200;
/// Bytes of a version, a region, a numerics class, a capability.
const WORD_MAX: usize = 64;
/// Addresses of one node.
const ADDRESSES_MAX: usize = 32;
/// Addresses of a node that another one introduces.
const INTRODUCED_AT_MAX: usize = 4;
/// Bytes of a relay's URL.
const RELAY_MAX: usize = 256;
/// Capabilities that are looked at.
const CAPABILITIES_MAX: usize = 64;

/// What the owner says of this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct About {
    /// The program's version.
    pub version: String,
    /// Where it stands, like `de` or `eu-west`, in lower case.
    pub region: Option<String>,
    /// What it asks, in micro-VDA for each 1,000 tokens.
    pub price: Option<u64>,
    /// What its power costs the climate.
    pub grid: Option<GridIntensity>,
    /// Watts that its work takes.
    pub watts: Option<f32>,
}

/// What another node says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Described {
    pub(crate) about: About,
    pub(crate) incarnation: u64,
    /// Whether it takes requests.
    pub(crate) serves: bool,
    pub(crate) address: PeerAddress,
}

impl Card {
    /// This node's.
    pub(crate) fn of(about: &About, incarnation: u64, address: &PeerAddress) -> Self {
        let direct = address.direct.iter().take(ADDRESSES_MAX);
        Self {
            incarnation,
            version: about.version.clone(),
            capabilities: vec![INFERENCE.to_owned()],
            region: about.region.clone(),
            price: about.price,
            grid: about.grid.map(Grid::from),
            watts: about.watts,
            direct: direct.map(ToString::to_string).collect(),
            relay: address.relay.clone(),
        }
    }
}

impl From<Card> for Described {
    fn from(card: Card) -> Self {
        let about = About {
            version: word(card.version).unwrap_or_default(),
            region: card.region.and_then(word).map(|r| r.to_lowercase()),
            price: card.price,
            grid: card.grid.and_then(Grid::read),
            watts: card.watts.and_then(measure),
        };
        let mut capabilities = card.capabilities.iter().take(CAPABILITIES_MAX);
        Self {
            about,
            incarnation: card.incarnation,
            serves: capabilities.any(|capability| capability == INFERENCE),
            address: address(&card.direct, card.relay),
        }
    }
}

fn address(direct: &[String], relay: Option<String>) -> PeerAddress {
    let direct = direct.iter().take(ADDRESSES_MAX);
    let relay = relay.filter(|url| url.len() <= RELAY_MAX);
    PeerAddress {
        direct: direct.filter_map(|at| at.parse().ok()).collect(),
        relay: relay.filter(|url| url.chars().all(|c| c.is_ascii_graphic())),
    }
}

impl From<&Introduced> for WireIntroduced {
    fn from(introduced: &Introduced) -> Self {
        let PeerAddress { direct, relay } = &introduced.address;
        Self {
            word: introduced.word.as_bytes().to_vec(),
            direct: direct
                .iter()
                .take(INTRODUCED_AT_MAX)
                .map(ToString::to_string)
                .collect(),
            relay: relay.clone().filter(|url| url.len() <= RELAY_MAX),
        }
    }
}

impl WireIntroduced {
    /// What it says, if the signature is good.
    pub(crate) fn read(self) -> Option<Introduced> {
        let word = Introduction::open(&self.word).ok()?;
        let address = address(&self.direct, self.relay);
        Some(Introduced { word, address })
    }
}

impl From<GridIntensity> for Grid {
    fn from(grid: GridIntensity) -> Self {
        let evidence = match grid.evidence {
            GridEvidence::Stated => Evidence::Stated,
            GridEvidence::Yearly => Evidence::Yearly,
            GridEvidence::Live => Evidence::Live,
        };
        Self {
            g_per_kwh: grid.g_per_kwh,
            evidence: evidence.into(),
        }
    }
}

impl Grid {
    fn read(self) -> Option<GridIntensity> {
        let evidence = match Evidence::try_from(self.evidence).ok()? {
            Evidence::Unknown => return None,
            Evidence::Stated => GridEvidence::Stated,
            Evidence::Yearly => GridEvidence::Yearly,
            Evidence::Live => GridEvidence::Live,
        };
        Some(GridIntensity {
            g_per_kwh: measure(self.g_per_kwh)?,
            evidence,
        })
    }
}

impl About {
    /// What a report says later holds, where it says anything.
    pub(crate) fn told(&mut self, power: Option<Power>) {
        let Some(power) = power else { return };
        self.grid = power.grid.and_then(Grid::read).or(self.grid);
        self.watts = power.watts.and_then(measure).or(self.watts);
    }
}

/// A short printable word, if it is one.
fn word(text: String) -> Option<String> {
    let good = !text.is_empty() && text.len() <= WORD_MAX;
    (good && text.chars().all(|c| c.is_ascii_graphic())).then_some(text)
}

/// A quantity, if it is one.
fn measure(value: f32) -> Option<f32> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

impl Report {
    /// What this node computes itself and takes work for: nothing that it would have to ask others for, and nothing
    /// at all while its owner does not let it work for others. Where several backends of it have work, the sum of it.
    pub(crate) fn of(own: &Snapshot) -> Self {
        let here = |candidate: &&Candidate| candidate.place == Place::Here;
        let offered = |candidate: &&Candidate| {
            own.here.withholds.is_none()
                && candidate.unavailable.is_none()
                && candidate.model.id.as_str().len() <= NAME_MAX
        };
        let mine = || own.candidates.iter().filter(here);
        let mut counted: BTreeSet<&BackendId> = BTreeSet::new();
        let loads = mine().filter(|candidate| counted.insert(&candidate.backend));
        let loads = loads.filter_map(|candidate| candidate.load);
        let mut named: BTreeSet<&ModelId> = BTreeSet::new();
        let models = mine()
            .filter(offered)
            .filter(|candidate| named.insert(&candidate.model.id))
            .take(MODELS_MAX);
        let power = Power {
            grid: own.here.grid.map(Grid::from),
            watts: own.here.watts,
        };
        Self {
            load: loads.reduce(sum).map(WireLoad::from),
            models: models
                .map(|candidate| Model::of(&candidate.model))
                .collect(),
            power: (power != Power::default()).then_some(power),
        }
    }

    /// For how long the engine had work and computed nothing, as the peer says.
    pub(crate) fn still(&self) -> Duration {
        Duration::from_millis(self.load.map_or(0, |load| load.still_ms))
    }

    /// What a peer says of itself.
    pub(crate) fn read(self) -> (Load, Vec<ModelFacts>) {
        let models = self.models.into_iter().take(MODELS_MAX);
        (
            self.load.map(Load::from).unwrap_or_default(),
            models.filter_map(Model::read).collect(),
        )
    }
}

fn sum(a: Load, b: Load) -> Load {
    Load {
        running: a.running.saturating_add(b.running),
        queued: a.queued.saturating_add(b.queued),
        queued_prefill_tokens: a
            .queued_prefill_tokens
            .saturating_add(b.queued_prefill_tokens),
        free_pages: a.free_pages.saturating_add(b.free_pages),
        prefill_rate: a.prefill_rate.max(b.prefill_rate),
        decode_rate: a.decode_rate.max(b.decode_rate),
        tokens_out: a.tokens_out.wrapping_add(b.tokens_out),
        // Another one whenever either changes.
        epoch: a.epoch.wrapping_add(b.epoch),
    }
}

impl From<Load> for WireLoad {
    fn from(load: Load) -> Self {
        Self {
            running: load.running,
            queued: load.queued,
            queued_prefill_tokens: load.queued_prefill_tokens,
            free_pages: load.free_pages,
            prefill_rate: load.prefill_rate,
            decode_rate: load.decode_rate,
            tokens_out: load.tokens_out,
            epoch: load.epoch,
            still_ms: 0,
        }
    }
}

impl From<WireLoad> for Load {
    fn from(load: WireLoad) -> Self {
        // So large that nothing real is cut, so small that sums of all peers' do not overflow.
        let count = |n: u32| n.min(1 << 20);
        let tokens = |n: u64| n.min(1 << 40);
        Self {
            running: count(load.running),
            queued: count(load.queued),
            queued_prefill_tokens: tokens(load.queued_prefill_tokens),
            free_pages: tokens(load.free_pages),
            prefill_rate: measure(load.prefill_rate).unwrap_or(0.0),
            decode_rate: measure(load.decode_rate).unwrap_or(0.0),
            tokens_out: load.tokens_out,
            epoch: load.epoch,
        }
    }
}

impl Model {
    fn of(facts: &ModelFacts) -> Self {
        let kind = match facts.kind {
            ModelKind::Unknown => Kind::Unknown,
            ModelKind::Generate => Kind::Generate,
            ModelKind::Embed => Kind::Embed,
            ModelKind::Transcribe => Kind::Transcribe,
        };
        Self {
            id: facts.id.as_str().to_owned(),
            kind: kind.into(),
            context: facts.context,
            created: facts.created,
            loaded: facts.loaded,
            numerics: facts.numerics.as_ref().map(|n| n.0.clone().into_owned()),
            digest: facts.digest.map(|digest| digest.0.to_vec()),
        }
    }

    fn read(self) -> Option<ModelFacts> {
        let named = !self.id.is_empty() && self.id.len() <= NAME_MAX;
        if !named || self.id.chars().any(char::is_control) {
            return None;
        }
        let kind = match Kind::try_from(self.kind).unwrap_or(Kind::Unknown) {
            Kind::Unknown => ModelKind::Unknown,
            Kind::Generate => ModelKind::Generate,
            Kind::Embed => ModelKind::Embed,
            Kind::Transcribe => ModelKind::Transcribe,
        };
        let numerics = self.numerics.and_then(word);
        let digest = self.digest.and_then(|bytes| bytes.try_into().ok());
        Some(ModelFacts {
            id: ModelId::new(self.id),
            kind,
            context: self.context,
            created: self.created,
            loaded: self.loaded,
            numerics: numerics.map(|class| Numerics(class.into())),
            digest: digest.map(ModelDigest),
        })
    }
}

impl Lost {
    /// This node lost that one.
    pub(crate) fn of(node: NodeId, incarnation: u64) -> Self {
        let node = node.0.to_vec();
        Self { node, incarnation }
    }

    /// Which, if it names one.
    pub(crate) fn node(&self) -> Option<NodeId> {
        self.node.as_slice().try_into().ok().map(NodeId)
    }
}

#[cfg(test)]
mod tests;
