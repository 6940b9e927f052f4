//! `kwaainet receipt export|verify`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Subcommand;
use data_encoding::HEXLOWER;
use kwaainet_core::NodeId;
use kwaainet_federation::{Checked, RECEIPTS_HEADER, ReceiptFile, receipt_line};
use kwaainet_identity::{BadNodeName, node_of_name};
use kwaainet_store::Store;

use crate::config::Config;
use crate::node::make_data_dir;
use crate::terminal;

/// Receipts that are read from the database at once.
const PAGE: u32 = 256;
/// Bytes of a line at most. Those of a receipt have about a thousand.
const LINE_MAX: u64 = 64 << 10;

#[derive(Debug, Subcommand)]
pub(super) enum ReceiptCommand {
    /// Check a file of receipts, offline, and say what they say. The exit code is 1 if one is not good.
    Verify {
        /// What 'kwaainet receipt export' wrote.
        file: PathBuf,
    },
    /// Write the receipts that this node made and got, oldest first, one a line.
    Export {
        /// Only those with this node.
        #[arg(long, value_name = "NODE", value_parser = node)]
        peer: Option<NodeId>,
    },
}

fn node(name: &str) -> Result<NodeId, BadNodeName> {
    node_of_name(name)
}

pub(super) async fn run(command: ReceiptCommand, config: &Config) -> anyhow::Result<()> {
    match command {
        ReceiptCommand::Verify { file } => verify(&file),
        ReceiptCommand::Export { peer } => {
            make_data_dir(&config.data_dir)?;
            let store = Store::open(&config.database()).await?;
            let done = export(peer, &store).await;
            store.close().await;
            done
        }
    }
}

async fn export(peer: Option<NodeId>, store: &Store) -> anyhow::Result<()> {
    terminal::line(RECEIPTS_HEADER);
    let mut after = 0;
    loop {
        let page = store.services(peer, after, PAGE).await?;
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        after = *last;
        let lines = page
            .iter()
            .map(|(_, kept)| receipt_line(&kept.receipt, kept.counter.as_deref()) + "\n");
        terminal::piece(&lines.collect::<String>());
    }
}

fn verify(path: &Path) -> anyhow::Result<()> {
    let unreadable = || format!("the file {} cannot be read", path.display());
    let mut text = BufReader::new(File::open(path).with_context(unreadable)?);
    let mut file = ReceiptFile::new();
    let (mut good, mut countersigned) = (0_u64, 0_u64);
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
        if let Some(checked) = checked {
            good += 1;
            countersigned += u64::from(checked.countersigned);
            terminal::line(says(&checked));
        }
    }
    file.end()
        .map_err(|what| anyhow!("{} holds no receipts: {what}", path.display()))?;
    terminal::line(format!(
        "good: {good} receipts, {countersigned} of them countersigned"
    ));
    Ok(())
}

/// All that a receipt says, in one line.
fn says(checked: &Checked) -> String {
    let receipt = &checked.receipt;
    let (place, service) = (receipt.place, &receipt.service);
    let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
    let model = service
        .model
        .map_or_else(|| "unknown".to_owned(), |digest| digest.to_string());
    format!(
        "server={} asker={} chain={} number={} request={} question={} model={model} prompt_tokens={} \
         cached_tokens={} completion_tokens={} began_ms={} duration_ms={} energy_mj={} energy={} transcript={} \
         complete={} countersigned={}",
        receipt.server,
        receipt.asker,
        place.chain,
        place.number,
        hex(&service.request),
        hex(&service.request_hash),
        service.usage.prompt_tokens,
        service.usage.cached_tokens,
        service.usage.completion_tokens,
        service.began_ms,
        service.duration_ms,
        service.energy_mj,
        service.energy_method,
        hex(&service.transcript_hash),
        service.complete,
        checked.countersigned,
    )
}
