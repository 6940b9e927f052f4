//! `kwaainet keys create|list|revoke`.

use anyhow::bail;
use clap::{Args, Subcommand};
use kwaainet_core::{ApiKey, Clock, KeyId, KeyRecord, Scope, Scopes, SystemClock};
use kwaainet_storage::SharingKey;
use kwaainet_store::Store;

use super::times::{date, seconds};
use crate::audit::record_at_terminal;
use crate::config::Config;
use crate::node::make_data_dir;
use crate::terminal;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key and print it, once. From the first key on, every request needs one.
    Create(CreateArgs),
    /// List the keys.
    List,
    /// Revoke a key, at once and for good.
    Revoke {
        /// The key's id, the part after `kw_`.
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What you call it.
    #[arg(long, default_value = "")]
    name: String,
    /// What it may do: inference, metrics, models (pulling them), identity, storage, carbon, rewards, audit; may be given several times. Without it: inference.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// For how long it is good: a number with s, m, h or d, such as 30d. Without it: for ever.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<i64>,
}

pub(super) async fn run(command: KeysCommand, config: &Config) -> anyhow::Result<()> {
    make_data_dir(&config.data_dir)?;
    let store = Store::open(&config.database()).await?;
    let now = SystemClock::default().unix_ms();
    let done = match command {
        KeysCommand::Create(args) => create(args, &store, now).await,
        KeysCommand::List => list(&store, now).await,
        KeysCommand::Revoke { id } => revoke(&id, &store, now).await,
    };
    store.close().await;
    done
}

async fn create(args: CreateArgs, store: &Store, now: i64) -> anyhow::Result<()> {
    let scopes: Scopes = if args.scopes.is_empty() {
        [Scope::Inference].into_iter().collect()
    } else {
        args.scopes.into_iter().collect()
    };
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: args.name,
        hash: key.hash(),
        scopes,
        created_at_ms: now,
        expires_at_ms: args.expires.map(|seconds| now + seconds * 1_000),
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    let about = format!("key:{}", key.id());
    record_at_terminal(
        store,
        "identity.api_key.create",
        &about,
        &scopes.to_string(),
    )
    .await?;
    store.insert_key(&record).await?;
    // So that databases can be shared with its owner before he comes.
    let public = SharingKey::of(key.sharing_secret().bytes()).public();
    store.note_sharing_key(key.id(), &public).await?;
    terminal::note(format!(
        "The key {} may do: {scopes}. It is shown this once; keep it safe.",
        key.id()
    ));
    terminal::line(key.reveal());
    Ok(())
}

async fn list(store: &Store, now: i64) -> anyhow::Result<()> {
    let keys = store.keys().await?;
    if keys.is_empty() {
        terminal::note("There are no keys: the node answers to anyone on this machine.");
        return Ok(());
    }
    let day = |ms: Option<i64>| ms.map_or_else(|| "-".to_owned(), date);
    terminal::line(format!(
        "{:<12}  {:<8}  {:<10}  {:<10}  {:<10}  {:<24}  NAME",
        "ID", "STATE", "CREATED", "EXPIRES", "LAST USED", "SCOPES"
    ));
    for key in keys {
        let state = match (key.revoked_at_ms, key.is_active(now)) {
            (Some(_), _) => "revoked",
            (None, true) => "good",
            (None, false) => "expired",
        };
        terminal::line(format!(
            "{:<12}  {state:<8}  {:<10}  {:<10}  {:<10}  {:<24}  {}",
            key.id,
            date(key.created_at_ms),
            day(key.expires_at_ms),
            day(key.last_used_at_ms),
            key.scopes.to_string(),
            key.name
        ));
    }
    Ok(())
}

async fn revoke(id: &str, store: &Store, now: i64) -> anyhow::Result<()> {
    // A whole key is taken too, since that is what is at hand when one has leaked.
    let id = id
        .parse::<ApiKey>()
        .map_or_else(|_| KeyId::new(id), |key| key.id().clone());
    if !store.revoke_key(&id, now).await? {
        bail!("there is no key with the id '{id}'");
    }
    let about = format!("key:{id}");
    record_at_terminal(store, "identity.api_key.revoke", &about, "").await?;
    terminal::note(format!("The key {id} is revoked."));
    Ok(())
}
