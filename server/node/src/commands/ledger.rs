//! `kwaainet ledger export|verify`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Subcommand, ValueEnum};
use data_encoding::HEXLOWER;
use kwaainet_core::NodeId;
use kwaainet_core::merkle::Checkpoint;
use kwaainet_identity::{BadNodeName, node_of_name, open_note};
use kwaainet_rewards::{
    Account, AccountId, CSV_HEAD, LedgerCheck, LedgerEnd, Line, Numbered, TARIFF,
    beancount_account, beancount_balance, beancount_head, beancount_transfer, csv_line,
};
use kwaainet_store::{LedgerSnapshot, Log, Store};

use crate::audit::record_at_terminal;
use crate::config::Config;
use crate::identity::key_file;
use crate::node::make_data_dir;
use crate::rewards::origin;
use crate::terminal;

/// Rows that are read from the database at once.
const PAGE: u32 = 512;
/// Bytes of a line at most. Those that are written have about five hundred.
const LINE_MAX: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerCommand {
    /// Check a ledger, offline: its Merkle tree against the node's signed checkpoints, its rules, its sums. The exit
    /// code is 1 if it is not good.
    Verify {
        /// What 'kwaainet ledger export' wrote. Without it this node's own database is checked.
        file: Option<PathBuf>,
        /// The node that must have signed it, by any of its names.
        #[arg(long, value_name = "NODE", value_parser = node)]
        node: Option<NodeId>,
    },
    /// Write the whole ledger, oldest transfer first.
    Export {
        /// For whom: jsonl can be verified, beancount and csv are for other programs.
        #[arg(long, default_value = "jsonl")]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    Jsonl,
    Csv,
    Beancount,
}

fn node(name: &str) -> Result<NodeId, BadNodeName> {
    node_of_name(name)
}

pub(super) async fn run(command: LedgerCommand, config: &Config) -> anyhow::Result<()> {
    let format = match command {
        LedgerCommand::Verify {
            file: Some(file),
            node,
        } => return verify_file(&file, node),
        LedgerCommand::Verify { file: None, node } => {
            if let (Some(wanted), Some(own)) = (node, own(config)?) {
                demand(wanted, own)?;
            }
            None
        }
        LedgerCommand::Export { format } => Some(format),
    };
    make_data_dir(&config.data_dir)?;
    let store = Store::open(&config.database()).await?;
    if format.is_some() {
        record_at_terminal(&store, "rewards.export", "", "ledger").await?;
    }
    let snapshot = store.ledger_snapshot().await?;
    let done = match format {
        None => verify_own(snapshot, config).await,
        Some(Format::Jsonl) => export_lines(snapshot, config).await,
        Some(Format::Csv) => export_csv(snapshot).await,
        Some(Format::Beancount) => export_beancount(snapshot).await,
    };
    store.close().await;
    done
}

/// This node's id, if it has a key.
fn own(config: &Config) -> anyhow::Result<Option<NodeId>> {
    Ok(key_file(config).facts()?.map(|facts| facts.node))
}

fn demand(wanted: NodeId, found: NodeId) -> anyhow::Result<()> {
    if wanted != found {
        bail!("the ledger is that of {found}, not of {wanted}");
    }
    Ok(())
}

async fn export_lines(mut snapshot: LedgerSnapshot, config: &Config) -> anyhow::Result<()> {
    let node = own(config)?.context("this node has no key yet, so its ledger belongs to nobody")?;
    let head = Line::Ledger {
        version: 1,
        origin: origin(node, Log::Ledger),
        node: node.to_string(),
        tariff: HEXLOWER.encode(&TARIFF.hash()),
    };
    terminal::piece(&head.text());
    for note in snapshot.checkpoints().await? {
        terminal::piece(&Line::Checkpoint { note }.text());
    }
    for account in accounts(&mut snapshot).await? {
        terminal::piece(&Line::Account((&account).into()).text());
    }
    each(&mut snapshot, |transfer| {
        terminal::piece(&Line::Transfer(transfer.into()).text());
        Ok(())
    })
    .await
}

async fn export_csv(mut snapshot: LedgerSnapshot) -> anyhow::Result<()> {
    terminal::piece(CSV_HEAD);
    each(&mut snapshot, |transfer| {
        terminal::piece(&csv_line(transfer));
        Ok(())
    })
    .await
}

async fn export_beancount(mut snapshot: LedgerSnapshot) -> anyhow::Result<()> {
    terminal::piece(&beancount_head());
    let accounts = accounts(&mut snapshot).await?;
    for account in &accounts {
        terminal::piece(&beancount_account(account, Some(&account.subject)));
    }
    let by_id: HashMap<AccountId, &Account> = accounts
        .iter()
        .map(|account| (account.id, account))
        .collect();
    let mut last_ns = 0;
    each(&mut snapshot, |transfer| {
        let ends = (
            transfer.posted.transfer.debit,
            transfer.posted.transfer.credit,
        );
        let (debit, credit) = (by_id.get(&ends.0), by_id.get(&ends.1));
        let known = debit
            .zip(credit)
            .context("a transfer names an account that is not there");
        let (debit, credit) = known?;
        terminal::piece(&beancount_transfer(transfer, debit, credit));
        last_ns = transfer.posted.at_ns;
        Ok(())
    })
    .await?;
    for account in &accounts {
        terminal::piece(&beancount_balance(account, last_ns));
    }
    Ok(())
}

async fn accounts(snapshot: &mut LedgerSnapshot) -> anyhow::Result<Vec<Account>> {
    let mut accounts: Vec<Account> = Vec::new();
    loop {
        let after = accounts.last().map(|account| account.id);
        let page = snapshot.accounts(after, PAGE).await?;
        if page.is_empty() {
            return Ok(accounts);
        }
        accounts.extend(page);
    }
}

async fn each(
    snapshot: &mut LedgerSnapshot,
    mut visit: impl FnMut(&Numbered) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut from = 0;
    loop {
        let page = snapshot.transfers(from, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        from = last.index + 1;
        page.iter().try_for_each(&mut visit)?;
    }
}

/// Checks the database itself, also that the tree that is kept there is that over the transfers.
async fn verify_own(mut snapshot: LedgerSnapshot, config: &Config) -> anyhow::Result<()> {
    let mut check = LedgerCheck::default();
    let head = snapshot.head().await?;
    check.checkpoint(head.size, head.root)?;
    let (mut signed, own) = (0, own(config)?);
    for note in snapshot.checkpoints().await? {
        let node = own.context("there are signed checkpoints, but this node has no key")?;
        let checkpoint = opened(&note, &origin(node, Log::Ledger), node)?;
        check.checkpoint(checkpoint.size, checkpoint.root)?;
        signed += 1;
    }
    for account in accounts(&mut snapshot).await? {
        check.account(account)?;
    }
    each(&mut snapshot, |transfer| Ok(check.transfer(transfer)?)).await?;
    tell(&check.end()?, signed, own);
    Ok(())
}

fn verify_file(path: &Path, wanted: Option<NodeId>) -> anyhow::Result<()> {
    let unreadable = || format!("the file {} cannot be read", path.display());
    let mut text = BufReader::new(File::open(path).with_context(unreadable)?);
    let (mut check, mut owner, mut signed) = (LedgerCheck::default(), None, 0);
    for number in 1_u64.. {
        let mut line = String::new();
        (&mut text)
            .take(LINE_MAX)
            .read_line(&mut line)
            .with_context(unreadable)?;
        if line.is_empty() {
            break;
        }
        let line = read(&line).and_then(|line| take(line, &mut check, &mut owner));
        signed += line.map_err(|what| anyhow!("line {number} is not good: {what:#}"))?;
    }
    let (node, _) = owner.with_context(|| format!("{} holds no ledger", path.display()))?;
    if let Some(wanted) = wanted {
        demand(wanted, node)?;
    }
    tell(&check.end()?, signed, Some(node));
    Ok(())
}

fn read(line: &str) -> anyhow::Result<Line> {
    let line = line.strip_suffix('\n').context("it is cut off")?;
    Ok(serde_json::from_str(line)?)
}

/// Takes a line of a file; says how many checkpoints it was.
fn take(
    line: Line,
    check: &mut LedgerCheck,
    owner: &mut Option<(NodeId, String)>,
) -> anyhow::Result<u32> {
    match (line, &owner) {
        (
            Line::Ledger {
                version,
                origin,
                node,
                ..
            },
            None,
        ) => {
            if version != 1 {
                bail!("its version is unknown");
            }
            *owner = Some((node_of_name(&node)?, origin));
        }
        (Line::Ledger { .. }, Some(_)) => bail!("a second ledger begins"),
        (_, None) => bail!("the first line does not say whose ledger it is"),
        (Line::Checkpoint { note }, Some((node, origin))) => {
            let checkpoint = opened(&note, origin, *node)?;
            check.checkpoint(checkpoint.size, checkpoint.root)?;
            return Ok(1);
        }
        (Line::Account(line), Some(_)) => check.account(Account::try_from(&line)?)?,
        (Line::Transfer(line), Some(_)) => check.transfer(&Numbered::try_from(&line)?)?,
    }
    Ok(0)
}

fn opened(note: &str, origin: &str, node: NodeId) -> anyhow::Result<Checkpoint> {
    let text = open_note(note, origin, node).context("a checkpoint is not good")?;
    let checkpoint = Checkpoint::parse(text).context("a checkpoint is malformed")?;
    if checkpoint.origin != origin {
        bail!("a checkpoint is that of another log");
    }
    Ok(checkpoint)
}

fn tell(end: &LedgerEnd, signed: u32, node: Option<NodeId>) {
    let by = node.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    terminal::line(format!(
        "good: {} transfers, {} of them pending, {} accounts, root {}, {signed} checkpoints signed by {by}",
        end.transfers,
        end.pending,
        end.accounts,
        HEXLOWER.encode(&end.root),
    ));
}
