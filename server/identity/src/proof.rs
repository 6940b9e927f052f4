//! Data Integrity proofs of the suite `eddsa-jcs-2022` (W3C Data Integrity EdDSA Cryptosuites 1.0, section 3.3): an
//! Ed25519 signature of the hashes of the proof's options and of the document, each in canonical form.

use ed25519_dalek::Signature;
use serde_json::{Map, Value, json};

use crate::document::Purpose;
use crate::jcs;
use crate::key::NodeKey;
use crate::public_key::{PublicKey, multibase};
use crate::timestamp::parse_timestamp;

const SUITE: &str = "eddsa-jcs-2022";
const KIND: &str = "DataIntegrityProof";

/// What a proof says beside the signature.
#[derive(Clone, Debug)]
pub struct ProofOptions<'a> {
    /// The DID URL of the key.
    pub method: &'a str,
    /// What it is for.
    pub purpose: Purpose,
    /// When it was made, as text; none to say nothing.
    pub created: Option<&'a str>,
    /// What whoever it is made for gave, so that it is made for him and now.
    pub challenge: Option<&'a str>,
    /// Whom it is made for.
    pub domain: Option<&'a str>,
}

/// Why a proof is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It lacks something, or is of another suite.
    #[error("the proof is no eddsa-jcs-2022 proof: {0}")]
    Malformed(&'static str),
    /// Its key is not one of the issuer's, or not for this.
    #[error("the proof's verificationMethod is no key of its controller for this purpose")]
    Method,
    /// It is over, or its date is none.
    #[error("the proof has expired")]
    Expired,
    /// It was made for somebody else, or earlier.
    #[error("the proof was not made for this {0}")]
    Audience(&'static str),
    /// Somebody changed the document or the proof, or another key signed.
    #[error("the proof's signature is not good")]
    Signature,
}

/// The document with a proof; one that it had is replaced.
pub fn sign(
    key: &NodeKey,
    mut document: Map<String, Value>,
    options: &ProofOptions<'_>,
) -> Map<String, Value> {
    document.remove("proof");
    let mut proof = Map::new();
    proof.insert("type".into(), json!(KIND));
    proof.insert("cryptosuite".into(), json!(SUITE));
    for (name, value) in [
        ("created", options.created),
        ("challenge", options.challenge),
        ("domain", options.domain),
    ] {
        if let Some(value) = value {
            proof.insert(name.into(), json!(value));
        }
    }
    proof.insert("verificationMethod".into(), json!(options.method));
    proof.insert("proofPurpose".into(), json!(options.purpose.name()));
    if let Some(context) = document.get("@context") {
        proof.insert("@context".into(), context.clone());
    }
    let signature = key.sign(&hash_data(&document, &proof));
    let signature = multibase(&signature.to_bytes());
    proof.insert("proofValue".into(), json!(signature));
    document.insert("proof".into(), Value::Object(proof));
    document
}

/// A proof that was read, and is not yet checked.
#[derive(Clone, Debug)]
pub struct Proof<'a> {
    options: Map<String, Value>,
    signature: Signature,
    /// The DID URL of its key.
    pub method: &'a str,
}

impl<'a> Proof<'a> {
    /// Reads a proof that is for this purpose and not over.
    ///
    /// # Errors
    /// When it is not so.
    pub fn read(proof: &'a Value, purpose: Purpose, now_ms: i64) -> Result<Self, ProofError> {
        let malformed = ProofError::Malformed;
        let object = proof.as_object().ok_or(malformed("it is no object"))?;
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        if text("type") != Some(KIND) {
            return Err(malformed("its type is not 'DataIntegrityProof'"));
        }
        if text("cryptosuite") != Some(SUITE) {
            return Err(malformed("its cryptosuite is another"));
        }
        if text("proofPurpose") != Some(purpose.name()) {
            return Err(malformed("its proofPurpose is another"));
        }
        // A chain of proofs would have to be checked as a whole.
        if object.contains_key("previousProof") {
            return Err(malformed("it is part of a chain"));
        }
        let date = |field: &str| match object.get(field) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .and_then(parse_timestamp)
                .map(Some)
                .ok_or(malformed("one of its dates is none")),
        };
        date("created")?;
        if date("expires")?.is_some_and(|end| now_ms >= end) {
            return Err(ProofError::Expired);
        }
        let method = text("verificationMethod").ok_or(malformed("it has no verificationMethod"))?;
        let value = text("proofValue").and_then(|value| value.strip_prefix('z'));
        let signature = value
            .and_then(crate::base58::decode)
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .ok_or(malformed("its proofValue is no signature"))?;
        let mut options = object.clone();
        options.remove("proofValue");
        Ok(Self {
            options,
            signature,
            method,
        })
    }

    /// Sees that it was made for this challenge and domain, where there are any.
    ///
    /// # Errors
    /// When it was not.
    pub fn is_for(&self, challenge: Option<&str>, domain: Option<&str>) -> Result<(), ProofError> {
        for (name, wanted) in [("challenge", challenge), ("domain", domain)] {
            let found = self.options.get(name).and_then(Value::as_str);
            if wanted.is_some() && found != wanted {
                return Err(ProofError::Audience(name));
            }
        }
        Ok(())
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// When it is not good.
    pub fn verify(&self, document: &Map<String, Value>, key: &PublicKey) -> Result<(), ProofError> {
        let PublicKey::Ed25519(_) = key else {
            return Err(ProofError::Method);
        };
        let mut unsecured = document.clone();
        unsecured.remove("proof");
        if let Some(context) = self.options.get("@context") {
            // What the proof was made over is the beginning of what the document has now.
            let has_it = unsecured
                .get("@context")
                .is_some_and(|of_document| begins_with(of_document, context));
            if !has_it {
                return Err(ProofError::Signature);
            }
            unsecured.insert("@context".into(), context.clone());
        }
        let data = hash_data(&unsecured, &self.options);
        match key.verifies(&data, &self.signature.to_bytes()) {
            true => Ok(()),
            false => Err(ProofError::Signature),
        }
    }
}

fn begins_with(whole: &Value, start: &Value) -> bool {
    match (whole.as_array(), start.as_array()) {
        (Some(whole), Some(start)) => whole.starts_with(start),
        (Some(whole), None) => whole.first() == Some(start),
        _ => whole == start,
    }
}

/// Section 3.3.4: the hash of the options, then that of the document.
fn hash_data(document: &Map<String, Value>, options: &Map<String, Value>) -> [u8; 64] {
    let mut data = [0; 64];
    data[..32].copy_from_slice(&jcs::hash(options));
    data[32..].copy_from_slice(&jcs::hash(document));
    data
}

#[cfg(test)]
mod tests;
