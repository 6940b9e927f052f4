//! Public keys of others, as Multikey writes them (W3C Controlled Identifiers 1.0, section 2.2.2): the multicodec of
//! the kind and the key's bytes, in base58btc behind a `z`. Checks signatures; nothing here is secret.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey as EdKey;
use k256::ecdsa::VerifyingKey as K256Key;
use p256::ecdsa::VerifyingKey as P256Key;
use p256::ecdsa::signature::Verifier;

use crate::base58;

/// The multicodecs as varints.
const ED25519: [u8; 2] = [0xED, 0x01];
const X25519: [u8; 2] = [0xEC, 0x01];
const P256: [u8; 2] = [0x80, 0x24];
const SECP256K1: [u8; 2] = [0xE7, 0x01];

/// A public key; it was seen to be a point of its curve.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// RFC 8032.
    Ed25519([u8; 32]),
    /// NIST P-256, compressed (SEC 1, section 2.3.3).
    P256([u8; 33]),
    /// secp256k1, compressed.
    Secp256k1([u8; 33]),
}

/// A text or bytes that are no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no public key of Ed25519, P-256 or secp256k1")]
pub struct BadPublicKey;

impl PublicKey {
    /// An Ed25519 key.
    ///
    /// # Errors
    /// When the bytes are no point.
    pub fn ed25519(bytes: [u8; 32]) -> Result<Self, BadPublicKey> {
        EdKey::from_bytes(&bytes).map_err(|_| BadPublicKey)?;
        Ok(Self::Ed25519(bytes))
    }

    /// A P-256 key from its point, compressed or not.
    ///
    /// # Errors
    /// When the bytes are no point.
    pub fn p256(point: &[u8]) -> Result<Self, BadPublicKey> {
        let key = P256Key::from_sec1_bytes(point).map_err(|_| BadPublicKey)?;
        let point = key.to_sec1_point(true);
        let bytes = point.as_bytes().try_into().map_err(|_| BadPublicKey)?;
        Ok(Self::P256(bytes))
    }

    /// A secp256k1 key from its point, compressed or not.
    ///
    /// # Errors
    /// When the bytes are no point.
    pub fn secp256k1(point: &[u8]) -> Result<Self, BadPublicKey> {
        let key = K256Key::from_sec1_bytes(point).map_err(|_| BadPublicKey)?;
        let point = key.to_sec1_point(true);
        let bytes = point.as_bytes().try_into().map_err(|_| BadPublicKey)?;
        Ok(Self::Secp256k1(bytes))
    }

    /// A P-256 key that nobody has: a point was drawn, and not made of a secret. For a name that only its holder's
    /// node knows him by.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn of_nobody() -> Self {
        let mut point = [2; 33];
        // Every second number is where a point stands.
        loop {
            getrandom::fill(&mut point[1..]).expect("the operating system gives random bytes");
            if let Ok(key) = Self::p256(&point) {
                return key;
            }
        }
    }

    /// Whether the key's owner signed the message. Ed25519 signs it as it is and is checked strictly; the others
    /// sign its SHA-256, and their signature is `r` and `s` in 32 bytes each.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Ed25519(bytes) => EdKey::from_bytes(bytes)
                .ok()
                .zip(ed25519_dalek::Signature::from_slice(signature).ok())
                .and_then(|(key, signature)| key.verify_strict(message, &signature).ok()),
            Self::P256(point) => P256Key::from_sec1_bytes(point)
                .ok()
                .zip(p256::ecdsa::Signature::from_slice(signature).ok())
                .and_then(|(key, signature)| key.verify(message, &signature).ok()),
            Self::Secp256k1(point) => K256Key::from_sec1_bytes(point)
                .ok()
                .zip(k256::ecdsa::Signature::from_slice(signature).ok())
                .and_then(|(key, signature)| key.verify(message, &signature).ok()),
        };
        verified.is_some()
    }

    /// Of an Ed25519 key the X25519 key on the same curve, for agreeing on keys, as Multikey.
    pub fn key_agreement(&self) -> Option<String> {
        let Self::Ed25519(bytes) = self else {
            return None;
        };
        let key = EdKey::from_bytes(bytes).ok()?;
        let montgomery = key.to_montgomery().to_bytes();
        Some(multibase(&[&X25519[..], &montgomery].concat()))
    }
}

/// Base58btc behind its sign.
pub(crate) fn multibase(bytes: &[u8]) -> String {
    format!("z{}", base58::encode(bytes))
}

/// As Multikey: `z6Mk...`, `zDn...` or `zQ3s...`.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match self {
            Self::Ed25519(key) => [&ED25519[..], key].concat(),
            Self::P256(key) => [&P256[..], key].concat(),
            Self::Secp256k1(key) => [&SECP256K1[..], key].concat(),
        };
        f.write_str(&multibase(&bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    fn from_str(text: &str) -> Result<Self, BadPublicKey> {
        let text = text.strip_prefix('z').ok_or(BadPublicKey)?;
        let bytes = base58::decode(text).ok_or(BadPublicKey)?;
        let (codec, key) = bytes.split_at_checked(2).ok_or(BadPublicKey)?;
        let compressed = |key: &[u8]| key.len() == 33;
        match <[u8; 2]>::try_from(codec) {
            Ok(ED25519) => Self::ed25519(key.try_into().map_err(|_| BadPublicKey)?),
            Ok(P256) if compressed(key) => Self::p256(key),
            Ok(SECP256K1) if compressed(key) => Self::secp256k1(key),
            _ => Err(BadPublicKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::BASE64URL_NOPAD;
    use p256::ecdsa::signature::Signer;

    #[test]
    fn only_the_owners_signature_of_this_message_is_good() {
        let seed = [7; 32];
        let ed = crate::NodeKey::from_seed(&seed);
        let p = p256::ecdsa::SigningKey::from_slice(&seed).expect("a scalar");
        let k = k256::ecdsa::SigningKey::from_slice(&seed).expect("a scalar");
        let p_signature: p256::ecdsa::Signature = p.sign(b"message");
        let k_signature: k256::ecdsa::Signature = k.sign(b"message");
        let p_point = p.verifying_key().to_sec1_point(false);
        let k_point = k.verifying_key().to_sec1_point(false);
        for (key, signature) in [
            (
                PublicKey::ed25519(ed.id().0),
                ed.sign(b"message").to_bytes().to_vec(),
            ),
            (
                PublicKey::p256(p_point.as_bytes()),
                p_signature.to_bytes().to_vec(),
            ),
            (
                PublicKey::secp256k1(k_point.as_bytes()),
                k_signature.to_bytes().to_vec(),
            ),
        ] {
            let key = key.expect("it is a key");
            assert_eq!(key.to_string().parse(), Ok(key));
            assert!(key.verifies(b"message", &signature), "{key}");
            assert!(!key.verifies(b"massage", &signature), "{key}");
            for at in 0..signature.len() {
                let mut bad = signature.clone();
                bad[at] ^= 1;
                assert!(!key.verifies(b"message", &bad), "{key} byte {at}");
            }
            assert!(!key.verifies(b"message", &signature[1..]));
            assert!(!key.verifies(b"message", b""));
        }
    }

    #[test]
    fn a_key_of_nobody_is_a_key_and_never_the_same() {
        let (one, other) = (PublicKey::of_nobody(), PublicKey::of_nobody());
        assert_ne!(one, other);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert!(one.to_string().starts_with("zDn"));
    }

    /// A point of the method's vectors for NIST's curves (github.com/w3c-ccg/did-method-key,
    /// test-vectors/nist-curves.json, W3C Software and Document License).
    #[test]
    fn a_point_is_compressed_as_in_the_vectors() {
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64url");
        for (did, x, y) in [
            (
                "zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
                "igrFmi0whuihKnj9R3Om1SoMph72wUGeFaBbzG2vzns",
                "efsX5b10x8yjyrj4ny3pGfLcY7Xby1KzgqOdqnsrJIM",
            ),
            (
                "zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
                "fyNYMN0976ci7xqiSdag3buk-ZCwgXU4kz9XNkBlNUI",
                "hW2ojTNfH7Jbi8--CJUo3OCbH3y5n91g-IMA9MLMbTU",
            ),
        ] {
            let point = [&[4][..], &bytes(x), &bytes(y)].concat();
            let key = PublicKey::p256(&point).expect("a point");
            assert_eq!(key.to_string(), did);
            assert_eq!(did.parse(), Ok(key));
        }
    }

    /// test-vectors/secp256k1.json of the same repository.
    #[test]
    fn seeds_give_the_names_of_the_vectors() {
        for (seed, did) in [
            (
                "9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c",
                "zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
            ),
            (
                "f0f4df55a2b3ff13051ea814a8f24ad00f2e469af73c363ac7e9fb999a9072ed",
                "zQ3shtxV1FrJfhqE1dvxYRcCknWNjHc3c5X1y3ZSoPDi2aur2",
            ),
            (
                "6b0b91287ae3348f8c2f2552d766f30e3604867e34adc37ccbb74a8e6b893e02",
                "zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N",
            ),
        ] {
            let seed = data_encoding::HEXLOWER.decode(seed.as_bytes());
            let seed = seed.expect("hexadecimal digits");
            let key = k256::ecdsa::SigningKey::from_slice(&seed).expect("a scalar");
            let point = key.verifying_key().to_sec1_point(true);
            let key = PublicKey::secp256k1(point.as_bytes()).expect("a point");
            assert_eq!(key.to_string(), did);
            assert_eq!(did.parse(), Ok(key));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            "z",
            "6Mk",
            "z6Mk",
            // X25519 agrees on keys and signs nothing.
            "z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW",
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(BadPublicKey), "{bad}");
        }
    }
}
