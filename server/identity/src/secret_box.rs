//! Seals what this node has to know again and nobody else may, such as tokens for other nodes: XChaCha20-Poly1305
//! (draft-irtf-cfrg-xchacha) under a key that is made of the node's own. Whoever has the database alone has nothing.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key::NodeKey;

const NONCE_BYTES: usize = 24;

/// Seals and opens.
pub struct SecretBox(XChaCha20Poly1305);

impl SecretBox {
    /// That of the node with this key.
    pub fn new(key: &NodeKey) -> Self {
        let secret: Zeroizing<[u8; 32]> = Zeroizing::new(
            Sha256::new()
                .chain_update(b"kwaainet secret box 1\0")
                .chain_update(*key.seed())
                .finalize()
                .into(),
        );
        Self(XChaCha20Poly1305::new(&(*secret).into()))
    }

    /// Seals a secret for one place, which has to be named again to open it.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn seal(&self, place: &str, secret: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let payload = Payload {
            msg: secret,
            aad: place.as_bytes(),
        };
        let sealed = self.0.encrypt(&nonce.into(), payload);
        [&nonce[..], &sealed.expect("it fits into memory")].concat()
    }

    /// Opens what was sealed for this place; none for anything else, or under another key.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().ok()?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        self.0
            .decrypt(&nonce.into(), payload)
            .ok()
            .map(Zeroizing::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_node_opens_and_only_in_its_place() {
        let ours = SecretBox::new(&NodeKey::from_seed(&[1; 32]));
        let other = SecretBox::new(&NodeKey::from_seed(&[2; 32]));
        let sealed = ours.seal("a", b"token");
        assert!(!sealed.windows(5).any(|bytes| bytes == b"token"));
        let opened = ours.open("a", &sealed).expect("it is ours");
        assert_eq!(&**opened, b"token");
        assert!(ours.open("b", &sealed).is_none());
        assert!(other.open("a", &sealed).is_none());
        assert!(ours.open("a", &sealed[..20]).is_none());
        assert_ne!(ours.seal("a", b"token"), sealed, "never twice the same");
    }
}
