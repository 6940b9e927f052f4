//! Who may open which sealed database. A database's key lies beside it only encrypted: for the callers who may open it,
//! with keys that come of their API keys and are nowhere on the disk; for the node's own owner and for accounts that sign
//! in, with a key that comes of the node's. Opened keys live as long as the request (or the feed) that asked.

pub(crate) mod rotation;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;

use axum::http::StatusCode;
use kwaainet_core::{KeyId, Principal, PrincipalId};
use kwaainet_identity::NodeKey;
use kwaainet_storage::{Access, DataKey, Mode, Security, SharingKey, wrap_key};
use kwaainet_store::{
    DatabaseRecord, DocumentStore, NewDatabase, Sealed, Sharing, Store, StoreError, Wrap,
};

use crate::door::ApiError;
use crate::identity::locked;

/// Keys that are known to be noted, and databases that somebody waits for; so much is remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Those who wait for one database.
const WAITING_MAX: usize = 100;

/// The node's own sharing key, and who was here.
#[derive(Debug)]
pub(crate) struct Keyring {
    node: Option<SharingKey>,
    /// API keys whose public halves are in the database.
    noted: Mutex<HashSet<KeyId>>,
    /// Members who came before a database's key was encrypted for them, with their public keys.
    waiting: Mutex<HashMap<i64, BTreeMap<String, [u8; 32]>>>,
}

impl Keyring {
    /// Of the node with this key; without one what it opens stays shut.
    pub(crate) fn new(key: Option<&NodeKey>) -> Self {
        Self {
            node: key.map(sharing_key),
            noted: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Notes the public half of what opens for a caller, so that others can share with him while he is away.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn met(&self, store: &Store, caller: &Principal) -> Result<(), StoreError> {
        let (Some(key), Some(secret)) = (caller.key(), caller.sharing_secret()) else {
            return Ok(());
        };
        if self.noted.lock().expect("no holder panics").contains(key) {
            return Ok(());
        }
        let public = SharingKey::of(secret.bytes()).public();
        store.note_sharing_key(key, &public).await?;
        let mut noted = self.noted.lock().expect("no holder panics");
        if noted.len() >= REMEMBERED_MAX {
            noted.clear();
        }
        noted.insert(key.clone());
        Ok(())
    }

    /// Gives a private database that is to be made a key, which its owner can open.
    ///
    /// # Errors
    /// When the owner's key is the node's, and that is locked.
    pub(crate) fn seal_new(
        &self,
        owner: &Principal,
        new: NewDatabase,
    ) -> Result<NewDatabase, ApiError> {
        if new.mode != Mode::Private {
            return Ok(new);
        }
        let (recipient, own) = self.own(owner)?;
        let wrap = wrapped(&DataKey::generate(), own.public(), recipient);
        Ok(NewDatabase { wrap, ..new })
    }

    /// Opens a database for a caller who was found to be one of its people.
    ///
    /// # Errors
    /// When its key was not encrypted for him, or not for what he shows.
    pub(crate) async fn open(
        &self,
        documents: &DocumentStore,
        caller: &Principal,
        mut database: DatabaseRecord,
    ) -> Result<DatabaseRecord, ApiError> {
        if database.sealed == Sealed::Not {
            return Ok(database);
        }
        let (recipient, own) = self.own(caller)?;
        let Some(wrapped) = documents.wrapped(database.key, &recipient).await? else {
            return Err(self.shut(caller, &database, recipient, &own));
        };
        let key = own.unwrap_key(&wrapped, &recipient);
        let key = key.map_err(|error| ApiError::internal(format!("a database's key: {error}")))?;
        database.open(key);
        self.admit(documents, &database).await?;
        Ok(database)
    }

    /// Who may open a database once this is its `_security`; none if it is not sealed.
    ///
    /// # Errors
    /// When the database fails, or somebody is named whose key is the node's, and that is locked.
    pub(crate) async fn sharing(
        &self,
        store: &Store,
        database: &DatabaseRecord,
        security: &Security,
    ) -> Result<Option<Sharing>, ApiError> {
        let Some(key) = database.data_key() else {
            return Ok(None);
        };
        let mut sharing = Sharing::default();
        for (recipient, public) in self.people(store, database, security).await? {
            let wrap = public.and_then(|public| wrapped(key, public, recipient.clone()));
            sharing.wraps.extend(wrap);
            sharing.recipients.push(recipient);
        }
        Ok(Some(sharing))
    }

    /// Lets somebody open a database whom it was granted to. Who has shown no key yet is let in once he did.
    ///
    /// # Errors
    /// When the database fails, or the key is the node's, and that is locked.
    pub(crate) async fn share(
        &self,
        (store, documents): (&Store, &DocumentStore),
        database: &DatabaseRecord,
        grantee: &str,
    ) -> Result<(), ApiError> {
        let Some(key) = database.data_key() else {
            return Ok(());
        };
        let Some(public) = self.public(store, grantee).await? else {
            return Ok(());
        };
        let wrap = wrapped(key, public, self.recipient(grantee));
        documents.share(database.key, wrap.as_slice()).await?;
        Ok(())
    }

    /// Seals a private database of before, or goes on where that was cut. One whose owner's key is not known stays as it
    /// is: he must not be shut out of it.
    ///
    /// # Errors
    /// When the database fails, or may not be opened by the caller.
    pub(crate) async fn seal_old(
        &self,
        (store, documents): (&Store, &DocumentStore),
        caller: &Principal,
        mut database: DatabaseRecord,
    ) -> Result<(), ApiError> {
        if database.mode != Mode::Private || database.sealed == Sealed::Wholly {
            return Ok(());
        }
        if database.sealed == Sealed::Not {
            let people = self.people(store, &database, &database.security).await?;
            let owner = self.recipient(database.owner.as_str());
            if people.get(&owner).copied().flatten().is_none() {
                return Ok(());
            }
            let key = DataKey::generate();
            let wraps = people.into_iter().filter_map(|(recipient, public)| {
                public.and_then(|public| wrapped(&key, public, recipient))
            });
            let wraps: Vec<_> = wraps.collect();
            if !documents.begin_sealing(database.key, &wraps).await? {
                return Ok(());
            }
            let name = &database.name;
            let Some(begun) = documents.database(caller.id(), name).await? else {
                return Ok(());
            };
            if begun.key != database.key {
                return Ok(());
            }
            database = begun;
            database.open(key);
        }
        Ok(documents.finish_sealing(&database).await?)
    }

    /// All who may open a database, with their public keys as far as they are known.
    async fn people(
        &self,
        store: &Store,
        database: &DatabaseRecord,
        security: &Security,
    ) -> Result<BTreeMap<String, Option<[u8; 32]>>, ApiError> {
        let names = security.admins.names.iter().chain(&security.members.names);
        let names = names.map(String::as_str).chain([database.owner.as_str()]);
        let mut people = BTreeMap::new();
        for name in names {
            if name.starts_with("key:") || is_of_node(name) {
                people.insert(self.recipient(name), self.public(store, name).await?);
            }
        }
        Ok(people)
    }

    /// The public key of a principal; none if it is not known.
    async fn public(&self, store: &Store, name: &str) -> Result<Option<[u8; 32]>, ApiError> {
        Ok(match name.strip_prefix("key:") {
            Some(id) => store.sharing_key(&KeyId::new(id)).await?,
            None if is_of_node(name) => Some(self.node.as_ref().ok_or_else(locked)?.public()),
            None => None,
        })
    }

    /// For whom a database's key is encrypted, so that this principal can open it.
    fn recipient(&self, principal: &str) -> String {
        match &self.node {
            Some(node) if is_of_node(principal) => node_recipient(node),
            _ => principal.to_owned(),
        }
    }

    /// What opens for a caller, and its name.
    fn own(&self, caller: &Principal) -> Result<(String, SharingKey), ApiError> {
        match (caller.sharing_secret(), &self.node) {
            (Some(secret), _) => {
                let own = SharingKey::of(secret.bytes());
                Ok((caller.id().as_str().to_owned(), own))
            }
            (None, Some(node)) => Ok((node_recipient(node), node.clone())),
            (None, None) => Err(locked()),
        }
    }

    /// Why a database stays shut. Whoever shows his key is let in as soon as somebody comes who can open it.
    fn shut(
        &self,
        caller: &Principal,
        database: &DatabaseRecord,
        recipient: String,
        own: &SharingKey,
    ) -> ApiError {
        let message = match (caller.sharing_secret(), caller.key()) {
            (None, Some(_)) => {
                "This database is encrypted for an API key, and this capability does not lead to it: make a new one, or show the key itself."
            }
            (None, None) => {
                "This database is encrypted, and its key is not one that this node's present key opens."
            }
            (Some(_), _) => {
                let mut waiting = self.waiting.lock().expect("no holder panics");
                let has_room = waiting.len() < REMEMBERED_MAX;
                if has_room || waiting.contains_key(&database.key) {
                    let people = waiting.entry(database.key).or_default();
                    if people.len() < WAITING_MAX {
                        people.insert(recipient, own.public());
                    }
                }
                "This database is encrypted, and its key was not shared with you yet: that happens when its owner, or another member, uses it next."
            }
        };
        ApiError::refused(StatusCode::FORBIDDEN, Some("database_sealed"), message)
    }

    /// Encrypts the key of a database that is open for those who waited, if they are still let in.
    async fn admit(
        &self,
        documents: &DocumentStore,
        database: &DatabaseRecord,
    ) -> Result<(), StoreError> {
        let waited = self
            .waiting
            .lock()
            .expect("no holder panics")
            .remove(&database.key);
        let (Some(waited), Some(key)) = (waited, database.data_key()) else {
            return Ok(());
        };
        let (owner, mode) = (database.owner.as_str(), database.mode);
        let grants = documents.grants(database.key, 0).await?;
        let may = |who: &str| {
            let is_granted = grants.iter().any(|grant| grant.grantee == who);
            is_granted || database.security.access(who, owner, mode) >= Access::Read
        };
        let waited = waited.into_iter().filter(|(who, _)| may(who));
        let wraps: Vec<_> = waited
            .filter_map(|(who, public)| wrapped(key, public, who))
            .collect();
        documents.share(database.key, &wraps).await
    }
}

/// The key with which the node opens what is its owner's.
pub(crate) fn sharing_key(key: &NodeKey) -> SharingKey {
    SharingKey::of(&key.seed())
}

/// Names the node as somebody who may open a database. Another key is another name, so that both can have a database's
/// key while one takes the other's place.
pub(crate) fn node_recipient(key: &SharingKey) -> String {
    format!("node:{}", data_encoding::HEXLOWER.encode(&key.public()))
}

/// Whether it is the node that opens for a principal: its owner, and whoever signs in.
fn is_of_node(principal: &str) -> bool {
    principal == PrincipalId::operator().as_str() || principal.starts_with("did:")
}

/// A database's key, encrypted for somebody; none where his public key is none.
pub(crate) fn wrapped(key: &DataKey, public: [u8; 32], recipient: String) -> Option<Wrap> {
    let wrapped = wrap_key(key, &public, &recipient)?;
    Some(Wrap { recipient, wrapped })
}
