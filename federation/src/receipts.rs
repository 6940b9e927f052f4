//! Receipts as signed statements, so that anybody can check them without asking anybody.
//!
//! The receipts of one server for one asker are a chain: each has a number, counting from 1, and the hash of the
//! one before. A chain begins anew with each start of the server: what it had signed but not yet written when it
//! was killed, it does not know. The first of a chain names the last that the server knows of an earlier one, or
//! zeros.

mod chain;
mod file;
mod ledger;

use kwaainet_core::{ModelDigest, NodeId, Usage};
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey, Reader};
use sha2::{Digest, Sha256};

use crate::{BadReceipt, Service};

pub use file::{Checked, HEADER, ReceiptFile, receipt_line};
pub use ledger::{Entry, KeptReceipt, Ledger};

const VERSION: u64 = 1;
/// What is said of how energy is known.
const METHODS: [&str; 3] = ["none", "modelled", "measured"];

/// Where a receipt stands among the receipts of its server for its asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainPlace {
    /// Milliseconds since 1970 when the chain began, or more, so that it is larger than any before.
    pub chain: u64,
    /// Counts from 1.
    pub number: u64,
    /// SHA-256 of the receipt before.
    pub previous: [u8; 32],
}

/// A server's receipt, of which the signature was checked.
///
/// Its statement: the version, 1; the asker, 32 bytes; chain, number, the previous receipt's hash; the request's id,
/// 16 bytes, and its hash; the model's digest as bytes, of which there are 32 or none; the tokens of the prompt, those
/// of them that were cached, the tokens of the answer; when it began and how long it took, in milliseconds; the energy
/// in millijoules, and as text how it is known; the transcript's hash; 1 if the asker has all of it, else 0. The
/// signer is the server. Hashes are SHA-256, 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// Who served.
    pub server: NodeId,
    /// Who asked.
    pub asker: NodeId,
    /// Where it stands.
    pub place: ChainPlace,
    /// What was done.
    pub service: Service,
    hash: [u8; 32],
    bytes: Vec<u8>,
}

impl SignedReceipt {
    /// Signs one as its server.
    pub fn sign(key: &NodeKey, asker: NodeId, place: ChainPlace, service: Service) -> Self {
        let model = service.model.map(|digest| digest.0);
        let fields = Fields::new()
            .u64(VERSION)
            .array(asker.0)
            .u64(place.chain)
            .u64(place.number)
            .array(place.previous)
            .array(service.request)
            .array(service.request_hash)
            .bytes(model.as_ref().map_or(&[], |digest| &digest[..]));
        let fields = with_usage(fields, service.usage)
            .u64(service.began_ms)
            .u64(service.duration_ms)
            .u64(service.energy_mj)
            .text(service.energy_method)
            .array(service.transcript_hash)
            .u64(service.complete.into());
        let bytes = Envelope::sign(key, Domain::Receipt, fields)
            .as_bytes()
            .to_vec();
        Self {
            server: key.id(),
            asker,
            place,
            service,
            hash: Sha256::digest(&bytes).into(),
            bytes,
        }
    }

    /// Reads one and checks its signature.
    ///
    /// # Errors
    /// When the bytes are no receipt, or were changed.
    pub fn open(bytes: &[u8]) -> Result<Self, BadReceipt> {
        let signed = Envelope::open(bytes, Domain::Receipt).map_err(bad)?;
        read(&signed, bytes).map_err(bad)
    }

    /// SHA-256 of its bytes, which names it.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// To be sent or kept.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn read(signed: &Envelope, bytes: &[u8]) -> Result<SignedReceipt, EnvelopeError> {
    let mut fields = signed.fields();
    refuse_other_versions(&mut fields)?;
    let asker = NodeId(fields.array()?);
    let place = ChainPlace {
        // Both have to fit into a database's signed numbers.
        chain: bounded(&mut fields, i64::MAX as u64)?,
        number: bounded(&mut fields, i64::MAX as u64)?,
        previous: fields.array()?,
    };
    if place.number == 0 {
        return Err(EnvelopeError::Malformed("its number is 0"));
    }
    let service = Service {
        request: fields.array()?,
        request_hash: fields.array()?,
        model: match fields.bytes()? {
            [] => None,
            digest => Some(ModelDigest(digest.try_into().map_err(|_| {
                EnvelopeError::Malformed("its model's digest has another length")
            })?)),
        },
        usage: usage(&mut fields)?,
        began_ms: fields.u64()?,
        duration_ms: fields.u64()?,
        energy_mj: fields.u64()?,
        energy_method: method(fields.text()?)?,
        transcript_hash: fields.array()?,
        complete: bounded(&mut fields, 1)? == 1,
    };
    fields.end()?;
    Ok(SignedReceipt {
        server: signed.signer(),
        asker,
        place,
        service,
        hash: Sha256::digest(bytes).into(),
        bytes: bytes.to_vec(),
    })
}

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
            refuse_other_versions(&mut fields)?;
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

fn bad(error: EnvelopeError) -> BadReceipt {
    BadReceipt(error.to_string())
}

fn refuse_other_versions(fields: &mut Reader<'_>) -> Result<(), EnvelopeError> {
    match fields.u64()? {
        VERSION => Ok(()),
        _ => Err(EnvelopeError::Malformed("its version is unknown")),
    }
}

fn bounded(fields: &mut Reader<'_>, max: u64) -> Result<u64, EnvelopeError> {
    let value = fields.u64()?;
    if value > max {
        return Err(EnvelopeError::Malformed("a number is too large"));
    }
    Ok(value)
}

fn with_usage(fields: Fields, usage: Usage) -> Fields {
    fields
        .u64(usage.prompt_tokens.into())
        .u64(usage.cached_tokens.into())
        .u64(usage.completion_tokens.into())
}

fn usage(fields: &mut Reader<'_>) -> Result<Usage, EnvelopeError> {
    let mut count = || bounded(fields, u32::MAX.into()).map(|count| count as u32);
    Ok(Usage {
        prompt_tokens: count()?,
        cached_tokens: count()?,
        completion_tokens: count()?,
    })
}

fn method(text: &str) -> Result<&'static str, EnvelopeError> {
    let known = METHODS.into_iter().find(|method| *method == text);
    known.ok_or(EnvelopeError::Malformed(
        "how its energy is known is unknown",
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn service(request: u8) -> Service {
        Service {
            request: [request; 16],
            request_hash: [2; 32],
            model: Some(ModelDigest([3; 32])),
            usage: Usage {
                prompt_tokens: 12,
                cached_tokens: 4,
                completion_tokens: 7,
            },
            began_ms: 1_700_000_000_000,
            duration_ms: 250,
            energy_mj: 9,
            energy_method: "modelled",
            transcript_hash: [4; 32],
            complete: true,
        }
    }

    const PLACE: ChainPlace = ChainPlace {
        chain: 5,
        number: 1,
        previous: [0; 32],
    };

    #[test]
    fn a_receipt_says_what_was_signed_and_takes_no_change() {
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        let nameless = Service {
            model: None,
            complete: false,
            ..service(2)
        };
        for service in [service(1), nameless] {
            let signed = SignedReceipt::sign(&server, asker.id(), PLACE, service);
            assert_eq!(SignedReceipt::open(signed.as_bytes()), Ok(signed.clone()));
            let counter = CounterSignature::sign(&asker, signed.hash(), signed.service.usage);
            let opened = CounterSignature::open(counter.as_bytes(), &signed);
            assert_eq!(opened, Ok(counter.clone()));
            for at in 0..signed.as_bytes().len() {
                let mut bytes = signed.as_bytes().to_vec();
                bytes[at] ^= 0x10;
                assert!(SignedReceipt::open(&bytes).is_err(), "byte {at}");
            }
            for at in 0..counter.as_bytes().len() {
                let mut bytes = counter.as_bytes().to_vec();
                bytes[at] ^= 0x10;
                assert!(
                    CounterSignature::open(&bytes, &signed).is_err(),
                    "byte {at}"
                );
            }
        }
    }

    #[test]
    fn a_counter_signature_is_for_one_receipt_by_one_asker() {
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        let sign = |request| SignedReceipt::sign(&server, asker.id(), PLACE, service(request));
        let (first, second) = (sign(1), sign(2));
        let usage = first.service.usage;
        let for_first = CounterSignature::sign(&asker, first.hash(), usage);
        let error = CounterSignature::open(for_first.as_bytes(), &second);
        assert!(error.expect_err("it is for another").0.contains("another"));
        let foreign = CounterSignature::sign(&server, first.hash(), usage);
        let error = CounterSignature::open(foreign.as_bytes(), &first);
        assert!(error.expect_err("not his").0.contains("somebody else"));
        let mut other = usage;
        other.completion_tokens += 1;
        let other = CounterSignature::sign(&asker, first.hash(), other);
        let error = CounterSignature::open(other.as_bytes(), &first);
        assert!(error.expect_err("other counts").0.contains("otherwise"));
    }
}
