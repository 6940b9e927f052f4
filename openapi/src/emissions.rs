use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was observed of one place in one interval, as the Carbon Aware SDK's WebApi has it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmissionsData {
    /// The place.
    pub location: String,
    /// When the interval begins, in RFC 3339.
    pub time: String,
    /// Grams of CO2 equivalent for each kilowatt-hour.
    pub rating: f64,
    /// How long it is, as `[days.]hours:minutes:seconds`.
    pub duration: String,
}

/// What is expected of one place in one interval.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EmissionsPoint {
    /// The place.
    pub location: String,
    /// When it begins, in RFC 3339.
    pub timestamp: String,
    /// Minutes.
    pub duration: i64,
    /// Grams of CO2 equivalent for each kilowatt-hour.
    pub value: f64,
}

/// A forecast, and the best stretch of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmissionsForecast {
    /// When it was made.
    pub generated_at: String,
    /// When it was asked for, or as of when.
    pub requested_at: String,
    /// The place.
    pub location: String,
    /// Points before this do not count.
    pub data_start_at: String,
    /// Nor after this.
    pub data_end_at: String,
    /// Minutes of the work.
    pub window_size: i64,
    /// The best stretches of that length; empty if there is none.
    pub optimal_data_points: Vec<EmissionsPoint>,
    /// All stretches of that length.
    pub forecast_data: Vec<EmissionsPoint>,
    /// Extension: `average` or `marginal`, never both in one forecast.
    #[schema(value_type = String)]
    pub kind: &'static str,
}

/// One of the forecasts that a batch asks for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EmissionsForecastRequest {
    /// As of when.
    pub requested_at: String,
    /// The place.
    pub location: String,
    /// Points before this do not count.
    #[serde(default)]
    pub data_start_at: Option<String>,
    /// Nor after this.
    #[serde(default)]
    pub data_end_at: Option<String>,
    /// Minutes of the work.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 10_080)]
    pub window_size: Option<i64>,
}

/// The mean intensity of a place over a time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AverageIntensity {
    /// The place.
    pub location: String,
    /// From when.
    pub start_time: String,
    /// Until when.
    pub end_time: String,
    /// Grams of CO2 equivalent for each kilowatt-hour.
    pub carbon_intensity: f64,
}

/// One of the means that a batch asks for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AverageIntensityRequest {
    /// The place.
    pub location: String,
    /// From when.
    pub start_time: String,
    /// Until when.
    pub end_time: String,
}

/// An error below `/emissions` (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemDetails {
    /// What kind it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// In a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// For the caller.
    pub detail: String,
    /// Sentences by the parameter that is at fault.
    pub errors: std::collections::BTreeMap<String, Vec<String>>,
}
