//! The node's database: one SQLite file, through sqlx. The only place that speaks SQL.
//!
//! One connection writes, a few read. WAL, so that readers never wait for the writer; full
//! synchronisation, so that what was acknowledged survives a power cut. The schema is made by the
//! forward-only files in `migrations/`, which are part of the binary.

mod audit;
mod batches;
mod carbon;
mod conversations;
mod documents;
mod files;
mod health;
mod identity;
mod introductions;
mod invitations;
mod kept;
mod keys;
mod ledger;
mod log;
mod members;
mod migrations;
mod page;
mod privacy;
mod receipts;
mod responses;
mod services;
mod vector_stores;

pub use audit::{AuditError, AuditFilter, AuditRecord};
pub use batches::{BatchCounts, BatchEnd, BatchLine, BatchRecord, BatchStatus};
pub use carbon::{
    CarbonBy, CarbonHour, CarbonRequest, CarbonSum, ForecastRecord, IntensityRecord, KeptHour,
    MatchedHour,
};
pub use documents::{
    BlobRecord, Body, Compacted, DatabaseRecord, DocumentRow, DocumentStore, GroupWriter, IdRange,
    LocalEdit, NewDatabase, Purged, StorageMeter, UploadBegun, UploadRecord, WriteError, Written,
};
pub use files::FileRecord;
pub use identity::{
    AccountRecord, Admission, IssuedCredential, LinkRecord, Linked, PasskeyKept, PasskeyRecord,
    SessionRow, ShownCredential,
};
pub use introductions::IntroductionRecord;
pub use invitations::{InvitationRecord, Redeemed};
pub use ledger::{AccruableReceipt, HeldService, LedgerSnapshot, Period, StatementLine, Terminus};
pub use log::{Log, LogHead};
pub use members::MemberRecord;
pub use page::{Listed, Page};
pub use privacy::{ERASED, ErasableTable, KeptWhole, ReceiptOf};
pub use services::{
    ClaimRecord, ServiceChanges, ServiceCursor, ServiceEntry, ServicePlace, ServiceRecord,
};
pub use vector_stores::{
    Chunk, Hit, SearchPart, VectorFileBatch, VectorFileCounts, VectorFileRecord, VectorFileStatus,
    VectorStoreRecord, VectorWork,
};

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub use conversations::{Added, ConversationLimits, KeptConversation};
pub use kept::{KeepLimits, KeptItem, Seeker};
pub use responses::{History, HistoryLimits, KeptResponse, NewResponse, ResponseState};

/// A handle to the open database; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Why the database could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or its folder cannot be opened for writing.
    #[error("the database {} cannot be opened: {source}", path.display())]
    Open {
        /// Where it was looked for.
        path: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// A later version of this program wrote it.
    #[error(
        "the database {} was written by a newer version of kwaainet (schema {found}, this one knows up to {known}); use that version or another data directory",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// Its schema could not be brought up to date.
    #[error("the database {} cannot be brought up to date: {source}", path.display())]
    Migrate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: MigrateError,
    },
    /// A statement failed.
    #[error("the database failed: {0}")]
    Sql(#[from] sqlx::Error),
    /// Somebody goes on reading what was to be overwritten.
    #[error("the database is being read and cannot be cleaned up now")]
    Busy,
    /// A row holds what this program never writes.
    #[error("the database holds a malformed {0}")]
    Malformed(&'static str),
}

/// How long a statement waits for another process that writes.
const BUSY_MAX: Duration = Duration::from_secs(5);
const READERS_MAX: u32 = 4;

impl Store {
    /// Opens the database, makes it if it is not there, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be written, is no database, or is of a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What was erased on request is overwritten, not only given free.
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_MAX);
        let opened = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_with(options.clone())
            .await
            .map_err(opened)?;
        migrations::run(&writer, path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.create_if_missing(false).read_only(true))
            .await
            .map_err(opened)?;
        Ok(Self { writer, readers })
    }

    /// Closes all connections and folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        let store = Store::open(&path).await.expect("it opens");
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', 1, x'00', 0)",
        )
        .execute(&store.writer)
        .await
        .expect("the row fits");
        store.close().await;

        let error = Store::open(&path).await.expect_err("it is newer");
        assert!(matches!(error, StoreError::Newer { found: 9999, .. }));
        assert!(error.to_string().contains("newer version"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_database_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("node.db");
        std::fs::write(&path, [7_u8; 4096]).expect("it can be written");
        let error = Store::open(&path).await.expect_err("it is no database");
        assert!(error.to_string().contains("not a database"), "{error}");

        let nowhere = dir.path().join("missing").join("node.db");
        let error = Store::open(&nowhere).await.expect_err("no such folder");
        assert!(matches!(error, StoreError::Open { .. }), "{error}");
    }
}
