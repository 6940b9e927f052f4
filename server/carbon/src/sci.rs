//! Software Carbon Intensity: ((E x I) + M) per R, as ISO/IEC 21031:2024 has it. E and I are location-based; what was
//! bought elsewhere does not count, and neither do offsets.

/// What making the machine cost, and how long it is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embodied {
    /// Grams of CO2 equivalent, of the whole machine.
    grams: f64,
    /// Seconds that it is expected to be used.
    lifespan_s: f64,
}

impl Embodied {
    /// Kilograms and years, if both are known.
    pub fn of(kilograms: f64, years: f64) -> Option<Self> {
        let known = kilograms > 0.0 && years > 0.0 && kilograms.is_finite() && years.is_finite();
        known.then_some(Self {
            grams: kilograms * 1e3,
            lifespan_s: years * 365.25 * 86_400.0,
        })
    }

    /// The share of work that had the machine for so many microseconds: TE x TS, where RS is in the time already,
    /// since time is shared out among all that was computed meanwhile.
    pub fn share_ng(self, machine_us: u64) -> u64 {
        (self.grams * 1e9 * (machine_us as f64 / 1e6 / self.lifespan_s)).round() as u64
    }
}

/// The score of some work.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sci {
    /// Grams of CO2 equivalent for each request.
    pub g_per_request: f64,
    /// And for 1,000 tokens that were read or written; none without tokens.
    pub g_per_1k_tokens: Option<f64>,
}

/// The score of so many requests and tokens that cost so many nanograms, operation and share of the machine. None
/// without requests.
pub fn sci(operational_ng: u64, embodied_ng: u64, requests: u64, tokens: u64) -> Option<Sci> {
    let grams = (operational_ng as f64 + embodied_ng as f64) / 1e9;
    let per = |count: u64| (count > 0).then(|| grams / count as f64);
    Some(Sci {
        g_per_request: per(requests)?,
        g_per_1k_tokens: per(tokens).map(|per_token| per_token * 1e3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_the_standards_formula() {
        // 0.5 kWh at 400 g, a server of 1,000 kg over four years of which the work had an hour alone.
        let embodied = Embodied::of(1_000.0, 4.0).expect("both are known");
        let share = embodied.share_ng(3_600_000_000);
        let expected = 1e6 / (4.0 * 365.25 * 24.0);
        assert!((share as f64 / 1e9 - expected).abs() < 1e-6);
        let score = sci(200_000_000_000, share, 100, 50_000).expect("there were requests");
        assert!((score.g_per_request - (200.0 + expected) / 100.0).abs() < 1e-9);
        let per_1k = score.g_per_1k_tokens.expect("there were tokens");
        assert!((per_1k - (200.0 + expected) / 50.0).abs() < 1e-9);
        assert_eq!(sci(1, 1, 0, 5), None);
        assert_eq!(
            sci(1, 1, 1, 0).and_then(|score| score.g_per_1k_tokens),
            None
        );
        assert_eq!(Embodied::of(0.0, 4.0), None);
    }
}
