//! Hands a database's key to whoever may open it: wrapped to his public key, so that somebody else can do it for him
//! while he is away.
//!
//! HPKE (RFC 9180) in base mode, one message for each key: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
//! The sealing client in `clients/js/storage` shares with the same suite.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use curve25519_dalek::montgomery::MontgomeryPoint;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{DataKey, Unopened};

/// What the wrapped keys are for.
const INFO: &[u8] = b"kwaainet storage data key 1";
/// Section 4.1, for the key encapsulation.
const KEM: &[u8] = b"KEM\x00\x20";
/// Section 5.1, for the whole suite.
const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";
const PUBLIC_BYTES: usize = 32;

type Secret = Zeroizing<[u8; 32]>;

/// An X25519 key (RFC 7748) to which others wrap. Never printed.
#[derive(Clone)]
pub struct SharingKey {
    secret: Secret,
    public: [u8; 32],
}

impl fmt::Debug for SharingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharingKey")
    }
}

impl SharingKey {
    /// The one that belongs to 32 secret bytes, which have other uses, too (HKDF, RFC 5869).
    ///
    /// # Panics
    /// Never: so few bytes can always be derived.
    pub fn of(secret: &[u8; 32]) -> Self {
        let mut own = Zeroizing::new([0; 32]);
        let derived =
            Hkdf::<Sha256>::new(None, secret).expand(b"kwaainet storage sharing key 1", &mut *own);
        derived.expect("32 bytes can be derived");
        Self::from_secret(own)
    }

    fn from_secret(secret: Secret) -> Self {
        let public = MontgomeryPoint::mul_base_clamped(*secret).0;
        Self { secret, public }
    }

    /// Its public half.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Opens a database's key that was wrapped to this one for `recipient`.
    ///
    /// # Errors
    /// When it was wrapped to another one or for somebody else, or was changed.
    pub fn unwrap_key(&self, wrapped: &[u8], recipient: &str) -> Result<DataKey, Unopened> {
        let (sent, ciphertext) = wrapped
            .split_first_chunk::<PUBLIC_BYTES>()
            .ok_or(Unopened)?;
        let shared = agree(&self.secret, sent).ok_or(Unopened)?;
        let shared = encapsulated(&shared, sent, &self.public);
        let opened = open(&shared, INFO, recipient.as_bytes(), ciphertext)?;
        let opened = Zeroizing::new(opened);
        let key = opened.as_slice().try_into().map_err(|_| Unopened)?;
        Ok(DataKey::new(Zeroizing::new(key)))
    }
}

/// Wraps a database's key to a public key, for a recipient of this name; none if that is no sound public key.
///
/// # Panics
/// When the operating system gives no randomness.
pub fn wrap_key(key: &DataKey, to: &[u8; 32], recipient: &str) -> Option<Vec<u8>> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *secret).expect("the operating system gives random bytes");
    let ephemeral = SharingKey::from_secret(secret);
    let shared = agree(&ephemeral.secret, to)?;
    let shared = encapsulated(&shared, &ephemeral.public, to);
    let mut wrapped = ephemeral.public.to_vec();
    wrapped.extend(seal(&shared, INFO, recipient.as_bytes(), key.bytes()));
    Some(wrapped)
}

/// X25519; none where the result tells that the other's key is none (RFC 9180, section 7.1.4).
fn agree(secret: &Secret, public: &[u8; 32]) -> Option<Secret> {
    let shared = Zeroizing::new(MontgomeryPoint(*public).mul_clamped(**secret).0);
    (*shared != [0; 32]).then_some(shared)
}

/// Section 4.1, `ExtractAndExpand`.
fn encapsulated(agreed: &Secret, sent: &[u8; 32], to: &[u8; 32]) -> Secret {
    let key = extract(KEM, b"", b"eae_prk", &**agreed);
    let mut shared = Zeroizing::new([0; 32]);
    expand(
        &key,
        KEM,
        b"shared_secret",
        &[sent.as_slice(), to].concat(),
        &mut *shared,
    );
    shared
}

/// Sections 5.1 and 5.2 for the first and only message.
fn schedule(shared: &Secret, info: &[u8]) -> (ChaCha20Poly1305, [u8; 12]) {
    let mut context = vec![0];
    context.extend(*extract(SUITE, b"", b"psk_id_hash", b""));
    context.extend(*extract(SUITE, b"", b"info_hash", info));
    let secret = extract(SUITE, &**shared, b"secret", b"");
    let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
    expand(&secret, SUITE, b"key", &context, &mut *key);
    expand(&secret, SUITE, b"base_nonce", &context, &mut nonce);
    (ChaCha20Poly1305::new((&*key).into()), nonce)
}

fn seal(shared: &Secret, info: &[u8], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let (cipher, nonce) = schedule(shared, info);
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg, aad });
    sealed.expect("a key is short enough")
}

fn open(shared: &Secret, info: &[u8], aad: &[u8], msg: &[u8]) -> Result<Vec<u8>, Unopened> {
    let (cipher, nonce) = schedule(shared, info);
    let opened = cipher.decrypt(&nonce.into(), Payload { msg, aad });
    opened.map_err(|_| Unopened)
}

/// Section 4, `LabeledExtract`.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], material: &[u8]) -> Secret {
    let material = Zeroizing::new([b"HPKE-v1", suite, label, material].concat());
    let (key, _) = Hkdf::<Sha256>::extract(Some(salt), &material);
    Zeroizing::new(key.into())
}

/// Section 4, `LabeledExpand`.
fn expand(key: &Secret, suite: &[u8], label: &[u8], info: &[u8], out: &mut [u8]) {
    let length = (out.len() as u16).to_be_bytes();
    let info = [&length, b"HPKE-v1".as_slice(), suite, label, info].concat();
    let key = Hkdf::<Sha256>::from_prk(&**key).expect("a hash is long enough");
    key.expand(&info, out).expect("keys are short enough");
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).expect("it is hexadecimal")
    }

    fn array(hex: &str) -> [u8; 32] {
        bytes(hex).try_into().expect("32 bytes")
    }

    /// RFC 9180, appendix A.2.1 (base mode), and its first encryption.
    #[test]
    fn it_is_hpke() {
        let sender = SharingKey::from_secret(Zeroizing::new(array(
            "f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600",
        )));
        let receiver = SharingKey::from_secret(Zeroizing::new(array(
            "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        )));
        let sent = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
        assert_eq!(HEXLOWER.encode(&sender.public), sent);
        let agreed = agree(&receiver.secret, &sender.public).expect("it is a key");
        let shared = encapsulated(&agreed, &sender.public, &receiver.public);
        assert_eq!(
            HEXLOWER.encode(&*shared),
            "0bbe78490412b4bbea4812666f7916932b828bba79942424abb65244930d69a7"
        );
        let info = bytes("4f6465206f6e2061204772656369616e2055726e");
        let text = bytes("4265617574792069732074727574682c20747275746820626561757479");
        let sealed = seal(&shared, &info, b"Count-0", &text);
        assert_eq!(
            HEXLOWER.encode(&sealed),
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28"
        );
        assert_eq!(open(&shared, &info, b"Count-0", &sealed), Ok(text));
    }

    #[test]
    fn a_wrapped_key_opens_for_whom_it_was_wrapped() {
        let key = DataKey::generate();
        let (ada, bob) = (SharingKey::of(&[1; 32]), SharingKey::of(&[2; 32]));
        let wrapped = wrap_key(&key, &ada.public(), "key:ada").expect("it is a key");
        assert_eq!(wrapped.len(), 80);
        let opened = ada.unwrap_key(&wrapped, "key:ada").expect("it is hers");
        assert_eq!(opened.bytes(), key.bytes());
        assert!(ada.unwrap_key(&wrapped, "key:bob").is_err());
        assert!(bob.unwrap_key(&wrapped, "key:ada").is_err());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(ada.unwrap_key(&changed, "key:ada").is_err(), "byte {at}");
            assert!(ada.unwrap_key(&wrapped[..at], "key:ada").is_err());
        }
        assert!(wrap_key(&key, &[0; 32], "nobody").is_none());
    }
}
