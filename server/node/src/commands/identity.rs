//! `kwaainet identity show|export|import|phrase|restore|rotate`.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kwaainet_core::{Clock, NodeId, SystemClock};
use kwaainet_identity::{
    KeyFile, NodeKey, Passphrase, did_key, key_of_phrase, peer_id, recovery_phrase,
};
use kwaainet_store::Store;
use zeroize::Zeroizing;

use crate::audit::record_at_terminal;
use crate::config::{Config, Environment};
use crate::identity::{PASSPHRASE_VARIABLE, key_file, load_history, passphrase, save_history};
use crate::keyring::rotation::share_with_next;
use crate::node::{DataDirLock, make_data_dir};
use crate::terminal;

/// Bytes of 24 words, with room for spaces.
const PHRASE_BYTES_MAX: u64 = 4_096;

#[derive(Debug, Subcommand)]
pub(super) enum IdentityCommand {
    /// Show who this node is, under all its names. Its key is made if it has none.
    Show(KeyArgs),
    /// Write the key to a file, sealed with the passphrase, to be kept or moved to another machine.
    Export {
        /// The file, which must not be there yet.
        file: PathBuf,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Make the key of an exported file this node's own, if it has none.
    Import {
        /// The exported file.
        file: PathBuf,
        /// Keep the key without a passphrase from now on.
        #[arg(long)]
        unsealed: bool,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// Print the key as 24 words to be written down. Whoever has them is this node.
    Phrase(KeyArgs),
    /// Make the key of 24 words, read from the standard input, this node's own, if it has none.
    Restore(KeyArgs),
    /// Put a new key in the place of this node's, and keep what shows that both are the same node's. The node must not
    /// be running.
    Rotate(KeyArgs),
}

/// Where the passphrase of a key comes from.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// Holds the passphrase of the node's key. Without it the variable KWAAINET_KEY_PASSPHRASE does, if there is one.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl KeyArgs {
    fn passphrase(&self, environment: &Environment) -> anyhow::Result<Option<Passphrase>> {
        Ok(passphrase(environment, self.passphrase_file.as_deref())?)
    }

    fn demand(&self, environment: &Environment, what: &str) -> anyhow::Result<Passphrase> {
        self.passphrase(environment)?.with_context(|| {
            format!(
                "{what} needs a passphrase: set {PASSPHRASE_VARIABLE} or give --passphrase-file"
            )
        })
    }

    /// The node's key, which must be there.
    pub(super) fn load(
        &self,
        config: &Config,
        environment: &Environment,
    ) -> anyhow::Result<NodeKey> {
        Ok(key_file(config).load(self.passphrase(environment)?.as_ref())?)
    }
}

pub(super) async fn run(
    command: IdentityCommand,
    config: &Config,
    environment: &Environment,
) -> anyhow::Result<()> {
    make_data_dir(&config.data_dir)?;
    let own = key_file(config);
    match command {
        IdentityCommand::Show(key) => show(&own, &key, environment),
        IdentityCommand::Export { file, key } => {
            let passphrase = key.demand(environment, "an exported key")?;
            let key = own.load(Some(&passphrase))?;
            record(config, "identity.key.export", key.id()).await?;
            KeyFile::new(&file).create(&key, Some(&passphrase))?;
            terminal::note(format!(
                "The key of the node {} is in {}, sealed with the passphrase. Whoever has both is this node.",
                key.id().short(),
                file.display()
            ));
            Ok(())
        }
        IdentityCommand::Import {
            file,
            unsealed,
            key,
        } => {
            if own.facts()?.is_some() {
                let path = own.path().display();
                bail!("this node has a key already, {path}: export it and move it away first");
            }
            let exported = KeyFile::new(file);
            let is_open = exported.facts()?.is_some_and(|facts| !facts.sealed);
            let passphrase = if is_open && unsealed {
                None
            } else {
                Some(key.demand(environment, "an exported key")?)
            };
            let key = exported.load_foreign(passphrase.as_ref())?;
            let seal = passphrase.as_ref().filter(|_| !unsealed);
            own.adopt(&key, seal)?;
            record(config, "identity.key.import", key.id()).await?;
            names(key.id(), &own, seal.is_some());
            Ok(())
        }
        IdentityCommand::Phrase(key) => {
            let key = own.load(key.passphrase(environment)?.as_ref())?;
            record(config, "identity.key.export", key.id()).await?;
            terminal::note(
                "Whoever has these words is this node. Write them down, and show them to nobody.",
            );
            terminal::line(&*recovery_phrase(&key));
            Ok(())
        }
        IdentityCommand::Restore(key) => {
            let restored = restore(&own, &key, environment)?;
            record(config, "identity.key.import", restored).await
        }
        IdentityCommand::Rotate(key) => {
            let new = rotate(config, &own, &key, environment).await?;
            record(config, "identity.key.rotate", new).await
        }
    }
}

/// Tells the audit log what is done with the node's key. A secret leaves only after it has been told.
async fn record(config: &Config, action: &'static str, node: NodeId) -> anyhow::Result<()> {
    let store = Store::open(&config.database()).await?;
    let recorded = record_at_terminal(&store, action, "", &node.to_string()).await;
    store.close().await;
    Ok(recorded?)
}

fn restore(own: &KeyFile, key: &KeyArgs, environment: &Environment) -> anyhow::Result<NodeId> {
    if own.facts()?.is_some() {
        let path = own.path().display();
        bail!("this node has a key already, {path}: export it and move it away first");
    }
    let mut words = Zeroizing::new(String::new());
    std::io::stdin()
        .take(PHRASE_BYTES_MAX)
        .read_to_string(&mut words)
        .context("the words cannot be read")?;
    let restored = key_of_phrase(&words)?;
    let passphrase = key.passphrase(environment)?;
    own.adopt(&restored, passphrase.as_ref())?;
    names(restored.id(), own, passphrase.is_some());
    Ok(restored.id())
}

/// In steps that can be cut anywhere and done again: the new key is kept, then the history says that it comes, then it
/// takes the old one's place.
async fn rotate(
    config: &Config,
    own: &KeyFile,
    key: &KeyArgs,
    environment: &Environment,
) -> anyhow::Result<NodeId> {
    let _lock = DataDirLock::take(&config.data_dir)?;
    let passphrase = key.passphrase(environment)?;
    let old = own.load(passphrase.as_ref())?;
    let sealed = own.facts()?.is_some_and(|facts| facts.sealed);
    let seal = passphrase.as_ref().filter(|_| sealed);
    let beside = |name: String| KeyFile::new(config.data_dir.join(name));
    let next = beside("node.key.next".to_owned());
    let new = next.load_or_create(seal)?;
    let history = load_history(config)?;
    if history
        .changes()
        .last()
        .is_none_or(|last| last.old != old.id())
    {
        let now = SystemClock::default().unix_ms().unsigned_abs();
        save_history(config, &history.changed(&old, &new, now))?;
    } else if history
        .changes()
        .last()
        .is_some_and(|last| last.new != new.id())
    {
        bail!("the key history names another key as the next one, which is not here");
    }
    let kept = beside(format!("node.key.{}", old.id().short()));
    if kept.facts()?.is_none() {
        kept.create(&old, seal)?;
    }
    // Before it opens nothing else any more.
    let shared = share_with_next(config, &old, &new).await?;
    own.replace(&new, seal)?;
    std::fs::remove_file(next.path()).context("the copy of the new key cannot be removed")?;
    terminal::note(format!(
        "The old key is kept in {}. Invite other nodes anew, and make new capabilities.",
        kept.path().display()
    ));
    if shared > 0 {
        terminal::note(format!(
            "Encrypted databases that the new key opens now: {shared}."
        ));
    }
    names(new.id(), own, sealed);
    Ok(new.id())
}

fn show(own: &KeyFile, key: &KeyArgs, environment: &Environment) -> anyhow::Result<()> {
    let passphrase = key.passphrase(environment)?;
    let (node, sealed) = match own.facts()? {
        // Its names are no secret, so they are shown without the passphrase, too.
        Some(facts) if facts.sealed && passphrase.is_none() => (facts.node, true),
        Some(facts) => (own.load(passphrase.as_ref())?.id(), facts.sealed),
        None => {
            let key = own.load_or_create(passphrase.as_ref())?;
            (key.id(), passphrase.is_some())
        }
    };
    names(node, own, sealed);
    Ok(())
}

fn names(node: NodeId, file: &KeyFile, sealed: bool) {
    let seal = if sealed {
        "sealed with a passphrase"
    } else {
        "not sealed"
    };
    terminal::line(format!("node    {node}"));
    terminal::line(format!("did     {}", did_key(node)));
    terminal::line(format!("libp2p  {}", peer_id(node)));
    terminal::line(format!("file    {} ({seal})", file.path().display()));
}
