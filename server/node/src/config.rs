//! What the node is told: flags over environment over file over defaults, each key once.
//!
//! The only place that reads the environment. Every key has a default, so that the set of keys is
//! known, and a key that is not in it is an error wherever it stands.

mod carbon;
mod federation;
mod identity;
mod layers;
mod relay;
mod rewards;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kwaainet_candle::Device;
use serde::{Deserialize, Serialize};

pub use carbon::{
    Carbon, CarbonSource, Contributes, EnergyGauge, MeterKind, Power, PowerMeter, SourceKind,
};
pub use federation::Federation;
pub(crate) use federation::PORT as FEDERATION_PORT;
pub use identity::Identity;
pub use layers::{Effective, Environment, Flags};
pub use relay::{RELAY_PORT, Relay};
pub use rewards::Rewards;

use crate::vault::VaultLimits;

/// Why there is no valid configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("the configuration file {} is not valid: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A variable is unknown or has a value of the wrong kind.
    #[error("the environment variable {name} {reason}")]
    Variable {
        /// Which.
        name: String,
        /// Why.
        reason: String,
    },
    /// The values make no sense.
    #[error("{0}")]
    Value(String),
}

/// The whole configuration, every value valid in itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the HTTP door listens.
    pub listen: SocketAddr,
    /// Holds the database; one node at a time.
    pub data_dir: PathBuf,
    /// Holds the models; shared by all data directories.
    pub cache_dir: PathBuf,
    /// Models to serve from the start: names in the catalogue or paths of GGUF files. None means
    /// the catalogue's default.
    pub models: Vec<String>,
    /// A catalogue of the user's own that extends the built-in one; empty for none.
    pub catalogue: PathBuf,
    /// What is let in.
    pub limits: Limits,
    /// Files that clients leave here.
    pub files: Files,
    /// Databases of documents.
    pub storage: Storage,
    /// The local engine.
    pub engine: Engine,
    /// Speech to text.
    pub audio: Audio,
    /// Other OpenAI-compatible servers that this node may ask.
    pub upstream: Vec<Upstream>,
    /// What is kept of the Responses API.
    pub responses: Responses,
    /// Other nodes.
    pub federation: Federation,
    /// A relay for them.
    pub relay: Relay,
    /// What work is paid.
    pub rewards: Rewards,
    /// Energy, and what it costs the climate.
    pub carbon: Carbon,
    /// When this machine works for other nodes, and the meters of the house.
    pub power: Power,
    /// Signing in, and credentials.
    pub identity: Identity,
    /// The log.
    pub log: Log,
}

/// What is let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Jobs that run at once.
    pub slots: usize,
    /// Jobs that may wait for a slot.
    pub waiting: usize,
    /// Jobs of one key, running and waiting.
    pub per_key: usize,
    /// Seconds that a job may wait for a slot.
    pub wait_s: u64,
    /// Bytes of a request body.
    pub body_bytes: usize,
    /// Open connections.
    pub connections: usize,
    /// Seconds that running jobs may take when the node is told to stop.
    pub drain_s: u64,
}

/// Files that clients leave here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// Mebibytes of one file.
    pub file_mib: usize,
    /// Mebibytes of all files and vector stores of one key.
    pub key_mib: usize,
}

/// Databases of documents that clients keep here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Mebibytes of all databases of one key.
    pub key_mib: usize,
    /// Mebibytes of one document without its attachments.
    pub document_mib: usize,
    /// Mebibytes of one attachment.
    pub attachment_mib: usize,
    /// Mebibytes of a request's body, where it holds documents.
    pub body_mib: usize,
    /// Mebibytes of one blob.
    pub blob_mib: usize,
    /// Whether whoever has a key may replicate with loopback and private addresses too. At a node without keys its
    /// owner may anyway.
    pub local_replicas: bool,
}

/// The local engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Engine {
    /// Threads that compute; 0 means one for each physical core.
    pub threads: usize,
    /// Sequences that are computed together.
    pub sequences: usize,
    /// Mebibytes for the keys and values of all sequences of one model.
    pub kv_mib: usize,
    /// How keys and values are kept; it changes the answers, within the models' own precision.
    pub kv: Kv,
    /// Models that are kept in memory.
    pub loaded_models: usize,
    /// Whether the next tokens are guessed; it changes the speed and nothing else.
    pub speculation: Speculation,
    /// Models, named as in `models`, and for each the one that guesses for it: a smaller one with the
    /// same vocabulary.
    pub drafts: BTreeMap<String, String>,
    /// What computes models that generate: `cpu`, or `cuda` or `metal` where the node was built with the
    /// feature of that name. A GPU is candle's, one sequence at a time, and untested.
    pub device: Device,
}

/// Speech to text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audio {
    /// Mebibytes of one recording.
    pub file_mib: usize,
    /// Seconds of one recording.
    pub seconds_max: u32,
    /// Names, and for each the folder of a Whisper, as Hugging Face's hub has `openai/whisper-*`. They are
    /// loaded when first asked for.
    pub models: BTreeMap<String, PathBuf>,
}

/// How the engine keeps keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kv {
    /// In half floats.
    F16,
    /// In eight bits with a scale for 32 of them, which is little more than half the memory.
    Q8,
}

/// How the engine guesses what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speculation {
    /// From what was said before, and by the model's draft model if it has one, where that pays.
    Lookup,
    /// Not at all.
    Off,
}

/// Another OpenAI-compatible server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its name in logs and in `owned_by`.
    pub id: String,
    /// For example `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// The variable that holds its API key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_key_env: String,
    /// Or the file that does.
    #[serde(default, skip_serializing_if = "path_is_empty")]
    pub api_key_file: PathBuf,
    /// Our name for a model = its name there. Empty: whatever it lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, String>,
    /// Seconds until a connection must stand.
    #[serde(default = "five")]
    pub connect_timeout_s: u64,
    /// Seconds until the first byte must come.
    #[serde(default = "sixty")]
    pub first_byte_timeout_s: u64,
    /// Seconds that a stream may be silent.
    #[serde(default = "sixty")]
    pub idle_timeout_s: u64,
}

/// What is kept of the Responses API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Responses {
    /// Days that a response or a conversation is kept after it was last followed on.
    pub keep_days: u64,
    /// Mebibytes of all responses and conversations of one key; the oldest go first.
    pub keep_mib: u64,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged, as `tracing` filters are written: `info`, `kwaainet=debug,warn`.
    pub filter: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn five() -> u64 {
    5
}

fn sixty() -> u64 {
    60
}

fn path_is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 11435),
            data_dir: PathBuf::new(),
            cache_dir: PathBuf::new(),
            models: Vec::new(),
            catalogue: PathBuf::new(),
            limits: Limits::default(),
            files: Files::default(),
            storage: Storage::default(),
            audio: Audio::default(),
            engine: Engine::default(),
            upstream: Vec::new(),
            responses: Responses::default(),
            federation: Federation::default(),
            relay: Relay::default(),
            rewards: Rewards::default(),
            carbon: Carbon::default(),
            power: Power::default(),
            identity: Identity::default(),
            log: Log::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            slots: 16,
            waiting: 240,
            per_key: 200,
            wait_s: 120,
            body_bytes: 8 << 20,
            connections: 1024,
            drain_s: 30,
        }
    }
}

impl Default for Files {
    fn default() -> Self {
        Self {
            file_mib: 512,
            key_mib: 4_096,
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            key_mib: 4_096,
            document_mib: 8,
            attachment_mib: 32,
            body_mib: 48,
            blob_mib: 1_024,
            local_replicas: false,
        }
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            threads: 0,
            sequences: 16,
            kv_mib: 2_048,
            kv: Kv::F16,
            loaded_models: 3,
            speculation: Speculation::Lookup,
            drafts: BTreeMap::new(),
            device: Device::Cpu,
        }
    }
}

impl Default for Responses {
    fn default() -> Self {
        Self {
            keep_days: 30,
            keep_mib: 1_024,
        }
    }
}

impl Default for Audio {
    fn default() -> Self {
        Self {
            file_mib: 25,
            seconds_max: 3_600,
            models: BTreeMap::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl Limits {
    /// How long a job may wait for a slot.
    pub fn wait(&self) -> Duration {
        Duration::from_secs(self.wait_s)
    }

    /// How long running jobs may take when the node is told to stop.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_s)
    }
}

impl Files {
    /// How much is taken in.
    pub fn limits(&self) -> VaultLimits {
        VaultLimits {
            file_bytes: (self.file_mib as u64) << 20,
            principal_bytes: (self.key_mib as u64) << 20,
        }
    }
}

impl Responses {
    /// How long something is kept.
    pub fn keep(&self) -> Duration {
        Duration::from_secs(self.keep_days * 86_400)
    }

    /// Bytes of one key.
    pub fn bytes_max(&self) -> i64 {
        (self.keep_mib << 20) as i64
    }
}

impl Config {
    /// The database's file.
    pub fn database(&self) -> PathBuf {
        self.data_dir.join("node.db")
    }

    /// The file of documents.
    pub fn documents(&self) -> PathBuf {
        self.data_dir.join("storage.db")
    }

    /// Checks what the types cannot say.
    fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("limits.slots", self.limits.slots),
            ("limits.per_key", self.limits.per_key),
            ("limits.body_bytes", self.limits.body_bytes),
            ("limits.connections", self.limits.connections),
            ("files.file_mib", self.files.file_mib),
            ("files.key_mib", self.files.key_mib),
            ("storage.key_mib", self.storage.key_mib),
            ("storage.document_mib", self.storage.document_mib),
            ("storage.attachment_mib", self.storage.attachment_mib),
            ("storage.body_mib", self.storage.body_mib),
            ("storage.blob_mib", self.storage.blob_mib),
            ("audio.file_mib", self.audio.file_mib),
            ("audio.seconds_max", self.audio.seconds_max as usize),
            ("engine.sequences", self.engine.sequences),
            ("engine.kv_mib", self.engine.kv_mib),
            ("engine.loaded_models", self.engine.loaded_models),
            ("responses.keep_days", self.responses.keep_days as usize),
            ("responses.keep_mib", self.responses.keep_mib as usize),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Value(format!("{key} must be at least 1")));
        }
        let most = [
            ("limits.slots", self.limits.slots, 4_096),
            ("limits.waiting", self.limits.waiting, 65_536),
            ("limits.body_bytes", self.limits.body_bytes, 1 << 30),
            ("limits.connections", self.limits.connections, 65_536),
            ("files.file_mib", self.files.file_mib, 1 << 20),
            ("files.key_mib", self.files.key_mib, 1 << 30),
            ("storage.key_mib", self.storage.key_mib, 1 << 30),
            ("storage.document_mib", self.storage.document_mib, 1 << 10),
            (
                "storage.attachment_mib",
                self.storage.attachment_mib,
                1 << 10,
            ),
            ("storage.body_mib", self.storage.body_mib, 1 << 12),
            ("storage.blob_mib", self.storage.blob_mib, 1 << 30),
            ("audio.file_mib", self.audio.file_mib, 1 << 10),
            // What is heard at once lies in memory: a quarter of a gibibyte for each hour.
            ("audio.seconds_max", self.audio.seconds_max as usize, 86_400),
            ("engine.threads", self.engine.threads, 1_024),
            ("engine.sequences", self.engine.sequences, 1_024),
            ("engine.kv_mib", self.engine.kv_mib, 1 << 24),
            (
                "responses.keep_days",
                self.responses.keep_days as usize,
                36_500,
            ),
            (
                "responses.keep_mib",
                self.responses.keep_mib as usize,
                1 << 24,
            ),
        ];
        if let Some((key, _, max)) = most.iter().find(|(_, value, max)| value > max) {
            return Err(ConfigError::Value(format!("{key} must be at most {max}")));
        }
        self.federation.check()?;
        self.relay.check(self.federation.enabled)?;
        self.rewards.check()?;
        self.carbon.check()?;
        self.power.check()?;
        self.identity.check()?;
        let device = self.engine.device;
        if !device.is_built_in() {
            let name = device.name();
            let reason = format!(
                "engine.device is '{name}', but this node was built without the feature '{name}'"
            );
            return Err(ConfigError::Value(reason));
        }
        for upstream in &self.upstream {
            if upstream.id.is_empty() || upstream.id == crate::LOCAL_BACKEND {
                let local = crate::LOCAL_BACKEND;
                let reason = format!("an upstream needs an id, and '{local}' is taken");
                return Err(ConfigError::Value(reason));
            }
            let authority = upstream.base_url.split('/').nth(2).unwrap_or("");
            if authority.contains('@') {
                // Not repeated here: what stands before the sign is a secret.
                let id = &upstream.id;
                let reason = format!(
                    "upstream '{id}' has a password in its base_url; use api_key_env or \
                     api_key_file"
                );
                return Err(ConfigError::Value(reason));
            }
            let both = !upstream.api_key_env.is_empty() && !path_is_empty(&upstream.api_key_file);
            if both {
                let id = &upstream.id;
                let reason = format!("upstream '{id}' has both api_key_env and api_key_file");
                return Err(ConfigError::Value(reason));
            }
        }
        let mut ids: Vec<_> = self.upstream.iter().map(|u| u.id.as_str()).collect();
        ids.sort_unstable();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            let reason = format!("two upstreams have the id '{}'", pair[0]);
            return Err(ConfigError::Value(reason));
        }
        Ok(())
    }
}
