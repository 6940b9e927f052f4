//! `kwaainet identity show|export|import`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use kwaainet_core::NodeId;
use kwaainet_identity::{KeyFile, NodeKey, Passphrase, did_key, peer_id};

use crate::config::{Config, Environment};
use crate::identity::{PASSPHRASE_VARIABLE, key_file, passphrase};
use crate::node::make_data_dir;
use crate::terminal;

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

pub(super) fn run(
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
            names(key.id(), &own, seal.is_some());
            Ok(())
        }
    }
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
