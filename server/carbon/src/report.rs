//! A month's report, as lines of CSV and as one HTML page with its plots in it, which loads nothing from anywhere.

mod page;

use crate::sci::{Sci, sci};
use crate::time::Month;

/// What some requests took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// What they have in common: a model, a method.
    pub name: String,
    /// How many there were.
    pub requests: u64,
    /// Tokens that they read and wrote.
    pub tokens: u64,
    /// Microjoules.
    pub energy_uj: u64,
    /// Nanograms of CO2 equivalent of the energy, where known.
    pub operational_ng: u64,
    /// And of the machine.
    pub embodied_ng: u64,
    /// How many of them have no figure of carbon.
    pub unknown: u64,
}

/// A day of the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DayRow {
    /// Like `2026-01-31`.
    pub day: String,
    /// Everything that the meter saw.
    pub total_uj: u64,
    /// What jobs took of it.
    pub jobs_uj: u64,
    /// What is nobody's.
    pub unattributed_uj: u64,
    /// Nanograms of CO2 equivalent of the total, by the grid where the machine stands.
    pub carbon_ng: u64,
    /// The same less what own renewable power matched, hour by hour. Another accounting, never mixed with the first.
    pub unmatched_ng: u64,
    /// Its requests.
    pub requests: Row,
}

/// A month of the node.
#[derive(Clone, Debug, PartialEq)]
pub struct MonthReport {
    /// Which.
    pub month: Month,
    /// The days on which there was anything, in order.
    pub days: Vec<DayRow>,
    /// Its requests by model.
    pub models: Vec<Row>,
    /// Its requests by how their energy is known.
    pub methods: Vec<Row>,
    /// Who made the yearly table of intensities, where it was used.
    pub attribution: Option<&'static str>,
}

impl Row {
    /// The score of these requests, where it is known of all of them.
    pub fn sci(&self) -> Option<Sci> {
        let known = self.unknown == 0;
        known.then(|| {
            sci(
                self.operational_ng,
                self.embodied_ng,
                self.requests,
                self.tokens,
            )
        })?
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.tokens += other.tokens;
        self.energy_uj += other.energy_uj;
        self.operational_ng += other.operational_ng;
        self.embodied_ng += other.embodied_ng;
        self.unknown += other.unknown;
    }
}

impl MonthReport {
    /// All days together.
    pub fn total(&self) -> DayRow {
        let mut total = DayRow {
            day: self.month.to_string(),
            ..DayRow::default()
        };
        for day in &self.days {
            total.total_uj += day.total_uj;
            total.jobs_uj += day.jobs_uj;
            total.unattributed_uj += day.unattributed_uj;
            total.carbon_ng += day.carbon_ng;
            total.unmatched_ng += day.unmatched_ng;
            total.requests.add(&day.requests);
        }
        total
    }

    /// One line for each day, with a head (RFC 4180). Energy in joules, carbon in grams.
    pub fn csv(&self) -> String {
        let mut csv = String::from(
            "day,energy_j,requests_energy_j,unattributed_energy_j,carbon_g,carbon_unmatched_g,\
             requests,tokens,requests_carbon_g,requests_embodied_g,requests_without_carbon\r\n",
        );
        for day in &self.days {
            let asked = &day.requests;
            let fields = [
                day.day.clone(),
                decimal(day.total_uj, 6),
                decimal(day.jobs_uj, 6),
                decimal(day.unattributed_uj, 6),
                decimal(day.carbon_ng, 9),
                decimal(day.unmatched_ng, 9),
                asked.requests.to_string(),
                asked.tokens.to_string(),
                decimal(asked.operational_ng, 9),
                decimal(asked.embodied_ng, 9),
                asked.unknown.to_string(),
            ];
            csv.push_str(&fields.join(","));
            csv.push_str("\r\n");
        }
        csv
    }

    /// One page.
    pub fn html(&self) -> String {
        page::html(self)
    }
}

/// A whole number of smallest units as a decimal, exactly.
fn decimal(value: u64, places: usize) -> String {
    let unit = 10_u64.pow(places as u32);
    format!("{}.{:0places$}", value / unit, value % unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> MonthReport {
        let day = |day: &str, total_uj| DayRow {
            day: day.to_owned(),
            total_uj,
            jobs_uj: total_uj / 4,
            unattributed_uj: total_uj - total_uj / 4,
            carbon_ng: total_uj / 10,
            unmatched_ng: total_uj / 20,
            requests: Row {
                requests: 2,
                tokens: 1_000,
                energy_uj: total_uj / 4,
                operational_ng: 1_500_000_000,
                embodied_ng: 500_000_000,
                ..Row::default()
            },
        };
        MonthReport {
            month: Month::parse("2026-01").expect("it is a month"),
            days: vec![day("2026-01-01", 4_000_001), day("2026-01-02", 9_000_000)],
            models: vec![Row {
                name: "<script>alert(1)</script>".to_owned(),
                ..Row::default()
            }],
            methods: Vec::new(),
            attribution: Some("somebody & others"),
        }
    }

    #[test]
    fn lines_are_exact_and_add_up() {
        let report = report();
        let csv = report.csv();
        let lines: Vec<_> = csv.split("\r\n").collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[1],
            "2026-01-01,4.000001,1.000000,3.000001,0.000400000,0.000200000,2,1000,1.500000000,0.500000000,0"
        );
        let total = report.total();
        assert_eq!(total.total_uj, total.jobs_uj + total.unattributed_uj);
        let score = total.requests.sci().expect("all is known");
        assert!((score.g_per_request - 1.0).abs() < 1e-9);
        assert!((score.g_per_1k_tokens.expect("tokens") - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_score_with_a_hole_in_it_is_none() {
        let mut report = report();
        report.days[0].requests.unknown = 1;
        assert_eq!(report.total().requests.sci(), None);
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        let html = report().html();
        assert!(!html.contains("<script"), "{html}");
        for loads in ["src=", "href=", "url(", "@import", "<link", "<iframe"] {
            assert!(!html.contains(loads), "{loads}");
        }
        assert!(html.contains("&lt;script&gt;") && html.contains("somebody &amp; others"));
        assert_eq!(html.matches("<svg").count(), 2);
        assert!(html.contains("2026-01-02"));
        let empty = MonthReport {
            days: Vec::new(),
            ..report()
        };
        assert!(empty.html().contains("Nothing was metered"));
    }
}
