//! What a load came to, as a table for people and as JSON for machines. Pure: no output here.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::compare::{Comparison, compare, median, ms};
use crate::histogram::Histogram;
use crate::load::{Load, Run, Side, Work};
use crate::tally::Tally;

/// Everything that is reported. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    seed: u64,
    streams: u32,
    requests: u32,
    runs: u32,
    prompt_words: u32,
    shared_words: u32,
    #[serde(flatten)]
    work: WorkReport,
    /// The server at `--url`, then the one at `--against`.
    servers: Vec<ServerReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comparison: Vec<Comparison>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "work", rename_all = "snake_case")]
enum WorkReport {
    Chat {
        max_tokens: u32,
        drop: f64,
        exact: bool,
    },
    Embed {
        batch: u32,
    },
}

/// All runs of one server together.
#[derive(Debug, Serialize)]
struct ServerReport {
    url: String,
    model: String,
    done: u64,
    left: u64,
    unfinished: u64,
    failed: u64,
    failures: BTreeMap<String, u64>,
    /// Whole answers without a usage; their tokens are in no number.
    uncounted: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// One for each run: tokens of whole answers (of prompts, where vectors are made).
    tokens_per_s: Vec<f64>,
    tokens_per_s_median: f64,
    requests_per_s_median: f64,
    latency_ms: BTreeMap<&'static str, Quantiles>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Quantiles {
    count: u64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Report {
    /// Of what the sides' runs came to.
    pub fn new(load: &Load, sides: &[Side]) -> Self {
        let work = match load.work {
            Work::Chat {
                max_tokens,
                drop,
                exact,
            } => WorkReport::Chat {
                max_tokens,
                drop,
                exact,
            },
            Work::Embed { batch } => WorkReport::Embed { batch },
        };
        let servers: Vec<_> = sides.iter().map(|side| server(side, load.work)).collect();
        let comparison = match sides {
            [url, against] => compare(url, against, load.work),
            _ => Vec::new(),
        };
        Self {
            seed: load.prompts.seed,
            streams: load.streams,
            requests: load.requests,
            runs: load.runs,
            prompt_words: load.prompts.words,
            shared_words: load.prompts.shared,
            work,
            servers,
            comparison,
        }
    }

    /// Requests that ended as they should not.
    pub fn failed(&self) -> u64 {
        self.servers.iter().map(|s| s.failed + s.unfinished).sum()
    }

    /// The two servers side by side; empty for one.
    pub fn comparison(&self) -> &[Comparison] {
        &self.comparison
    }

    /// Requests at once.
    pub fn streams(&self) -> u32 {
        self.streams
    }

    /// Of the first server's answers, the tokens in each prompt on average.
    pub fn prompt_tokens(&self) -> f64 {
        let first = self.servers.first();
        first.map_or(0.0, |s| s.prompt_tokens as f64 / s.done.max(1) as f64)
    }

    /// All of it.
    pub fn json(&self) -> String {
        let json = serde_json::to_string_pretty(self).expect("every field has a JSON form");
        format!("{json}\n")
    }

    /// For a person.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            text += &server.table();
        }
        if !self.comparison.is_empty() {
            let titles = ["url", "against", "difference", "ratio"];
            text += &row("url to against", &titles.map(str::to_owned));
            for line in &self.comparison {
                let ratio = line
                    .ratio
                    .map_or("-".to_owned(), |ratio| format!("{ratio:.3}"));
                let numbers = [line.url, line.against, line.difference].map(number);
                text += &row(&line.what, &[numbers.as_slice(), &[ratio]].concat());
            }
            text.push('\n');
        }
        // Writing to a string cannot fail.
        let _written = writeln!(text, "the same again: --seed {}", self.seed);
        text
    }
}

impl ServerReport {
    fn table(&self) -> String {
        let mut text = format!("{} ({})\n", self.url, self.model);
        let titles = ["count", "p50", "p90", "p99", "max"];
        text += &row("ms", &titles.map(str::to_owned));
        for (name, q) in self.in_order() {
            let numbers = [q.p50, q.p90, q.p99, q.max].map(number);
            text += &row(name, &[&[q.count.to_string()], numbers.as_slice()].concat());
        }
        let tokens: Vec<_> = self.tokens_per_s.iter().map(|n| number(*n)).collect();
        text += &format!(
            "tokens/s {} (runs: {}), requests/s {}\n{} done with {} prompt and {} answer tokens, {} left, {} failed, {} unfinished\n",
            number(self.tokens_per_s_median),
            tokens.join(" "),
            number(self.requests_per_s_median),
            self.done,
            self.prompt_tokens,
            self.completion_tokens,
            self.left,
            self.failed,
            self.unfinished,
        );
        if self.uncounted > 0 {
            text += &format!("{} answers came without a usage\n", self.uncounted);
        }
        for (words, times) in &self.failures {
            text += &format!("  {times} x {words}\n");
        }
        text.push('\n');
        text
    }

    /// The times that there are, in the order in which they happen.
    fn in_order(&self) -> impl Iterator<Item = (&'static str, &Quantiles)> {
        let names = Tally::default().times().map(|(name, _)| name);
        names
            .into_iter()
            .filter_map(|name| Some((name, self.latency_ms.get(name)?)))
    }
}

fn server(side: &Side, work: Work) -> ServerReport {
    let mut tally = Tally::default();
    side.runs.iter().for_each(|run| tally.merge(&run.tally));
    let runs = side.runs.iter();
    let tokens_per_s: Vec<_> = runs.clone().map(|run| run.tokens_per_s(work)).collect();
    let requests_per_s: Vec<_> = runs.map(Run::requests_per_s).collect();
    let times = tally.times().into_iter();
    ServerReport {
        url: side.target.address().to_owned(),
        model: side.model.clone(),
        done: tally.done,
        left: tally.left,
        unfinished: tally.unfinished,
        failed: tally.failures.total(),
        failures: tally.failures.by_words().clone(),
        uncounted: tally.uncounted,
        prompt_tokens: tally.prompt_tokens,
        completion_tokens: tally.completion_tokens,
        tokens_per_s_median: median(&tokens_per_s),
        tokens_per_s,
        requests_per_s_median: median(&requests_per_s),
        latency_ms: times
            .filter_map(|(name, times)| Some((name, quantiles(times)?)))
            .collect(),
    }
}

fn quantiles(times: &Histogram) -> Option<Quantiles> {
    Some(Quantiles {
        count: times.count(),
        p50: ms(times, 0.5)?,
        p90: ms(times, 0.9)?,
        p99: ms(times, 0.99)?,
        max: times.max()?.as_nanos() as f64 / 1e6,
    })
}

/// Four digits or more, whatever the size.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn row(name: &str, cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!("{cell:>12}")).collect();
    format!("{name:<18}{cells}\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::{Answer, Failure, Outcome, Usage};
    use crate::prompt::Prompts;
    use crate::target::Target;
    use crate::time::Deadline;

    /// A server whose answers took so many milliseconds, in runs of one second.
    fn side(port: u16, runs: &[&[u64]]) -> Side {
        let address = format!("http://127.0.0.1:{port}");
        let target = Target::new(&address, None, false).expect("it is loopback");
        let mut side = Side::new(target, "m".to_owned());
        for times in runs {
            let mut tally = Tally::default();
            for time in *times {
                let time = Duration::from_millis(*time);
                tally.add(&Outcome::Done(Answer {
                    head: time / 4,
                    first: Some(time / 2),
                    writing: time / 2,
                    total: time,
                    usage: Some(Usage {
                        prompt_tokens: 3,
                        completion_tokens: 11,
                    }),
                }));
            }
            let seconds = 1.0;
            side.runs.push(Run { tally, seconds });
        }
        side
    }

    fn load() -> Load {
        Load {
            work: Work::Chat {
                max_tokens: 11,
                drop: 0.0,
                exact: false,
            },
            prompts: Prompts {
                seed: 42,
                words: 3,
                shared: 0,
            },
            streams: 1,
            requests: 2,
            runs: 3,
            deadline: Deadline::after(Duration::ZERO),
        }
    }

    #[test]
    fn two_servers_are_compared_number_by_number() {
        let sides = [
            side(1, &[&[200, 200], &[200], &[200]]),
            side(2, &[&[100], &[100, 100], &[100, 100]]),
        ];
        let report = Report::new(&load(), &sides);
        let line = |what: &str| {
            let found = report.comparison.iter().find(|line| line.what == what);
            found.expect("it is compared")
        };
        assert_eq!(line("total p50 ms").ratio, Some(2.0));
        assert_eq!(line("total p50 ms").difference, 100.0);
        assert_eq!(line("per_token p50 ms").url, 10.0);
        assert_eq!(line("tokens/s").ratio, Some(0.5), "the medians of the runs");
        let table = report.table();
        assert!(table.contains("http://127.0.0.1:2 (m)"), "{table}");
        assert!(table.contains("--seed 42"), "{table}");
    }

    #[test]
    fn the_json_holds_every_failure_and_no_comparison_of_one() {
        let mut one = side(1, &[&[100]]);
        let failures = [
            Failure::new("503 overloaded"),
            Failure::new("503 overloaded"),
        ];
        for failure in failures {
            one.runs[0].tally.add(&Outcome::Failed(failure));
        }
        one.runs[0].tally.unfinished = 1;
        let report = Report::new(&load(), &[one]);
        assert_eq!(report.failed(), 3);
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("it is JSON");
        assert_eq!(json["work"], "chat");
        assert_eq!(json["servers"][0]["failures"]["503 overloaded"], 2);
        assert_eq!(json["servers"][0]["latency_ms"]["total"]["p50"], 100.0);
        assert_eq!(
            json["servers"][0]["latency_ms"]["gap"],
            serde_json::Value::Null
        );
        assert!(json.get("comparison").is_none());
        assert!(report.table().contains("2 x 503 overloaded"));
    }
}
