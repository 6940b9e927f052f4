//! Checks a whole ledger from its transfers alone: that the tree over them has the roots of the checkpoints, that the
//! rules were kept, and that the accounts hold what the transfers brought them.

use std::collections::{HashMap, HashSet};

use kwaainet_core::merkle::{Frontier, Hash};

use super::Numbered;
use crate::{Account, AccountFlags, AccountId, MicroVda, Posted, TransferFlags, TransferId};

/// What is wrong with a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLedger {
    /// With a transfer.
    #[error("transfer {index}: {what}")]
    Transfer {
        /// Which, counted from 0.
        index: u64,
        /// What.
        what: &'static str,
    },
    /// With an account.
    #[error("account {id}: {what}")]
    Account {
        /// Which.
        id: AccountId,
        /// What.
        what: &'static str,
    },
    /// A checkpoint is for another tree.
    #[error("the checkpoint of {0} transfers is for another ledger")]
    Root(u64),
    /// A checkpoint is for more transfers than there are.
    #[error("the ledger ends before the {0} transfers of a checkpoint")]
    Short(u64),
}

/// What a good ledger comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerEnd {
    /// How many transfers.
    pub transfers: u64,
    /// How many accounts.
    pub accounts: usize,
    /// How many of the transfers are pending.
    pub pending: usize,
    /// Over all.
    pub root: Hash,
}

/// A ledger that is being read: checkpoints and accounts first, then transfers.
#[derive(Default)]
pub struct LedgerCheck {
    roots: HashMap<u64, Hash>,
    accounts: HashMap<AccountId, Sums>,
    ids: HashSet<TransferId>,
    pending: HashMap<TransferId, Posted>,
    frontier: Frontier,
    last_ns: i64,
}

struct Sums {
    stated: Account,
    debits: MicroVda,
    credits: MicroVda,
}

impl LedgerCheck {
    /// A root that a checkpoint states for so many transfers.
    ///
    /// # Errors
    /// When another one states a different root for as many.
    pub fn checkpoint(&mut self, size: u64, root: Hash) -> Result<(), BadLedger> {
        let before = self.roots.insert(size, root);
        match before.is_none_or(|before| before == root)
            && (size > 0 || root == self.frontier.root())
        {
            true => Ok(()),
            false => Err(BadLedger::Root(size)),
        }
    }

    /// An account as it is said to stand.
    ///
    /// # Errors
    /// When it is there twice.
    pub fn account(&mut self, account: Account) -> Result<(), BadLedger> {
        let id = account.id;
        let sums = Sums {
            stated: account,
            debits: MicroVda::ZERO,
            credits: MicroVda::ZERO,
        };
        match self.accounts.insert(id, sums) {
            None => Ok(()),
            Some(_) => Err(BadLedger::Account {
                id,
                what: "it is there twice",
            }),
        }
    }

    /// The next transfer.
    ///
    /// # Errors
    /// When it breaks a rule, or a checkpoint was for other transfers up to here.
    pub fn transfer(&mut self, numbered: &Numbered) -> Result<(), BadLedger> {
        let index = numbered.index;
        let bad = |what| BadLedger::Transfer { index, what };
        if index != self.frontier.size() {
            return Err(bad("it is not the next one"));
        }
        let (posted, transfer) = (&numbered.posted, &numbered.posted.transfer);
        if posted.at_ns <= self.last_ns {
            return Err(bad("it is not later than the one before"));
        }
        if !self.ids.insert(transfer.id) {
            return Err(bad("its id is taken"));
        }
        self.last_ns = posted.at_ns;
        if transfer.flags.resolves() {
            let reserved = self.pending.remove(&transfer.pending);
            let reserved = reserved.ok_or(bad("what it ends is not pending"))?;
            if reserved
                .expires_at_ns()
                .is_some_and(|end| end <= posted.at_ns)
            {
                return Err(bad("what it ends was over before"));
            }
            let of = &reserved.transfer;
            let fits = (of.debit, of.credit) == (transfer.debit, transfer.credit);
            if !fits || transfer.amount > of.amount {
                return Err(bad("it does not fit what it ends"));
            }
        }
        if transfer.flags.has(TransferFlags::PENDING) {
            self.pending.insert(transfer.id, *posted);
        } else if !transfer.flags.has(TransferFlags::VOID) {
            self.add(posted).map_err(bad)?;
        }
        self.frontier.append(posted.leaf_hash(), |_, _| {});
        let size = self.frontier.size();
        match self.roots.remove(&size) {
            Some(root) if root != self.frontier.root() => Err(BadLedger::Root(size)),
            _ => Ok(()),
        }
    }

    fn add(&mut self, posted: &Posted) -> Result<(), &'static str> {
        let transfer = &posted.transfer;
        let unknown = "it names an account that is not there";
        let credit = self.accounts.get_mut(&transfer.credit).ok_or(unknown)?;
        let sum = credit.credits.plus(transfer.amount);
        credit.credits = sum.ok_or("a sum is too large")?;
        let debit = self.accounts.get_mut(&transfer.debit).ok_or(unknown)?;
        let sum = debit.debits.plus(transfer.amount);
        debit.debits = sum.ok_or("a sum is too large")?;
        let bound = debit.stated.flags.has(AccountFlags::NO_DEBT);
        match bound && debit.debits > debit.credits {
            true => Err("it takes more than the account has"),
            false => Ok(()),
        }
    }

    /// What the whole comes to, once all was read.
    ///
    /// # Errors
    /// When an account holds something else than its transfers brought, or a checkpoint was not reached.
    pub fn end(self) -> Result<LedgerEnd, BadLedger> {
        if let Some(size) = self.roots.keys().find(|size| **size > 0) {
            return Err(BadLedger::Short(*size));
        }
        for (id, sums) in &self.accounts {
            let stated = (sums.stated.debits_posted, sums.stated.credits_posted);
            if stated != (sums.debits, sums.credits) {
                let what = "it holds something else than its transfers brought";
                return Err(BadLedger::Account { id: *id, what });
            }
        }
        Ok(LedgerEnd {
            transfers: self.frontier.size(),
            accounts: self.accounts.len(),
            pending: self.pending.len(),
            root: self.frontier.root(),
        })
    }
}
