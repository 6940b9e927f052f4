//! `kwaainet peers`.

use std::collections::BTreeSet;

use anyhow::bail;
use clap::Subcommand;
use kwaainet_core::{Clock, NodeId, SystemClock, Tier};
use kwaainet_identity::node_of_name;
use kwaainet_store::Store;
use serde_json::Value;

use crate::client::NodeClient;
use crate::config::{Config, Environment};
use crate::node::make_data_dir;
use crate::terminal;

/// Digits that are taken for the beginning of an id, at least.
const BEGINNING: usize = 6;

#[derive(Debug, Subcommand)]
pub(super) enum PeersCommand {
    /// Ask the running node how its members are.
    List {
        /// As the node says it.
        #[arg(long)]
        json: bool,
    },
    /// Say how far this node trusts another that it knows, like one that a member introduced. That another node is
    /// your own, only you can say.
    Trust {
        /// The node, by any of its names, or by the beginning of its id.
        node: String,
        /// t0 (my own), t1 (invited), t2 (a swarm).
        #[arg(long)]
        tier: Tier,
    },
    /// End a node's membership. What runs between the two is cut within a second or so, and no invitation from before
    /// lets it in again.
    Remove {
        /// The node, by any of its names, or by the beginning of its id.
        node: String,
    },
}

pub(super) async fn run(
    command: PeersCommand,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    if let PeersCommand::List { json } = command {
        return list(json, config, environment).await;
    }
    make_data_dir(&config.data_dir)?;
    let store = Store::open(&config.database()).await?;
    let done = match &command {
        PeersCommand::List { .. } => Ok(()),
        PeersCommand::Trust { node, tier } => trust(node, *tier, &store).await,
        PeersCommand::Remove { node } => remove(node, &store).await,
    };
    store.close().await;
    done
}

async fn list(json: bool, config: &Config, environment: &Environment) -> anyhow::Result<()> {
    let node = NodeClient::new(config.listen, environment)?;
    let peers = node.get("/v1/kwaai/peers").await?;
    if json {
        terminal::line(serde_json::to_string_pretty(&peers)?);
        return Ok(());
    }
    let Some(own) = peers["node"].as_str() else {
        terminal::line("This node works alone: set federation.enabled.");
        return Ok(());
    };
    terminal::line(format!("This node is {own}."));
    for peer in peers["data"].as_array().into_iter().flatten() {
        terminal::line(row(peer));
    }
    Ok(())
}

/// One line for people.
fn row(peer: &Value) -> String {
    let text = |field: &str| peer[field].as_str().unwrap_or("-");
    let models = peer["models"].as_array().into_iter().flatten();
    let models: Vec<_> = models.filter_map(|model| model["id"].as_str()).collect();
    let load = &peer["load"];
    format!(
        "{:.10}  {:<10} {}  {:>6.1} ms {:<7}  {} running, {} waiting  {}{}{}",
        text("id"),
        text("state"),
        text("tier"),
        peer["rtt_ms"].as_f64().unwrap_or_default(),
        text("path"),
        load["running"],
        load["queued"],
        models.join(", "),
        peer["introduced_by"]
            .as_str()
            .map(|by| format!("  introduced by {by:.10}"))
            .unwrap_or_default(),
        peer["reason"]
            .as_str()
            .map(|reason| format!("  ({reason})"))
            .unwrap_or_default(),
    )
}

async fn trust(name: &str, tier: Tier, store: &Store) -> anyhow::Result<()> {
    if tier == Tier::T3 {
        bail!("nobody is made a member of t3: it is everybody");
    }
    let node = find(name, store).await?;
    let words = store.introductions().await?;
    let word = words.iter().rfind(|word| word.node == node);
    let members = store.members().await?;
    if word.is_none() && members.iter().all(|member| member.node != node) {
        bail!("the node {node} is not known here: it has to be invited, or introduced by a member");
    }
    let address = word.map_or(&[][..], |word| &word.address);
    let now = SystemClock::default().unix_ms();
    store.trust_member(node, tier, address, now).await?;
    terminal::note(format!("The node {node} is a member of tier {tier}."));
    Ok(())
}

/// One that others introduced is written down as removed, so that they do not bring it in again.
async fn remove(name: &str, store: &Store) -> anyhow::Result<()> {
    let node = find(name, store).await?;
    let now = SystemClock::default().unix_ms();
    let words = store.introductions().await?;
    let was_introduced = words.iter().any(|word| word.node == node);
    let is_removed = store.remove_member(node, now).await?
        || (was_introduced && store.refuse_member(node, now).await?);
    if !is_removed {
        bail!("the node {node} is no member");
    }
    terminal::note(format!("The node {node} is no member any more."));
    Ok(())
}

/// The node of a whole name, or the one that is known here and whose id begins so.
async fn find(name: &str, store: &Store) -> anyhow::Result<NodeId> {
    let unknown = match node_of_name(name) {
        Ok(node) => return Ok(node),
        Err(error) => error,
    };
    if name.len() < BEGINNING {
        bail!(unknown);
    }
    let mut known: BTreeSet<NodeId> = BTreeSet::new();
    known.extend(store.members().await?.iter().map(|member| member.node));
    known.extend(store.introductions().await?.iter().map(|word| word.node));
    let mut alike = known
        .into_iter()
        .filter(|node| node.to_string().starts_with(name));
    match (alike.next(), alike.next()) {
        (Some(node), None) => Ok(node),
        (Some(_), Some(_)) => bail!("the ids of several members begin with '{name}'"),
        (None, _) => bail!(unknown),
    }
}
