//! The rules: what becomes of a batch of transfers.
//!
//! [`Books`] hold what of the ledger a batch touches. [`Books::apply`] goes through the batch one by one, in order,
//! and changes what it holds; [`Books::changes`] is what has to be written. Nothing here waits, so a batch is as
//! atomic as the transaction that it is written in.

mod rules;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::{Account, AccountId, Posted, Transfer, TransferId, TransferResult};

/// What has become of a pending transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingState {
    /// Nothing yet.
    Pending,
    /// It was posted.
    Posted,
    /// It was voided.
    Voided,
    /// Its time is over.
    Expired,
}

/// What has to be known of the ledger before a batch can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Accounts that it names. Those of transfers that it posts or voids, too, have to be known.
    pub accounts: HashSet<AccountId>,
    /// Transfers that it names: its own ids, and those that it posts or voids.
    pub transfers: HashSet<TransferId>,
}

impl Wanted {
    /// By these transfers.
    pub fn by(batch: &[Transfer]) -> Self {
        let mut wanted = Self::default();
        for transfer in batch {
            wanted.accounts.extend([transfer.debit, transfer.credit]);
            wanted.transfers.extend([transfer.id, transfer.pending]);
        }
        wanted.accounts.remove(&AccountId::NONE);
        wanted.transfers.remove(&TransferId::NONE);
        wanted
    }
}

/// What the ledger knows of what was wanted.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Accounts.
    pub accounts: HashMap<AccountId, Account>,
    /// Transfers.
    pub transfers: HashMap<TransferId, Posted>,
    /// What became of those that are pending.
    pub pending: HashMap<TransferId, PendingState>,
    /// Ids whose transfers failed for a reason that may be gone.
    pub failed: HashSet<TransferId>,
    /// When the last transfer of all was made; 0 if there is none.
    pub last_ns: i64,
}

/// A pending transfer that was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Which.
    pub transfer: TransferId,
    /// How.
    pub state: PendingState,
}

/// What has to be written.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// New transfers, in order.
    pub posted: Vec<Posted>,
    /// Accounts with other sums than before.
    pub accounts: Vec<Account>,
    /// Pending transfers that were ended and were there before.
    pub resolved: Vec<Resolution>,
    /// What became of those of the new transfers that are pending.
    pub pending: Vec<Resolution>,
    /// Ids that are used up.
    pub failed: Vec<TransferId>,
}

/// The part of the ledger that a batch touches.
#[derive(Clone, Debug, Default)]
pub struct Books {
    known: Known,
    posted: Vec<Posted>,
    touched: HashSet<AccountId>,
    resolved: Vec<TransferId>,
    failed: Vec<TransferId>,
    /// How to take back what the open chain did, last first.
    undo: Vec<Undo>,
}

#[derive(Clone, Debug)]
enum Undo {
    Account(Box<Account>),
    Posted(TransferId),
    Resolved(TransferId, PendingState),
}

impl Books {
    /// With what the ledger knows.
    pub fn new(known: Known) -> Self {
        Self {
            known,
            ..Self::default()
        }
    }

    /// An account as it stands.
    pub fn account(&self, id: AccountId) -> Option<&Account> {
        self.known.accounts.get(&id)
    }

    /// All that is known, with what the batches have changed.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Adds an account, if it is not there.
    pub fn open(&mut self, account: Account) {
        if let Entry::Vacant(place) = self.known.accounts.entry(account.id) {
            self.touched.insert(account.id);
            place.insert(account);
        }
    }

    /// Voids what has been pending for too long. Called before a batch, so that its rules see it.
    pub fn expire(&mut self, now_ns: i64) {
        let now_ns = now_ns.max(self.known.last_ns);
        let is_over = |posted: &Posted| posted.expires_at_ns().is_some_and(|end| end <= now_ns);
        let waiting = self.known.pending.iter();
        let waiting = waiting.filter(|(_, state)| **state == PendingState::Pending);
        let over: Vec<Posted> = waiting
            .filter_map(|(id, _)| self.known.transfers.get(id).copied())
            .filter(is_over)
            .collect();
        for posted in over {
            self.give_back(&posted.transfer);
            self.resolve(posted.transfer.id, PendingState::Expired);
        }
        self.undo.clear();
    }

    /// Does a batch, in order; a chain of linked transfers as a whole or not at all. `now_ns` is the wall clock, which
    /// may have been set back: transfers are later than all before nevertheless.
    pub fn apply(&mut self, batch: &[Transfer], now_ns: i64) -> Vec<TransferResult> {
        let mut results = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() {
            let linked = rest
                .iter()
                .take_while(|transfer| transfer.flags.has(crate::TransferFlags::LINKED))
                .count();
            let length = (linked + 1).min(rest.len());
            let (chain, others) = rest.split_at(length);
            self.apply_chain(chain, linked == chain.len(), now_ns, &mut results);
            rest = others;
        }
        results
    }

    fn apply_chain(
        &mut self,
        chain: &[Transfer],
        is_open: bool,
        now_ns: i64,
        results: &mut Vec<TransferResult>,
    ) {
        self.undo.clear();
        let mut failure = None;
        let mut made = Vec::with_capacity(chain.len());
        for (at, transfer) in chain.iter().enumerate() {
            let is_last = at + 1 == chain.len();
            let result = match is_open && is_last {
                true => TransferResult::LinkedEventChainOpen,
                false => self.create(transfer, now_ns),
            };
            // Within a chain, one that was there before does not count as done: the chain is not this one.
            let is_done = result == TransferResult::Ok || (chain.len() == 1 && result.is_there());
            made.push(result);
            if !is_done {
                failure = Some(at);
                break;
            }
        }
        let Some(failed_at) = failure else {
            results.extend(made);
            return;
        };
        self.take_back();
        let result = made[failed_at];
        if result.is_transient() {
            let id = chain[failed_at].id;
            self.known.failed.insert(id);
            self.failed.push(id);
        }
        for at in 0..chain.len() {
            results.push(match at {
                _ if at == failed_at => result,
                _ if is_open && at + 1 == chain.len() => TransferResult::LinkedEventChainOpen,
                _ => TransferResult::LinkedEventFailed,
            });
        }
    }

    fn take_back(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Account(account) => {
                    self.known.accounts.insert(account.id, *account);
                }
                Undo::Posted(id) => {
                    let posted = self.posted.pop().expect("it was the last to be posted");
                    debug_assert_eq!(posted.transfer.id, id, "the last to be posted");
                    self.known.transfers.remove(&id);
                    self.known.pending.remove(&id);
                }
                Undo::Resolved(id, before) => {
                    self.known.pending.insert(id, before);
                    self.resolved.pop();
                }
            }
        }
    }

    /// What has to be written.
    pub fn changes(self) -> Changes {
        let state = |id: &TransferId| self.known.pending.get(id).copied();
        let resolution =
            |transfer: TransferId| state(&transfer).map(|state| Resolution { transfer, state });
        let new: HashSet<TransferId> = self.posted.iter().map(|new| new.transfer.id).collect();
        let of_new = self.posted.iter().map(|new| new.transfer.id);
        let of_old = self.resolved.iter().copied().filter(|id| !new.contains(id));
        let accounts = self.touched.iter();
        let accounts = accounts.filter_map(|id| self.known.accounts.get(id).cloned());
        Changes {
            resolved: of_old.filter_map(resolution).collect(),
            pending: of_new.filter_map(resolution).collect(),
            accounts: accounts.collect(),
            posted: self.posted.clone(),
            failed: self.failed.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
