//! The one who writes edits: takes all that wait, decides them one after the other, and commits them in one
//! transaction with one sync.

mod batch;

use std::sync::Arc;

use kwaainet_storage::{Draft, Refused, Seal, Took};
use sqlx::sqlite::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::feeds::Feeds;
use super::{DatabaseRecord, DocumentStore, IMMEDIATE};
use crate::StoreError;
use batch::Batch;

/// Documents and bytes of one transaction; one request may be more.
const DRAFTS_MAX: usize = 20_000;
const BYTES_MAX: u64 = 64 << 20;

/// What became of each draft, in their order. None: it was known already.
pub type Written = Vec<Result<Option<Took>, Refused>>;

/// Why nothing of a write was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The database was deleted.
    #[error("the database is not there")]
    NoDatabase,
    /// The database is sealed, and whoever writes did not open it.
    #[error("the database is sealed and was not opened")]
    Locked,
    /// The file failed, or the writer has ended.
    #[error("the documents cannot be written")]
    Failed,
}

/// Drafts of one request.
#[derive(Debug)]
pub(super) struct Job {
    db: i64,
    /// With what the database was opened, if it is sealed.
    seal: Option<Arc<Seal>>,
    drafts: Vec<Draft>,
    /// Whether they were made elsewhere.
    replicated: bool,
    /// Bytes that all databases of the owner may have together.
    quota: u64,
    reply: oneshot::Sender<Result<Written, WriteError>>,
}

impl DocumentStore {
    /// Writes drafts, in their order. With `replicated` they keep the revisions that they bring and nothing
    /// conflicts. The owner of the database may have `quota` bytes in all of his.
    ///
    /// # Errors
    /// When nothing was written. What is wrong with single drafts stands in [`Written`].
    pub async fn write(
        &self,
        db: &DatabaseRecord,
        drafts: Vec<Draft>,
        replicated: bool,
        quota: u64,
    ) -> Result<Written, WriteError> {
        let seal = db.shared_seal().map_err(|_| WriteError::Locked)?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            db: db.key,
            seal: seal.cloned(),
            drafts,
            replicated,
            quota,
            reply,
        };
        let sent = self.queue.send(job).await;
        sent.map_err(|_| WriteError::Failed)?;
        answer.await.unwrap_or(Err(WriteError::Failed))
    }
}

/// The writer's end of the queue. It ends when every [`DocumentStore`] is gone, and closes the file.
#[derive(Debug)]
pub struct GroupWriter {
    writer: SqlitePool,
    readers: SqlitePool,
    feeds: Arc<Feeds>,
    jobs: mpsc::Receiver<Job>,
}

impl GroupWriter {
    pub(super) fn new(
        [writer, readers]: [SqlitePool; 2],
        feeds: Arc<Feeds>,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        Self {
            writer,
            readers,
            feeds,
            jobs,
        }
    }

    /// Writes what comes. `failed` hears of each transaction that could not be written; those who wait for
    /// it are told, too.
    pub async fn run(mut self, failed: impl Fn(StoreError)) {
        while let Some(first) = self.jobs.recv().await {
            let group = self.group(first);
            match self.commit(&group).await {
                Ok((answers, told)) => {
                    for (db, seq) in told {
                        self.feeds.tell(db, seq);
                    }
                    for (job, answer) in group.into_iter().zip(answers) {
                        // Whoever does not wait any more need not hear it.
                        job.reply.send(answer).ok();
                    }
                }
                Err(error) => {
                    failed(error);
                    for job in group {
                        job.reply.send(Err(WriteError::Failed)).ok();
                    }
                }
            }
        }
        self.readers.close().await;
        // Folds the write-ahead log into the file.
        self.writer.close().await;
    }

    /// What waits now, as far as it fits into one transaction.
    fn group(&mut self, first: Job) -> Vec<Job> {
        let size = |job: &Job| job.drafts.iter().map(Draft::bytes).sum::<u64>();
        let (mut drafts, mut bytes) = (first.drafts.len(), size(&first));
        let mut group = vec![first];
        while drafts < DRAFTS_MAX && bytes < BYTES_MAX {
            let Ok(job) = self.jobs.try_recv() else { break };
            drafts += job.drafts.len();
            bytes += size(&job);
            group.push(job);
        }
        group
    }

    async fn commit(
        &self,
        group: &[Job],
    ) -> Result<(Vec<Result<Written, WriteError>>, Vec<(i64, i64)>), StoreError> {
        let mut transaction = self.writer.begin_with(IMMEDIATE).await?;
        let mut batch = Batch::load(group, &mut transaction).await?;
        let answers = group.iter().map(|job| batch.decide(job)).collect();
        batch.write(&mut transaction).await?;
        let told = batch.told();
        transaction.commit().await?;
        Ok((answers, told))
    }
}
