//! What a caller brings along that the node itself has not: a secret of his own, with which what was encrypted for him
//! opens. It lasts as long as he asks.

use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::KeyId;

/// 32 bytes derived from the secret part of an API key (HKDF, RFC 5869). They tell nothing of the key, and the hash that
/// is stored of the key tells nothing of them. Never stored, never printed.
#[derive(Clone)]
pub struct SharingSecret(Arc<Zeroizing<[u8; 32]>>);

impl SharingSecret {
    pub(crate) fn derive(id: &KeyId, secret: &str) -> Self {
        let mut own = Zeroizing::new([0; 32]);
        let info = [b"kwaainet sharing secret 1\0", id.as_str().as_bytes()].concat();
        let derived = Hkdf::<Sha256>::new(None, secret.as_bytes()).expand(&info, &mut *own);
        derived.expect("32 bytes can be derived");
        Self(Arc::new(own))
    }

    /// One that was kept where only its owner's token leads.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes, for whoever makes a key of them.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SharingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharingSecret")
    }
}

impl PartialEq for SharingSecret {
    fn eq(&self, other: &Self) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl Eq for SharingSecret {}

#[cfg(test)]
mod tests {
    use crate::ApiKey;

    #[test]
    fn each_key_has_its_own_and_neither_tells_of_the_other() {
        let (one, two) = (ApiKey::generate(), ApiKey::generate());
        let again: ApiKey = one.reveal().parse().expect("a key parses");
        assert_eq!(one.sharing_secret(), again.sharing_secret());
        assert_ne!(one.sharing_secret(), two.sharing_secret());
        assert_ne!(*one.sharing_secret().bytes(), one.hash());
        assert_eq!(format!("{:?}", one.sharing_secret()), "SharingSecret");
    }
}
