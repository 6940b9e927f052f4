//! Whether a text was made for this node, this account and this time, and whether the account's owner signed it.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

use super::{SignInText, Signer};
use crate::account::{Account, Recovered, ethereum_address, recover};
use crate::public_key::PublicKey;
use crate::timestamp::parse_timestamp;

/// By how much the signer's clock may differ, in milliseconds.
const SKEW_MS: i64 = 60_000;

/// What a text has to say.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// Whose account.
    pub signer: &'a Signer,
    /// Who asked, as an origin: `https://example.com:8443`.
    pub origin: &'a str,
    /// What was given for this one time.
    pub nonce: &'a str,
    /// When that was: milliseconds since 1970, as all times here.
    pub given_at_ms: i64,
    /// The sentence, where it matters.
    pub statement: Option<&'a str>,
    /// Now.
    pub now_ms: i64,
}

/// Why signing in is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text says something else than what was asked.
    #[error("the message's {0} is not what was asked for")]
    Other(&'static str),
    /// The text is over, or not yet good.
    #[error("the message is not good at this time")]
    Time,
    /// Somebody else signed, or another text.
    #[error("the signature is not good")]
    Signature,
    /// Only the chain could tell, and this node has no way to ask it.
    #[error(
        "unverifiable: only the chain can tell whether this contract's signature is good, and this node does not ask it"
    )]
    Unverifiable,
}

impl Expected<'_> {
    /// Compares the text with what was asked.
    ///
    /// # Errors
    /// Whatever differs first.
    pub fn check(&self, text: &SignInText) -> Result<(), Refusal> {
        let (scheme, domain) = self.origin.split_once("://").unwrap_or(("", self.origin));
        let same = |equal: bool, what| equal.then_some(()).ok_or(Refusal::Other(what));
        same(text.domain == domain, "domain")?;
        same(
            text.scheme.as_deref().is_none_or(|own| own == scheme),
            "scheme",
        )?;
        same(is_under(&text.uri, self.origin), "URI")?;
        same(text.nonce == self.nonce, "nonce")?;
        same(is_of(text, self.signer), "account")?;
        if self.statement.is_some() {
            same(text.statement.as_deref() == self.statement, "statement")?;
        }
        let time = |text: &String| parse_timestamp(text);
        let issued = time(&text.issued_at).ok_or(Refusal::Time)?;
        let in_time = (self.given_at_ms - SKEW_MS..=self.now_ms + SKEW_MS).contains(&issued);
        let ends = text.expiration_time.as_ref().and_then(time);
        let begins = text.not_before.as_ref().and_then(time);
        let good = in_time
            && ends.is_none_or(|end| self.now_ms < end)
            && begins.is_none_or(|start| start <= self.now_ms + SKEW_MS);
        good.then_some(()).ok_or(Refusal::Time)
    }
}

/// Whether a URI is the origin or lies below it.
fn is_under(uri: &str, origin: &str) -> bool {
    uri.strip_prefix(origin)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

fn is_of(text: &SignInText, signer: &Signer) -> bool {
    if text.kind != signer.kind() {
        return false;
    }
    let chain = text.chain_id.as_deref();
    match signer {
        Signer::Key(_) => text.address == signer.address(),
        Signer::Account(account) => {
            let here = match account {
                Account::Eip155 { address, .. } => {
                    ethereum_address(&text.address) == Some(*address)
                }
                Account::Solana { .. } => text.address == account.address(),
            };
            here && chain.is_none_or(|chain| account.is_on(chain))
        }
    }
}

/// Whether the account's owner signed the text. A signature is `0x` and hexadecimal digits, or multibase: `z` and
/// base58, or `u` and base64url.
///
/// # Errors
/// When he did not, or nobody can tell.
pub fn check_signature(signer: &Signer, text: &str, signature: &str) -> Result<(), Refusal> {
    let signature = decode(signature).ok_or(Refusal::Signature)?;
    let good = match signer {
        Signer::Key(key) => key.verifies(text.as_bytes(), &signature),
        Signer::Account(Account::Solana { key, .. }) => {
            PublicKey::Ed25519(*key).verifies(text.as_bytes(), &signature)
        }
        Signer::Account(Account::Eip155 { address, .. }) => {
            match recover(address, text, &signature) {
                Recovered::Signed => true,
                Recovered::Other => false,
                Recovered::Unverifiable => return Err(Refusal::Unverifiable),
            }
        }
    };
    good.then_some(()).ok_or(Refusal::Signature)
}

fn decode(signature: &str) -> Option<Vec<u8>> {
    if let Some(digits) = signature.strip_prefix("0x") {
        // A contract's may be long, but not without end.
        let bearable = digits.len() <= 8_192;
        return HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .ok()
            .filter(|_| bearable);
    }
    match signature.split_at_checked(1)? {
        ("z", text) => crate::base58::decode(text),
        ("u", text) if text.len() <= 8_192 => BASE64URL_NOPAD.decode(text.as_bytes()).ok(),
        _ => None,
    }
}
