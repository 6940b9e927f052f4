//! `kwaainet invite`, `kwaainet invite list|revoke`.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kwaainet_core::{Clock, SystemClock, Tier};
use kwaainet_federation::{InvitationId, Ticket};
use kwaainet_store::{InvitationRecord, Store};

use super::identity::KeyArgs;
use super::times::{date, seconds};
use crate::config::{Config, Environment};
use crate::federation::own_address;
use crate::node::make_data_dir;
use crate::terminal;

/// Nodes that one invitation may let in at most.
const USES_MAX: i64 = 1_000;
/// An invitation is good for a year at most.
const EXPIRES_MAX_S: i64 = 366 * 86_400;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct InviteArgs {
    #[command(subcommand)]
    command: Option<InviteCommand>,
    #[command(flatten)]
    new: NewArgs,
}

#[derive(Debug, Subcommand)]
enum InviteCommand {
    /// List the invitations, and who used them. Tickets are shown only when they are made.
    List,
    /// Take an invitation back. Who used it stays a member.
    Revoke {
        /// The invitation's id, or its ticket.
        id: String,
    },
}

#[derive(Debug, Args)]
struct NewArgs {
    /// What this node takes whoever joins for: t0 (my own), t1 (invited), t2 (a swarm).
    #[arg(long, default_value = "t1", value_parser = invitable)]
    tier: Tier,
    /// For how long the ticket is good: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = validity)]
    expires: i64,
    /// How many nodes may use it.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=USES_MAX))]
    uses: u32,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(
    args: InviteArgs,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    make_data_dir(&config.data_dir)?;
    let store = Store::open(&config.database()).await?;
    let now = SystemClock::default().unix_ms();
    let done = match args.command {
        None => invite(args.new, &store, config, environment, now).await,
        Some(InviteCommand::List) => list(&store, now).await,
        Some(InviteCommand::Revoke { id }) => revoke(&id, &store, now).await,
    };
    store.close().await;
    done
}

async fn invite(
    new: NewArgs,
    store: &Store,
    config: &Config,
    environment: &Environment,
    now: i64,
) -> anyhow::Result<()> {
    let address = own_address(store).await?.context(
        "this node does not know where others could reach it: start it with the federation enabled, then \
         invite",
    )?;
    let key = new.key.load(config, environment)?;
    let invitation = InvitationRecord {
        id: InvitationId::random().0,
        tier: new.tier,
        uses: new.uses,
        created_at_ms: now,
        expires_at_ms: now + new.expires * 1_000,
        revoked_at_ms: None,
        redeemed: Vec::new(),
    };
    store.insert_invitation(&invitation).await?;
    let id = InvitationId(invitation.id);
    let expires_at_ms = invitation.expires_at_ms.max(0) as u64;
    let ticket = Ticket::issue(&key, id, new.tier, expires_at_ms, &address);
    terminal::note(format!(
        "Invitation {id}: for {} at tier {}, until {}. Whoever has the ticket can use it; it is shown this \
         once. On the other machine: kwaainet join TICKET",
        match new.uses {
            1 => "one node".to_owned(),
            uses => format!("{uses} nodes"),
        },
        new.tier,
        date(invitation.expires_at_ms),
    ));
    terminal::line(ticket.text());
    // Capitals take the least room in a code; they are read as well.
    terminal::show_code(&ticket.text().to_ascii_uppercase());
    Ok(())
}

async fn list(store: &Store, now: i64) -> anyhow::Result<()> {
    let invitations = store.invitations().await?;
    if invitations.is_empty() {
        terminal::note("There are no invitations.");
        return Ok(());
    }
    terminal::line(format!(
        "{:<32}  {:<4}  {:<8}  {:<9}  {:<10}  {:<10}  NODES",
        "ID", "TIER", "STATE", "USED", "CREATED", "EXPIRES"
    ));
    for invitation in invitations {
        let used = invitation.redeemed.len();
        let state = match &invitation {
            InvitationRecord {
                revoked_at_ms: Some(_),
                ..
            } => "revoked",
            _ if used >= invitation.uses as usize => "used up",
            _ if now >= invitation.expires_at_ms => "expired",
            _ => "good",
        };
        let nodes: Vec<_> = invitation.redeemed.iter().map(|n| n.short()).collect();
        terminal::line(format!(
            "{:<32}  {:<4}  {state:<8}  {:<9}  {:<10}  {:<10}  {}",
            InvitationId(invitation.id).to_string(),
            invitation.tier.to_string(),
            format!("{used} of {}", invitation.uses),
            date(invitation.created_at_ms),
            date(invitation.expires_at_ms),
            nodes.join(" ")
        ));
    }
    Ok(())
}

async fn revoke(text: &str, store: &Store, now: i64) -> anyhow::Result<()> {
    // A whole ticket is taken too, since that is what is at hand when one has leaked.
    let id = match Ticket::parse(text) {
        Ok(ticket) => ticket.id,
        Err(_) => text.parse()?,
    };
    if !store.revoke_invitation(id.0, now).await? {
        bail!("there is no invitation with the id {id}");
    }
    terminal::note(format!(
        "The invitation {id} is revoked. Nodes that used it stay members: 'kwaainet peers remove NODE' ends that."
    ));
    Ok(())
}

fn invitable(text: &str) -> anyhow::Result<Tier> {
    match text.parse()? {
        Tier::T3 => bail!("nobody is invited to t3: it is everybody"),
        tier => Ok(tier),
    }
}

fn validity(text: &str) -> anyhow::Result<i64> {
    match seconds(text)? {
        span if span <= EXPIRES_MAX_S => Ok(span),
        _ => bail!("a ticket is good for at most a year"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_have_bounds() {
        assert_eq!(invitable("t0").ok(), Some(Tier::T0));
        assert!(invitable("t3").is_err() && invitable("t4").is_err());
        assert_eq!(validity("366d").ok(), Some(EXPIRES_MAX_S));
        assert!(validity("367d").is_err());
    }
}
