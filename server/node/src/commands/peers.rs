//! `kwaainet peers remove`.

use anyhow::bail;
use clap::Subcommand;
use kwaainet_core::{Clock, NodeId, SystemClock};
use kwaainet_identity::node_of_name;
use kwaainet_store::Store;

use crate::config::Config;
use crate::node::make_data_dir;
use crate::terminal;

/// Digits that are taken for the beginning of an id, at least.
const BEGINNING: usize = 6;

#[derive(Debug, Subcommand)]
pub(super) enum PeersCommand {
    /// End a node's membership. What runs between the two is cut within a second or so, and no invitation from before
    /// lets it in again.
    Remove {
        /// The node, by any of its names, or by the beginning of its id.
        node: String,
    },
}

pub(super) async fn run(command: PeersCommand, config: &Config) -> anyhow::Result<()> {
    make_data_dir(&config.data_dir)?;
    let store = Store::open(&config.database()).await?;
    let done = match command {
        PeersCommand::Remove { node } => remove(&node, &store).await,
    };
    store.close().await;
    done
}

async fn remove(name: &str, store: &Store) -> anyhow::Result<()> {
    let node = find(name, store).await?;
    let now = SystemClock::default().unix_ms();
    if !store.remove_member(node, now).await? {
        bail!("the node {node} is no member");
    }
    terminal::note(format!("The node {node} is no member any more."));
    Ok(())
}

/// The node of a whole name, or the one member whose id begins so.
async fn find(name: &str, store: &Store) -> anyhow::Result<NodeId> {
    let unknown = match node_of_name(name) {
        Ok(node) => return Ok(node),
        Err(error) => error,
    };
    if name.len() < BEGINNING {
        bail!(unknown);
    }
    let members = store.members().await?;
    let mut alike = members
        .iter()
        .map(|member| member.node)
        .filter(|node| node.to_string().starts_with(name));
    match (alike.next(), alike.next()) {
        (Some(node), None) => Ok(node),
        (Some(_), Some(_)) => bail!("the ids of several members begin with '{name}'"),
        (None, _) => bail!(unknown),
    }
}
