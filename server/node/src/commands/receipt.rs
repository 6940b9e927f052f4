//! `kwaainet receipt list|export|verify|compare`.

mod text;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use kwaainet_core::NodeId;
use kwaainet_federation::{
    Checked, Difference, RECEIPTS_HEADER, ReceiptFile, SignedReceipt, compare_receipts,
    receipt_line,
};
use kwaainet_identity::{BadNodeName, node_of_name};
use kwaainet_store::{ServiceRecord, Store, StoreError};

use crate::config::Config;
use crate::node::make_data_dir;
use crate::terminal;

/// Receipts that are read from the database at once.
const PAGE: u32 = 256;
/// Bytes of a line at most. Those of a receipt have about a thousand.
const LINE_MAX: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum ReceiptCommand {
    /// Say what is in this node's book, one a line: receipts and checkpoints with their state, and what this node saw
    /// of requests without a receipt.
    List {
        /// Only those with this node.
        #[arg(long, value_name = "NODE", value_parser = node)]
        peer: Option<NodeId>,
    },
    /// Check a file of receipts, offline, and say what they say. The exit code is 1 if one is not good.
    Verify {
        /// What 'kwaainet receipt export' wrote.
        file: PathBuf,
    },
    /// Write the receipts that this node made and got, one a line, in an order that is the same on both sides.
    Export {
        /// Only those with this node.
        #[arg(long, value_name = "NODE", value_parser = node)]
        peer: Option<NodeId>,
    },
    /// Check the files of two nodes, and say which of the receipts between the two differ. The exit code is 1 if one
    /// does.
    Compare {
        /// What 'kwaainet receipt export' wrote on one of them,
        first: PathBuf,
        /// and on the other.
        second: PathBuf,
    },
}

fn node(name: &str) -> Result<NodeId, BadNodeName> {
    node_of_name(name)
}

pub(super) async fn run(command: ReceiptCommand, config: &Config) -> anyhow::Result<()> {
    match command {
        ReceiptCommand::Verify { file } => verify(&file),
        ReceiptCommand::Compare { first, second } => compare(&first, &second),
        ReceiptCommand::List { peer } => {
            let store = open(config).await?;
            let done = list(peer, &store).await;
            store.close().await;
            done
        }
        ReceiptCommand::Export { peer } => {
            let store = open(config).await?;
            let done = export(peer, &store).await;
            store.close().await;
            done
        }
    }
}

async fn open(config: &Config) -> anyhow::Result<Store> {
    make_data_dir(&config.data_dir)?;
    Ok(Store::open(&config.database()).await?)
}

async fn export(peer: Option<NodeId>, store: &Store) -> anyhow::Result<()> {
    terminal::line(RECEIPTS_HEADER);
    let line = |kept: &ServiceRecord| receipt_line(&kept.receipt, kept.counter.as_deref());
    Ok(each_page(peer, store, line).await?)
}

async fn list(peer: Option<NodeId>, store: &Store) -> anyhow::Result<()> {
    let line = |kept: &ServiceRecord| match SignedReceipt::open(&kept.receipt) {
        Ok(receipt) => {
            let countersigned = kept.counter.is_some();
            let said = text::says(&receipt, countersigned);
            format!("{said} returned={}", kept.returned)
        }
        Err(error) => format!("state=changed: {error}"),
    };
    each_page(peer, store, line).await?;
    let mut after = None;
    loop {
        let claims = store.claims(after, PAGE).await?;
        let Some(last) = claims.last() else {
            return Ok(());
        };
        after = Some((last.server, last.request));
        let of_peer = |server| peer.is_none_or(|peer| peer == server);
        let shown = claims.iter().filter(|claim| of_peer(claim.server));
        shown.for_each(|claim| terminal::line(text::claims(claim)));
    }
}

/// Prints a line for each receipt.
async fn each_page(
    peer: Option<NodeId>,
    store: &Store,
    line: impl Fn(&ServiceRecord) -> String,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.services(peer, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.place);
        let lines = page.iter().map(|kept| line(kept) + "\n");
        terminal::piece(&lines.collect::<String>());
    }
}

fn verify(path: &Path) -> anyhow::Result<()> {
    let (mut receipts, mut checkpoints, mut countersigned) = (0_u64, 0_u64, 0_u64);
    read(path, |checked| {
        match checked.receipt.place.link() {
            Some(_) => receipts += 1,
            None => checkpoints += 1,
        }
        countersigned += u64::from(checked.countersigned);
        terminal::line(text::says(&checked.receipt, checked.countersigned));
    })?;
    let good = receipts + checkpoints;
    terminal::line(format!(
        "good: {good} receipts, {countersigned} of them countersigned, {checkpoints} of them checkpoints"
    ));
    Ok(())
}

fn compare(first: &Path, second: &Path) -> anyhow::Result<()> {
    let all = |path: &Path| -> anyhow::Result<Vec<Checked>> {
        let mut all = Vec::new();
        read(path, |checked| all.push(checked))?;
        Ok(all)
    };
    let compared = compare_receipts(&all(first)?, &all(second)?);
    for (receipt, difference) in &compared.differences {
        let what = match difference {
            Difference::OnlyInFirst => format!("only in {}", first.display()),
            Difference::OnlyInSecond => format!("only in {}", second.display()),
            Difference::SignedInFirst => format!("countersigned only in {}", first.display()),
            Difference::SignedInSecond => format!("countersigned only in {}", second.display()),
        };
        terminal::line(format!("{what}: {}", text::place(receipt)));
    }
    let (same, differ) = (compared.same, compared.differences.len());
    if differ > 0 {
        bail!("{differ} receipts between the two differ, {same} are the same");
    }
    terminal::line(format!("the two agree: {same} receipts"));
    Ok(())
}

/// Checks a file, receipt by receipt.
fn read(path: &Path, mut found: impl FnMut(Checked)) -> anyhow::Result<()> {
    let unreadable = || format!("the file {} cannot be read", path.display());
    let mut text = BufReader::new(File::open(path).with_context(unreadable)?);
    let mut file = ReceiptFile::new();
    for number in 1_u64.. {
        let mut line = Vec::new();
        (&mut text)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line)
            .with_context(unreadable)?;
        if line.is_empty() {
            break;
        }
        let line = std::str::from_utf8(&line).map_err(|_| "it is no text".to_owned());
        let checked = line.and_then(|line| file.check(line));
        let checked = checked.map_err(|what| anyhow!("line {number} is not good: {what}"))?;
        checked.into_iter().for_each(&mut found);
    }
    file.end()
        .map_err(|what| anyhow!("{} holds no receipts: {what}", path.display()))
}
