//! Whoever signed in: the token that he carries, and what is stored of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{Assurance, AuthError, Scopes, random_id};

/// The public part of a session's token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// Wraps one as it was given.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The id itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A session's token in the clear: `kws_<id>_<secret>`. Shown once when made, never stored, never logged.
#[derive(Clone)]
pub struct SessionToken {
    id: SessionId,
    secret: String,
}

impl SessionToken {
    /// How every one begins.
    pub const PREFIX: &'static str = "kws_";

    /// A fresh one with a 256-bit secret.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn generate() -> Self {
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).expect("the operating system gives random bytes");
        Self {
            id: SessionId::new(&random_id()[..16]),
            secret: data_encoding::HEXLOWER.encode(&secret),
        }
    }

    /// The public part.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// What is stored instead of the secret. Fast on purpose: 256 random bits need no stretching.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(b"kwaainet session 1\0")
            .chain_update(self.id.as_str().as_bytes())
            .chain_update(b"\0")
            .chain_update(self.secret.as_bytes())
            .finalize()
            .into()
    }

    /// The whole token, for its owner's eyes.
    pub fn reveal(&self) -> String {
        format!("{}{}_{}", Self::PREFIX, self.id, self.secret)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionToken({})", self.id)
    }
}

impl FromStr for SessionToken {
    type Err = AuthError;

    fn from_str(text: &str) -> Result<Self, AuthError> {
        let (id, secret) = text
            .strip_prefix(Self::PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .filter(|(id, secret)| !id.is_empty() && id.len() <= 64 && secret.len() == 64)
            .ok_or(AuthError::InvalidSession)?;
        Ok(Self {
            id: SessionId::new(id),
            secret: secret.to_owned(),
        })
    }
}

/// A stored session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its public part.
    pub id: SessionId,
    /// See [`SessionToken::hash`].
    pub hash: [u8; 32],
    /// The account's DID.
    pub subject: String,
    /// What it was given.
    pub scopes: Scopes,
    /// How much is known of the account now.
    pub assurance: Assurance,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: i64,
    /// From then on it is no good.
    pub expires_at_ms: i64,
    /// Since then it is no good.
    pub ended_at_ms: Option<i64>,
}

impl SessionRecord {
    /// Whether it opens the door at this time.
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.ended_at_ms.is_none() && now_ms < self.expires_at_ms
    }
}

/// Who signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The account's DID.
    pub subject: String,
    /// With which session.
    pub session: SessionId,
    /// How much is known of him.
    pub assurance: Assurance,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Principal, Scope};

    fn record(token: &SessionToken, assurance: Assurance) -> SessionRecord {
        SessionRecord {
            id: token.id().clone(),
            hash: token.hash(),
            subject: "did:key:z6Mk".into(),
            scopes: [Scope::Inference, Scope::Models].into_iter().collect(),
            assurance,
            created_at_ms: 0,
            expires_at_ms: 100,
            ended_at_ms: None,
        }
    }

    #[test]
    fn a_token_survives_being_written_down() {
        let token = SessionToken::generate();
        let again: SessionToken = token.reveal().parse().expect("a token parses");
        assert_eq!(again.hash(), token.hash());
        assert!(!format!("{token:?}").contains(&token.secret));
        for bad in ["", "kws_", "kws_a_b", "kw_abc", "kws__", "kws_abc"] {
            assert!(bad.parse::<SessionToken>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_session_may_do_what_it_was_given_and_its_tier_unlocks() {
        let token = SessionToken::generate();
        let stored = record(&token, Assurance::Anonymous);
        let principal = Principal::from_session(&token, Some(&stored), 50).expect("it is good");
        assert_eq!(principal.id().as_str(), "did:key:z6Mk");
        assert_eq!(principal.require(Scope::Inference), Ok(()));
        assert!(principal.require(Scope::Models).is_err(), "of tier 4");
        assert!(principal.require(Scope::Carbon).is_err(), "was not given");
        assert_eq!(principal.jobs_max(), Some(1));
        let sovereign = record(&token, Assurance::Sovereign);
        let principal = Principal::from_session(&token, Some(&sovereign), 50).expect("it is good");
        assert_eq!(principal.require(Scope::Models), Ok(()));
        assert!(principal.require(Scope::Audit).is_err());

        let refused = Err(AuthError::InvalidSession);
        assert_eq!(Principal::from_session(&token, Some(&stored), 100), refused);
        assert_eq!(Principal::from_session(&token, None, 50), refused);
        let forged = SessionToken {
            secret: "0".repeat(64),
            ..token.clone()
        };
        assert_eq!(Principal::from_session(&forged, Some(&stored), 50), refused);
        let ended = SessionRecord {
            ended_at_ms: Some(1),
            ..stored
        };
        assert_eq!(Principal::from_session(&token, Some(&ended), 50), refused);
    }
}
