//! What an asker signs against a server's receipt.

use kwaainet_core::{NodeId, Usage};
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey};

use super::{SignedReceipt, bad, usage, with_usage};
use crate::BadReceipt;

const VERSION: u64 = 1;

/// An asker's counter-signature.
///
/// Its statement: the version, 1; the receipt's hash; what the asker counted: tokens of the prompt, those of them that
/// were cached, tokens of the answer. The signer is the asker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSignature {
    /// Who signed.
    pub asker: NodeId,
    /// Under which receipt.
    pub receipt: [u8; 32],
    /// What he counted.
    pub usage: Usage,
    bytes: Vec<u8>,
}

impl CounterSignature {
    /// Signs as the asker.
    pub fn sign(key: &NodeKey, receipt: [u8; 32], usage: Usage) -> Self {
        let fields = Fields::new().u64(VERSION).array(receipt);
        let signed = Envelope::sign(key, Domain::CounterSignature, with_usage(fields, usage));
        Self {
            asker: key.id(),
            receipt,
            usage,
            bytes: signed.as_bytes().to_vec(),
        }
    }

    /// Reads one and checks that it is the asker's, under this receipt, with the same counts.
    ///
    /// # Errors
    /// When it is not.
    pub fn open(bytes: &[u8], receipt: &SignedReceipt) -> Result<Self, BadReceipt> {
        let signed = Envelope::open(bytes, Domain::CounterSignature).map_err(bad)?;
        let counter = || -> Result<Self, EnvelopeError> {
            let mut fields = signed.fields();
            if fields.u64()? != VERSION {
                return Err(EnvelopeError::Malformed("its version is unknown"));
            }
            let counter = Self {
                asker: signed.signer(),
                receipt: fields.array()?,
                usage: usage(&mut fields)?,
                bytes: bytes.to_vec(),
            };
            fields.end()?;
            Ok(counter)
        };
        let counter = counter().map_err(bad)?;
        let wrong = |what: &str| Err(BadReceipt(what.to_owned()));
        if counter.asker != receipt.asker {
            return wrong("somebody else than the asker countersigned it");
        }
        if counter.receipt != receipt.hash {
            return wrong("the counter-signature is for another receipt");
        }
        if counter.usage != receipt.service.usage {
            return wrong("the asker counted otherwise");
        }
        Ok(counter)
    }

    /// To be sent or kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
