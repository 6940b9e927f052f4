//! The books of one node: signs what it served, checks and countersigns what it was served, and hands both to
//! whoever writes them. Never waits for a disk.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kwaainet_core::NodeId;
use kwaainet_identity::NodeKey;
use tokio::sync::mpsc;

use super::chain::Chains;
use super::{CounterSignature, Place, SignedReceipt, Standing};
use crate::{Accounts, BadReceipt, Service, Turn};

/// Receipts of one server that are remembered for comparison. Those of requests that run at the same time come in
/// any order.
const REMEMBERED: usize = 256;

/// Something to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A receipt, served or received. Once for each.
    Receipt(Box<KeptReceipt>),
    /// The counter-signature under a receipt that was written before.
    Counter {
        /// The receipt's.
        hash: [u8; 32],
        /// Signed bytes.
        counter: Vec<u8>,
    },
    /// What the asker saw and has no receipt for.
    Claim(Box<Claim>),
}

/// What an asker saw of a stream for which he has no receipt that he could sign. Nobody signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who served.
    pub server: NodeId,
    /// What the asker counted; without an end.
    pub seen: Service,
}

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptReceipt {
    /// What it says.
    pub receipt: SignedReceipt,
    /// The asker's signed counts: there from the start on his own side.
    pub counter: Option<Vec<u8>>,
}

/// Signs, checks and remembers.
pub struct Ledger {
    key: NodeKey,
    /// The chain of all receipts that this node signs until it ends.
    chain: u64,
    /// For each asker, which are members.
    served: Mutex<HashMap<NodeId, Head>>,
    /// For each server, which are members: its last receipts.
    received: Mutex<HashMap<NodeId, Chains>>,
    entries: mpsc::Sender<Entry>,
    lost: AtomicU64,
}

/// Where the chain of one asker ends.
#[derive(Clone, Copy, Default)]
struct Head {
    /// That were begun.
    streams: u64,
    /// Of the last receipt.
    number: u64,
    hash: [u8; 32],
}

impl Ledger {
    /// The books of this node, which go on from what it kept: the last receipt of each pair of an asker and a server.
    /// What is sent to `entries` has to be written in that order.
    ///
    /// No start may have the same `chain`, whatever became of what was signed in it: that it is used has to be
    /// written down before.
    pub fn new(
        key: NodeKey,
        chain: u64,
        last: Vec<SignedReceipt>,
        entries: mpsc::Sender<Entry>,
    ) -> Self {
        let mut served: HashMap<NodeId, Head> = HashMap::new();
        let mut received: HashMap<NodeId, Chains> = HashMap::new();
        for receipt in last {
            if receipt.server == key.id() {
                let hash = receipt.hash();
                let head = Head {
                    hash,
                    ..Head::default()
                };
                served.insert(receipt.asker, head);
            } else {
                let chains = received.entry(receipt.server).or_default();
                if let Err(what) = chains.add(&receipt) {
                    tracing::error!(server = %receipt.server, "a kept receipt is not right: {what}");
                }
            }
        }
        Self {
            key,
            chain,
            served: Mutex::new(served),
            received: Mutex::new(received),
            entries,
            lost: AtomicU64::new(0),
        }
    }

    /// Receipts that could not be handed on to be written, since so many were waiting.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn place(&self, turn: Turn, standing: Standing) -> Place {
        Place {
            chain: self.chain,
            stream: turn.stream,
            revision: turn.revision,
            standing,
        }
    }

    /// Keeps what this node signed.
    fn signed(&self, receipt: SignedReceipt) -> Vec<u8> {
        let bytes = receipt.as_bytes().to_vec();
        let counter = None;
        self.keep(Entry::Receipt(Box::new(KeptReceipt { receipt, counter })));
        bytes
    }

    /// Keeps and signs what a server signed, if it is what was seen.
    fn check(
        &self,
        server: NodeId,
        receipt: SignedReceipt,
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt> {
        if receipt.server != server {
            return wrong("somebody else than the server signed it");
        }
        if receipt.asker != self.key.id() {
            return wrong("it is for somebody else");
        }
        if let Some(what) = difference(&receipt.service, seen) {
            return wrong(&format!("the asker saw {what}"));
        }
        let is_new = {
            let mut received = self.received.lock().expect("no holder panics");
            let chains = received.entry(server).or_default();
            let is_new = chains.add(&receipt).or_else(wrong)?;
            chains.trim(REMEMBERED);
            is_new
        };
        let counter = CounterSignature::sign(&self.key, receipt.hash(), seen.usage);
        let counter = counter.as_bytes().to_vec();
        if is_new {
            let counter = Some(counter.clone());
            self.keep(Entry::Receipt(Box::new(KeptReceipt { receipt, counter })));
        }
        Ok(counter)
    }

    fn keep(&self, entry: Entry) {
        if self.entries.try_send(entry).is_ok() {
            return;
        }
        let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
        if lost.is_power_of_two() {
            tracing::error!(
                lost,
                "receipts between nodes cannot be written and are lost"
            );
        }
    }
}

impl Accounts for Ledger {
    fn begin(&self, asker: NodeId) -> u64 {
        let mut served = self.served.lock().expect("no holder panics");
        let head = served.entry(asker).or_default();
        head.streams += 1;
        head.streams
    }

    fn checkpoint(&self, asker: NodeId, turn: Turn, service: Service) -> Vec<u8> {
        let place = self.place(turn, Standing::Checkpoint);
        self.signed(SignedReceipt::sign(&self.key, asker, place, service))
    }

    fn served(&self, asker: NodeId, turn: Turn, service: Service) -> Vec<u8> {
        let receipt = {
            // Held while signing: the next receipt names the hash of this one.
            let mut served = self.served.lock().expect("no holder panics");
            let head = served.entry(asker).or_default();
            let standing = Standing::Final {
                number: head.number + 1,
                previous: head.hash,
            };
            let place = self.place(turn, standing);
            let receipt = SignedReceipt::sign(&self.key, asker, place, service);
            head.number += 1;
            head.hash = receipt.hash();
            receipt
        };
        self.signed(receipt)
    }

    fn checkpointed(
        &self,
        server: NodeId,
        checkpoint: &[u8],
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt> {
        let checkpoint = SignedReceipt::open(checkpoint)?;
        match checkpoint.place.standing {
            Standing::Checkpoint => self.check(server, checkpoint, seen),
            Standing::Final { .. } => wrong("it is the last word on a stream that goes on"),
        }
    }

    fn received(
        &self,
        server: NodeId,
        receipt: &[u8],
        seen: &Service,
    ) -> Result<Vec<u8>, BadReceipt> {
        let receipt = SignedReceipt::open(receipt)?;
        match receipt.place.standing {
            Standing::Final { .. } => self.check(server, receipt, seen),
            Standing::Checkpoint => wrong("it is only a checkpoint"),
        }
    }

    fn claimed(&self, server: NodeId, seen: Service) {
        self.keep(Entry::Claim(Box::new(Claim { server, seen })));
    }

    fn countersigned(
        &self,
        asker: NodeId,
        receipt: &[u8],
        counter: &[u8],
    ) -> Result<(), BadReceipt> {
        let receipt = SignedReceipt::open(receipt)?;
        if receipt.server != self.key.id() || receipt.asker != asker {
            return wrong("it is none of this node's for this asker");
        }
        let counter = CounterSignature::open(counter, &receipt)?;
        self.keep(Entry::Counter {
            hash: receipt.hash(),
            counter: counter.as_bytes().to_vec(),
        });
        Ok(())
    }
}

fn wrong<T>(what: &str) -> Result<T, BadReceipt> {
    Err(BadReceipt(what.to_owned()))
}

/// What the server says otherwise than the asker saw it: everything but times and energy, which he cannot know.
fn difference(said: &Service, seen: &Service) -> Option<&'static str> {
    let same_end = said.complete == seen.complete;
    difference_until_the_end(said, seen).or((!same_end).then_some("another end"))
}

/// The same without the end, which an asker who was cut off did not see.
pub(super) fn difference_until_the_end(said: &Service, seen: &Service) -> Option<&'static str> {
    [
        (said.request == seen.request, "another request"),
        (said.request_hash == seen.request_hash, "another question"),
        (said.model == seen.model, "another model"),
        (
            said.usage.prompt_tokens == seen.usage.prompt_tokens,
            "another number of tokens in the prompt",
        ),
        (
            said.usage.cached_tokens == seen.usage.cached_tokens,
            "another number of cached tokens",
        ),
        (
            said.usage.completion_tokens == seen.usage.completion_tokens,
            "another number of tokens in the answer",
        ),
        (
            said.transcript_hash == seen.transcript_hash,
            "another answer",
        ),
    ]
    .into_iter()
    .find_map(|(same, what)| (!same).then_some(what))
}

#[cfg(test)]
mod tests;
