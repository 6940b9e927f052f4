//! Makes the parts of the desk out of the configuration.

use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context, anyhow};
use kwaainet_carbon::{
    Battery, Codecarbon, CpuTimeModel, ElectricityMaps, Embodied, Flowmeter, Gauge, Gpus,
    HomeAssistant, LiveSource, Meter, P1, Policy, ProcessCpu, Rapl, Roots, Secret, SunSpec,
    UkCarbonIntensity, WattTime, Yearly, choose,
};
use serde_json::{Map, Value, json};

use crate::config::{
    CarbonSource, Config, EnergyGauge, Environment, MeterKind, PowerMeter, SourceKind,
};

/// What the desk is made of.
pub struct Setup {
    /// Measures this machine.
    pub meter: Meter,
    /// Why nothing better does.
    pub missed: Option<String>,
    /// Whether anything is metered at all.
    pub is_on: bool,
    /// What the machine itself cost, if that is known.
    pub embodied: Option<Embodied>,
    /// Where it stands, if that is said.
    pub country: Option<Yearly>,
    /// Grams for each kilowatt-hour, as the owner says.
    pub stated: Option<f64>,
    /// The share of renewable power, as the owner says.
    pub declared: Option<f64>,
    /// Live sources.
    pub sources: Vec<Arc<dyn LiveSource>>,
    /// Meters in the house.
    pub flowmeters: Vec<Arc<dyn Flowmeter>>,
    /// When this machine works for others.
    pub policy: Policy,
    /// Where the system's own files are.
    pub roots: Roots,
}

/// What the owner chose, as the audit log is told of it: neither addresses nor where secrets are.
pub(crate) fn chosen(config: &Config) -> Map<String, Value> {
    let (carbon, power) = (&config.carbon, &config.power);
    let sources = carbon.source.iter();
    let sources: Vec<Value> = sources
        .map(|source| json!({"kind": source.kind, "zone": source.zone}))
        .collect();
    let meters: Vec<Value> = power.meter.iter().map(|meter| json!(meter.kind)).collect();
    let chosen = [
        ("meter", json!(carbon.meter)),
        ("watts_per_thread", json!(carbon.watts_per_thread)),
        ("idle_watts", json!(carbon.idle_watts)),
        ("country", json!(carbon.country)),
        ("g_per_kwh", json!(carbon.g_per_kwh)),
        ("embodied_kg", json!(carbon.embodied_kg)),
        ("lifespan_years", json!(carbon.lifespan_years)),
        ("sources", Value::from(sources)),
        ("contribute", json!(power.contribute)),
        ("declared_renewable", json!(power.declared_renewable)),
        ("power_meters", Value::from(meters)),
    ];
    let named = chosen.map(|(name, value)| (name.to_owned(), value));
    named.into_iter().collect()
}

impl Setup {
    /// As the configuration has it.
    ///
    /// # Errors
    /// When a source or a meter makes no sense, its secret is not there, or the gauge that is asked for is not.
    pub fn of(config: &Config, environment: &Environment) -> anyhow::Result<Self> {
        let mut setup = Self::without_sources(config)?;
        let sources = config.carbon.source.iter();
        let sources = sources.map(|chosen| source(chosen, environment).context("carbon.source"));
        setup.sources = sources.collect::<anyhow::Result<_>>()?;
        let meters = config.power.meter.iter();
        let meters = meters.map(|chosen| flowmeter(chosen, environment).context("power.meter"));
        setup.flowmeters = meters.collect::<anyhow::Result<_>>()?;
        Ok(setup)
    }

    /// The same without anybody to ask.
    ///
    /// # Errors
    /// When the gauge that is asked for is not there.
    pub fn without_sources(config: &Config) -> anyhow::Result<Self> {
        let carbon = &config.carbon;
        let roots = Roots::default();
        let model = CpuTimeModel::new(carbon.watts_per_thread, carbon.idle_watts);
        let (gauge, missed) = match carbon.meter {
            EnergyGauge::Auto => choose(&roots, model),
            EnergyGauge::Rapl => (Gauge::Rapl(Rapl::open(&roots.class)?), None),
            EnergyGauge::Battery => (Gauge::Battery(Battery::open(&roots.class)?), None),
            EnergyGauge::CpuTime => (Gauge::CpuTime(model), None),
            EnergyGauge::Codecarbon => (
                Gauge::Codecarbon(Codecarbon::open(&roots.proc, threads())?),
                None,
            ),
            EnergyGauge::Off => (Gauge::CpuTime(CpuTimeModel::new(0.0, 0.0)), None),
        };
        Ok(Self::with(
            config,
            gauge,
            missed.map(|error| error.to_string()),
        ))
    }

    /// The same by processor time.
    pub fn modelled(config: &Config) -> Self {
        let carbon = &config.carbon;
        let model = CpuTimeModel::new(carbon.watts_per_thread, carbon.idle_watts);
        let missed = "the meter that is configured is not there".to_owned();
        Self::with(config, Gauge::CpuTime(model), Some(missed))
    }

    fn with(config: &Config, gauge: Gauge, missed: Option<String>) -> Self {
        let (carbon, power) = (&config.carbon, &config.power);
        let is_on = carbon.meter != EnergyGauge::Off;
        let gpus = if is_on {
            Gpus::of_nvidia()
        } else {
            Gpus::default()
        };
        let said = [
            carbon.g_per_kwh,
            f64::from(config.federation.grid_g_per_kwh),
        ];
        Self {
            meter: Meter::new(gauge, gpus, Box::new(ProcessCpu::default()), threads()),
            missed,
            is_on,
            embodied: carbon.embodied(),
            country: Yearly::of(&carbon.country),
            stated: said.into_iter().find(|grams| *grams > 0.0),
            declared: (power.declared_renewable > 0.0).then_some(power.declared_renewable),
            sources: Vec::new(),
            flowmeters: Vec::new(),
            policy: power.policy(),
            roots: Roots::default(),
        }
    }
}

/// Hardware threads of this machine.
fn threads() -> u32 {
    available_parallelism().map_or(1, |threads| threads.get() as u32)
}

fn source(chosen: &CarbonSource, environment: &Environment) -> anyhow::Result<Arc<dyn LiveSource>> {
    let url = |usual: &'static str| match chosen.base_url.as_str() {
        "" => usual.to_owned(),
        url => url.to_owned(),
    };
    let key = || secret(&chosen.key_env, &chosen.key_file, environment);
    let zone = &chosen.zone;
    Ok(match chosen.kind {
        SourceKind::UkCarbonIntensity => Arc::new(UkCarbonIntensity::new(
            &url(UkCarbonIntensity::BASE_URL),
            zone,
        )?),
        SourceKind::ElectricityMaps => Arc::new(ElectricityMaps::new(
            &url(ElectricityMaps::BASE_URL),
            zone,
            &key()?,
        )?),
        SourceKind::Watttime => {
            let url = url(WattTime::BASE_URL);
            Arc::new(WattTime::new(&url, zone, &chosen.user, key()?)?)
        }
    })
}

fn flowmeter(chosen: &PowerMeter, environment: &Environment) -> anyhow::Result<Arc<dyn Flowmeter>> {
    let address = chosen.address.as_str();
    Ok(match chosen.kind {
        MeterKind::Sunspec => Arc::new(SunSpec::new(address, chosen.unit)),
        MeterKind::P1 => Arc::new(P1::new(address)),
        MeterKind::HomeAssistant => {
            let key = secret(&chosen.key_env, &chosen.key_file, environment)?;
            let entities = [
                chosen.generation.as_str(),
                &chosen.import,
                &chosen.export,
                &chosen.load,
                &chosen.discharge,
            ];
            Arc::new(HomeAssistant::new(address, &key, entities)?)
        }
    })
}

fn secret(name: &str, file: &Path, environment: &Environment) -> anyhow::Result<Secret> {
    if !name.is_empty() {
        let value = environment.get(name);
        let value = value.ok_or_else(|| anyhow!("its key's variable {name} is not set"))?;
        return Ok(Secret::new(value));
    }
    if file.as_os_str().is_empty() {
        return Err(anyhow!("it needs key_env or key_file"));
    }
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("its key's file {}", file.display()))?;
    Ok(Secret::new(text.trim()))
}
