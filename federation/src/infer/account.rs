//! What both sides count of one request, each for itself, and sign.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{Clock, Event, Footprint, ModelDigest, NodeId, Resume, Usage};
use sha2::{Digest, Sha256};

use crate::{Accounts, BadReceipt, Service, Turn};

/// A checkpoint is due after so many tokens, or after so long if there were any,
const CHECKPOINT_TOKENS: u32 = 256;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(2);
/// but not sooner than this after the last one.
const CHECKPOINT_APART: Duration = Duration::from_millis(250);
/// An asker signs no checkpoint that comes sooner: a line holds some of them up.
const SIGNED_APART: Duration = Duration::from_millis(50);

/// Where receipts are kept, if they are, and the time for them.
#[derive(Clone)]
pub(super) struct Books {
    pub(super) accounts: Option<Arc<dyn Accounts>>,
    pub(super) clock: Arc<dyn Clock>,
}

/// One request's count.
pub(super) struct Account {
    books: Books,
    request: [u8; 16],
    request_hash: [u8; 32],
    model: Option<ModelDigest>,
    began_ms: i64,
    began: Duration,
    transcript: Sha256,
    /// Without the tokens that the request began with.
    usage: Usage,
    resumed: u32,
    footprint: Option<Footprint>,
    /// The server's; the stream is 0 until it first signs.
    turn: Turn,
    marked: Mark,
    /// The server's last checkpoint.
    checkpoint: Vec<u8>,
}

/// When there was the last checkpoint, and of how many tokens.
#[derive(Clone, Copy, Default)]
struct Mark {
    at: Duration,
    tokens: u32,
}

impl Account {
    /// `opening` are the bytes of the opening message.
    pub(super) fn new(
        books: Books,
        request: [u8; 16],
        model: Option<ModelDigest>,
        opening: &[u8],
    ) -> Self {
        let hash = books.accounts.as_ref().map(|_| Sha256::digest(opening));
        let began = books.clock.monotonic();
        Self {
            request,
            request_hash: hash.map_or([0; 32], Into::into),
            model,
            began_ms: books.clock.unix_ms(),
            began,
            transcript: Sha256::new(),
            usage: Usage::default(),
            resumed: 0,
            footprint: None,
            turn: Turn {
                stream: 0,
                revision: 0,
            },
            marked: Mark {
                at: began,
                tokens: 0,
            },
            checkpoint: Vec::new(),
            books,
        }
    }

    /// The tokens that the request begins with: somebody else made them, and accounted for them.
    pub(super) fn resume(&mut self, resume: Option<&Resume>) {
        let tokens = resume.map_or(0, |resume| resume.choices.iter().map(Vec::len).sum());
        self.resumed = u32::try_from(tokens).unwrap_or(u32::MAX);
    }

    /// Whether anybody keeps it.
    pub(super) fn is_kept(&self) -> bool {
        self.books.accounts.is_some()
    }

    /// A message of the answer, as it was sent: its length in four bytes, most significant first, and it.
    pub(super) fn message(&mut self, bytes: &[u8]) {
        if self.is_kept() {
            self.transcript.update((bytes.len() as u32).to_be_bytes());
            self.transcript.update(bytes);
        }
    }

    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => {
                self.usage.prompt_tokens = *prompt_tokens;
                self.usage.cached_tokens = *cached_tokens;
            }
            Event::Delta(delta) => {
                let total = &mut self.usage.completion_tokens;
                *total = total.saturating_add(delta.tokens);
            }
            Event::Call(_) | Event::Finished { .. } => {}
            Event::Done(usage) => self.set_usage(*usage),
        }
    }

    /// What the work took of energy, once it is over.
    pub(super) fn took(&mut self, footprint: Option<Footprint>) {
        self.footprint = footprint;
    }

    /// What was counted until now, of the whole.
    pub(super) fn usage(&self) -> Usage {
        Usage {
            completion_tokens: self.usage.completion_tokens.saturating_add(self.resumed),
            ..self.usage
        }
    }

    /// The last word on the whole.
    pub(super) fn set_usage(&mut self, usage: Usage) {
        self.usage = Usage {
            completion_tokens: usage.completion_tokens.saturating_sub(self.resumed),
            ..usage
        };
    }

    /// The server's checkpoint, if one is due.
    pub(super) fn checkpoint(&mut self, asker: NodeId) -> Option<Vec<u8>> {
        let accounts = Arc::clone(self.books.accounts.as_ref()?);
        let now = self.books.clock.monotonic();
        let since = now.saturating_sub(self.marked.at);
        let tokens = self.usage.completion_tokens;
        let more = tokens.saturating_sub(self.marked.tokens);
        let is_much = more >= CHECKPOINT_TOKENS && since >= CHECKPOINT_APART;
        if !is_much && (more == 0 || since < CHECKPOINT_EVERY) {
            return None;
        }
        self.marked = Mark { at: now, tokens };
        let turn = self.next_turn(&*accounts, asker);
        self.checkpoint = accounts.checkpoint(asker, turn, self.service(false));
        Some(self.checkpoint.clone())
    }

    /// The server's receipt; empty if it makes none.
    pub(super) fn receipt(&mut self, asker: NodeId, complete: bool) -> Vec<u8> {
        let Some(accounts) = self.books.accounts.clone() else {
            return Vec::new();
        };
        let turn = self.next_turn(&*accounts, asker);
        accounts.served(asker, turn, self.service(complete))
    }

    fn next_turn(&mut self, accounts: &dyn Accounts, asker: NodeId) -> Turn {
        if self.turn.stream == 0 {
            self.turn.stream = accounts.begin(asker);
        }
        self.turn.revision += 1;
        self.turn
    }

    /// The server keeps what the asker signed against its receipt.
    pub(super) fn countersigned(&self, asker: NodeId, receipt: &[u8], counter: &[u8]) {
        if let Some(books) = &self.books.accounts
            && let Err(error) = books.countersigned(asker, receipt, counter)
        {
            tracing::warn!(peer = %asker.short(), "a counter-signature was not kept: {error}");
        }
    }

    /// The server keeps what the asker signed against its last checkpoint. One of an earlier checkpoint comes too
    /// late to be of use.
    pub(super) fn checkpoint_countersigned(&self, asker: NodeId, counter: &[u8]) {
        if let Some(books) = &self.books.accounts
            && let Err(error) = books.countersigned(asker, &self.checkpoint, counter)
        {
            tracing::debug!(peer = %asker.short(), "a counter-signature was not kept: {error}");
        }
    }

    /// The asker's counter-signature under a checkpoint, if that says what the asker saw.
    pub(super) fn checkpointed(&mut self, server: NodeId, checkpoint: &[u8]) -> Option<Vec<u8>> {
        let books = self.books.accounts.as_ref()?;
        let now = self.books.clock.monotonic();
        if now.saturating_sub(self.marked.at) < SIGNED_APART {
            return None;
        }
        let counter = books.checkpointed(server, checkpoint, &self.service(false));
        self.marked.at = now;
        signed(server, counter)
    }

    /// The asker's counter-signature, if the receipt says what the asker saw.
    pub(super) fn counter(
        &self,
        server: NodeId,
        receipt: &[u8],
        complete: bool,
    ) -> Option<Vec<u8>> {
        let books = self.books.accounts.as_ref()?;
        signed(
            server,
            books.received(server, receipt, &self.service(complete)),
        )
    }

    /// The asker keeps what he saw of a stream for which he has no receipt that he could sign.
    pub(super) fn claim(&self, server: NodeId) {
        if let Some(books) = &self.books.accounts
            && self.usage != Usage::default()
        {
            books.claimed(server, self.service(false));
        }
    }

    fn service(&self, complete: bool) -> Service {
        let took = self.books.clock.monotonic().saturating_sub(self.began);
        Service {
            request: self.request,
            request_hash: self.request_hash,
            model: self.model,
            usage: self.usage,
            began_ms: u64::try_from(self.began_ms).unwrap_or(0),
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            energy_mj: self.footprint.map_or(0, |took| took.energy_uj / 1_000),
            energy_method: match self.footprint {
                None => "none",
                Some(took) if took.method.is_measured() => "measured",
                Some(_) => "modelled",
            },
            transcript_hash: self.transcript.clone().finalize().into(),
            complete,
        }
    }
}

fn signed(server: NodeId, counter: Result<Vec<u8>, BadReceipt>) -> Option<Vec<u8>> {
    counter
        .inspect_err(|error| {
            tracing::warn!(peer = %server.short(), "a receipt is not signed: {error}");
        })
        .ok()
}
