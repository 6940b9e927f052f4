//! The one envelope for everything that a node signs.
//!
//! Its bytes, all numbers with the most significant byte first: `kwaai` and the version, 1; the length of the
//! domain's name in one byte, and the name; the signer's 32 bytes; the payload's length in four bytes, and the
//! payload; an Ed25519 signature (RFC 8032) of all bytes before it. There is one way to write a thing: no maps,
//! no floats, nothing optional, nothing after the end. The domain keeps a signature of one kind of statement
//! from being taken for another kind.

use ed25519_dalek::Signature;
use kwaainet_core::NodeId;

use crate::key::{NodeKey, verify};

const MAGIC: &[u8] = b"kwaai\x01";
/// Bytes of a payload at most.
const PAYLOAD_MAX: usize = 1 << 20;
const SIGNATURE: usize = 64;

/// What kind of statement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// An invitation to a federation.
    Invitation,
    /// A server's receipt for work, or its checkpoint.
    Receipt,
    /// An asker's own counts under a server's receipt.
    CounterSignature,
    /// What a node says of itself, for others to hand on.
    NodeRecord,
    /// A node's word that another one is a member, or no longer.
    Introduction,
    /// Which key comes after a node's own.
    KeyChange,
    /// That a key comes after another one.
    KeyAcceptance,
}

impl Domain {
    /// As it stands in the envelope.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Receipt => "receipt",
            Self::CounterSignature => "counter-signature",
            Self::NodeRecord => "node-record",
            Self::Introduction => "introduction",
            Self::KeyChange => "key-change",
            Self::KeyAcceptance => "key-acceptance",
        }
    }
}

/// Why an envelope is not good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not the bytes of one.
    #[error("this is no signed envelope: {0}")]
    Malformed(&'static str),
    /// It is about something else.
    #[error("the envelope is for '{found}', not for '{wanted}'")]
    Domain {
        /// What it is for.
        found: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Somebody changed it, or somebody else signed it.
    #[error("the signature is not good")]
    Signature,
}

/// A signed statement, of which only the signature was checked: whether the signer may say such a thing is for
/// whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    signer: NodeId,
    payload: Vec<u8>,
    bytes: Vec<u8>,
}

impl Envelope {
    /// Signs the fields.
    ///
    /// # Panics
    /// When they are over a mebibyte.
    pub fn sign(key: &NodeKey, domain: Domain, fields: Fields) -> Self {
        let payload = fields.0;
        assert!(payload.len() <= PAYLOAD_MAX, "statements are short");
        let name = domain.name().as_bytes();
        let mut bytes = MAGIC.to_vec();
        bytes.push(name.len() as u8);
        bytes.extend(name);
        bytes.extend(key.id().0);
        bytes.extend((payload.len() as u32).to_be_bytes());
        bytes.extend(&payload);
        let signature = key.sign(&bytes);
        bytes.extend(signature.to_bytes());
        Self {
            signer: key.id(),
            payload,
            bytes,
        }
    }

    /// Reads one and checks its signature.
    ///
    /// # Errors
    /// When the bytes are no envelope, one of another domain, or one that the signer did not sign.
    pub fn open(bytes: &[u8], domain: Domain) -> Result<Self, EnvelopeError> {
        let mut rest = Reader(bytes);
        if rest.take(MAGIC.len())? != MAGIC {
            return Err(EnvelopeError::Malformed("it does not begin like one"));
        }
        let length = rest.take(1)?[0];
        let name = rest.take(usize::from(length))?;
        if name != domain.name().as_bytes() {
            return Err(EnvelopeError::Domain {
                found: String::from_utf8_lossy(name).into_owned(),
                wanted: domain.name(),
            });
        }
        let signer = NodeId(rest.array()?);
        let payload = rest.bytes()?.to_vec();
        let signed = bytes.len() - rest.0.len();
        let signature = Signature::from_bytes(&rest.array::<SIGNATURE>()?);
        rest.end()?;
        verify(signer, &bytes[..signed], &signature).ok_or(EnvelopeError::Signature)?;
        Ok(Self {
            signer,
            payload,
            bytes: bytes.to_vec(),
        })
    }

    /// Who signed it.
    pub fn signer(&self) -> NodeId {
        self.signer
    }

    /// What it says.
    pub fn fields(&self) -> Reader<'_> {
        Reader(&self.payload)
    }

    /// To be sent or kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The fields of a statement, written one after the other.
#[derive(Default)]
pub struct Fields(Vec<u8>);

impl Fields {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A number.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Bytes of a length that both sides know.
    #[must_use]
    pub fn array<const N: usize>(mut self, value: [u8; N]) -> Self {
        self.0.extend(value);
        self
    }

    /// Bytes.
    ///
    /// # Panics
    /// When there are more than four gigabytes.
    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        let length = u32::try_from(value.len()).expect("fields are short");
        self.0.extend(length.to_be_bytes());
        self.0.extend(value);
        self
    }

    /// Text.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// All that was written, for [`Reader::new`].
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads fields in the order in which they were written.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Of what [`Fields::into_bytes`] gave.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], EnvelopeError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(EnvelopeError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number.
    ///
    /// # Errors
    /// When the bytes end before.
    pub fn u64(&mut self) -> Result<u64, EnvelopeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes of a known length.
    ///
    /// # Errors
    /// When the bytes end before.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], EnvelopeError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("so many were taken"))
    }

    /// Bytes.
    ///
    /// # Errors
    /// When they end before.
    pub fn bytes(&mut self) -> Result<&'a [u8], EnvelopeError> {
        let length = u32::from_be_bytes(self.array()?) as usize;
        if length > PAYLOAD_MAX {
            return Err(EnvelopeError::Malformed("it is too long"));
        }
        self.take(length)
    }

    /// Text.
    ///
    /// # Errors
    /// When the bytes end before, or are no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, EnvelopeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| EnvelopeError::Malformed("a text is no UTF-8"))
    }

    /// Sees that nothing is left.
    ///
    /// # Errors
    /// When something is.
    pub fn end(self) -> Result<(), EnvelopeError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(EnvelopeError::Malformed("something follows its end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> Envelope {
        let key = NodeKey::generate();
        let fields = Fields::new()
            .u64(7)
            .text("seven")
            .bytes(&[1, 2])
            .array([9; 3]);
        Envelope::sign(&key, Domain::Receipt, fields)
    }

    #[test]
    fn what_was_signed_is_read() {
        let signed = signed();
        let opened = Envelope::open(signed.as_bytes(), Domain::Receipt).expect("it is good");
        assert_eq!(opened, signed);
        let mut fields = opened.fields();
        assert_eq!(fields.u64(), Ok(7));
        assert_eq!(fields.text(), Ok("seven"));
        assert_eq!(fields.bytes(), Ok(&[1, 2][..]));
        assert_eq!(fields.array(), Ok([9; 3]));
        assert_eq!(fields.end(), Ok(()));
    }

    #[test]
    fn no_byte_may_be_changed_added_or_left_out() {
        let good = signed().as_bytes().to_vec();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Envelope::open(&bad, Domain::Receipt).is_err(), "byte {at}");
            assert!(Envelope::open(&good[..at], Domain::Receipt).is_err());
        }
        let longer = [good, vec![0]].concat();
        assert!(Envelope::open(&longer, Domain::Receipt).is_err());
    }

    #[test]
    fn one_kind_is_not_taken_for_another() {
        let error = Envelope::open(signed().as_bytes(), Domain::Invitation);
        let (found, wanted) = ("receipt".to_owned(), "invitation");
        assert_eq!(error, Err(EnvelopeError::Domain { found, wanted }));
    }
}
