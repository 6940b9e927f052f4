//! What the measurements came to, as a table for people and as JSON for machines. Pure: no output here.

mod row;

use std::fmt::Write;

use kwaainet_loadtests::median;
use serde::Serialize;

use super::speed::{Sample, Test};
use row::Row;

/// Everything that is reported. Rates and times are medians of the runs.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) model: String,
    pub(super) runs: u8,
    pub(super) engines: Vec<EngineReport>,
}

/// One kernel with one number of threads.
#[derive(Default, Serialize)]
pub(super) struct EngineReport {
    pub(super) kernel: &'static str,
    pub(super) threads: usize,
    /// From the file in place to a model that can be asked.
    pub(super) load_s: f64,
    /// Of the whole process once the model is loaded, and at the end (with the prefixes that are cached).
    pub(super) resident_mib: Option<f64>,
    pub(super) resident_end_mib: Option<f64>,
    /// Read by each step.
    pub(super) weight_bytes: u64,
    /// Bytes a second that so many threads read, in each run.
    pub(super) bandwidths: Vec<f64>,
    pub(super) bandwidth: f64,
    pub(super) rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(runs: u8) -> Self {
        Self {
            version: crate::VERSION,
            model: String::new(),
            runs,
            engines: Vec::new(),
        }
    }

    /// Tokens a second of one sequence after a short prompt, with the first kernel and number of threads.
    pub(super) fn one_sequence(&self) -> Option<f64> {
        let rows = &self.engines.first()?.rows;
        rows.iter().find_map(Row::one_sequence)
    }

    pub(super) fn table(&self) -> String {
        let (version, model, runs) = (self.version, &self.model, self.runs);
        let mut text = format!("kwaainet {version}, {model}, median of {runs}\n");
        for engine in &self.engines {
            // Writing to a string cannot fail.
            let _written = engine.write(&mut text);
        }
        text
    }
}

impl EngineReport {
    /// Puts a run beside the earlier ones of its test.
    pub(super) fn add(&mut self, test: Test, sample: Sample) {
        let found = self.rows.iter_mut().find(|row| row.is_of(test));
        let row = match found {
            Some(row) => row,
            None => {
                self.rows.push(Row::new(test));
                self.rows.last_mut().expect("it was pushed just now")
            }
        };
        row.add(sample);
    }

    /// Works out the medians.
    pub(super) fn finish(&mut self, resident_mib: Option<f64>) {
        self.resident_end_mib = resident_mib;
        self.bandwidth = median(&self.bandwidths);
        self.rows.iter_mut().for_each(Row::finish);
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let (kernel, threads) = (self.kernel, self.threads);
        write!(
            text,
            "\n{kernel}, {threads} threads: loaded in {:.2} s",
            self.load_s
        )?;
        if let (Some(first), Some(last)) = (self.resident_mib, self.resident_end_mib) {
            write!(text, ", {first:.0} MiB resident, {last:.0} at the end")?;
        }
        writeln!(
            text,
            "\n{:.1} MB of weights a step; memory is read at {:.1} GB/s",
            self.weight_bytes as f64 / 1e6,
            self.bandwidth / 1e9
        )?;
        self.rows.iter().try_for_each(|row| row.write(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_test_come_together_and_their_medians_are_told() {
        let mut engine = EngineReport::default();
        let decode = |sequences| Test::Decode {
            sequences,
            context: 16,
            answer: 8,
        };
        for (tokens_per_s, share) in [(10.0, 0.1), (30.0, 0.3), (20.0, 0.2)] {
            let sample = Sample::Decode {
                tokens_per_s,
                share,
            };
            engine.add(decode(1), sample);
            engine.add(decode(2), sample);
        }
        let prefix = Test::CachedPrefix { tokens: 1_024 };
        for warm_s in [0.02, 0.04] {
            let sample = Sample::CachedPrefix {
                cold_s: 1.0,
                warm_s,
                cached: 1_000,
            };
            engine.add(prefix, sample);
        }
        engine.finish(None);
        let mut report = Report::new(3);
        report.engines.push(engine);
        let json = serde_json::to_value(&report).expect("every field has a JSON form");
        let rows = &json["engines"][0]["rows"];
        assert_eq!(rows.as_array().map(Vec::len), Some(3));
        assert_eq!(rows[0]["test"], "decode");
        assert_eq!(rows[0]["tokens_per_s"], 20.0);
        assert_eq!(rows[1]["bandwidth_share"], 0.2);
        assert_eq!(rows[2]["test"], "cached_prefix");
        assert_eq!(rows[2]["ratio"], 0.03);
        let table = report.table();
        assert!(table.contains("20 % of memory's speed"), "{table}");
        assert!(table.contains("3.0 %, 1000 cached"), "{table}");
    }
}
