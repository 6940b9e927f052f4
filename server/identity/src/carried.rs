//! A secret that a token carries and only the node that made the token reads: XChaCha20-Poly1305 under a key made of the
//! node's. The node keeps nothing of it, so that nothing opens without the token.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use data_encoding::BASE64URL_NOPAD;
use kwaainet_core::SharingSecret;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key::NodeKey;

const NONCE_BYTES: usize = 24;

/// Seals and opens for one node.
pub(crate) struct Carrier(Zeroizing<[u8; 32]>);

impl Carrier {
    pub(crate) fn new(key: &NodeKey) -> Self {
        let own = Sha256::new()
            .chain_update(b"kwaainet carried secret 1\0")
            .chain_update(*key.seed());
        Self(Zeroizing::new(own.finalize().into()))
    }

    /// As it stands in a token of this maker's.
    pub(crate) fn seal(&self, secret: &SharingSecret, maker: &str) -> String {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
        let payload = Payload {
            msg: secret.bytes(),
            aad: maker.as_bytes(),
        };
        let sealed = self.cipher().encrypt(&nonce.into(), payload);
        let sealed = sealed.expect("so few bytes can be encrypted");
        BASE64URL_NOPAD.encode(&[nonce.as_slice(), &sealed].concat())
    }

    /// What it was; none if another node sealed it, or for another maker.
    pub(crate) fn open(&self, text: &str, maker: &str) -> Option<SharingSecret> {
        let sealed = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (nonce, msg) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let aad = maker.as_bytes();
        let opened = self
            .cipher()
            .decrypt(&(*nonce).into(), Payload { msg, aad });
        let opened = Zeroizing::new(opened.ok()?);
        Some(SharingSecret::new(opened.as_slice().try_into().ok()?))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_node_opens_it_and_for_the_same_maker() {
        let (one, two) = (NodeKey::generate(), NodeKey::generate());
        let (one, two) = (Carrier::new(&one), Carrier::new(&two));
        let secret = SharingSecret::new([7; 32]);
        let sealed = one.seal(&secret, "ada");
        assert_eq!(one.open(&sealed, "ada"), Some(secret));
        assert_eq!(one.open(&sealed, "bob"), None);
        assert_eq!(two.open(&sealed, "ada"), None);
        assert_eq!(one.open(&sealed[1..], "ada"), None);
        assert_eq!(one.open("", "ada"), None);
    }
}
