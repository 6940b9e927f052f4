use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Other;

/// Extension: what a request demands of the place where it is served. What is not known of a node does not
/// fulfil a demand. Each field may come as a header instead, `x-kwaai-` and its name with dashes.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
pub struct Kwaai {
    /// What counts among the nodes that are left; `local` if not given.
    #[serde(default)]
    #[schema(value_type = Option<KwaaiPrefer>)]
    pub prefer: Option<String>,
    /// Nodes of this tier or a better one: `t0` the owner's own, `t1` invited, `t2` of a swarm, `t3` anybody's.
    #[serde(default)]
    #[schema(value_type = Option<KwaaiTier>)]
    pub tier_min: Option<String>,
    /// Nodes in this region or one of these; `eu` holds `eu-west`.
    #[serde(default)]
    #[schema(value_type = Option<KwaaiRegions>)]
    pub region: Option<Value>,
    /// Grams of CO2 equivalent for 1,000 tokens at most.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub max_gco2_per_1k: Option<f64>,
    /// Micro-VDA for 1,000 tokens at most.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub max_price: Option<i64>,
    /// `confidential` stays on this node and on nodes of tiers 0 and 1; `normal` if not given.
    #[serde(default)]
    #[schema(value_type = Option<KwaaiDataClass>)]
    pub data_class: Option<String>,
    /// Milliseconds to the first token at most, as far as can be foreseen.
    #[serde(default)]
    #[schema(minimum = 0)]
    pub max_ttft_ms: Option<i64>,
    /// Only these nodes, by their ids: 64 hexadecimal digits each.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 64)]
    pub peers: Option<Vec<String>>,
    /// Whether another node may go on in the middle where it would not compute the same bits; false if not
    /// given.
    #[serde(default)]
    pub inexact: Option<bool>,
    /// Whether the usage of a chat or a completion says what the request took of energy; false if not given.
    #[serde(default)]
    pub carbon: Option<bool>,
    /// Fields that are not named here.
    #[serde(flatten)]
    #[schema(ignore)]
    pub other: Other,
}

/// What counts.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KwaaiPrefer {
    /// This node where it has the model and need not make the request wait, and the fastest otherwise.
    Local,
    /// The answer that is complete first.
    Fast,
    /// The fewest grams of CO2.
    Green,
    /// The lowest price.
    Cheap,
}

/// How far a node is trusted.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KwaaiTier {
    /// The owner's own.
    T0,
    /// Invited.
    T1,
    /// Of a swarm.
    T2,
    /// Anybody's.
    T3,
}

/// Who may read a request.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KwaaiDataClass {
    /// This node and those of tiers 0 and 1.
    Confidential,
    /// Whoever the other demands leave.
    Normal,
}

/// One region or several.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum KwaaiRegions {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// `POST /v1/kwaai/route`: where a request would go now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RoutePlan {
    /// `kwaai.route`.
    pub object: &'static str,
    /// The model that is asked for.
    pub model: String,
    /// What counts among those who may serve.
    pub prefer: &'static str,
    /// Whom the request would be given to, in order; empty if nobody may serve it now.
    pub candidates: Vec<RouteCandidate>,
    /// The first two by their names, if the second would be asked to keep a place should the first take long to
    /// answer; empty otherwise.
    pub tied: Vec<String>,
    /// Who else has the model, and why they are not asked.
    pub dropped: Vec<RouteDropped>,
}

/// One who may serve.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RouteCandidate {
    /// Whom.
    #[serde(flatten)]
    pub place: RoutePlace,
    /// Micro-VDA for 1,000 tokens, where known.
    pub price: Option<u64>,
    /// Grams of CO2 equivalent for 1,000 tokens, where known.
    pub gco2_per_1k: Option<f64>,
    /// How long it would take; null for an upstream server, which tells nothing of itself.
    pub estimate: Option<RouteEstimate>,
}

/// One who may not.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RouteDropped {
    /// Whom.
    #[serde(flatten)]
    pub place: RoutePlace,
    /// Why not, in a few words.
    pub reason: String,
}

/// Where work is done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RoutePlace {
    /// Its name on this node.
    pub backend: String,
    /// `local`, `upstream` or `peer`.
    pub place: &'static str,
    /// A peer's id.
    pub node: Option<String>,
    /// A peer's tier, `t0` to `t3`.
    pub tier: Option<String>,
    /// Where a peer says that it stands.
    pub region: Option<String>,
}

/// How long a request would take, in milliseconds, in its parts. `first_token_ms` and `finish_ms` are their
/// sums.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RouteEstimate {
    /// Until its turn comes.
    pub queue_ms: f64,
    /// Until the model is in memory.
    pub loading_ms: f64,
    /// Reading what of the prompt was not read before.
    pub prefill_ms: f64,
    /// To the other node and back.
    pub rtt_ms: f64,
    /// Writing the answer.
    pub decode_ms: f64,
    /// Until the first token is here.
    pub first_token_ms: f64,
    /// Until all is here.
    pub finish_ms: f64,
    /// Tokens of the prompt, about.
    pub prompt_tokens: u32,
    /// How many of them were probably read there before.
    pub cached_tokens: u32,
    /// Tokens of the answer, about.
    pub answer_tokens: u32,
    /// Whether its speed is not known, so that this says little.
    pub is_guess: bool,
}

/// Extension of a model: where it is served.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ModelPlaces {
    /// `local`, `upstream`, `peer`: each at most once.
    pub places: Vec<&'static str>,
    /// Nodes that serve it, this one included; upstream servers do not count.
    pub nodes: u32,
}

/// What `POST /v1/kwaai/route` is asked about: the body of a request, with `messages` for a chat, `prompt` for a
/// continuation, or `input` for embeddings.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RouteRequest {
    /// As for `/v1/chat/completions`.
    Chat(Box<crate::ChatRequest>),
    /// As for `/v1/completions`.
    Completion(Box<crate::CompletionRequest>),
    /// As for `/v1/embeddings`.
    Embedding(Box<crate::EmbeddingRequest>),
}
