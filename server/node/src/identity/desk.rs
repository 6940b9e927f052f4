//! What signing in, credentials and capabilities need of the node: its key, where names are looked up, and what is
//! open with whom.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, NodeId, Scopes, is_loopback_authority};
use kwaainet_identity::{
    Capabilities, Challenges, Did, DidDocument, KeyHistory, LoggingIn, NodeKey, ProofOptions,
    PublicKey, Purpose, Registering, Resolver, Signer, WebFetcher, did_key, sign_document,
    timestamp,
};
use serde_json::{Map, Value};

use crate::config;
use crate::door::ApiError;

/// Challenges, and ceremonies of each kind, that are open at once.
const OPEN_MAX: usize = 4_096;
/// How long each is good.
const OPEN_FOR: Duration = Duration::from_secs(5 * 60);

/// What the node knows of itself, and what is open.
pub struct Desk {
    key: Option<NodeKey>,
    history: KeyHistory,
    /// The tokens that it makes.
    pub capabilities: Option<Capabilities>,
    /// Where names are looked up.
    pub resolver: Resolver,
    /// Texts to be signed.
    pub challenges: Challenges<Pending>,
    /// Passkeys to be registered.
    pub registrations: Challenges<Registration>,
    /// Passkeys to be shown.
    pub logins: Challenges<Login>,
    /// What the owner chose.
    pub config: config::Identity,
    clock: Arc<dyn Clock>,
}

/// A text that was given to somebody to sign.
pub struct Pending {
    /// Who is to sign.
    pub signer: Signer,
    /// Under which origin he asked.
    pub origin: String,
    /// When he asked: milliseconds since 1970.
    pub given_at_ms: i64,
    /// What for.
    pub errand: Errand,
}

/// What a signature is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A session with these scopes, or with all that there are for him.
    SignIn(Option<Scopes>),
    /// Making the signer one of this account's DIDs.
    Link(String),
    /// Putting the signer in this account's place.
    Succeed {
        /// Which.
        account: String,
        /// Whether whoever asked may recover it, and is not it.
        recovery: bool,
    },
}

/// A passkey that is being registered.
pub struct Registration {
    /// What the library keeps.
    pub state: Registering,
    /// Where.
    pub origin: String,
    /// For which account; none for a new one.
    pub account: Option<String>,
    /// What the passkey calls it.
    pub handle: [u8; 16],
}

/// A passkey that is being shown.
pub struct Login {
    /// What the library keeps.
    pub state: LoggingIn,
    /// Where.
    pub origin: String,
    /// Whose.
    pub account: String,
}

impl Pending {
    fn is_of(&self, name: &str) -> bool {
        let account = match &self.errand {
            Errand::SignIn(_) => None,
            Errand::Link(account) | Errand::Succeed { account, .. } => Some(account.as_str()),
        };
        account == Some(name) || self.signer.did().to_string() == name
    }
}

impl Registration {
    fn is_of(&self, name: &str) -> bool {
        self.account.as_deref() == Some(name)
    }
}

impl Errand {
    /// The sentence that says so in the text, where it has to be signed.
    pub fn statement(&self) -> Option<String> {
        match self {
            Self::SignIn(_) => None,
            Self::Link(account) => Some(format!("This account belongs to {account}")),
            Self::Succeed { account, .. } => {
                Some(format!("This account takes the place of {account}"))
            }
        }
    }
}

impl Desk {
    /// A desk; without the node's key it neither issues nor makes capabilities.
    pub fn new(
        key: Option<NodeKey>,
        history: KeyHistory,
        config: config::Identity,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let fetcher = Arc::new(WebFetcher::new(config.local_web));
        let own = web_name(&config).zip(key.as_ref()).map(|(did, key)| {
            let document = DidDocument::of_node(&did, &PublicKey::Ed25519(key.id().0));
            (did, document)
        });
        Self {
            capabilities: key.as_ref().map(Capabilities::new),
            resolver: Resolver::new(fetcher, own),
            challenges: Challenges::new(OPEN_MAX, OPEN_FOR),
            registrations: Challenges::new(OPEN_MAX, OPEN_FOR),
            logins: Challenges::new(OPEN_MAX, OPEN_FOR),
            key,
            history,
            config,
            clock,
        }
    }

    /// Which node it is.
    pub fn node(&self) -> Option<NodeId> {
        self.key.as_ref().map(NodeKey::id)
    }

    /// The node's `did:key`, under which it issues.
    ///
    /// # Errors
    /// When the key is sealed.
    pub fn did(&self) -> Result<Did, ApiError> {
        let node = self.node().ok_or_else(locked)?;
        Ok(Did::Key(PublicKey::Ed25519(node.0)))
    }

    /// Whether a DID is this node's, by its key or by one that it had before.
    pub fn is_own(&self, did: &str) -> bool {
        let Some(node) = self.node() else {
            return false;
        };
        let mut keys = self.history.before(node);
        keys.push(node);
        keys.into_iter().any(|key| did_key(key) == did)
    }

    /// Which keys it had.
    pub fn history(&self) -> &KeyHistory {
        &self.history
    }

    /// Its name on the web, if it has one.
    pub fn web_did(&self) -> Option<Did> {
        web_name(&self.config)
    }

    /// Signs a document as the node, for whom it is made, if for somebody.
    ///
    /// # Errors
    /// When the key is sealed.
    pub fn sign(
        &self,
        document: Map<String, Value>,
        purpose: Purpose,
        (challenge, domain): (Option<&str>, Option<&str>),
    ) -> Result<Map<String, Value>, ApiError> {
        let key = self.key.as_ref().ok_or_else(locked)?;
        let public = PublicKey::Ed25519(key.id().0);
        let method = format!("{}#{public}", Did::Key(public));
        let created = timestamp(self.clock.unix_ms());
        let options = ProofOptions {
            method: &method,
            purpose,
            created: Some(&created),
            challenge,
            domain,
        };
        Ok(sign_document(key, document, &options))
    }

    /// Challenges and ceremonies that are open with somebody.
    pub(crate) fn open_with(&self, name: &str) -> usize {
        self.challenges.count(|pending| pending.is_of(name))
            + self.registrations.count(|open| open.is_of(name))
            + self.logins.count(|open| open.account == name)
    }

    /// Forgets those; how many there were.
    pub(crate) fn forget(&self, name: &str) -> usize {
        self.challenges.forget(|pending| pending.is_of(name))
            + self.registrations.forget(|open| open.is_of(name))
            + self.logins.forget(|open| open.account == name)
    }

    /// The origin that a request came to, as far as it may be believed: this machine, or one that the owner named. A
    /// stranger's page could else have its visitors sign in to this node for it.
    ///
    /// # Errors
    /// When it is neither.
    pub fn origin(&self, host: Option<&str>) -> Result<String, ApiError> {
        let host = host.unwrap_or("");
        let known = self.config.origins.iter().find(|origin| {
            let name = origin.split_once("://").map(|(_, name)| name);
            name.is_some_and(|name| name.eq_ignore_ascii_case(host))
        });
        if let Some(origin) = known {
            return Ok(origin.clone());
        }
        if is_loopback_authority(host) {
            return Ok(format!("http://{}", host.to_ascii_lowercase()));
        }
        let message = "this node is not known under this name; its owner can add the name to \
                       'identity.origins'";
        Err(ApiError::bad_request(Some("unknown_origin"), message))
    }
}

/// The first origin that has a certificate, as a DID.
fn web_name(config: &config::Identity) -> Option<Did> {
    let mut names = config.origins.iter();
    names.find_map(|origin| Did::web(origin.strip_prefix("https://")?))
}

/// What takes the node's key cannot be had without it.
pub(crate) fn locked() -> ApiError {
    let message = "this node's key is sealed, and the node was started without its passphrase";
    ApiError::unavailable("identity_locked", message)
}
