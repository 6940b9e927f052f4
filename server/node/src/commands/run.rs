//! `kwaainet run "prompt"`: one answer in the terminal, through the same hallway as any other.

use std::io::{IsTerminal, Read};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use futures_util::StreamExt;
use kwaainet_core::{
    Clock, Event, FinishReason, GenerateParams, Job, JobId, Message, Principal, Prompt, Role,
    Sampling, SystemClock, Work,
};
use kwaainet_store::{DocumentStore, Store};
use tokio::sync::watch;

use crate::config::{Config, Environment};
use crate::node::{Assembled, Parts, make_data_dir};
use crate::terminal::{self, PullProgress};
use crate::wiring::{self, LocalEngine};

/// Bytes of a prompt from standard input.
const STDIN_BYTES_MAX: u64 = 8 << 20;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// What you say; without it, standard input.
    prompt: Option<String>,
    /// What the model is told first.
    #[arg(long)]
    system: Option<String>,
    /// Most tokens of the answer.
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// 0 takes the most probable token each time.
    #[arg(long, default_value_t = 0.7, value_name = "T")]
    temperature: f32,
    /// The same seed gives the same answer.
    #[arg(long)]
    seed: Option<u64>,
    /// Continue the text as it stands, without the chat template.
    #[arg(long)]
    raw: bool,
}

pub(super) async fn run(
    args: RunArgs,
    config: Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    if !(0.0..=2.0).contains(&args.temperature) {
        bail!("--temperature must be between 0 and 2");
    }
    let prompt = prompt(&args)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    make_data_dir(&config.data_dir)?;
    let local = LocalEngine::new(&config, environment, Arc::clone(&clock))?;
    let wanted = local.wanted.first().context("there is no model")?;
    let model = local.prepare(wanted, &PullProgress::default()).await?;

    let upstreams = Vec::new();
    let (_readiness, not_ready) = watch::channel(None);
    let assembled = Assembled::new(Parts {
        store: Store::open(&config.database()).await?,
        documents: DocumentStore::open(&config.documents()).await?,
        config,
        clock,
        backends: wiring::in_order(&local.backend, &upstreams),
        engine: Some(Arc::clone(&local.backend)),
        shelf: None,
        key: None,
        history: kwaainet_identity::KeyHistory::default(),
        federation: None,
        carbon: None,
        not_ready,
    })
    .await;
    let job = Job::new(
        JobId::random(),
        model,
        Work::Generate {
            prompts: vec![prompt],
            params: GenerateParams {
                max_tokens: args.max_tokens,
                max_tokens_param: "--max-tokens",
                sampling: Sampling {
                    temperature: args.temperature,
                    seed: args.seed,
                    ..Sampling::default()
                },
                ..GenerateParams::default()
            },
        },
    );
    let answered = tokio::select! {
        answered = answer(&assembled, job) => answered,
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Into::into),
    };
    assembled.close().await;
    answered
}

async fn answer(assembled: &Assembled, job: Job) -> anyhow::Result<()> {
    let hallway = &assembled.app.hallway;
    let mut events = hallway.generate(Principal::operator(), job).await?;
    while let Some(event) = events.next().await {
        match event? {
            Event::Delta(delta) => terminal::piece(&delta.text),
            Event::Finished { reason, .. } => {
                terminal::piece("\n");
                if reason == FinishReason::Length {
                    terminal::note("(cut: the limit of tokens is reached)");
                }
            }
            Event::Started { .. } | Event::Call(_) | Event::Done(_) => {}
        }
    }
    Ok(())
}

fn prompt(args: &RunArgs) -> anyhow::Result<Prompt> {
    let text = match &args.prompt {
        Some(text) => text.clone(),
        None if std::io::stdin().is_terminal() => bail!("say something: kwaainet run \"…\""),
        None => {
            let mut text = String::new();
            let mut stdin = std::io::stdin().take(STDIN_BYTES_MAX);
            stdin
                .read_to_string(&mut text)
                .context("standard input is not UTF-8 text")?;
            text
        }
    };
    if args.raw {
        return Ok(Prompt::Text(text));
    }
    let system = args
        .system
        .clone()
        .map(|system| Message::new(Role::System, system));
    let user = Message::new(Role::User, text);
    let messages: Vec<_> = system.into_iter().chain([user]).collect();
    Ok(Prompt::Chat(messages.into()))
}
