//! `kwaainet join`.

use std::io::{BufRead, IsTerminal};

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
    /// The ticket, which begins with kwaai1; it may have come apart at spaces and line ends. Nothing, or -, reads it
    /// from standard input.
    ticket: Vec<String>,
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

fn read(words: &[String]) -> anyhow::Result<Ticket> {
    match words {
        [] => {}
        [dash] if dash == "-" => {}
        words => return Ok(Ticket::parse(&words.concat())?),
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        terminal::note("Paste the ticket:");
    }
    pasted(input.lock())
}

/// Takes lines until they are a ticket, so that nobody has to end the input.
fn pasted(input: impl BufRead) -> anyhow::Result<Ticket> {
    let mut text = String::new();
    let mut input = input.take(INPUT_MAX);
    loop {
        let read = input.read_line(&mut text);
        let read = read.context("the ticket cannot be read from standard input")?;
        match Ticket::parse(&text) {
            Err(error) if read == 0 => return Err(error.into()),
            Err(_) => {}
            Ok(ticket) => return Ok(ticket),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_federation::{InvitationId, PeerAddress};
    use kwaainet_identity::NodeKey;
    use std::io::{self, BufReader, Read};

    /// Whoever reads on after the ticket waits for ever.
    struct Terminal;

    impl Read for Terminal {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("nobody types anything more"))
        }
    }

    #[test]
    fn a_ticket_may_be_pasted_in_pieces() {
        let key = NodeKey::generate();
        let id = InvitationId::random();
        let ticket = Ticket::issue(&key, id, Tier::T1, 5, &PeerAddress::default());
        let text = ticket.text();
        let pieces: Vec<_> = text.as_bytes().chunks(40).collect();
        let pieces: Vec<_> = pieces
            .into_iter()
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
            .collect();
        assert_eq!(read(&pieces).ok(), Some(ticket.clone()));
        for lines in [pieces.join("\n"), pieces.join(" \r\n\n  ")] {
            let lines = format!("\n{lines}\n");
            let typed = BufReader::new(lines.as_bytes().chain(Terminal));
            assert_eq!(pasted(typed).ok(), Some(ticket.clone()), "{lines:?}");
        }
        let cut = pasted(&text.as_bytes()[..60]);
        assert!(cut.is_err());
        let endless = BufReader::new(io::repeat(b'a'));
        assert!(pasted(endless).is_err(), "it is bounded");
    }
}
