//! Receipts as signed statements, so that anybody can check them without asking anybody.
//!
//! The receipts of one server for one asker are a chain: each has a number, counting from 1, and the hash of the
//! one before. A chain begins anew with each start of the server, so that no number is ever used twice: what it had
//! signed but not yet written when it was killed, it does not know until the asker hands it back ([`reconcile`]). The
//! first of a chain names the last that the server knew of an earlier one, or zeros.
//!
//! A stream has one receipt, at its end. While it runs there are checkpoints of it, which are no part of the chain;
//! of all that is signed about a stream the highest revision counts.

mod chain;
mod compare;
mod file;
mod ledger;
mod reconcile;

use kwaainet_core::{ModelDigest, NodeId, Usage};
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey, Reader};
use sha2::{Digest, Sha256};

use crate::{BadReceipt, Service};

pub use compare::{Comparison, Difference, compare};
pub use file::{Checked, HEADER, ReceiptFile, receipt_line};
pub use ledger::{Claim, Entry, KeptReceipt, Ledger};
pub use reconcile::{
    Books as ReceiptBooks, Cursor, Note, NotesPage, ReceiptBook, Reconciler, ReconcilerParts,
};

/// Of receipts. Those of version 1 have no stream and no revision, and are read too.
const VERSION: u64 = 2;
const COUNTER_VERSION: u64 = 1;
/// Chains and numbers have to fit into a database's signed numbers.
const NUMBER_MAX: u64 = i64::MAX as u64;
/// What is said of how energy is known.
const METHODS: [&str; 3] = ["none", "modelled", "measured"];

/// Where a receipt stands among those of its server for its asker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Milliseconds since 1970 when the chain began, or more, so that it is larger than any before.
    pub chain: u64,
    /// Which of the chain's streams.
    pub stream: u64,
    /// Of the statements about one stream the highest counts.
    pub revision: u64,
    /// Whether it is the last word.
    pub standing: Standing,
}

/// Whether the stream was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It went on.
    Checkpoint,
    /// It was over: a link of the chain.
    Final {
        /// Counts from 1.
        number: u64,
        /// SHA-256 of the receipt before.
        previous: [u8; 32],
    },
}

impl Place {
    /// The link of the chain: number and previous hash; `None` of a checkpoint.
    pub fn link(&self) -> Option<(u64, [u8; 32])> {
        match self.standing {
            Standing::Checkpoint => None,
            Standing::Final { number, previous } => Some((number, previous)),
        }
    }
}

/// A server's receipt, of which the signature was checked.
///
/// Its statement: the version, 2; the asker, 32 bytes; chain, number, the previous receipt's hash (number and hash
/// are zeros in a checkpoint); the request's id, 16 bytes, and its hash; the model's digest as bytes, of which there are 32 or none; the tokens of the prompt, those
/// of them that were cached, the tokens of the answer; when it began and how long it took, in milliseconds; the energy
/// in millijoules, and as text how it is known; the transcript's hash; 1 if the asker has all of it, else 0; which
/// stream of the chain it is, and which revision of what is said about it. The signer is the server. Hashes are SHA-256, 32 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    /// Who served.
    pub server: NodeId,
    /// Who asked.
    pub asker: NodeId,
    /// Where it stands.
    pub place: Place,
    /// What was done.
    pub service: Service,
    hash: [u8; 32],
    bytes: Vec<u8>,
}

impl SignedReceipt {
    /// Signs one as its server.
    pub fn sign(key: &NodeKey, asker: NodeId, place: Place, service: Service) -> Self {
        let model = service.model.map(|digest| digest.0);
        let (number, previous) = place.link().unwrap_or_default();
        let fields = Fields::new()
            .u64(VERSION)
            .array(asker.0)
            .u64(place.chain)
            .u64(number)
            .array(previous)
            .array(service.request)
            .array(service.request_hash)
            .bytes(model.as_ref().map_or(&[], |digest| &digest[..]));
        let fields = with_usage(fields, service.usage)
            .u64(service.began_ms)
            .u64(service.duration_ms)
            .u64(service.energy_mj)
            .text(service.energy_method)
            .array(service.transcript_hash)
            .u64(service.complete.into())
            .u64(place.stream)
            .u64(place.revision);
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
    let version = fields.u64()?;
    if !(1..=VERSION).contains(&version) {
        return Err(EnvelopeError::Malformed("its version is unknown"));
    }
    let asker = NodeId(fields.array()?);
    let chain = bounded(&mut fields, NUMBER_MAX)?;
    let standing = standing(&mut fields)?;
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
    let (stream, revision) = match (version, standing) {
        (1, Standing::Checkpoint) => return Err(EnvelopeError::Malformed("its number is 0")),
        (1, Standing::Final { number, .. }) => (number, 0),
        _ => (
            bounded(&mut fields, NUMBER_MAX)?,
            bounded(&mut fields, NUMBER_MAX)?,
        ),
    };
    fields.end()?;
    if standing == Standing::Checkpoint && service.complete {
        return Err(EnvelopeError::Malformed("a checkpoint that is complete"));
    }
    Ok(SignedReceipt {
        server: signed.signer(),
        asker,
        place: Place {
            chain,
            stream,
            revision,
            standing,
        },
        service,
        hash: Sha256::digest(bytes).into(),
        bytes: bytes.to_vec(),
    })
}

fn standing(fields: &mut Reader<'_>) -> Result<Standing, EnvelopeError> {
    let number = bounded(fields, NUMBER_MAX)?;
    let previous = fields.array()?;
    match (number, previous) {
        (0, _) if previous == [0; 32] => Ok(Standing::Checkpoint),
        (0, _) => Err(EnvelopeError::Malformed("a checkpoint is in no chain")),
        _ => Ok(Standing::Final { number, previous }),
    }
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
        let fields = Fields::new().u64(COUNTER_VERSION).array(receipt);
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
            if fields.u64()? != COUNTER_VERSION {
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

fn bad(error: EnvelopeError) -> BadReceipt {
    BadReceipt(error.to_string())
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

    /// The last word on the stream of this number, which is its number in the chain too.
    pub(crate) fn place(chain: u64, number: u64, previous: [u8; 32]) -> Place {
        Place {
            chain,
            stream: number,
            revision: 9,
            standing: Standing::Final { number, previous },
        }
    }

    pub(crate) fn checkpoint(chain: u64, stream: u64, revision: u64) -> Place {
        Place {
            chain,
            stream,
            revision,
            standing: Standing::Checkpoint,
        }
    }

    #[test]
    fn a_receipt_says_what_was_signed_and_takes_no_change() {
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        let nameless = Service {
            model: None,
            complete: false,
            ..service(2)
        };
        let last = place(5, 1, [0; 32]);
        for (place, service) in [
            (last, service(1)),
            (last, nameless.clone()),
            (checkpoint(5, 1, 2), nameless),
        ] {
            let signed = SignedReceipt::sign(&server, asker.id(), place, service);
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
    fn a_checkpoint_is_never_complete_and_in_no_chain() {
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        let sign = |place, service| SignedReceipt::sign(&server, asker.id(), place, service);
        let complete = sign(checkpoint(5, 1, 2), service(1));
        let error = SignedReceipt::open(complete.as_bytes()).expect_err("it is complete");
        assert!(error.0.contains("complete"), "{error}");
        let chained = sign(place(5, 0, [1; 32]), service(1));
        let error = SignedReceipt::open(chained.as_bytes()).expect_err("it is chained");
        assert!(error.0.contains("chain"), "{error}");
    }

    #[test]
    fn receipts_of_the_first_version_are_read() {
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        let of = service(1);
        let digest = of.model.expect("it has one").0;
        let fields = Fields::new()
            .u64(1)
            .array(asker.id().0)
            .u64(5)
            .u64(7)
            .array([6; 32])
            .array(of.request)
            .array(of.request_hash)
            .bytes(&digest);
        let fields = with_usage(fields, of.usage)
            .u64(of.began_ms)
            .u64(of.duration_ms)
            .u64(of.energy_mj)
            .text(of.energy_method)
            .array(of.transcript_hash)
            .u64(1);
        let bytes = Envelope::sign(&server, Domain::Receipt, fields);
        let read = SignedReceipt::open(bytes.as_bytes()).expect("it is good");
        let revision = 0;
        assert_eq!(
            read.place,
            Place {
                revision,
                ..place(5, 7, [6; 32])
            }
        );
        assert_eq!(read.service, of);
    }

    #[test]
    fn a_counter_signature_is_for_one_receipt_by_one_asker() {
        let (server, asker) = (NodeKey::generate(), NodeKey::generate());
        let sign = |request| {
            SignedReceipt::sign(&server, asker.id(), place(5, 1, [0; 32]), service(request))
        };
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
