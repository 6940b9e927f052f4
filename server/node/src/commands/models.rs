//! `kwaainet pull` and `kwaainet models`.

use anyhow::bail;
use clap::Args;
use kwaainet_models::{Cache, Entry, pull};

use crate::config::{Config, Environment};
use crate::terminal::{self, PullProgress};
use crate::wiring;

#[derive(Debug, Args)]
pub(super) struct PullArgs {
    /// Names in the catalogue; without one, the default model.
    names: Vec<String>,
}

pub(super) async fn pull_models(
    args: PullArgs,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    let catalogue = wiring::catalogue(config)?;
    let mut entries = Vec::new();
    for name in &args.names {
        let Some(entry) = catalogue.get(name) else {
            let known: Vec<_> = catalogue.iter().map(Entry::name).collect();
            bail!(
                "'{name}' is not in the catalogue, which has: {}",
                known.join(", ")
            );
        };
        entries.push(entry);
    }
    if entries.is_empty() {
        entries.push(catalogue.default_model());
    }
    let cache = Cache::new(&config.cache_dir);
    let sources = wiring::sources(environment);
    for entry in entries {
        let progress = PullProgress::default();
        let pulled = tokio::select! {
            pulled = pull(entry, &cache, &sources, &progress) => pulled?,
            // Dropping the pull ends its downloads and takes its temporary files away.
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                bail!("interrupted");
            }
        };
        terminal::note(format!(
            "{} is ready in {}",
            entry.name(),
            pulled.dir().display()
        ));
    }
    Ok(())
}

pub(super) fn list(config: &Config) -> anyhow::Result<()> {
    let catalogue = wiring::catalogue(config)?;
    let cache = Cache::new(&config.cache_dir);
    terminal::line(format!(
        "{:<24}  {:<8}  {:>9}  {:>7}  {:<12}  {:<4}  DESCRIPTION",
        "NAME", "KIND", "MIB", "CONTEXT", "LICENCE", "HERE"
    ));
    for entry in catalogue.iter() {
        terminal::line(format!(
            "{:<24}  {:<8}  {:>9.1}  {:>7}  {:<12}  {:<4}  {}",
            entry.name(),
            entry.kind().as_str(),
            entry.bytes() as f64 / f64::from(1 << 20),
            entry.context(),
            entry.licence(),
            if cache.find(entry).is_some() {
                "yes"
            } else {
                "no"
            },
            entry.description()
        ));
    }
    Ok(())
}
