//! The text that somebody signs to show that an account is his (CAIP-122): Ethereum's as EIP-4361 writes it, Solana's
//! as its wallets do ("Sign In With Solana"), and the same for a `did:key`. The parser takes what its grammar allows
//! and nothing else, so that two readers never see two texts.

mod check;
mod parse;

pub use check::{Expected, Refusal, check_signature};
pub use parse::BadText;

use std::fmt;

use crate::account::Account;
use crate::did::Did;
use crate::public_key::PublicKey;

/// Who signs in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Signer {
    /// An account on a chain.
    Account(Account),
    /// A key.
    Key(PublicKey),
}

/// A DID whose owner cannot sign in by himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing in takes a did:key or a did:pkh of eip155 or solana")]
pub struct NoSigner;

impl Signer {
    /// The DID's owner.
    ///
    /// # Errors
    /// When it is a place on the web.
    pub fn of(did: &Did) -> Result<Self, NoSigner> {
        match did {
            Did::Key(key) => Ok(Self::Key(*key)),
            Did::Pkh(account) => Ok(Self::Account(account.clone())),
            Did::Web(_) => Err(NoSigner),
        }
    }

    /// His name.
    pub fn did(&self) -> Did {
        match self {
            Self::Account(account) => Did::Pkh(account.clone()),
            Self::Key(key) => Did::Key(*key),
        }
    }

    /// How the text calls the kind of account.
    fn kind(&self) -> &'static str {
        match self {
            Self::Account(account) => account.chain_name(),
            Self::Key(_) => KEY_KIND,
        }
    }

    /// As the text names it.
    fn address(&self) -> String {
        match self {
            Self::Account(account) => account.address(),
            Self::Key(key) => Did::Key(*key).to_string(),
        }
    }
}

const KEY_KIND: &str = "DID";

/// A text for signing in, by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInText {
    /// `https`, where the text says so.
    pub scheme: Option<String>,
    /// Who asks: an authority (RFC 3986).
    pub domain: String,
    /// `Ethereum`, `Solana` or `DID`.
    pub kind: String,
    /// The account, as its kind writes it.
    pub address: String,
    /// A sentence for people.
    pub statement: Option<String>,
    /// What is signed in to.
    pub uri: String,
    /// The chain's name within its kind; only a `did:key` has none.
    pub chain_id: Option<String>,
    /// What was given for this one time.
    pub nonce: String,
    /// When it was made (RFC 3339).
    pub issued_at: String,
    /// From when on it is no good.
    pub expiration_time: Option<String>,
    /// Until when it is no good yet.
    pub not_before: Option<String>,
    /// Whatever the two want to call it.
    pub request_id: Option<String>,
    /// What else it is about.
    pub resources: Vec<String>,
}

impl SignInText {
    /// A text for this signer.
    pub fn new(signer: &Signer, domain: &str, uri: &str, nonce: &str, issued_at: &str) -> Self {
        Self {
            scheme: None,
            domain: domain.to_owned(),
            kind: signer.kind().to_owned(),
            address: signer.address(),
            statement: None,
            uri: uri.to_owned(),
            chain_id: match signer {
                Signer::Account(account) => Some(account.chain_id()),
                Signer::Key(_) => None,
            },
            nonce: nonce.to_owned(),
            issued_at: issued_at.to_owned(),
            expiration_time: None,
            not_before: None,
            request_id: None,
            resources: Vec::new(),
        }
    }
}

/// As it is signed.
impl fmt::Display for SignInText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = &self.scheme {
            write!(f, "{scheme}://")?;
        }
        let (domain, kind) = (&self.domain, &self.kind);
        writeln!(f, "{domain} wants you to sign in with your {kind} account:")?;
        write!(f, "{}\n\n", self.address)?;
        match &self.statement {
            Some(statement) => write!(f, "{statement}\n\n")?,
            // Ethereum's grammar leaves the statement's place empty, the others leave it out.
            None if self.kind == "Ethereum" => writeln!(f)?,
            None => {}
        }
        write!(f, "URI: {}\nVersion: 1", self.uri)?;
        if let Some(chain) = &self.chain_id {
            write!(f, "\nChain ID: {chain}")?;
        }
        write!(f, "\nNonce: {}\nIssued At: {}", self.nonce, self.issued_at)?;
        for (label, value) in [
            ("Expiration Time", &self.expiration_time),
            ("Not Before", &self.not_before),
            ("Request ID", &self.request_id),
        ] {
            if let Some(value) = value {
                write!(f, "\n{label}: {value}")?;
            }
        }
        if !self.resources.is_empty() {
            f.write_str("\nResources:")?;
        }
        self.resources
            .iter()
            .try_for_each(|resource| write!(f, "\n- {resource}"))
    }
}

#[cfg(test)]
mod tests;
