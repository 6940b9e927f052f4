//! The ledger at rest. The rules are `kwaainet-rewards`'; here a batch is read, judged by them and written in one
//! transaction of the only connection that writes, so that it happens as a whole or not at all.

mod accruals;
mod batch;
mod read;
mod rows;
mod verifications;

use kwaainet_rewards::{Account, Books, Changes, Transfer, TransferResult, Wanted};

use crate::{Store, StoreError};

pub use accruals::{AccruableReceipt, HeldService};
pub use read::{LedgerSnapshot, Period, StatementLine, Terminus};
pub use verifications::{VerificationKind, VerificationRecord};

impl Store {
    /// Creates transfers, in order; says of each what became of it. What was created before is not created again.
    ///
    /// # Errors
    /// When the database fails; then nothing was written.
    pub async fn create_transfers(
        &self,
        batch: &[Transfer],
        now_ns: i64,
    ) -> Result<Vec<TransferResult>, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let mut books = batch::load(&mut transaction, Wanted::by(batch), now_ns).await?;
        let results = books.apply(batch, now_ns);
        batch::save(&mut transaction, books).await?;
        transaction.commit().await?;
        Ok(results)
    }

    /// Opens accounts; those that are there stay as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_accounts(&self, accounts: &[Account]) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        let mut wanted = Wanted::default();
        wanted
            .accounts
            .extend(accounts.iter().map(|account| account.id));
        let mut books = batch::load(&mut transaction, wanted, i64::MIN).await?;
        accounts
            .iter()
            .for_each(|account| books.open(account.clone()));
        batch::save(&mut transaction, books).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Gives back what has been pending for too long; says how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn expire_transfers(&self, now_ns: i64) -> Result<usize, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let books: Books = batch::load(&mut transaction, Wanted::default(), now_ns).await?;
        let Changes { resolved, .. } = batch::save(&mut transaction, books).await?;
        transaction.commit().await?;
        Ok(resolved.len())
    }
}

#[cfg(test)]
mod tests;
