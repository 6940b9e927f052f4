use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Extension of the usage: what a request took of energy, and what that cost the climate.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UsageFootprint {
    /// Joules.
    pub energy_j: f64,
    /// How they are known: `rapl`, `rapl+gpu`, `battery`, `cpu_time`, `cpu_time+gpu`, `codecarbon`, or `stated` by
    /// another node.
    #[serde(skip_deserializing)]
    #[schema(value_type = String)]
    pub method: &'static str,
    /// By how much they may be wrong, in percent.
    pub uncertainty_percent: u8,
    /// Grams of CO2 equivalent of the energy, by the grid's average where the machine stands; none where that is not
    /// known.
    #[schema(required = true)]
    pub carbon_g: Option<f64>,
    /// The share of what making the machine cost.
    #[schema(required = true)]
    pub embodied_g: Option<f64>,
    /// How the grid's intensity is known: `live`, `yearly` or `stated`.
    #[serde(skip_deserializing)]
    #[schema(required = true, value_type = Option<String>)]
    pub intensity_evidence: Option<&'static str>,
}

/// What this node takes and costs, as of now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonNode {
    /// `kwaai.carbon.node`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// What was metered since the node started.
    pub energy: CarbonEnergy,
    /// What a kilowatt-hour costs on average; none where nobody says.
    #[schema(required = true)]
    pub intensity: Option<CarbonIntensity>,
    /// What one more would cost; none without a source of it. Never used for footprints.
    #[schema(required = true)]
    pub marginal: Option<CarbonMarginal>,
    /// What the house's own power stations give; none where nobody says.
    #[schema(required = true)]
    pub renewable: Option<CarbonMatch>,
    /// The machine's power, and whether it works for other nodes now.
    pub power: CarbonPower,
}

/// Energy since the node started. The requests' and the unattributed are the total, exactly, in microjoules.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonEnergy {
    /// Whether anything is metered.
    pub metered: bool,
    /// How: `rapl`, `rapl+gpu`, `battery`, `cpu_time`, `cpu_time+gpu` or `codecarbon`.
    #[schema(value_type = String)]
    pub method: &'static str,
    /// Whether an instrument is read; a model otherwise.
    pub measured: bool,
    /// By how much figures may be wrong, in percent.
    pub uncertainty_percent: u8,
    /// Why nothing better is read.
    #[schema(required = true)]
    pub missed: Option<String>,
    /// Microjoules that the meter saw.
    pub total_uj: u64,
    /// What requests took of it.
    pub requests_uj: u64,
    /// What is nobody's.
    pub unattributed_uj: u64,
}

/// An average intensity.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonIntensity {
    /// Grams of CO2 equivalent for each kilowatt-hour.
    pub g_per_kwh: f64,
    /// `average`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// `live`, `yearly` or `stated`.
    #[schema(value_type = String)]
    pub evidence: &'static str,
    /// Who says so.
    #[schema(value_type = String)]
    pub source: &'static str,
    /// Where, as the source names it.
    pub location: String,
    /// Since when it holds, in RFC 3339.
    #[schema(required = true)]
    pub since: Option<String>,
    /// How the source asks to be named.
    #[schema(required = true, value_type = Option<String>)]
    pub attribution: Option<&'static str>,
}

/// A marginal intensity.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonMarginal {
    /// Grams of CO2 equivalent for one kilowatt-hour more.
    pub g_per_kwh: f64,
    /// `marginal`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// Who says so.
    #[schema(value_type = String)]
    pub source: &'static str,
    /// Where, as the source names it.
    pub location: String,
    /// Since when it holds, in RFC 3339.
    pub since: String,
}

/// How much of the house's power came from its own power stations, hour by hour.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonMatch {
    /// Of the last hour that is over, from 0 to 1; none if it was not seen, or if the owner only says so.
    #[schema(required = true)]
    pub matched_last_hour: Option<f64>,
    /// What the owner says of all hours; it earns nothing.
    #[schema(required = true)]
    pub declared: Option<f64>,
    /// `declared`, `local_meter`, `cross_checked` or `certificates`.
    #[schema(value_type = String)]
    pub evidence: &'static str,
}

/// A machine's power.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonPower {
    /// Whether a battery feeds it.
    pub on_battery: bool,
    /// How full its batteries are, in percent; none where there is none.
    #[schema(required = true)]
    pub battery_percent: Option<u8>,
    /// Threads that other programs keep busy.
    #[schema(required = true)]
    pub busy_threads: Option<f64>,
    /// Whether it works for other nodes now.
    pub contributes: bool,
    /// Why it does not.
    #[schema(required = true, value_type = Option<String>)]
    pub reason: Option<&'static str>,
}

/// What one request took.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonRequestFigures {
    /// `kwaai.carbon.request`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Its id, without the prefix that tells what kind of answer it was.
    pub id: String,
    /// Its model.
    pub model: String,
    /// `generate`, `embed` or `transcribe`.
    pub work: String,
    /// `done`, `error` or `cancelled`.
    pub outcome: String,
    /// When it was let in, in RFC 3339.
    pub admitted_at: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// Tokens that were read (those from a cache not) and written.
    pub tokens: u64,
    /// What it cost; none where another server did the work and says nothing of it.
    #[schema(required = true)]
    pub cost: Option<CarbonCost>,
}

/// What work cost.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonCost {
    /// The figures that its answer carried.
    #[serde(flatten)]
    pub footprint: UsageFootprint,
    /// Microjoules, exactly.
    pub energy_uj: u64,
    /// Seconds of the machine, shared out among all that it computed meanwhile.
    pub machine_s: f64,
    /// Grams for each kilowatt-hour that was reckoned with.
    #[schema(required = true)]
    pub g_per_kwh: Option<f64>,
    /// The Software Carbon Intensity; none where the grid's intensity is not known.
    #[schema(required = true)]
    pub sci: Option<CarbonScore>,
}

/// Software Carbon Intensity (ISO/IEC 21031): grams of CO2 equivalent of the energy and of the machine's share.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonScore {
    /// For each request.
    pub g_per_request: f64,
    /// For 1,000 tokens; none where there were none.
    #[schema(required = true)]
    pub g_per_1k_tokens: Option<f64>,
}

/// A month.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonReport {
    /// `kwaai.carbon.report`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// Like `2026-01`.
    pub month: String,
    /// All of it.
    pub total: CarbonDay,
    /// The days on which there was anything, in order.
    pub days: Vec<CarbonDay>,
    /// Its requests by model.
    pub models: Vec<CarbonSums>,
    /// Its requests by how their energy is known.
    pub methods: Vec<CarbonSums>,
    /// How the makers of the yearly table ask to be named, where it was used.
    #[schema(required = true, value_type = Option<String>)]
    pub attribution: Option<&'static str>,
}

/// A day, or all of them. Carbon is by the grid where the machine stands; `carbon_unmatched_g` is another accounting, less
/// what own renewable power matched in the same hours.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonDay {
    /// Like `2026-01-31`.
    pub day: String,
    /// Joules that the meter saw.
    pub energy_j: f64,
    /// What requests took of it.
    pub requests_energy_j: f64,
    /// What is nobody's.
    pub unattributed_energy_j: f64,
    /// Grams of CO2 equivalent of all energy of which the intensity was known.
    pub carbon_g: f64,
    /// The same less what was matched.
    pub carbon_unmatched_g: f64,
    /// Its requests.
    pub requests: CarbonSums,
}

/// Requests, added up.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonSums {
    /// What they have in common.
    pub name: String,
    /// How many there are.
    pub requests: u64,
    /// Tokens that were read (those from a cache not) and written.
    pub tokens: u64,
    /// Joules.
    pub energy_j: f64,
    /// Grams of the energy.
    pub carbon_g: f64,
    /// Grams of the machine's share.
    pub embodied_g: f64,
    /// How many of them have no figure of carbon.
    pub without_carbon: u64,
    /// Their score; none where one of them has no figure.
    #[schema(required = true)]
    pub sci: Option<CarbonScore>,
}

/// When work costs the climate least, as far as can be foreseen.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BestWindow {
    /// `kwaai.carbon.best_window`.
    #[schema(value_type = String)]
    pub object: &'static str,
    /// For how many minutes.
    pub duration_minutes: u32,
    /// One for each forecast there is: averages and marginal intensities are never mixed.
    pub forecasts: Vec<CarbonForecast>,
}

/// A forecast, and what follows of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonForecast {
    /// `average` or `marginal`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// Whose it is.
    #[schema(value_type = String)]
    pub source: &'static str,
    /// For where.
    pub location: String,
    /// When it was made, in RFC 3339.
    pub generated_at: String,
    /// The best stretch; none where the forecast has none of that length.
    #[schema(required = true)]
    pub best: Option<CarbonWindow>,
    /// What it would be if the work began now; none where the forecast does not say.
    #[schema(required = true)]
    pub now: Option<CarbonWindow>,
}

/// A stretch of time.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CarbonWindow {
    /// When it begins, in RFC 3339.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// Its mean intensity, in grams of CO2 equivalent for each kilowatt-hour.
    pub g_per_kwh: f64,
}
