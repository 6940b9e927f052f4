//! What the measurements came to, as a table for people and as JSON for machines. Pure: no output here.

use std::fmt::Write;

use kwaainet_loadtests::median;
use serde::Serialize;

use super::speed::{Sample, Test};

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

/// One test. What a kind of test does not give is left out.
#[derive(Serialize)]
#[serde(tag = "test", rename_all = "snake_case")]
pub(super) enum Row {
    Prefill {
        tokens: usize,
        tokens_per_s: f64,
        runs: Vec<f64>,
    },
    Decode {
        sequences: usize,
        context: usize,
        tokens_per_s: f64,
        /// Of the read bandwidth in the same run: (weights / sequences + keys and values of one
        /// sequence half-way through its answer) * tokens a second / bandwidth.
        bandwidth_share: f64,
        runs: Vec<f64>,
        share_runs: Vec<f64>,
    },
    CachedPrefix {
        tokens: usize,
        cold_ms: f64,
        warm_ms: f64,
        /// Of the second time over the first.
        ratio: f64,
        cached_tokens: u32,
        runs: Vec<f64>,
        cold_runs: Vec<f64>,
        warm_runs: Vec<f64>,
    },
    Schema {
        sequences: usize,
        context: usize,
        /// What a step takes longer where all sequences follow a JSON schema.
        cost_us: f64,
        /// Of what it takes without.
        share: f64,
        runs: Vec<f64>,
        share_runs: Vec<f64>,
    },
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

impl Row {
    fn new(test: Test) -> Self {
        match test {
            Test::Prefill { tokens } => Self::Prefill {
                tokens,
                tokens_per_s: 0.0,
                runs: Vec::new(),
            },
            Test::Decode {
                sequences, context, ..
            } => Self::Decode {
                sequences,
                context,
                tokens_per_s: 0.0,
                bandwidth_share: 0.0,
                runs: Vec::new(),
                share_runs: Vec::new(),
            },
            Test::CachedPrefix { tokens } => Self::CachedPrefix {
                tokens,
                cold_ms: 0.0,
                warm_ms: 0.0,
                ratio: 0.0,
                cached_tokens: 0,
                runs: Vec::new(),
                cold_runs: Vec::new(),
                warm_runs: Vec::new(),
            },
            Test::Schema {
                sequences, context, ..
            } => Self::Schema {
                sequences,
                context,
                cost_us: 0.0,
                share: 0.0,
                runs: Vec::new(),
                share_runs: Vec::new(),
            },
        }
    }

    fn is_of(&self, test: Test) -> bool {
        match (self, test) {
            (Self::Prefill { tokens, .. }, Test::Prefill { tokens: other })
            | (Self::CachedPrefix { tokens, .. }, Test::CachedPrefix { tokens: other }) => {
                *tokens == other
            }
            (
                Self::Decode {
                    sequences, context, ..
                },
                Test::Decode {
                    sequences: others,
                    context: other,
                    ..
                },
            )
            | (
                Self::Schema {
                    sequences, context, ..
                },
                Test::Schema {
                    sequences: others,
                    context: other,
                    ..
                },
            ) => (*sequences, *context) == (others, other),
            _ => false,
        }
    }

    /// Samples come from tests of the row's own kind.
    fn add(&mut self, sample: Sample) {
        match (self, sample) {
            (Self::Prefill { runs, .. }, Sample::Prefill(speed)) => runs.push(speed),
            (
                Self::Decode {
                    runs, share_runs, ..
                },
                Sample::Decode {
                    tokens_per_s,
                    share,
                },
            ) => {
                runs.push(tokens_per_s);
                share_runs.push(share);
            }
            (
                Self::CachedPrefix {
                    runs,
                    cold_runs,
                    warm_runs,
                    cached_tokens,
                    ..
                },
                Sample::CachedPrefix {
                    cold_s,
                    warm_s,
                    cached,
                },
            ) => {
                runs.push(warm_s / cold_s);
                cold_runs.push(1e3 * cold_s);
                warm_runs.push(1e3 * warm_s);
                *cached_tokens = cached;
            }
            (
                Self::Schema {
                    runs, share_runs, ..
                },
                Sample::Schema { free_s, bound_s },
            ) => {
                runs.push(1e6 * (bound_s - free_s));
                share_runs.push(bound_s / free_s - 1.0);
            }
            _ => unreachable!("a test gives samples of one kind"),
        }
    }

    fn finish(&mut self) {
        match self {
            Self::Prefill {
                tokens_per_s, runs, ..
            } => *tokens_per_s = median(runs),
            Self::Decode {
                tokens_per_s,
                bandwidth_share,
                runs,
                share_runs,
                ..
            } => {
                *tokens_per_s = median(runs);
                *bandwidth_share = median(share_runs);
            }
            Self::CachedPrefix {
                cold_ms,
                warm_ms,
                ratio,
                runs,
                cold_runs,
                warm_runs,
                ..
            } => {
                *ratio = median(runs);
                *cold_ms = median(cold_runs);
                *warm_ms = median(warm_runs);
            }
            Self::Schema {
                cost_us,
                share,
                runs,
                share_runs,
                ..
            } => {
                *cost_us = median(runs);
                *share = median(share_runs);
            }
        }
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        match self {
            Self::Prefill {
                tokens,
                tokens_per_s,
                ..
            } => writeln!(
                text,
                "prefill {:<34}{tokens_per_s:>7.1} tokens/s",
                format!("{tokens:>4} tokens")
            ),
            Self::Decode {
                sequences,
                context,
                tokens_per_s,
                bandwidth_share,
                ..
            } => {
                let what = format!("{sequences:>4} at once, after {context} tokens");
                let share = 100.0 * bandwidth_share;
                writeln!(
                    text,
                    "decode  {what:<34}{tokens_per_s:>7.1} tokens/s  {share:>3.0} % of memory's speed"
                )
            }
            Self::CachedPrefix {
                tokens,
                cold_ms,
                warm_ms,
                ratio,
                cached_tokens,
                ..
            } => {
                let share = 100.0 * ratio;
                writeln!(
                    text,
                    "prefix  {tokens:>4} tokens: first token after {cold_ms:.0} ms, the second \
                     time after {warm_ms:.0} ms ({share:.1} %, {cached_tokens} cached)"
                )
            }
            Self::Schema {
                sequences,
                context,
                cost_us,
                share,
                ..
            } => {
                let what = format!("{sequences:>4} at once, after {context} tokens");
                let share = 100.0 * share;
                writeln!(
                    text,
                    "schema  {what:<34}{cost_us:>+7.0} µs a token  {share:>+4.1} % of a step"
                )
            }
        }
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
