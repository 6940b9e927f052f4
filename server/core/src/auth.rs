//! Who asks. A [`Principal`] is made here and nowhere else, from a key that was checked or from a
//! proof that the caller is the owner at his own machine.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::open_door::OpenDoor;
use crate::session::{SessionRecord, SessionToken, SignedIn};
use crate::{KeyId, NodeId, PrincipalId, SharingSecret, Tier, random_id};

/// A caller who was authenticated, and what he may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    id: PrincipalId,
    key: Option<KeyId>,
    scopes: Scopes,
    peer: Option<(NodeId, Tier)>,
    signed_in: Option<SignedIn>,
    delegated: bool,
    sharing: Option<SharingSecret>,
}

impl Principal {
    /// Checks a presented key against what is stored under its id.
    ///
    /// # Errors
    /// [`AuthError::InvalidKey`] for an unknown id, a wrong secret, a revoked or an expired key:
    /// one answer for all, so that nobody can tell them apart from outside.
    pub fn from_key(
        presented: &ApiKey,
        stored: Option<&KeyRecord>,
        now_ms: i64,
    ) -> Result<Self, AuthError> {
        let stored = stored.ok_or(AuthError::InvalidKey)?;
        let equal: bool = presented.hash().ct_eq(&stored.hash).into();
        if equal && stored.id == presented.id && stored.is_active(now_ms) {
            Ok(Self::of(stored))
        } else {
            Err(AuthError::InvalidKey)
        }
    }

    /// The owner, at a door that is open to him because nobody else can reach it.
    pub fn owner(_: OpenDoor) -> Self {
        Self::operator()
    }

    /// The person who runs this binary at a terminal, for work that never passes a door.
    pub fn operator() -> Self {
        Self {
            id: PrincipalId::operator(),
            key: None,
            scopes: Scopes::ALL,
            peer: None,
            signed_in: None,
            delegated: false,
            sharing: None,
        }
    }

    /// Checks a presented session token against what is stored under its id. What it may do is what it was given
    /// and what its account's tier unlocks.
    ///
    /// # Errors
    /// [`AuthError::InvalidSession`] for an unknown id, a wrong secret, a session that is over or was ended.
    pub fn from_session(
        presented: &SessionToken,
        stored: Option<&SessionRecord>,
        now_ms: i64,
    ) -> Result<Self, AuthError> {
        let stored = stored.ok_or(AuthError::InvalidSession)?;
        let equal: bool = presented.hash().ct_eq(&stored.hash).into();
        if equal && stored.id == *presented.id() && stored.is_active(now_ms) {
            Ok(Self::of_session(stored))
        } else {
            Err(AuthError::InvalidSession)
        }
    }

    /// Whoever signed in, where he is not there himself: he made a capability, or left work behind.
    ///
    /// # Errors
    /// [`AuthError::InvalidSession`] once the session is gone, over or ended.
    pub fn returning_session(
        stored: Option<&SessionRecord>,
        now_ms: i64,
    ) -> Result<Self, AuthError> {
        let good = stored.filter(|stored| stored.is_active(now_ms));
        good.map(Self::of_session).ok_or(AuthError::InvalidSession)
    }

    fn of_session(stored: &SessionRecord) -> Self {
        let unlocked = stored.assurance.unlocks();
        Self {
            id: PrincipalId::new(stored.subject.as_str()),
            key: None,
            scopes: stored.scopes & unlocked.scopes(),
            peer: None,
            signed_in: Some(SignedIn {
                subject: stored.subject.clone(),
                session: stored.id.clone(),
                assurance: stored.assurance,
            }),
            delegated: false,
            sharing: None,
        }
    }

    /// The same with fewer scopes: whoever shows a capability that this one made.
    #[must_use]
    pub fn narrowed(mut self, scopes: Scopes) -> Self {
        self.scopes = self.scopes & scopes;
        self.delegated = true;
        self
    }

    /// Whoever left work behind that the node does later by itself, as he stands now. `key` is the one
    /// that the work was given with; work without a key is the owner's.
    ///
    /// # Errors
    /// [`AuthError::InvalidKey`] once the key is gone, revoked or expired.
    pub fn returning(
        key: Option<&KeyId>,
        stored: Option<&KeyRecord>,
        now_ms: i64,
    ) -> Result<Self, AuthError> {
        let Some(key) = key else {
            return Ok(Self::operator());
        };
        let good = stored.filter(|stored| stored.id == *key && stored.is_active(now_ms));
        good.map(Self::of).ok_or(AuthError::InvalidKey)
    }

    /// Another node, whose key the transport has proved and which is a member of this tier now. It may have
    /// inference and nothing else.
    pub fn peer(node: NodeId, tier: Tier) -> Self {
        Self {
            id: PrincipalId::new(format!("peer:{node}")),
            key: None,
            scopes: [Scope::Inference].into_iter().collect(),
            peer: Some((node, tier)),
            signed_in: None,
            delegated: false,
            sharing: None,
        }
    }

    fn of(stored: &KeyRecord) -> Self {
        Self {
            id: PrincipalId::new(format!("key:{}", stored.id)),
            key: Some(stored.id.clone()),
            scopes: stored.scopes,
            peer: None,
            signed_in: None,
            delegated: false,
            sharing: None,
        }
    }

    /// Who it is.
    pub fn id(&self) -> &PrincipalId {
        &self.id
    }

    /// The key that was used, if any.
    pub fn key(&self) -> Option<&KeyId> {
        self.key.as_ref()
    }

    /// The node that asks and how far it is trusted, if it is one.
    pub fn as_peer(&self) -> Option<(NodeId, Tier)> {
        self.peer
    }

    /// The account that signed in, if it is one: whose DID is the principal's id.
    pub fn signed_in(&self) -> Option<&SignedIn> {
        self.signed_in.as_ref()
    }

    /// Whether it acts for somebody else, with a capability.
    pub fn is_delegated(&self) -> bool {
        self.delegated
    }

    /// The same with what opens what was encrypted for its key. It came with the request and goes with it.
    #[must_use]
    pub fn sharing(mut self, secret: SharingSecret) -> Self {
        self.sharing = Some(secret);
        self
    }

    /// What opens what was encrypted for its key; none where nothing that was shown leads to it.
    pub fn sharing_secret(&self) -> Option<&SharingSecret> {
        self.sharing.as_ref()
    }

    /// What it may do.
    pub fn scopes(&self) -> Scopes {
        self.scopes
    }

    /// Jobs that it may have under way at once, where that is less than what everybody may.
    pub fn jobs_max(&self) -> Option<usize> {
        self.signed_in.as_ref()?.assurance.unlocks().jobs_max
    }

    /// Refuses what the principal may not do.
    ///
    /// # Errors
    /// [`AuthError::MissingScope`], which names it.
    pub fn require(&self, scope: Scope) -> Result<(), AuthError> {
        if self.scopes.contains(scope) {
            Ok(())
        } else {
            Err(AuthError::MissingScope(scope))
        }
    }
}

/// Why a caller was turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A key is needed and none came.
    #[error(
        "no API key was given; send it as 'Authorization: Bearer kw_…' (an owner makes one with 'kwaainet keys create')"
    )]
    MissingKey,
    /// The key is not good.
    #[error("the API key is not valid: it is unknown, expired or revoked")]
    InvalidKey,
    /// The key may not do this.
    #[error("the API key lacks the scope '{0}'")]
    MissingScope(Scope),
    /// The session is not good.
    #[error("the session is not valid: it is unknown, over or was ended; sign in again")]
    InvalidSession,
    /// The capability is not good, or not for this.
    #[error("the capability is not valid here: {0}")]
    Capability(&'static str),
    /// The request came through a name that is not this machine's (DNS rebinding).
    #[error(
        "the Host header does not name this machine; a node without keys answers only to localhost"
    )]
    ForeignHost,
    /// A web page of somebody else sent the request.
    #[error("the request comes from a foreign web page; a node without keys refuses those")]
    ForeignOrigin,
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Generate, embed, tokenize, list models.
    Inference,
    /// Read the metrics.
    Metrics,
    /// Bring models to this machine.
    Models,
    /// Use the node's identity: sign in, link accounts, issue and revoke credentials.
    Identity,
    /// Keep databases and blobs.
    Storage,
    /// Read what the work cost the climate.
    Carbon,
    /// Read the accounts.
    Rewards,
    /// Read the audit log; export and erase what is kept about somebody.
    Audit,
}

impl Scope {
    /// Every scope, in the order in which sets are written.
    const EVERY: [Self; 8] = [
        Self::Inference,
        Self::Metrics,
        Self::Models,
        Self::Identity,
        Self::Storage,
        Self::Carbon,
        Self::Rewards,
        Self::Audit,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Metrics => "metrics",
            Self::Models => "models",
            Self::Identity => "identity",
            Self::Storage => "storage",
            Self::Carbon => "carbon",
            Self::Rewards => "rewards",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not a scope.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a scope; there are: inference, metrics, models, identity, storage, carbon, rewards, audit"
)]
pub struct BadScope(String);

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(name: &str) -> Result<Self, BadScope> {
        let found = Self::EVERY.into_iter().find(|scope| scope.name() == name);
        found.ok_or_else(|| BadScope(name.to_owned()))
    }
}

/// A set of [`Scope`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Everything.
    pub const ALL: Self = Self(u8::MAX);

    fn bit(scope: Scope) -> u8 {
        1 << scope as u8
    }

    /// Whether there is none in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the scope is in the set.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// The members, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        let every = Scope::EVERY.into_iter();
        every.filter(move |scope| self.contains(*scope))
    }
}

impl std::ops::BitAnd for Scopes {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, s| bits | Self::bit(s)))
    }
}

/// Scopes are written as their names with spaces between, as OAuth writes them.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            let gap = if i == 0 { "" } else { " " };
            write!(f, "{gap}{scope}")?;
        }
        Ok(())
    }
}

impl FromStr for Scopes {
    type Err = BadScope;

    fn from_str(names: &str) -> Result<Self, BadScope> {
        names.split_whitespace().map(str::parse::<Scope>).collect()
    }
}

/// An API key in the clear: `kw_<id>_<secret>`. Shown once when made, never stored, never logged.
#[derive(Clone)]
pub struct ApiKey {
    id: KeyId,
    secret: String,
}

impl ApiKey {
    /// A fresh key with a 256-bit secret.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn generate() -> Self {
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        Self {
            id: KeyId::new(&random_id()[..12]),
            secret: data_encoding::HEXLOWER.encode(&secret),
        }
    }

    /// The public part.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// What is stored instead of the secret. Fast on purpose: 256 random bits need no stretching.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"kwaainet api key 1\0")
            .chain_update(self.id.as_str().as_bytes())
            .chain_update(b"\0")
            .chain_update(self.secret.as_bytes())
            .finalize()
            .into()
    }

    /// What opens what was encrypted for whoever has the key.
    pub fn sharing_secret(&self) -> SharingSecret {
        SharingSecret::derive(&self.id, &self.secret)
    }

    /// The whole key, for its owner's eyes.
    pub fn reveal(&self) -> String {
        format!("kw_{}_{}", self.id, self.secret)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.id)
    }
}

impl FromStr for ApiKey {
    type Err = AuthError;

    fn from_str(text: &str) -> Result<Self, AuthError> {
        let (id, secret) = text
            .strip_prefix("kw_")
            .and_then(|rest| rest.split_once('_'))
            .filter(|(id, secret)| !id.is_empty() && id.len() <= 64 && secret.len() == 64)
            .ok_or(AuthError::InvalidKey)?;
        Ok(Self {
            id: KeyId::new(id),
            secret: secret.to_owned(),
        })
    }
}

/// A stored key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its public part.
    pub id: KeyId,
    /// What its owner calls it.
    pub name: String,
    /// See [`ApiKey::hash`].
    pub hash: [u8; 32],
    /// What it may do.
    pub scopes: Scopes,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// From then on it is no good.
    pub expires_at_ms: Option<i64>,
    /// Since then it is no good.
    pub revoked_at_ms: Option<i64>,
    /// When work was last done with it.
    pub last_used_at_ms: Option<i64>,
}

impl KeyRecord {
    /// Whether it opens the door at this time.
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.revoked_at_ms.is_none() && self.expires_at_ms.is_none_or(|end| now_ms < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &ApiKey) -> KeyRecord {
        KeyRecord {
            id: key.id().clone(),
            name: "test".into(),
            hash: key.hash(),
            scopes: [Scope::Inference].into_iter().collect(),
            created_at_ms: 0,
            expires_at_ms: Some(100),
            revoked_at_ms: None,
            last_used_at_ms: None,
        }
    }

    #[test]
    fn a_key_survives_being_written_down() {
        let key = ApiKey::generate();
        let again: ApiKey = key.reveal().parse().expect("a key parses");
        assert_eq!(again.hash(), key.hash());
        assert!(!format!("{key:?}").contains(&key.secret));
        for bad in ["", "kw_", "kw_a_b", "sk-abc", "kw__", "kw_abc"] {
            assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_an_active_key_with_the_right_secret_makes_a_principal() {
        let key = ApiKey::generate();
        let stored = record(&key);
        let principal = Principal::from_key(&key, Some(&stored), 50).expect("it is good");
        assert_eq!(principal.require(Scope::Inference), Ok(()));
        assert_eq!(
            principal.require(Scope::Metrics),
            Err(AuthError::MissingScope(Scope::Metrics))
        );

        let refused = Err(AuthError::InvalidKey);
        assert_eq!(Principal::from_key(&key, Some(&stored), 100), refused);
        assert_eq!(Principal::from_key(&key, None, 50), refused);
        let mut forged = key.clone();
        forged.secret = "0".repeat(64);
        assert_eq!(Principal::from_key(&forged, Some(&stored), 50), refused);
        let mut revoked = stored;
        revoked.revoked_at_ms = Some(1);
        assert_eq!(Principal::from_key(&key, Some(&revoked), 50), refused);
    }

    #[test]
    fn work_that_was_left_behind_goes_on_while_its_key_is_good() {
        let key = ApiKey::generate();
        let mut stored = record(&key);
        let back =
            |stored: Option<&KeyRecord>, now| Principal::returning(Some(key.id()), stored, now);
        assert_eq!(
            back(Some(&stored), 50),
            Principal::from_key(&key, Some(&stored), 50)
        );
        let refused = Err(AuthError::InvalidKey);
        assert_eq!(back(None, 50), refused);
        assert_eq!(back(Some(&stored), 100), refused);
        assert_eq!(back(Some(&record(&ApiKey::generate())), 50), refused);
        stored.revoked_at_ms = Some(1);
        assert_eq!(back(Some(&stored), 50), refused);
        assert_eq!(
            Principal::returning(None, None, 50),
            Ok(Principal::operator())
        );
    }

    #[test]
    fn scopes_are_written_and_read() {
        let all = "inference metrics models identity storage carbon rewards audit";
        assert_eq!(all.parse::<Scopes>(), Ok(Scopes::ALL));
        assert_eq!(Scopes::ALL.to_string(), all);
        let two = "models inference"
            .parse::<Scopes>()
            .expect("both are scopes");
        assert_eq!(two.to_string(), "inference models");
        assert!("admin".parse::<Scopes>().is_err());
    }
}
