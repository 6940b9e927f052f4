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
mod counter;
mod file;
mod ledger;
pub(crate) mod reconcile;

use kwaainet_core::{ModelDigest, NodeId, Usage};
use kwaainet_identity::{Domain, Envelope, EnvelopeError, Fields, NodeKey, Reader};
use sha2::{Digest, Sha256};

use crate::{BadReceipt, Service};

pub use compare::{Comparison, Difference, compare};
pub use counter::CounterSignature;
pub use file::{Checked, HEADER, ReceiptFile, receipt_line};
pub use ledger::{Claim, Entry, KeptReceipt, Ledger};
pub use reconcile::{
    Books as ReceiptBooks, Cursor, Given as GivenReceipt, Note, NotesPage, ReceiptBook, Reconciler,
    ReconcilerParts,
};

/// Of receipts. Those of version 1 have no stream and no revision, and are read too.
const VERSION: u64 = 2;
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
pub(crate) mod tests;
