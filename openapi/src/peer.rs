use serde::Serialize;
use utoipa::ToSchema;

/// The nodes that this one works with.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeerList {
    /// `list`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// This node's own id; none on a node that works alone.
    #[schema(required = true)]
    pub node: Option<String>,
    /// In the order of their ids.
    pub data: Vec<PeerObject>,
}

/// Another node, as this one sees it now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeerObject {
    /// `kwaai.peer`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// 64 hexadecimal digits.
    pub id: String,
    /// `connecting`, `alive`, `distant`, `suspect`, `wedged`, `draining` or `down`. Only who is alive is given work, and
    /// who is distant (known by what others hand on) if it answers a call.
    #[schema(value_type = String)]
    pub state: &'static str,
    /// Why it is given no work.
    #[schema(required = true)]
    pub reason: Option<String>,
    /// `t0` the owner's own, `t1` invited, `t2` of a swarm, `t3` anybody's.
    pub tier: String,
    /// The node by whose word it is a member; none for one that the owner let in or joined.
    #[schema(required = true)]
    pub introduced_by: Option<String>,
    /// The version that it says it runs.
    pub version: String,
    /// Where it says that it stands.
    #[schema(required = true)]
    pub region: Option<String>,
    /// What it asks, in micro-VDA for 1,000 tokens.
    #[schema(required = true)]
    pub price: Option<u64>,
    /// Grams of CO2 equivalent for each kilowatt-hour that it uses, as it says.
    #[schema(required = true)]
    pub g_per_kwh: Option<f32>,
    /// There and back, in milliseconds.
    pub rtt_ms: f64,
    /// `direct`, or `relayed`.
    #[schema(value_type = String)]
    pub path: &'static str,
    /// What it has to do.
    pub load: PeerLoad,
    /// What it serves.
    pub models: Vec<PeerModel>,
}

/// What a node has to do, as it last said.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeerLoad {
    /// Sequences that are computed.
    pub running: u32,
    /// Requests and sequences that wait.
    pub queued: u32,
    /// Prompt tokens that are to be computed.
    pub queued_prefill_tokens: u64,
    /// Prompt tokens a second, lately; 0 if never.
    pub prefill_rate: f32,
    /// Tokens a second of each sequence, lately; 0 if never.
    pub decode_rate: f32,
    /// Requests of this node that it works on.
    pub ours: u32,
}

/// A model of another node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeerModel {
    /// Its name there.
    pub id: String,
    /// `generate`, `embed`, `transcribe` or `unknown`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// Whether the first request need not wait for it.
    pub loaded: bool,
    /// Its context in tokens, where known.
    #[schema(required = true)]
    pub context: Option<u32>,
    /// SHA-256 of its file, where known.
    #[schema(required = true)]
    pub digest: Option<String>,
    /// Which bits it computes, where that is certain.
    #[schema(required = true)]
    pub numerics: Option<String>,
}
