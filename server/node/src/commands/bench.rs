//! `kwaainet bench`: how fast the local engine is on this machine, and beside another server.
//!
//! Without `--against` the engine alone is measured, through the same seam as any request's
//! ([`speed`]), for each kernel and number of threads asked for, with memory's speed in the same run
//! ([`machine`]). With it the whole node is, over HTTP ([`against`]). [`report`] prints.

mod against;
mod machine;
mod report;
mod speed;

use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use kwaainet_candle::Kernel;
use kwaainet_core::{Clock, ModelId, SystemClock};
use serde_json::{Map, Value};

use crate::config::{Config, Environment, Speculation};
use crate::node::make_data_dir;
use crate::rewards::class;
use crate::terminal::{self, PullProgress};
use crate::wiring::LocalEngine;
use report::{EngineReport, Report};
use speed::{Bench, Test};

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    runs: u8,
    /// The instructions to measure, like avx2,avx512; the fastest if none are named.
    #[arg(long, value_delimiter = ',', value_name = "KERNEL,...")]
    kernels: Vec<Kernel>,
    /// The numbers of threads to measure; the configured one if none is given.
    #[arg(long, value_delimiter = ',', value_name = "N,...",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_024))]
    threads: Vec<usize>,
    /// Fewer and shorter measurements.
    #[arg(long)]
    quick: bool,
    /// Put the same load on this node, over HTTP, and on another OpenAI-compatible server of this
    /// machine in turns, and compare the two.
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// Its name for the model, if it has another.
    #[arg(long, value_name = "NAME", requires = "against")]
    against_model: Option<String>,
    /// Further fields of its requests. Its answers must not end before they are as long as asked for.
    #[arg(long, value_name = "JSON", requires = "against", default_value = r#"{"ignore_eos": true}"#,
        value_parser = object)]
    against_body: Map<String, Value>,
    /// Streams at once.
    #[arg(long, value_delimiter = ',', value_name = "N,...", requires = "against",
        value_parser = clap::value_parser!(u32).range(1..=1_000))]
    streams: Vec<u32>,
}

/// A model that is loaded in one way.
struct Loaded {
    local: LocalEngine,
    model: ModelId,
    kernel: Kernel,
    seconds: f64,
}

pub(super) async fn bench(
    mut args: BenchArgs,
    config: Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    // The class of a machine is what it does with the default model, left to itself.
    let tells_class =
        args.kernels.is_empty() && args.threads.is_empty() && config.models.is_empty();
    let data_dir = config.data_dir.clone();
    if args.kernels.is_empty() {
        args.kernels.push(match environment.get(KERNEL_VARIABLE) {
            Some(name) => name.parse().context(KERNEL_VARIABLE)?,
            None => Kernel::best(),
        });
    }
    if args.threads.is_empty() {
        args.threads.push(config.engine.threads);
    }
    if let Some(url) = args.against.clone() {
        ensure!(
            args.kernels.len() == 1 && args.threads.len() == 1,
            "--against takes one kernel and one number of threads"
        );
        return against::run(&url, &args, config, environment, clock).await;
    }
    let mut report = Report::new(args.runs);
    for kernel in &args.kernels {
        for threads in &args.threads {
            let environment = environment.clone().with(KERNEL_VARIABLE, kernel.name());
            let config = for_speed(config.clone(), *threads);
            let loaded = load(&config, &environment, &clock).await?;
            report.model = loaded.model.to_string();
            let measured = measure(&loaded, &args, &clock).await;
            loaded.local.backend.shutdown().await;
            report.engines.push(measured?);
        }
    }
    if let (true, Some(tokens_per_s)) = (tells_class, report.one_sequence()) {
        make_data_dir(&data_dir)?;
        class::keep(&data_dir, tokens_per_s).context("the machine's class cannot be kept")?;
    }
    if args.json {
        terminal::line(serde_json::to_string_pretty(&report)?);
    } else {
        terminal::piece(&report.table());
    }
    Ok(())
}

/// Steers the engine's choice of instructions.
const KERNEL_VARIABLE: &str = "KWAAINET_KERNEL";

/// The owner's configuration with room for every sequence that is measured. Nothing is guessed ahead:
/// what a step costs is looked for, not how well the answer to a senseless prompt can be guessed.
fn for_speed(mut config: Config, threads: usize) -> Config {
    config.engine.threads = threads;
    config.engine.speculation = Speculation::Off;
    config.engine.sequences = config.engine.sequences.max(speed::SEQUENCES_MAX);
    config
}

async fn load(
    config: &Config,
    environment: &Environment,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<Loaded> {
    let local = LocalEngine::new(config, environment, Arc::clone(clock))?;
    let wanted = local.wanted.first().context("there is no model")?;
    let model = local.fetch(wanted, &PullProgress::default()).await?;
    let begin = clock.monotonic();
    local.load(&model).await?;
    let seconds = clock.monotonic().saturating_sub(begin).as_secs_f64();
    let costs = local.backend.costs(&model).await;
    let kernel = costs.context("the model cannot be measured")?.kernel;
    Ok(Loaded {
        local,
        model,
        kernel,
        seconds,
    })
}

/// All tests, run by run, so that a machine that slows down does so for all of them.
async fn measure(
    loaded: &Loaded,
    args: &BenchArgs,
    clock: &Arc<dyn Clock>,
) -> anyhow::Result<EngineReport> {
    let backend = &loaded.local.backend;
    let resident = machine::resident_mib();
    let bench = Bench::new(backend, loaded.model.clone(), clock.as_ref()).await?;
    let tests = Test::all(args.quick, bench.context());
    bench.warm_up().await?;
    let threads = backend.threads();
    let mut report = EngineReport {
        kernel: loaded.kernel.name(),
        threads,
        load_s: loaded.seconds,
        resident_mib: resident,
        weight_bytes: bench.weight_bytes(),
        ..EngineReport::default()
    };
    for _ in 0..args.runs {
        let limit = machine::bandwidth(threads, args.quick, Arc::clone(clock)).await?;
        report.bandwidths.push(limit);
        for test in &tests {
            let sample = bench.run(*test, limit).await?;
            report.add(*test, sample);
        }
    }
    report.finish(machine::resident_mib());
    Ok(report)
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|_| "it must be a JSON object".to_owned())
}
