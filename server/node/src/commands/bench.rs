//! `kwaainet bench`: prefill and decode speed of the local engine on this machine.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use kwaainet_candle::CandleBackend;
use kwaainet_core::{
    Backend, BackendError, Clock, Event, GenerateParams, GenerateRequest, ModelId, Prompt,
    Sampling, SystemClock, Tokenized,
};
use serde::Serialize;

use crate::config::{Config, Environment};
use crate::terminal::{self, PullProgress};
use crate::wiring::LocalEngine;

const PREFILL_TOKENS: [usize; 2] = [128, 512];
const DECODE_SEQUENCES: [usize; 3] = [1, 4, 16];
const DECODE_PROMPT_TOKENS: usize = 16;
const DECODE_TOKENS: u32 = 64;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    runs: u8,
}

#[derive(Serialize)]
struct Report {
    version: &'static str,
    model: String,
    threads: usize,
    runs: u8,
    rows: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    test: &'static str,
    /// Prompt tokens for prefill, sequences for decode.
    size: usize,
    /// Over all sequences, the median of the runs.
    tokens_per_second: f64,
}

pub(super) async fn bench(
    args: BenchArgs,
    config: Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let local = LocalEngine::new(&config, environment, Arc::clone(&clock))?;
    let wanted = local.wanted.first().context("there is no model")?;
    let model = local.prepare(wanted, &PullProgress::default()).await?;
    let bench = Bench {
        token: some_token(&local.backend, &model).await?,
        backend: &local.backend,
        model,
        clock: clock.as_ref(),
    };
    bench
        .decode(1)
        .await
        .context("the model cannot be measured")?;

    let mut rows = Vec::new();
    for tokens in PREFILL_TOKENS {
        let mut speeds = Vec::new();
        for _ in 0..args.runs {
            speeds.push(bench.prefill(tokens).await?);
        }
        rows.push(Row {
            test: "prefill",
            size: tokens,
            tokens_per_second: median(speeds),
        });
    }
    for sequences in DECODE_SEQUENCES {
        let mut speeds = Vec::new();
        for _ in 0..args.runs {
            speeds.push(bench.decode(sequences).await?);
        }
        rows.push(Row {
            test: "decode",
            size: sequences,
            tokens_per_second: median(speeds),
        });
    }
    let report = Report {
        version: crate::VERSION,
        model: bench.model.to_string(),
        threads: local.backend.threads(),
        runs: args.runs,
        rows,
    };
    print(&report, args.json)
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        terminal::line(serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    terminal::line(format!(
        "kwaainet {}, {}, {} threads, median of {}",
        report.version, report.model, report.threads, report.runs
    ));
    for row in &report.rows {
        let unit = if row.test == "prefill" {
            "tokens"
        } else {
            "sequences"
        };
        terminal::line(format!(
            "{:<8} {:>4} {unit:<10} {:>9.1} tokens/s",
            row.test, row.size, row.tokens_per_second
        ));
    }
    Ok(())
}

struct Bench<'a> {
    backend: &'a CandleBackend,
    model: ModelId,
    token: u32,
    clock: &'a dyn Clock,
}

impl Bench<'_> {
    /// Prompt tokens a second, until the first token is there.
    async fn prefill(&self, tokens: usize) -> anyhow::Result<f64> {
        let came = self.clock.monotonic();
        self.one(tokens, 1).await?;
        let took = self.clock.monotonic().saturating_sub(came);
        Ok(tokens as f64 / took.as_secs_f64())
    }

    /// Tokens a second over all sequences, from when each has its first token.
    async fn decode(&self, sequences: usize) -> anyhow::Result<f64> {
        let runs = (0..sequences).map(|_| self.one(DECODE_PROMPT_TOKENS, DECODE_TOKENS));
        let spans = try_join_all(runs).await?;
        let first = spans.iter().map(|span| span.0).fold(f64::MIN, f64::max);
        let last = spans.iter().map(|span| span.1).fold(f64::MIN, f64::max);
        // Tokens that came before the last sequence had its first are not in the span.
        let before: f64 = spans
            .iter()
            .map(|(start, end)| (first - start) / (end - start) * f64::from(DECODE_TOKENS - 1))
            .sum();
        let all = f64::from(DECODE_TOKENS - 1) * sequences as f64;
        Ok((all - before) / (last - first))
    }

    /// When the first and the last token came, in seconds.
    async fn one(&self, prompt: usize, tokens: u32) -> Result<(f64, f64), BackendError> {
        let request = GenerateRequest {
            model: self.model.clone(),
            prompt: Prompt::Tokens(vec![self.token; prompt]),
            params: GenerateParams {
                max_tokens: Some(tokens),
                sampling: Sampling {
                    temperature: 0.0,
                    ..Sampling::default()
                },
                ..GenerateParams::default()
            },
        };
        let mut events = self.backend.generate(request).await?;
        let (mut first, mut last) = (None, 0.0);
        while let Some(event) = events.next().await {
            if let Event::Delta(_) = event? {
                last = self.clock.monotonic().as_secs_f64();
                first.get_or_insert(last);
            }
        }
        let nothing = || BackendError::Internal("the model said nothing".into());
        Ok((first.ok_or_else(nothing)?, last))
    }
}

/// A token that repeats well: the model's own for a common word.
async fn some_token(backend: &CandleBackend, model: &ModelId) -> anyhow::Result<u32> {
    let text = Tokenized::Text {
        text: " the".to_owned(),
        add_special: false,
        parse_special: false,
    };
    let tokens = backend.tokenize(model.clone(), text).await?;
    tokens.ids.last().copied().context("the model has no word")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
