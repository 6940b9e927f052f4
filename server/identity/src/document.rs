//! DID documents (W3C Decentralized Identifiers 1.0): made for keys and accounts, and read as others wrote them.

use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};

use crate::account::Account;
use crate::did::Did;
use crate::public_key::PublicKey;

/// What a method of verification may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Saying something of others or oneself.
    Assertion,
    /// Showing that one is who one says.
    Authentication,
}

impl Purpose {
    /// As documents and proofs have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Assertion => "assertionMethod",
            Self::Authentication => "authentication",
        }
    }
}

const DID_CONTEXT: &str = "https://www.w3.org/ns/did/v1";
/// The uses that a key's own document gives it.
const USES: [&str; 4] = [
    "authentication",
    "assertionMethod",
    "capabilityInvocation",
    "capabilityDelegation",
];
/// Methods of a document that are looked at.
const METHODS_MAX: usize = 64;

/// A DID document.
#[derive(Clone, Debug, PartialEq)]
pub struct DidDocument(Map<String, Value>);

impl DidDocument {
    /// The document of a name that says all of itself; none for one on the web.
    pub fn of(did: &Did) -> Option<Self> {
        match did {
            Did::Key(key) => Some(of_key(&did.to_string(), key)),
            Did::Pkh(account) => Some(of_account(&did.to_string(), account)),
            Did::Web(_) => None,
        }
    }

    /// A document that others wrote. It must be about the name that was asked for.
    pub fn read(did: &Did, document: Map<String, Value>) -> Option<Self> {
        (document.get("id")?.as_str()? == did.to_string()).then_some(Self(document))
    }

    /// The document of a place on the web for a node's key.
    pub fn of_node(did: &Did, key: &PublicKey) -> Self {
        let Self(mut document) = of_key(&did.to_string(), key);
        let own = Did::Key(*key).to_string();
        if own != did.to_string() {
            document.insert("alsoKnownAs".into(), json!([own]));
        }
        Self(document)
    }

    /// The whole document.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The same, given away.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// The key of a method that may be used so and that the document's subject controls; none where there is no such
    /// method, or its key is of a kind that we do not know.
    pub fn key(&self, method: &str, purpose: Purpose) -> Option<PublicKey> {
        let id = self.0.get("id")?.as_str()?;
        let listed = self.0.get(purpose.name())?.as_array()?;
        let absolute = |name: &str| match name.strip_prefix('#') {
            Some(fragment) => format!("{id}#{fragment}"),
            None => name.to_owned(),
        };
        let names = |entry: &Value, field: Option<&str>| {
            let name = field.map_or(entry.as_str(), |field| entry.get(field)?.as_str());
            name.is_some_and(|name| absolute(name) == method)
        };
        // A use names a method of the document, or has one inside.
        let use_of = listed
            .iter()
            .take(METHODS_MAX)
            .find(|entry| names(entry, None) || names(entry, Some("id")))?;
        let found = match use_of.as_object() {
            Some(embedded) => embedded,
            None => {
                let methods = self.0.get("verificationMethod")?.as_array()?;
                let found = methods.iter().take(METHODS_MAX);
                let found = found.into_iter().find(|entry| names(entry, Some("id")));
                found?.as_object()?
            }
        };
        let is_own = found.get("controller")?.as_str()? == id;
        let is_revoked = found.contains_key("revoked") || found.contains_key("expires");
        (is_own && !is_revoked).then(|| key_of(found))?
    }
}

/// The key of a method, in any of the forms that say it wholly.
fn key_of(method: &Map<String, Value>) -> Option<PublicKey> {
    let kind = method.get("type")?.as_str()?;
    let text = |field: &str| method.get(field).and_then(Value::as_str);
    match kind {
        "Multikey" | "Ed25519VerificationKey2020" => text("publicKeyMultibase")?.parse().ok(),
        "Ed25519VerificationKey2018" if method.contains_key("publicKeyBase58") => {
            let bytes = crate::base58::decode(text("publicKeyBase58")?)?;
            PublicKey::ed25519(bytes.try_into().ok()?).ok()
        }
        "JsonWebKey" | "JsonWebKey2020" | "Ed25519VerificationKey2018" => {
            jwk(method.get("publicKeyJwk")?.as_object()?)
        }
        _ => None,
    }
}

/// RFC 7517, RFC 8037.
fn jwk(jwk: &Map<String, Value>) -> Option<PublicKey> {
    let text = |field: &str| jwk.get(field).and_then(Value::as_str);
    let bytes = |field: &str| BASE64URL_NOPAD.decode(text(field)?.as_bytes()).ok();
    let point = || Some([&[4][..], &bytes("x")?, &bytes("y")?].concat());
    match (text("kty")?, text("crv")?) {
        ("OKP", "Ed25519") => PublicKey::ed25519(bytes("x")?.try_into().ok()?).ok(),
        ("EC", "P-256") => PublicKey::p256(&point()?).ok(),
        ("EC", "secp256k1") => PublicKey::secp256k1(&point()?).ok(),
        _ => None,
    }
}

fn of_key(did: &str, key: &PublicKey) -> DidDocument {
    let method = format!("{did}#{key}");
    let multikey = |id: &str, key: &str| json!({"id": id, "type": "Multikey", "controller": did, "publicKeyMultibase": key});
    let mut methods = vec![multikey(&method, &key.to_string())];
    let mut document = Map::new();
    let context = [DID_CONTEXT, "https://w3id.org/security/multikey/v1"];
    document.insert("@context".into(), json!(context));
    document.insert("id".into(), json!(did));
    let agreement = key.key_agreement().map(|agreement| {
        let id = format!("{did}#{agreement}");
        methods.push(multikey(&id, &agreement));
        id
    });
    document.insert("verificationMethod".into(), json!(methods));
    for name in USES {
        document.insert(name.into(), json!([method]));
    }
    if let Some(agreement) = agreement {
        document.insert("keyAgreement".into(), json!([agreement]));
    }
    DidDocument(document)
}

fn of_account(did: &str, account: &Account) -> DidDocument {
    let security = |name: &str| json!(format!("https://w3id.org/security#{name}"));
    let mut terms = json!({"blockchainAccountId": security("blockchainAccountId")});
    let mut methods = Vec::new();
    let mut method = |fragment: &str, kind: &str, jwk: Option<Value>| {
        let mut method = json!({
            "id": format!("{did}#{fragment}"),
            "type": kind,
            "controller": did,
            "blockchainAccountId": account.to_string(),
        });
        if let Some(jwk) = jwk {
            method["publicKeyJwk"] = jwk;
        }
        methods.push(method);
    };
    match account {
        Account::Eip155 { .. } => {
            let kind = "EcdsaSecp256k1RecoveryMethod2020";
            let suite = "https://identity.foundation/EcdsaSecp256k1RecoverySignature2020";
            terms[kind] = json!(format!("{suite}#{kind}"));
            method("blockchainAccountId", kind, None);
        }
        Account::Solana { key, .. } => {
            let x = BASE64URL_NOPAD.encode(key);
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
            terms["publicKeyJwk"] = json!({"@id": security("publicKeyJwk"), "@type": "@json"});
            for (fragment, kind) in [
                ("controller", "Ed25519VerificationKey2018"),
                ("SolanaMethod2021", "SolanaMethod2021"),
            ] {
                terms[kind] = security(kind);
                method(fragment, kind, Some(jwk.clone()));
            }
        }
    }
    let ids: Vec<_> = methods.iter().map(|method| method["id"].clone()).collect();
    let mut document = Map::new();
    document.insert("@context".into(), json!([DID_CONTEXT, terms]));
    document.insert("id".into(), json!(did));
    document.insert("verificationMethod".into(), json!(methods));
    for name in USES {
        document.insert(name.into(), json!(ids));
    }
    DidDocument(document)
}

#[cfg(test)]
mod tests;
