//! A node's one key.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use kwaainet_core::NodeId;
use zeroize::Zeroizing;

/// An Ed25519 key (RFC 8032). Never printed.
#[derive(Clone)]
pub struct NodeKey(SigningKey);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.id().short())
    }
}

impl NodeKey {
    /// A new one.
    ///
    /// # Panics
    /// When the operating system gives no randomness.
    pub fn generate() -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).expect("the operating system gives random bytes");
        Self::from_seed(&seed)
    }

    /// The one of these 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Its 32 secret bytes.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public half.
    pub fn id(&self) -> NodeId {
        NodeId(self.0.verifying_key().to_bytes())
    }

    /// Signs bytes that begin with what they are about; see [`Envelope`](crate::Envelope).
    pub(crate) fn sign(&self, bytes: &[u8]) -> Signature {
        self.0.sign(bytes)
    }
}

/// Whether the node signed the bytes; strict, so that there is one good signature only.
pub fn verify(signer: NodeId, bytes: &[u8], signature: &Signature) -> Option<()> {
    let key = VerifyingKey::from_bytes(&signer.0).ok()?;
    key.verify_strict(bytes, signature).ok()
}
