//! The sections `carbon` and `power`.

use std::path::PathBuf;

use kwaainet_carbon::{Contribute, Embodied, Policy, Yearly};
use serde::{Deserialize, Serialize};

use super::{ConfigError, path_is_empty};

/// Energy, and what it costs the climate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Carbon {
    /// How energy is known.
    pub meter: EnergyGauge,
    /// Watts of a hardware thread that computes, where energy is modelled.
    pub watts_per_thread: f64,
    /// Watts that the node takes in any case, where energy is modelled; 0 if nobody knows.
    pub idle_watts: f64,
    /// Where the machine stands, by two or three letters of ISO 3166-1; empty to say nothing.
    pub country: String,
    /// Grams of CO2 equivalent for each kilowatt-hour, as its owner knows it; 0 to say nothing.
    pub g_per_kwh: f64,
    /// Kilograms of CO2 equivalent that making the machine cost; 0 if nobody knows.
    pub embodied_kg: f64,
    /// Years for which it is used.
    pub lifespan_years: f64,
    /// Live sources, the first of averages counts for footprints.
    pub source: Vec<CarbonSource>,
}

/// How energy is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyGauge {
    /// By the processor's counters where they may be read, by processor time otherwise.
    Auto,
    /// By the processor's counters.
    Rapl,
    /// By what the battery gives.
    Battery,
    /// By processor time.
    CpuTime,
    /// As codecarbon models a whole machine.
    Codecarbon,
    /// Not at all.
    Off,
}

/// Who says what a kilowatt-hour costs now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarbonSource {
    /// Whose API it is.
    pub kind: SourceKind,
    /// The place, as the source names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub zone: String,
    /// Where its API is, if not at the usual place.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub base_url: String,
    /// The account, where it takes one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The variable that holds its token or password.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_env: String,
    /// Or the file that does.
    #[serde(default, skip_serializing_if = "path_is_empty")]
    pub key_file: PathBuf,
}

/// Whose API a live source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Great Britain's system operator: averages.
    UkCarbonIntensity,
    /// Electricity Maps: averages.
    ElectricityMaps,
    /// WattTime: marginal intensities.
    Watttime,
}

/// When this machine works for other nodes, and the meters of the house.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Power {
    /// Whether it works for other nodes.
    pub contribute: Contributes,
    /// Least charge of the battery in percent with which it does while that feeds it; 101 for never.
    pub battery_percent_min: u8,
    /// Whether its network costs by volume.
    pub metered: bool,
    /// Most threads that other programs keep busy while it does; 0 for any number.
    pub busy_threads_max: f64,
    /// The share of its power that its owner says is renewable, from 0 to 1. It is shown as what it is: a word.
    pub declared_renewable: f64,
    /// Meters in the house.
    pub meter: Vec<PowerMeter>,
}

/// Whether a machine works for other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contributes {
    /// In any state.
    Always,
    /// As the rest of the section says.
    Auto,
    /// Never.
    Never,
}

/// A meter in the house.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerMeter {
    /// What it speaks.
    pub kind: MeterKind,
    /// `host:port` of an inverter or a gateway, the URL of a Home Assistant.
    pub address: String,
    /// The number of an inverter's unit.
    #[serde(default = "one")]
    pub unit: u8,
    /// The variable that holds Home Assistant's token.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_env: String,
    /// Or the file that does.
    #[serde(default, skip_serializing_if = "path_is_empty")]
    pub key_file: PathBuf,
    /// Home Assistant's entity of what the house's own power stations give.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub generation: String,
    /// Of what comes from the grid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub import: String,
    /// Of what goes to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub export: String,
    /// Of what all in the house takes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub load: String,
    /// Of what a battery gives that the house charged itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub discharge: String,
}

/// What a meter in the house speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterKind {
    /// Home Assistant's REST API.
    HomeAssistant,
    /// SunSpec over Modbus TCP.
    Sunspec,
    /// A smart meter's P1 port over TCP.
    P1,
}

fn one() -> u8 {
    1
}

impl Default for Carbon {
    fn default() -> Self {
        Self {
            meter: EnergyGauge::Auto,
            watts_per_thread: 4.0,
            idle_watts: 0.0,
            country: String::new(),
            g_per_kwh: 0.0,
            embodied_kg: 0.0,
            lifespan_years: 4.0,
            source: Vec::new(),
        }
    }
}

impl Default for Power {
    fn default() -> Self {
        Self {
            contribute: Contributes::Auto,
            battery_percent_min: 101,
            metered: false,
            busy_threads_max: 0.0,
            declared_renewable: 0.0,
            meter: Vec::new(),
        }
    }
}

/// Sources and meters at most, each.
const LIST_MAX: usize = 8;

impl Carbon {
    /// What the machine itself cost, if that is known.
    pub fn embodied(&self) -> Option<Embodied> {
        Embodied::of(self.embodied_kg, self.lifespan_years)
    }

    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let measures = [
            ("carbon.watts_per_thread", self.watts_per_thread, 1_000.0),
            ("carbon.idle_watts", self.idle_watts, 100_000.0),
            ("carbon.g_per_kwh", self.g_per_kwh, 5_000.0),
            ("carbon.embodied_kg", self.embodied_kg, 1e6),
            ("carbon.lifespan_years", self.lifespan_years, 100.0),
        ];
        within(&measures)?;
        if !self.country.is_empty() && Yearly::of(&self.country).is_none() {
            let reason = format!("carbon.country: there is no figure for '{}'", self.country);
            return Err(ConfigError::Value(reason));
        }
        at_most("carbon.source", self.source.len())
    }
}

impl Power {
    /// When it works for other nodes.
    pub fn policy(&self) -> Policy {
        Policy {
            contribute: match self.contribute {
                Contributes::Always => Contribute::Always,
                Contributes::Auto => Contribute::Auto,
                Contributes::Never => Contribute::Never,
            },
            battery_percent_min: self.battery_percent_min,
            metered: self.metered,
            busy_threads_max: (self.busy_threads_max > 0.0).then_some(self.busy_threads_max),
        }
    }

    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        within(&[
            (
                "power.battery_percent_min",
                f64::from(self.battery_percent_min),
                101.0,
            ),
            ("power.busy_threads_max", self.busy_threads_max, 65_536.0),
            ("power.declared_renewable", self.declared_renewable, 1.0),
        ])?;
        at_most("power.meter", self.meter.len())
    }
}

fn within(measures: &[(&str, f64, f64)]) -> Result<(), ConfigError> {
    for (key, value, max) in measures {
        if !(0.0..=*max).contains(value) {
            return Err(ConfigError::Value(format!("{key} must be from 0 to {max}")));
        }
    }
    Ok(())
}

fn at_most(key: &str, count: usize) -> Result<(), ConfigError> {
    if count > LIST_MAX {
        return Err(ConfigError::Value(format!(
            "{key}: at most {LIST_MAX} of them"
        )));
    }
    Ok(())
}
