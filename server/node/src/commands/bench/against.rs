//! The whole node beside another server: the same chat streams over HTTP, in turns.
//!
//! The node is one as `serve` starts, on a port of this machine, with a database of its own that is
//! thrown away. The load and its report are those of `kwaai-load`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use kwaainet_candle::CandleBackend;
use kwaainet_core::{Backend, Clock, Message, ModelId, Role, Tokenized};
use kwaainet_loadtests::{Comparison, Deadline, Load, Prompts, Report, Side, Target, Work};
use kwaainet_store::{DocumentStore, Store};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::{BenchArgs, KERNEL_VARIABLE, load};
use crate::config::{Config, Environment};
use crate::node::{Node, Parts};
use crate::terminal;
use crate::wiring;

const STREAMS: [u32; 5] = [1, 8, 16, 32, 64];
const STREAMS_QUICK: [u32; 3] = [1, 8, 16];
/// Of each request, the chat template's own included as near as words go.
const TOKENS_IN: u32 = 128;
const TOKENS_OUT: u32 = 128;
/// Requests one after another of each stream: the first come all at once, the second as they may.
const REQUESTS: u32 = 2;
/// For all runs of one number of streams.
const TIME_MAX: Duration = Duration::from_secs(3_600);
/// The door's lowest: no logit outweighs it.
const NEVER: f32 = -100.0;
/// What people ask about first.
const LINES: [&str; 5] = [
    "tokens/s",
    "first_token p50 ms",
    "first_token p99 ms",
    "gap p50 ms",
    "gap p99 ms",
];

#[derive(Serialize)]
struct Both {
    version: &'static str,
    model: String,
    kernel: &'static str,
    threads: usize,
    loads: Vec<Report>,
}

/// Starts the node, compares, stops it.
pub(super) async fn run(
    url: &str,
    args: &BenchArgs,
    mut config: Config,
    environment: &Environment,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<()> {
    let their = Target::new(url, None, false)?;
    let folder = tempfile::tempdir().context("there is no place for a database")?;
    config.data_dir = folder.path().to_owned();
    config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.engine.threads = args.threads[0];
    let environment = environment
        .clone()
        .with(KERNEL_VARIABLE, args.kernels[0].name());
    let loaded = load(&config, &environment, &clock).await?;
    let backend = Arc::clone(&loaded.local.backend);
    let (_readiness, not_ready) = watch::channel(None);
    let node = Node::start(Parts {
        store: Store::open(&config.database()).await?,
        documents: DocumentStore::open(&config.documents()).await?,
        config,
        clock,
        backends: wiring::in_order(&backend, &[]),
        engine: Some(Arc::clone(&backend)),
        shelf: None,
        key: None,
        history: kwaainet_identity::KeyHistory::default(),
        federation: None,
        carbon: None,
        not_ready,
    })
    .await?;
    node.refresh().await;

    let our = Target::new(&format!("http://{}", node.address()), None, false)?;
    let model = loaded.model.to_string();
    let their_model = args.against_model.clone().unwrap_or_else(|| model.clone());
    let work = Prepared {
        body: without_end(&backend, &loaded.model).await?,
        words: words(&backend, &loaded.model).await?,
    };
    let sides = [
        Side::new(our, model.clone()).with_body(work.body.clone()),
        Side::new(their, their_model).with_body(args.against_body.clone()),
    ];
    let compared = work.compare(sides, args).await;
    node.shutdown().await;
    let both = Both {
        version: crate::VERSION,
        model,
        kernel: loaded.kernel.name(),
        threads: backend.threads(),
        loads: compared?,
    };
    both.print(args.json)
}

struct Prepared {
    body: Map<String, Value>,
    words: u32,
}

impl Prepared {
    async fn compare(&self, sides: [Side; 2], args: &BenchArgs) -> anyhow::Result<Vec<Report>> {
        let streams: &[u32] = match (args.streams.as_slice(), args.quick) {
            ([], true) => &STREAMS_QUICK,
            ([], false) => &STREAMS,
            (streams, _) => streams,
        };
        let requests = if args.quick { 1 } else { REQUESTS };
        let mut reports = Vec::new();
        for streams in streams {
            let load = Load {
                work: Work::Chat {
                    max_tokens: TOKENS_OUT,
                    drop: 0.0,
                    exact: true,
                },
                prompts: Prompts {
                    // Other texts for each number of streams.
                    seed: u64::from(*streams),
                    words: self.words,
                    shared: 0,
                },
                streams: *streams,
                requests: streams * requests,
                runs: args.runs.into(),
                deadline: Deadline::after(TIME_MAX),
            };
            terminal::note(format!("streams: {streams}"));
            let mut sides = sides.each_ref().map(Side::again);
            load.drive(&mut sides).await?;
            let report = Report::new(&load, &sides);
            if report.failed() > 0 {
                terminal::note(report.table());
            }
            ensure!(
                report.failed() == 0,
                "requests failed: the runs do not compare"
            );
            reports.push(report);
        }
        Ok(reports)
    }
}

impl Both {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            terminal::line(serde_json::to_string_pretty(self)?);
            return Ok(());
        }
        terminal::line(format!(
            "kwaainet {}, {}, {}, {} threads, beside another server: medians of the runs, and of their ratios",
            self.version, self.model, self.kernel, self.threads
        ));
        for load in &self.loads {
            terminal::line(format!(
                "\nstreams: {}, {:.0} tokens in, {TOKENS_OUT} out",
                load.streams(),
                load.prompt_tokens()
            ));
            terminal::line(format!(
                "{:<20}{:>12}{:>12}{:>10}",
                "", "this node", "the other", "ratio"
            ));
            let lines = load.comparison().iter();
            for line in lines.filter(|line| LINES.contains(&line.what.as_str())) {
                terminal::line(row(line));
            }
        }
        Ok(())
    }
}

fn row(line: &Comparison) -> String {
    let ratio = line.ratio.map_or("-".to_owned(), |r| format!("{r:.3}"));
    let (what, url, against) = (&line.what, line.url, line.against);
    format!("{what:<20}{url:>12.1}{against:>12.1}{ratio:>10}")
}

/// Fields that keep our model from ending an answer.
async fn without_end(
    backend: &CandleBackend,
    model: &ModelId,
) -> anyhow::Result<Map<String, Value>> {
    let ends = backend.costs(model).await?.end_tokens;
    let bias: Map<_, _> = ends
        .iter()
        .map(|id| (id.to_string(), json!(NEVER)))
        .collect();
    Ok(Map::from_iter([(
        "logit_bias".to_owned(),
        Value::from(bias),
    )]))
}

/// How many words come to the tokens that are wanted, with what the chat template adds.
async fn words(backend: &CandleBackend, model: &ModelId) -> anyhow::Result<u32> {
    let message = Message::new(Role::User, "river");
    let tokens = backend.tokenize(model.clone(), Tokenized::Chat(vec![message].into()));
    let template = tokens.await?.ids.len() as u32 - 1;
    Ok(TOKENS_IN.saturating_sub(template).max(1))
}
