//! Replications that the node drives: with whom, how far they came, and what went wrong.

use std::str::FromStr;

use kwaainet_core::{KeyId, PrincipalId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::DocumentStore;
use crate::StoreError;

/// Of one owner, and of the node.
const OF_OWNER_MAX: i64 = 64;
const OF_NODE_MAX: i64 = 1_024;

/// Which way documents go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From here to there.
    Push,
    /// From there to here.
    Pull,
    /// Both ways.
    Both,
}

/// One of the two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From here to there.
    Push,
    /// From there to here.
    Pull,
}

/// What a replication is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationState {
    /// It has not begun.
    Pending,
    /// It is under way, or waits for what comes.
    Running,
    /// It failed and is tried again.
    Retrying,
    /// It is over, and everything is there.
    Completed,
    /// It was tried too often.
    Failed,
}

/// A replication that is to be.
#[derive(Clone, Debug)]
pub struct NewReplication {
    /// Names it, if there is none with this place yet.
    pub id: String,
    /// Which database here.
    pub db: i64,
    /// Whose.
    pub owner: PrincipalId,
    /// The key that he asked with.
    pub key: Option<KeyId>,
    /// The database there.
    pub url: String,
    /// Which way.
    pub direction: Direction,
    /// Whether it goes on for ever.
    pub live: bool,
    /// Where it begins.
    pub state: ReplicationState,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// What a replication keeps, sealed.
#[derive(Clone, Debug)]
pub struct ReplicationSecrets {
    /// What is shown at the other node.
    pub secret: Vec<u8>,
    /// What opens the database here, if its owner's key does.
    pub opens: Option<Vec<u8>>,
}

/// A replication. What is shown at the other node, and what opens the database here, are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationRecord {
    /// Names it.
    pub id: String,
    /// Which database here.
    pub db: i64,
    /// And its name.
    pub name: String,
    /// Tells the database from others.
    pub uuid: String,
    /// Whose.
    pub owner: PrincipalId,
    /// The key that he asked with.
    pub key: Option<KeyId>,
    /// The database there.
    pub url: String,
    /// What is shown there.
    pub secret: Vec<u8>,
    /// What opens the database here, if its owner's key does.
    pub opens: Option<Vec<u8>>,
    /// Which way.
    pub direction: Direction,
    /// Whether it goes on for ever.
    pub live: bool,
    /// Whether something was ever pushed.
    pub has_copy: bool,
    /// How often it was asked for.
    pub revision: i64,
    /// What it is about.
    pub state: ReplicationState,
    /// What last went wrong, if nothing went right since.
    pub last_error: Option<String>,
    /// Milliseconds since 1970.
    pub created_at_ms: i64,
    /// When something was last known of it.
    pub updated_at_ms: i64,
    /// From here to there.
    pub push: WayRecord,
    /// From there to here.
    pub pull: WayRecord,
}

/// How far one way came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WayRecord {
    /// The source's sequence up to which the target has everything.
    pub since: Option<String>,
    /// Revisions that the source gave.
    pub read: u64,
    /// Those that the target took.
    pub written: u64,
    /// Those that it did not take.
    pub refused: u64,
}

const SELECT: &str =
    "SELECT r.*, d.name, d.uuid FROM replications AS r JOIN databases AS d ON d.key = r.db";

impl DocumentStore {
    /// Keeps a replication, or puts it in the place of the one between the same databases, whose id stays. `seal`
    /// makes the secrets of the id. None if its owner, or the node, has too many.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn keep_replication(
        &self,
        new: &NewReplication,
        seal: impl FnOnce(&str) -> ReplicationSecrets,
    ) -> Result<Option<ReplicationRecord>, StoreError> {
        let mut transaction = self.writer.begin_with(super::IMMEDIATE).await?;
        let known = sqlx::query_scalar("SELECT id FROM replications WHERE db = ? AND url = ?")
            .bind(new.db)
            .bind(&new.url)
            .fetch_optional(&mut *transaction)
            .await?;
        let id: String = known.unwrap_or_else(|| new.id.clone());
        let secrets = seal(&id);
        let done = sqlx::query(
            "INSERT INTO replications (id, db, owner, key, url, secret, direction, live, has_copy, state,
                 created_at_ms, updated_at_ms, opens)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?14
             WHERE EXISTS (SELECT 1 FROM replications WHERE id = ?1) OR (
                 EXISTS (SELECT 1 FROM databases WHERE key = ?2)
                 AND (SELECT COUNT(*) FROM replications WHERE owner = ?3) < ?12
                 AND (SELECT COUNT(*) FROM replications) < ?13)
             ON CONFLICT (id) DO UPDATE SET key = excluded.key, secret = excluded.secret, opens = excluded.opens,
                 direction = excluded.direction, live = excluded.live,
                 has_copy = MAX(has_copy, excluded.has_copy), state = excluded.state, last_error = NULL,
                 updated_at_ms = excluded.updated_at_ms, revision = revision + 1",
        )
        .bind(&id)
        .bind(new.db)
        .bind(new.owner.as_str())
        .bind(new.key.as_ref().map(KeyId::as_str))
        .bind(&new.url)
        .bind(secrets.secret)
        .bind(new.direction.as_str())
        .bind(new.live)
        .bind(new.direction != Direction::Pull)
        .bind(new.state.as_str())
        .bind(new.now_ms)
        .bind(OF_OWNER_MAX)
        .bind(OF_NODE_MAX)
        .bind(secrets.opens)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        self.replication(&id).await
    }

    /// One replication, whoever's it is.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn replication(&self, id: &str) -> Result<Option<ReplicationRecord>, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} WHERE r.id = ?")))
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(record).transpose()
    }

    /// An owner's replications, the oldest first.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn replications(
        &self,
        owner: &PrincipalId,
    ) -> Result<Vec<ReplicationRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE r.owner = ? ORDER BY r.created_at_ms, r.id"
        )))
        .bind(owner.as_str())
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Those that are not over, whoever's they are.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn open_replications(&self) -> Result<Vec<ReplicationRecord>, StoreError> {
        let rows = sqlx::query(sqlx::AssertSqlSafe(format!(
            "{SELECT} WHERE r.state NOT IN ('completed', 'failed') ORDER BY r.created_at_ms, r.id"
        )))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(record).collect()
    }

    /// Forgets a replication; `false` if its owner has none of this id.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn forget_replication(
        &self,
        owner: &PrincipalId,
        id: &str,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM replications WHERE id = ? AND owner = ?")
            .bind(id)
            .bind(owner.as_str())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Says what a replication is about, unless it was asked for anew since.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn replication_is(
        &self,
        (id, revision): (&str, i64),
        state: ReplicationState,
        error: Option<&str>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE replications SET state = ?, last_error = ?, updated_at_ms = ? WHERE id = ? AND revision = ?",
        )
        .bind(state.as_str())
        .bind(error)
        .bind(now_ms)
        .bind(id)
        .bind(revision)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Says that something is pushed beside it.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn replication_has_copy(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE replications SET has_copy = 1 WHERE id = ?")
            .bind(id)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Says that it is under way, and not yet that nothing is wrong with it.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn replication_runs(
        &self,
        (id, revision): (&str, i64),
        now_ms: i64,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE replications SET state = 'running', updated_at_ms = ? WHERE id = ? AND revision = ?",
        )
        .bind(now_ms)
        .bind(id)
        .bind(revision)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Says how far one way came; the counts are added to what was.
    ///
    /// # Errors
    /// When the file fails.
    pub async fn replication_came(
        &self,
        (id, revision): (&str, i64),
        way: Way,
        came: &WayRecord,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = match way {
            Way::Push => {
                "UPDATE replications SET push_since = ?1, push_read = push_read + ?2,
                 push_written = push_written + ?3, push_refused = push_refused + ?4, updated_at_ms = ?5,
                 last_error = NULL WHERE id = ?6 AND revision = ?7"
            }
            Way::Pull => {
                "UPDATE replications SET pull_since = ?1, pull_read = pull_read + ?2,
                 pull_written = pull_written + ?3, pull_refused = pull_refused + ?4, updated_at_ms = ?5,
                 last_error = NULL WHERE id = ?6 AND revision = ?7"
            }
        };
        sqlx::query(sql)
            .bind(came.since.as_deref())
            .bind(came.read as i64)
            .bind(came.written as i64)
            .bind(came.refused as i64)
            .bind(now_ms)
            .bind(id)
            .bind(revision)
            .execute(&self.writer)
            .await?;
        Ok(())
    }
}

impl Direction {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Both => "both",
        }
    }

    /// Its ways.
    pub const fn ways(self) -> &'static [Way] {
        match self {
            Self::Push => &[Way::Push],
            Self::Pull => &[Way::Pull],
            Self::Both => &[Way::Push, Way::Pull],
        }
    }
}

impl FromStr for Direction {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let mut every = [Self::Push, Self::Pull, Self::Both].into_iter();
        every.find(|one| one.as_str() == word).ok_or(())
    }
}

impl ReplicationState {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for ReplicationState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let every = [
            Self::Pending,
            Self::Running,
            Self::Retrying,
            Self::Completed,
            Self::Failed,
        ];
        let mut every = every.into_iter();
        every.find(|one| one.as_str() == word).ok_or(())
    }
}

fn record(row: &SqliteRow) -> Result<ReplicationRecord, StoreError> {
    let malformed = |()| StoreError::Malformed("replication");
    let key: Option<String> = row.try_get("key")?;
    let count = |name: &str| row.try_get::<i64, _>(name).map(|n| n.max(0) as u64);
    let direction: &str = row.try_get("direction")?;
    let state: &str = row.try_get("state")?;
    Ok(ReplicationRecord {
        id: row.try_get("id")?,
        db: row.try_get("db")?,
        name: row.try_get("name")?,
        uuid: row.try_get("uuid")?,
        owner: PrincipalId::new(row.try_get::<String, _>("owner")?),
        key: key.map(KeyId::new),
        url: row.try_get("url")?,
        secret: row.try_get("secret")?,
        opens: row.try_get("opens")?,
        direction: direction.parse().map_err(malformed)?,
        live: row.try_get("live")?,
        has_copy: row.try_get("has_copy")?,
        revision: row.try_get("revision")?,
        state: state.parse().map_err(malformed)?,
        last_error: row.try_get("last_error")?,
        created_at_ms: row.try_get("created_at_ms")?,
        updated_at_ms: row.try_get("updated_at_ms")?,
        push: WayRecord {
            since: row.try_get("push_since")?,
            read: count("push_read")?,
            written: count("push_written")?,
            refused: count("push_refused")?,
        },
        pull: WayRecord {
            since: row.try_get("pull_since")?,
            read: count("pull_read")?,
            written: count("pull_written")?,
            refused: count("pull_refused")?,
        },
    })
}
