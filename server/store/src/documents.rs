//! Databases of documents, in a file of their own: what `kwaainet-storage` decides is kept here.
//!
//! One connection writes. Edits come to it through a bounded queue and are committed together, however many
//! wait ([`GroupWriter`]); so a sequence number is in the file before a later one is given, and no reader
//! of changes passes over one. What is acknowledged has been synced.

mod attachments;
mod blobs;
mod changes;
mod databases;
mod erasing;
mod feeds;
mod group;
mod locals;
mod meters;
mod reading;
mod rows;

pub use blobs::{BlobRecord, UploadBegun, UploadRecord};
pub use databases::{DatabaseRecord, NewDatabase};
pub use erasing::{Compacted, Purged};
pub use group::{GroupWriter, WriteError, Written};
pub use locals::LocalEdit;
pub use meters::StorageMeter;
pub use reading::{Body, DocumentRow, IdRange};

use std::path::Path;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use tokio::sync::mpsc;

use crate::{BUSY_MAX, StoreError, migrations};
use feeds::Feeds;

/// Takes the file for writing before anything is read, so that what was read still holds.
const IMMEDIATE: &str = "BEGIN IMMEDIATE";
/// Writes that wait for the one under way.
const QUEUE: usize = 256;
const READERS_MAX: u32 = 8;

/// A handle to the open file; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct DocumentStore {
    writer: SqlitePool,
    readers: SqlitePool,
    queue: mpsc::Sender<group::Job>,
    feeds: Arc<Feeds>,
    uuid: Arc<str>,
}

impl DocumentStore {
    /// Opens the file, makes it if it is not there, and brings its schema up to date. Edits wait until the
    /// [`GroupWriter`] runs, which also closes the file.
    ///
    /// # Errors
    /// When the file cannot be written, is no database, or is of a newer version.
    pub async fn open(path: &Path) -> Result<(Self, GroupWriter), StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("secure_delete", "ON")
            .busy_timeout(BUSY_MAX);
        let opened = |source| StoreError::Open {
            path: path.to_owned(),
            source,
        };
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            // So that erasing can give pages back.
            .connect_with(options.clone().auto_vacuum(SqliteAutoVacuum::Incremental))
            .await
            .map_err(opened)?;
        migrations::run_documents(&writer, path).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.create_if_missing(false).read_only(true))
            .await
            .map_err(opened)?;
        let row = sqlx::query("SELECT uuid FROM node").fetch_one(&readers);
        let uuid: String = row.await?.try_get("uuid")?;
        let (queue, jobs) = mpsc::channel(QUEUE);
        let feeds = Arc::new(Feeds::default());
        let pools = [writer.clone(), readers.clone()];
        let group = GroupWriter::new(pools, Arc::clone(&feeds), jobs);
        let store = Self {
            writer,
            readers,
            queue,
            feeds,
            uuid: uuid.into(),
        };
        Ok((store, group))
    }

    /// Names this file for good; replicating clients tell nodes apart by it.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }
}

#[cfg(test)]
mod tests;
