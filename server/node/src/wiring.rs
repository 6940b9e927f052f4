//! Makes the parts of a node out of its configuration. The one place that knows every backend.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use kwaainet_candle::{CandleBackend, CandleConfig, EngineLimits, Kernel, KvFormat};
use kwaainet_core::{Admission, Backend, BackendId, Clock, ModelId};
use kwaainet_http::{HttpBackend, HttpConfig, Secret};
use kwaainet_models::{Catalogue, HubToken, Progress, Sources, pull};

use crate::LOCAL_BACKEND;
use crate::config::{Config, Environment, Kv, Speculation, Upstream};
use crate::library::{NodeLibrary, Wanted};
use crate::shelf::Shelf;

/// Prompts of one job; the door allows no more.
const PROMPTS_MAX: usize = crate::door::CHOICES_MAX as usize;
/// How often an upstream's list of models is read.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(10);

/// The local engine with its library and the models that are wanted from the start.
pub(crate) struct LocalEngine {
    pub(crate) backend: Arc<CandleBackend>,
    pub(crate) wanted: Vec<Wanted>,
    /// What guesses for which model.
    drafts: HashMap<ModelId, Wanted>,
    library: Arc<NodeLibrary>,
    sources: Sources,
}

impl LocalEngine {
    pub(crate) fn new(
        config: &Config,
        environment: &Environment,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let mut library = NodeLibrary::new(config, catalogue(config)?);
        let wanted = library.want(&config.models)?;
        let drafts = library.want_drafts(&config.engine.drafts)?;
        library.want_listeners(&config.audio.models)?;
        let library = Arc::new(library);
        let candle = CandleConfig {
            id: BackendId::new(LOCAL_BACKEND),
            max_loaded: config.engine.loaded_models,
            limits: EngineLimits {
                running: config.engine.sequences,
                // What was admitted must find room: each job may bring so many prompts.
                queued: (config.limits.slots + Admission::BATCH_SLOTS) * PROMPTS_MAX,
                kv_bytes: (config.engine.kv_mib as u64) << 20,
                kv: match config.engine.kv {
                    Kv::F16 => KvFormat::F16,
                    Kv::Q8 => KvFormat::Q8,
                },
                threads: config.engine.threads,
                speculate: config.engine.speculation == Speculation::Lookup,
                kernel: kernel(environment)?,
                device: config.engine.device,
            },
            audio_seconds_max: config.audio.seconds_max,
            drafts: drafts
                .iter()
                .map(|(model, draft)| (model.clone(), draft.id().clone()))
                .collect(),
        };
        let backend = CandleBackend::new(candle, Arc::clone(&library) as _, clock);
        Ok(Self {
            backend: Arc::new(backend),
            wanted,
            drafts,
            library,
            sources: sources(environment),
        })
    }

    /// What the door knows of its models.
    pub(crate) fn shelf(&self) -> Arc<Shelf> {
        let library = Arc::clone(&self.library);
        Arc::new(Shelf::of(library, self.sources.clone()))
    }

    /// Pulls a wanted model if it is not here, and loads it.
    pub(crate) async fn prepare(
        &self,
        wanted: &Wanted,
        progress: &dyn Progress,
    ) -> anyhow::Result<ModelId> {
        let id = self.fetch(wanted, progress).await?;
        self.load(&id).await?;
        Ok(id)
    }

    /// Pulls a wanted model and its draft model if they are not here.
    pub(crate) async fn fetch(
        &self,
        wanted: &Wanted,
        progress: &dyn Progress,
    ) -> anyhow::Result<ModelId> {
        let id = wanted.id();
        for wanted in [Some(wanted), self.drafts.get(id)].into_iter().flatten() {
            if let Wanted::Entry(id) = wanted {
                let entry = self.library.catalogue.get(id.as_str());
                let entry = entry.ok_or_else(|| anyhow!("'{id}' is not in the catalogue"))?;
                pull(entry, &self.library.cache, &self.sources, progress).await?;
            }
        }
        Ok(id.clone())
    }

    /// Loads a model that is here.
    pub(crate) async fn load(&self, id: &ModelId) -> anyhow::Result<()> {
        let loaded = self.backend.preload(id).await;
        loaded.with_context(|| format!("the model '{id}' cannot be loaded"))
    }
}

/// The catalogue with the owner's own over it.
pub(crate) fn catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    let own = (!config.catalogue.as_os_str().is_empty()).then_some(config.catalogue.as_path());
    Ok(Catalogue::load(own)?)
}

/// Where models come from on this machine.
pub(crate) fn sources(environment: &Environment) -> Sources {
    let mut sources = Sources::default();
    if let Some(endpoint) = environment.get("HF_ENDPOINT") {
        sources.hub_endpoint = endpoint.trim_end_matches('/').to_owned();
    }
    sources.hub_token = environment.get("HF_TOKEN").map(HubToken::new);
    if let Some(python) = environment.get("PYTHON") {
        sources.python = PathBuf::from(python);
    }
    sources
}

/// The configured upstreams, each with a task that keeps its list of models fresh.
pub(crate) fn upstreams(
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<Vec<Arc<HttpBackend>>> {
    config
        .upstream
        .iter()
        .map(|upstream| {
            let built = http_config(upstream, environment)
                .and_then(|config| Ok(HttpBackend::new(config)?))
                .with_context(|| format!("the upstream '{}'", upstream.id))?;
            Ok(Arc::new(built))
        })
        .collect()
}

/// Reads an upstream's list of models again and again. Ends when dropped.
pub(crate) async fn discover(upstream: Arc<HttpBackend>) {
    let mut ticks = tokio::time::interval(DISCOVERY_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        upstream.refresh().await;
    }
}

fn http_config(upstream: &Upstream, environment: &Environment) -> anyhow::Result<HttpConfig> {
    let api_key = if !upstream.api_key_env.is_empty() {
        let name = &upstream.api_key_env;
        let key = environment.get(name);
        Some(
            key.ok_or_else(|| anyhow!("its key's variable {name} is not set"))?
                .to_owned(),
        )
    } else if !upstream.api_key_file.as_os_str().is_empty() {
        let path = &upstream.api_key_file;
        let text = std::fs::read_to_string(path);
        let text = text.with_context(|| format!("its key's file {}", path.display()))?;
        Some(text.trim().to_owned())
    } else {
        None
    };
    let models = upstream.models.iter();
    Ok(HttpConfig {
        id: BackendId::new(upstream.id.as_str()),
        base_url: upstream.base_url.clone(),
        api_key: api_key.as_deref().map(Secret::new),
        models: models
            .map(|(ours, theirs)| (ModelId::new(ours.as_str()), theirs.clone()))
            .collect(),
        connect_timeout: Duration::from_secs(upstream.connect_timeout_s),
        first_byte_timeout: Duration::from_secs(upstream.first_byte_timeout_s),
        idle_timeout: Duration::from_secs(upstream.idle_timeout_s),
    })
}

/// All backends in order of preference: what is here comes first.
pub(crate) fn in_order(
    local: &Arc<CandleBackend>,
    upstreams: &[Arc<HttpBackend>],
) -> Vec<Arc<dyn Backend>> {
    let local: Arc<dyn Backend> = Arc::clone(local) as _;
    std::iter::once(local)
        .chain(upstreams.iter().map(|upstream| Arc::clone(upstream) as _))
        .collect()
}

/// The instructions that the owner forces, if any.
fn kernel(environment: &Environment) -> anyhow::Result<Option<Kernel>> {
    match environment.get("KWAAINET_KERNEL") {
        None => Ok(None),
        Some(name) => Ok(Some(name.parse().context("KWAAINET_KERNEL")?)),
    }
}
