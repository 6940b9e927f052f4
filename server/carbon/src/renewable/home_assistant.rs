//! Home Assistant's REST API: the states of entities that the owner names.

use kwaainet_core::BoxFuture;
use serde::Deserialize;

use super::{FlowReading, Flowmeter, FlowmeterError, watts};
use crate::client::{FetchError, Secret, Source, is_name};

/// A Home Assistant, and which of its entities say what.
#[derive(Clone, Debug)]
pub struct HomeAssistant {
    source: Source,
    entities: [Option<String>; 5],
}

impl HomeAssistant {
    /// By its URL and a long-lived access token; entities in the order generation, import, export, load, discharge,
    /// empty where there is none.
    ///
    /// # Errors
    /// When the URL or an entity is none.
    pub fn new(base_url: &str, token: &Secret, entities: [&str; 5]) -> Result<Self, FetchError> {
        let bearer = format!("Bearer {}", token.reveal());
        let named = entities.into_iter().filter(|name| !name.is_empty());
        if named.clone().count() == 0 || !named.clone().all(is_name) {
            return Err(FetchError::Config(
                "it needs entities like sensor.solar_power",
            ));
        }
        Ok(Self {
            source: Source::new(base_url, Some(("authorization", &bearer)))?,
            entities: entities.map(|name| (!name.is_empty()).then(|| name.to_owned())),
        })
    }

    async fn watts(&self, entity: &Option<String>) -> Result<Option<f64>, FlowmeterError> {
        let Some(entity) = entity else {
            return Ok(None);
        };
        let state: State = self
            .source
            .get(&format!("api/states/{entity}"), &[])
            .await?;
        state.watts().map(Some)
    }
}

#[derive(Deserialize)]
struct State {
    state: String,
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
struct Attributes {
    unit_of_measurement: Option<String>,
}

impl State {
    /// `unavailable` and `unknown` are no numbers, and say so.
    fn watts(&self) -> Result<f64, FlowmeterError> {
        let value: f64 = self
            .state
            .parse()
            .map_err(|_| FlowmeterError::Unreachable)?;
        let scale = match self.attributes.unit_of_measurement.as_deref() {
            Some("W") => 1.0,
            Some("kW") => 1e3,
            Some("MW") => 1e6,
            _ => return Err(FlowmeterError::Nonsense("an entity's unit is no power")),
        };
        watts(value * scale).ok_or(FlowmeterError::Nonsense("an entity's value is no power"))
    }
}

impl Flowmeter for HomeAssistant {
    fn name(&self) -> &'static str {
        "home_assistant"
    }

    fn read(&self) -> BoxFuture<'_, Result<FlowReading, FlowmeterError>> {
        Box::pin(async {
            let [generation, import, export, load, discharge] = &self.entities;
            Ok(FlowReading {
                generation_w: self.watts(generation).await?,
                import_w: self.watts(import).await?,
                export_w: self.watts(export).await?,
                load_w: self.watts(load).await?,
                discharge_w: self.watts(discharge).await?,
            })
        })
    }
}
