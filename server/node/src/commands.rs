//! The command line: one file a command, each thin over the parts it uses.

mod bench;
mod doctor;
mod identity;
mod invite;
mod join;
mod keys;
mod ledger;
mod models;
mod peers;
mod receipt;
mod relay;
mod route;
mod run;
mod serve;
mod times;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Effective, Environment, Flags};
use crate::{VERSION, door, terminal};

/// A node that you own: it answers OpenAI's API from its own engine.
#[derive(Debug, Parser)]
#[command(
    name = "kwaainet",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every command takes; they beat the environment and the file.
#[derive(Debug, Args)]
struct Common {
    /// Configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the HTTP door listens.
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Holds the database.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Holds the models; shared by all data directories.
    #[arg(long, global = true, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// A model of the catalogue or a GGUF file; may be given several times.
    #[arg(long = "model", global = true, value_name = "NAME|PATH")]
    models: Vec<String>,
    /// What is logged: error, warn, info, debug, or a filter as tracing writes them.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the node.
    Serve,
    /// Answer one prompt in the terminal.
    Run(run::RunArgs),
    /// Fetch and verify models.
    Pull(models::PullArgs),
    /// List the catalogue and what is here.
    Models,
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Show, export, import, restore and change this node's key.
    #[command(subcommand)]
    Identity(identity::IdentityCommand),
    /// Make a ticket with which another node may join this one; list and revoke invitations.
    Invite(invite::InviteArgs),
    /// Join the node that made a ticket.
    Join(join::JoinArgs),
    /// Manage the nodes that this one works with.
    #[command(subcommand)]
    Peers(peers::PeersCommand),
    /// Let members who cannot reach each other meet here.
    Relay(relay::RelayArgs),
    /// Say what keeps this node from starting, and what keeps it and the other members from meeting.
    Doctor(doctor::DoctorArgs),
    /// List, export, check and compare the signed receipts of work between nodes.
    #[command(subcommand)]
    Receipt(receipt::ReceiptCommand),
    /// Export and check the ledger of rewards.
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// Ask the running node where requests go.
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Show the configuration that holds, with where each value came from.
    Config,
    /// Print the OpenAPI document.
    Openapi,
    /// Measure the local engine.
    Bench(bench::BenchArgs),
    /// Print the version.
    Version,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// With a sentence for the person at the terminal.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Version => {
                terminal::line(format!("kwaainet {VERSION}"));
                return Ok(ExitCode::SUCCESS);
            }
            Command::Openapi => {
                terminal::line(door::document().to_pretty_json()?);
                return Ok(ExitCode::SUCCESS);
            }
            _ => {}
        }
        let environment = Environment::of_process();
        let effective = Effective::load(&self.common.flags(), &environment)?;
        let config = effective.config.clone();
        match self.command {
            Command::Serve => return serve::serve(config, &environment).await,
            Command::Relay(args) => return relay::relay(args, config).await,
            Command::Doctor(args) => return doctor::doctor(args, &config, &environment).await,
            Command::Run(args) => run::run(args, config, &environment).await?,
            Command::Pull(args) => models::pull_models(args, &config, &environment).await?,
            Command::Models => models::list(&config)?,
            Command::Keys(command) => keys::run(command, &config).await?,
            Command::Identity(command) => identity::run(command, &config, &environment).await?,
            Command::Invite(args) => invite::run(args, &config, &environment).await?,
            Command::Join(args) => join::join(args, &config).await?,
            Command::Peers(command) => peers::run(command, &config, &environment).await?,
            Command::Receipt(command) => receipt::run(command, &config).await?,
            Command::Ledger(command) => ledger::run(command, &config).await?,
            Command::Route(command) => route::run(command, &config, &environment).await?,
            Command::Config => terminal::piece(&effective.describe()),
            Command::Bench(args) => bench::bench(args, config, &environment).await?,
            Command::Version | Command::Openapi => unreachable!("done above"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Common {
    fn flags(&self) -> Flags {
        Flags {
            file: self.config.clone(),
            listen: self.listen.clone(),
            data_dir: self.data_dir.clone(),
            cache_dir: self.cache_dir.clone(),
            models: self.models.clone(),
            log: self.log.clone(),
        }
    }
}
