//! One test of a report: its runs, their medians, its line.

use std::fmt::Write;

use kwaainet_loadtests::median;
use serde::Serialize;

use super::super::speed::{Sample, Test};

/// One test. What a kind of test does not give is left out.
#[derive(Serialize)]
#[serde(tag = "test", rename_all = "snake_case")]
pub(in super::super) enum Row {
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

impl Row {
    pub(super) fn new(test: Test) -> Self {
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

    /// Tokens a second, if it is about one sequence that generates.
    pub(super) fn one_sequence(&self) -> Option<f64> {
        match self {
            Self::Decode {
                sequences: 1,
                tokens_per_s,
                ..
            } => Some(*tokens_per_s),
            _ => None,
        }
    }

    pub(super) fn is_of(&self, test: Test) -> bool {
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
    pub(super) fn add(&mut self, sample: Sample) {
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

    pub(super) fn finish(&mut self) {
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

    pub(super) fn write(&self, text: &mut String) -> std::fmt::Result {
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
