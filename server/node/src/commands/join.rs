//! `kwaainet join`.

use std::io::Read;

use anyhow::{Context, bail};
use clap::Args;
use kwaainet_core::{Clock, SystemClock, Tier};
use kwaainet_federation::Ticket;
use kwaainet_store::Store;

use crate::config::Config;
use crate::identity::key_file;
use crate::node::make_data_dir;
use crate::terminal;

/// Bytes of standard input that may be a ticket.
const INPUT_MAX: u64 = 8_192;

#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// The ticket, which begins with kwaai1; or - to read it from standard input.
    ticket: String,
    /// How far this node trusts the other: t0 (my own), t1 (invited), t2 (a swarm). Without it as the ticket says, but
    /// never more than t1: that the other node is your own, only you can say.
    #[arg(long)]
    tier: Option<Tier>,
}

/// Works whether the node runs or not: one that runs sees a new member within a second.
pub(super) async fn join(args: JoinArgs, config: &Config) -> anyhow::Result<()> {
    let ticket = read(&args.ticket)?;
    let now = SystemClock::default().unix_ms();
    if now >= 0 && now as u64 >= ticket.expires_at_ms {
        bail!("the ticket has expired: ask for a new one");
    }
    make_data_dir(&config.data_dir)?;
    let own = key_file(config).facts()?;
    if own.is_some_and(|own| own.node == ticket.issuer) {
        bail!("this is a ticket of this very node: it is for another one");
    }
    let tier = args.tier.unwrap_or(ticket.tier.max(Tier::T1));
    let address = ticket.address.to_bytes();
    let store = Store::open(&config.database()).await?;
    let joined = store
        .join_member(ticket.issuer, tier, &address, ticket.as_bytes(), now)
        .await;
    store.close().await;
    joined?;
    terminal::note(format!(
        "This node works with the node {} from now on, as tier {tier}. It shows it the invitation when it runs \
         with the federation enabled; if it runs already, within seconds.",
        ticket.issuer.short()
    ));
    terminal::line(ticket.issuer.to_string());
    Ok(())
}

fn read(argument: &str) -> anyhow::Result<Ticket> {
    if argument != "-" {
        return Ok(Ticket::parse(argument)?);
    }
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_MAX)
        .read_to_string(&mut text)
        .context("the ticket cannot be read from standard input")?;
    Ok(Ticket::parse(&text)?)
}
