//! Introductions: a node's signed word that another one is a member that it let in, for others who trust it. They
//! expire, are renewed, and are taken back by a later word. No secret: nobody can use one but the node that it is
//! about, who has to prove its own key.

use std::fmt;
use std::sync::Arc;

use kwaainet_core::{NodeId, Tier};
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey};

const VERSION: u64 = 1;
/// In the place of a tier: it is no member any more.
const WITHDRAWN: u64 = 255;

/// A signed word about a node.
///
/// Its statement: the version, 1; the node's 32 bytes; the word's number; when it ends, in milliseconds since 1970;
/// the tier's number, or 255 if it is taken back. The signer is who introduces.
#[derive(Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Who says it.
    pub by: NodeId,
    /// About whom.
    pub node: NodeId,
    /// Of two words of one node about another, the higher number counts.
    pub number: u64,
    /// Milliseconds since 1970. From then on it says nothing.
    pub until_ms: u64,
    /// As what the node was let in; `None` if it is no member any more.
    pub tier: Option<Tier>,
    bytes: Arc<[u8]>,
}

impl fmt::Debug for Introduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introduction")
            .field("by", &self.by)
            .field("node", &self.node)
            .field("number", &self.number)
            .field("until_ms", &self.until_ms)
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

impl Introduction {
    /// Gives the word of this key's node.
    pub fn issue(
        key: &NodeKey,
        node: NodeId,
        number: u64,
        until_ms: u64,
        tier: Option<Tier>,
    ) -> Self {
        let fields = Fields::new()
            .u64(VERSION)
            .array(node.0)
            .u64(number)
            .u64(until_ms)
            .u64(tier.map_or(WITHDRAWN, |tier| tier.number().into()));
        let signed = Envelope::sign(key, Domain::Introduction, fields);
        Self {
            by: key.id(),
            node,
            number,
            until_ms,
            tier,
            bytes: signed.as_bytes().into(),
        }
    }

    /// Reads one and checks its signature. What the word is worth is for whoever reads it.
    ///
    /// # Errors
    /// When the bytes are none, or were changed.
    pub fn open(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let signed = Envelope::open(bytes, Domain::Introduction)?;
        let mut fields = signed.fields();
        if fields.u64()? != VERSION {
            return Err(EnvelopeError::Malformed("it is of another version"));
        }
        let (node, number, until_ms) = (NodeId(fields.array()?), fields.u64()?, fields.u64()?);
        let tier = match fields.u64()? {
            WITHDRAWN => None,
            number => {
                let tier = u8::try_from(number).ok().and_then(Tier::of_number);
                Some(tier.ok_or(EnvelopeError::Malformed("its tier is none"))?)
            }
        };
        fields.end()?;
        Ok(Self {
            by: signed.signer(),
            node,
            number,
            until_ms,
            tier,
            bytes: bytes.into(),
        })
    }

    /// The signed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it says anything at this time, in milliseconds since 1970.
    pub fn holds(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_was_given_and_not_if_it_was_changed() {
        let key = NodeKey::generate();
        let node = NodeId([7; 32]);
        for tier in [None, Some(Tier::T0), Some(Tier::T2)] {
            let word = Introduction::issue(&key, node, 5, 100, tier);
            let read = Introduction::open(word.as_bytes()).expect("it is good");
            assert_eq!(read, word);
            assert_eq!((read.by, read.tier), (key.id(), tier));
            assert!(read.holds(99) && !read.holds(100));
            for at in 0..word.as_bytes().len() {
                let mut bad = word.as_bytes().to_vec();
                bad[at] ^= 1;
                assert!(Introduction::open(&bad).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn odd_tiers_and_versions_are_none() {
        let key = NodeKey::generate();
        for (version, tier) in [(2, 0), (1, 4), (1, 256), (1, u64::MAX)] {
            let fields = Fields::new().u64(version).array([7; 32]);
            let fields = fields.u64(1).u64(2).u64(tier);
            let signed = Envelope::sign(&key, Domain::Introduction, fields);
            assert!(Introduction::open(signed.as_bytes()).is_err());
        }
    }
}
