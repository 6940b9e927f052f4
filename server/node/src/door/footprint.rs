//! What an answer says of its energy and carbon: headers where the head is sent after the work, a comment at the end of a
//! stream, and a part of the usage for who asks for it.

use std::convert::Infallible;

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use kwaainet_core::Footprint;
use kwaainet_openapi::UsageFootprint;

/// Joules that the work took.
const ENERGY: HeaderName = HeaderName::from_static("x-kwaai-energy-j");
/// How they are known.
const METHOD: HeaderName = HeaderName::from_static("x-kwaai-energy-method");
/// By how much they may be wrong, in percent.
const UNCERTAINTY: HeaderName = HeaderName::from_static("x-kwaai-energy-uncertainty");
/// Grams of CO2 equivalent that they cost.
const CARBON: HeaderName = HeaderName::from_static("x-kwaai-carbon-g");

/// All of them.
pub(crate) const HEADERS: [HeaderName; 4] = [ENERGY, METHOD, UNCERTAINTY, CARBON];

/// The headers of work that is over; none where nothing is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures(pub(crate) Option<Footprint>);

impl IntoResponseParts for Figures {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        let Some(footprint) = self.0 else {
            return Ok(parts);
        };
        let headers = parts.headers_mut();
        let mut put = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put(ENERGY, &decimal(footprint.energy_uj, 6));
        put(METHOD, footprint.method.as_str());
        put(UNCERTAINTY, &footprint.uncertainty_percent.to_string());
        if let Some(carbon) = footprint.carbon {
            put(CARBON, &decimal(carbon.operational_ng, 9));
        }
        Ok(parts)
    }
}

/// The same as a comment in a stream of events.
pub(crate) fn comment(footprint: &Footprint) -> String {
    let energy = decimal(footprint.energy_uj, 6);
    let method = footprint.method.as_str();
    let mut comment = format!(": {ENERGY} {energy} {METHOD} {method}");
    if let Some(carbon) = footprint.carbon {
        comment.push_str(&format!(" {CARBON} {}", decimal(carbon.operational_ng, 9)));
    }
    comment.push_str("\n\n");
    comment
}

/// The same as a part of the usage.
pub(crate) fn usage(footprint: &Footprint) -> UsageFootprint {
    let carbon = footprint.carbon;
    UsageFootprint {
        energy_j: joules(footprint.energy_uj),
        method: footprint.method.as_str(),
        uncertainty_percent: footprint.uncertainty_percent,
        carbon_g: carbon.map(|carbon| grams(carbon.operational_ng)),
        embodied_g: carbon.map(|carbon| grams(carbon.embodied_ng)),
        intensity_evidence: carbon.map(|carbon| carbon.evidence.as_str()),
    }
}

pub(crate) fn joules(microjoules: u64) -> f64 {
    microjoules as f64 / 1e6
}

pub(crate) fn grams(nanograms: u64) -> f64 {
    nanograms as f64 / 1e9
}

/// A whole number of smallest units as a decimal, exactly.
fn decimal(value: u64, places: usize) -> String {
    let unit = 10_u64.pow(places as u32);
    format!("{}.{:0places$}", value / unit, value % unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{Carbon, EnergyMethod, GridEvidence};

    #[test]
    fn figures_are_written_exactly() {
        let footprint = Footprint {
            energy_uj: 12_000_345,
            method: EnergyMethod::CpuTime,
            uncertainty_percent: 50,
            machine_us: 1,
            carbon: Some(Carbon {
                operational_ng: 1_269_840,
                embodied_ng: 0,
                evidence: GridEvidence::Yearly,
            }),
        };
        assert_eq!(
            comment(&footprint),
            ": x-kwaai-energy-j 12.000345 x-kwaai-energy-method cpu_time x-kwaai-carbon-g 0.001269840\n\n"
        );
        let unknown = Footprint {
            carbon: None,
            ..footprint
        };
        assert!(!comment(&unknown).contains("carbon"));
        assert_eq!(usage(&unknown).carbon_g, None);
    }
}
