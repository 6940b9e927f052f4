//! What an upstream serves: from the configuration, or from its own list.
//!
//! The list is asked for in the background only; the request path reads the last answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use kwaainet_core::{BackendError, BackendReport, ModelFacts, ModelId, ModelKind, Place};
use serde::Deserialize;
use serde_json::Value;

use crate::upstream::{Upstream, failed};

/// Of the list, in bytes.
const LIST_MAX: usize = 8 << 20;

/// What is known of an upstream's models.
pub(crate) struct Models {
    /// Our names and its own; empty to serve what it lists.
    mapped: BTreeMap<ModelId, String>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    listed: Vec<Listed>,
    unavailable: Option<String>,
}

#[derive(Deserialize)]
struct List {
    data: Vec<Value>,
}

/// One entry of the list.
struct Listed {
    id: String,
    /// Seconds since 1970; 0 if it does not say.
    created: i64,
    context: Option<u32>,
}

impl Listed {
    /// Only the id is common to all servers; what else they say is taken if it can be read.
    fn read(entry: &Value) -> Option<Self> {
        let context = ["context_length", "context_window", "max_model_len"];
        let context = context.iter().find_map(|name| entry[name].as_u64());
        Some(Self {
            id: entry["id"].as_str()?.to_owned(),
            created: entry["created"].as_i64().unwrap_or_default(),
            context: context.and_then(|context| u32::try_from(context).ok()),
        })
    }
}

impl Models {
    pub(crate) fn new(mapped: BTreeMap<ModelId, String>) -> Self {
        let unavailable = mapped
            .is_empty()
            .then(|| "its models were not asked for yet".to_owned());
        Self {
            mapped,
            known: Mutex::new(Known {
                listed: Vec::new(),
                unavailable,
            }),
        }
    }

    /// Asks the upstream, and remembers the answer or why there was none.
    pub(crate) async fn refresh(&self, upstream: &Upstream) {
        let answer = self.ask(upstream).await;
        let mut known = self.known();
        match answer {
            Ok(listed) => {
                known.listed = listed;
                known.unavailable = None;
            }
            Err(error) => known.unavailable = Some(error.to_string()),
        }
    }

    /// The last answer.
    pub(crate) fn report(&self) -> BackendReport {
        let known = self.known();
        let models = if self.mapped.is_empty() {
            let named = known.listed.iter().map(|l| (l.id.as_str().into(), Some(l)));
            named.map(facts).collect()
        } else {
            let named = self.mapped.iter().map(|(ours, theirs)| {
                let listed = known.listed.iter().find(|listed| listed.id == *theirs);
                (ours.clone(), listed)
            });
            named.map(facts).collect()
        };
        BackendReport {
            models,
            unavailable: known.unavailable.clone(),
            load: None,
            place: Place::Upstream,
        }
    }

    /// The upstream's own name of a model.
    pub(crate) fn upstream_name(&self, model: &ModelId) -> Result<String, BackendError> {
        let name = if self.mapped.is_empty() {
            let known = self.known();
            let listed = known.listed.iter();
            let mut names = listed.map(|listed| &listed.id);
            names.find(|name| **name == model.as_str()).cloned()
        } else {
            self.mapped.get(model).cloned()
        };
        name.ok_or_else(|| BackendError::ModelNotFound(model.clone()))
    }

    async fn ask(&self, upstream: &Upstream) -> Result<Vec<Listed>, BackendError> {
        let (status, body) = upstream.fetch("models", LIST_MAX).await?;
        match status {
            200..=299 => {
                let list: Result<List, _> = serde_json::from_slice(&body);
                let list = list.map_err(|_| failed("its list of models cannot be read"))?;
                Ok(list.data.iter().filter_map(Listed::read).collect())
            }
            401 | 403 => Err(failed("it refused our credentials")),
            // Not every server has a list, and with a map none is needed.
            400..=499 if !self.mapped.is_empty() => Ok(Vec::new()),
            status => Err(failed(&format!(
                "it answered with status {status} when asked for its models"
            ))),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }
}

fn facts((id, listed): (ModelId, Option<&Listed>)) -> ModelFacts {
    ModelFacts {
        id,
        kind: ModelKind::Unknown,
        context: listed.and_then(|listed| listed.context),
        created: listed.map_or(0, |listed| listed.created),
        loaded: true,
        numerics: None,
        digest: None,
    }
}
