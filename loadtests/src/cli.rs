//! The command line: what is wanted, in bounds.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};

use kwaainet_loadtests::{
    Bulk, Deadline, Fake, Load, Prompts, Report, Side, Target, Work, load_documents, say,
};
use serde_json::{Map, Value};

/// Puts load on an OpenAI-compatible server and says how it answered.
#[derive(Debug, Parser)]
#[command(name = "kwaai-load", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Streamed chat completions
    Chat(ChatArgs),
    /// Embeddings
    Embed(EmbedArgs),
    /// Documents in bulk, into a new database that speaks CouchDB's HTTP API
    Documents(DocumentsArgs),
    /// Be a server that answers at once without computing, to measure what stands before it
    Fake(FakeArgs),
}

#[derive(Debug, Args)]
struct ChatArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Tokens of each answer, at most
    #[arg(long, default_value = "128", value_parser = between(1, 100_000))]
    max_tokens: u32,
    /// Share of clients, 0 to 1, that leave at a random moment
    #[arg(long, default_value = "0", value_parser = share)]
    drop: f64,
    /// Count an answer of fewer or more tokens than --max-tokens as failed
    #[arg(long, conflicts_with = "drop")]
    exact: bool,
    /// Further fields of each request, as a JSON object, like {"ignore_eos": true}
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = object)]
    body: Map<String, Value>,
    /// Those of requests to the second server
    #[arg(long, value_name = "JSON", requires = "against", default_value = "{}", value_parser = object)]
    against_body: Map<String, Value>,
}

#[derive(Debug, Args)]
struct EmbedArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Texts in each request
    #[arg(long, default_value = "8", value_parser = between(1, 2_048))]
    batch: u32,
}

#[derive(Debug, Args)]
struct DocumentsArgs {
    /// Where the databases are, like http://127.0.0.1:11435/couch; another machine needs --remote
    #[arg(long)]
    url: String,
    /// The database that is made
    #[arg(long)]
    database: String,
    /// Documents in all
    #[arg(long, default_value = "100000", value_parser = between(1, 10_000_000))]
    documents: u32,
    /// Documents of one request
    #[arg(long, default_value = "1000", value_parser = between(1, 100_000))]
    batch: u32,
    /// Requests at once
    #[arg(long, default_value = "4", value_parser = between(1, 1_000))]
    streams: u32,
    /// Bytes of text in each document
    #[arg(long, default_value = "120", value_parser = between(0, 1_000_000))]
    bytes: u32,
    /// The environment variable that holds the API key
    #[arg(long)]
    key_env: Option<String>,
    /// Allow servers on other machines: only with their owners' consent
    #[arg(long)]
    remote: bool,
}

#[derive(Debug, Args)]
struct FakeArgs {
    /// Loopback only
    #[arg(long, default_value = "127.0.0.1:11500")]
    listen: SocketAddr,
    /// Milliseconds before each token
    #[arg(long, default_value = "0", value_parser = between(0, 60_000))]
    gap_ms: u32,
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// The server, like http://127.0.0.1:11435; another machine needs --remote
    #[arg(long)]
    url: String,
    /// The model to ask for
    #[arg(long)]
    model: String,
    /// A second server; runs alternate between the two, and the report compares them
    #[arg(long)]
    against: Option<String>,
    /// The second server's name for the model, if it has another
    #[arg(long, requires = "against")]
    against_model: Option<String>,
    /// The environment variable that holds the API key
    #[arg(long)]
    key_env: Option<String>,
    /// The one that holds the second server's
    #[arg(long, requires = "against")]
    against_key_env: Option<String>,
    /// Allow servers on other machines: only with their owners' consent
    #[arg(long)]
    remote: bool,
    /// Requests at once
    #[arg(long, default_value = "16", value_parser = between(1, 1_000))]
    streams: u32,
    /// Requests of each run
    #[arg(long, default_value = "64", value_parser = between(1, 1_000_000))]
    requests: u32,
    /// Runs for each server
    #[arg(long, default_value = "1", value_parser = between(1, 100))]
    runs: u32,
    /// Words in each text: about as many tokens
    #[arg(long, default_value = "64", value_parser = between(1, 200_000))]
    prompt_tokens: u32,
    /// Words at its start that are the same in all texts
    #[arg(long, default_value = "0", value_parser = between(0, 200_000))]
    shared_prefix: u32,
    /// Decides the texts and who leaves; random if not given, and printed
    #[arg(long)]
    seed: Option<u64>,
    /// Seconds until everything ends
    #[arg(long, default_value = "300", value_parser = between(1, 86_400))]
    seconds_max: u32,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Do not count failed requests as a failure of the whole
    #[arg(long)]
    errors_ok: bool,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// When it cannot be done, or, after the report, when requests failed.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Chat(args) => {
                let work = Work::Chat {
                    max_tokens: args.max_tokens,
                    drop: args.drop,
                    exact: args.exact,
                };
                args.load.run(work, [args.body, args.against_body]).await
            }
            Command::Embed(args) => {
                let work = Work::Embed { batch: args.batch };
                args.load.run(work, Default::default()).await
            }
            Command::Documents(args) => args.run().await,
            Command::Fake(args) => {
                let gap = Duration::from_millis(args.gap_ms.into());
                Fake { gap }.serve(args.listen).await
            }
        }
    }
}

impl DocumentsArgs {
    async fn run(self) -> anyhow::Result<()> {
        let key = key_of(self.key_env.as_deref())?;
        let target = Target::new(&self.url, key.as_deref(), self.remote)?;
        let bulk = Bulk {
            documents: self.documents.into(),
            batch: self.batch.into(),
            streams: self.streams.into(),
            bytes: self.bytes as usize,
        };
        let written = load_documents(&target, &self.database, bulk).await?;
        let (count, seconds) = (written.documents, written.took.as_secs_f64());
        let rate = written.per_second();
        say(format!(
            "{count} documents in {seconds:.2} s: {rate:.0} a second\n"
        ));
        Ok(())
    }
}

impl LoadArgs {
    async fn run(self, work: Work, bodies: [Map<String, Value>; 2]) -> anyhow::Result<()> {
        let sides = self.sides()?.into_iter().zip(bodies);
        let mut sides: Vec<_> = sides.map(|(side, body)| side.with_body(body)).collect();
        let seed = match self.seed {
            Some(seed) => seed,
            // 32 bits: every reader of JSON gets them right, and a person can type them.
            None => getrandom::u32()
                .context("the operating system gives no random bytes")?
                .into(),
        };
        let load = Load {
            work,
            prompts: Prompts {
                seed,
                words: self.prompt_tokens,
                shared: self.shared_prefix,
            },
            streams: self.streams,
            requests: self.requests,
            runs: self.runs,
            deadline: Deadline::after(Duration::from_secs(self.seconds_max.into())),
        };
        load.drive(&mut sides).await?;
        let report = Report::new(&load, &sides);
        say(if self.json {
            report.json()
        } else {
            report.table()
        });
        match report.failed() {
            0 => Ok(()),
            _ if self.errors_ok => Ok(()),
            failed => bail!("{failed} requests failed or were unfinished"),
        }
    }

    fn sides(&self) -> anyhow::Result<Vec<Side>> {
        let key = key_of(self.key_env.as_deref())?;
        let target = Target::new(&self.url, key.as_deref(), self.remote)?;
        let mut sides = vec![Side::new(target, self.model.clone())];
        if let Some(against) = &self.against {
            let key = key_of(self.against_key_env.as_deref())?;
            let target = Target::new(against, key.as_deref(), self.remote)?;
            let model = self.against_model.as_ref().unwrap_or(&self.model);
            sides.push(Side::new(target, model.clone()));
        }
        Ok(sides)
    }
}

/// Keys come from the environment, since a command line is seen by everyone on the machine.
#[expect(
    clippy::disallowed_methods,
    reason = "the one variable that is read is named on the command line"
)]
fn key_of(variable: Option<&str>) -> anyhow::Result<Option<String>> {
    let read = |name| std::env::var(name).with_context(|| format!("cannot read the key in {name}"));
    variable.map(read).transpose()
}

fn between(min: u64, max: u64) -> RangedU64ValueParser<u32> {
    RangedU64ValueParser::new().range(min..=max)
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|_| "it must be a JSON object".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share: Result<f64, _> = text.parse();
    share
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "it must be a number from 0 to 1".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    const CHAT: &str = "kwaai-load chat --model m --url http://127.0.0.1:1";

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn everything_is_bounded() {
        assert!(parse(CHAT).is_ok());
        for bad in [
            "--streams 0",
            "--streams 1001",
            "--requests 1000001",
            "--runs 101",
            "--max-tokens 100001",
            "--prompt-tokens 0",
            "--seconds-max 86401",
            "--drop 1.1",
            "--drop NaN",
            "--body [1]",
            "--exact --drop 0.5",
            "--against-model x",
        ] {
            assert!(parse(&format!("{CHAT} {bad}")).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_server_elsewhere_is_refused_before_anything_is_sent() {
        for line in [
            "kwaai-load chat --model m --url http://192.0.2.1",
            "kwaai-load documents --database d --url http://192.0.2.1/couch",
            "kwaai-load embed --model m --url http://127.0.0.1:1 --against http://192.0.2.1",
        ] {
            let cli = parse(line).expect("it is well formed");
            let refused = cli.run().await.expect_err("it is not loopback");
            assert!(refused.to_string().contains("--remote"), "{refused}");
        }
    }
}
