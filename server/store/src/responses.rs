//! Responses at rest. One that was made without its client is there from the start; all others once
//! they are over.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use crate::kept::{KeptItem, Seeker, add_items, items};
use crate::{Store, StoreError};

/// A response to be kept.
#[derive(Clone, Debug)]
pub struct NewResponse {
    /// Its id.
    pub id: String,
    /// The response that it follows on.
    pub previous: Option<String>,
    /// The conversation that it belongs to.
    pub conversation: Option<String>,
    /// Whether it is made without its client.
    pub background: bool,
    /// When it expires: milliseconds since 1970. What it follows on, and its conversation, live as
    /// long.
    pub expires_at_ms: i64,
    /// What it was asked with.
    pub input: Vec<KeptItem>,
}

/// How a response stands.
#[derive(Clone, Debug)]
pub struct ResponseState {
    /// The wire object without its output.
    pub body: String,
    /// What the model said and called.
    pub output: Vec<KeptItem>,
    /// The lengths in which it was streamed, as JSON.
    pub cuts: String,
    /// Whether nothing more comes.
    pub finished: bool,
    /// Whether input and output become part of the conversation.
    pub joins_conversation: bool,
}

/// A response that is kept.
#[derive(Clone, Debug)]
pub struct KeptResponse {
    /// The wire object without its output.
    pub body: String,
    /// What the model said and called.
    pub output: Vec<KeptItem>,
    /// The lengths in which it was streamed, as JSON.
    pub cuts: String,
    /// Whether it was made without its client.
    pub background: bool,
    /// Whether nothing more comes.
    pub finished: bool,
}

/// What a response follows on.
#[derive(Clone, Debug)]
pub enum History {
    /// Everything that was said, in order.
    Items(Vec<KeptItem>),
    /// This response is gone, or never was.
    Missing(String),
    /// This response is still being made.
    Unfinished,
    /// It belongs to a conversation, where the rest of what was said is.
    InConversation(String),
    /// It is more than may be read.
    TooLong,
}

/// How much of a history is read.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    /// Responses that follow on each other.
    pub responses_max: i64,
    /// Bytes of all their items.
    pub bytes_max: i64,
}

impl Store {
    /// Keeps a response as it stands.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_response(
        &self,
        who: Seeker<'_>,
        new: &NewResponse,
        state: &ResponseState,
    ) -> Result<(), StoreError> {
        let mut transaction = self.writer.begin().await?;
        sqlx::query(
            "INSERT INTO kept (id, kind, principal, created_at_ms, expires_at_ms, body, bytes,
                 previous, conversation, background, finished, cuts)
             VALUES (?, 'response', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&new.id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .bind(new.expires_at_ms)
        .bind(&state.body)
        .bind(state.body.len() as i64)
        .bind(&new.previous)
        .bind(&new.conversation)
        .bind(new.background)
        .bind(state.finished)
        .bind(&state.cuts)
        .execute(&mut *transaction)
        .await?;
        add_items(&mut transaction, &new.id, &new.input, false).await?;
        add_items(&mut transaction, &new.id, &state.output, true).await?;
        prolong(&mut transaction, &new.id, new.expires_at_ms).await?;
        if state.joins_conversation {
            join_conversation(&mut transaction, &new.id).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Keeps how a response stands by now; `false` if it was erased meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn update_response(
        &self,
        id: &str,
        state: &ResponseState,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.writer.begin().await?;
        let done = sqlx::query(
            "UPDATE kept SET bytes = bytes + ? - length(CAST(body AS BLOB)), body = ?, cuts = ?,
                 finished = ? WHERE id = ? AND kind = 'response' AND finished = 0",
        )
        .bind(state.body.len() as i64)
        .bind(&state.body)
        .bind(&state.cuts)
        .bind(state.finished)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        add_items(&mut transaction, id, &state.output, true).await?;
        if state.joins_conversation {
            join_conversation(&mut transaction, id).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The response with this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn response(
        &self,
        who: Seeker<'_>,
        id: &str,
    ) -> Result<Option<KeptResponse>, StoreError> {
        let mut reading = self.readers.begin().await?;
        let row = sqlx::query(
            "SELECT body, cuts, background, finished FROM kept
             WHERE id = ? AND kind = 'response' AND principal = ? AND expires_at_ms > ?",
        )
        .bind(id)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .fetch_optional(&mut *reading)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let output = sqlx::query(
            "SELECT id, body FROM kept_items WHERE owner = ? AND is_output = 1 ORDER BY seq",
        )
        .bind(id)
        .fetch_all(&mut *reading)
        .await?;
        Ok(Some(KeptResponse {
            body: row.try_get("body")?,
            output: items(&output)?,
            cuts: row.try_get("cuts")?,
            background: row.try_get("background")?,
            finished: row.try_get("finished")?,
        }))
    }

    /// Everything that was said up to the end of this response.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn history(
        &self,
        who: Seeker<'_>,
        id: &str,
        limits: HistoryLimits,
    ) -> Result<History, StoreError> {
        let mut reading = self.readers.begin().await?;
        let chain = sqlx::query(
            "WITH RECURSIVE chain (id, depth) AS (
                 SELECT ?, 0
                 UNION ALL
                 SELECT kept.previous, depth + 1 FROM chain JOIN kept ON kept.id = chain.id
                 WHERE kept.previous IS NOT NULL AND depth < ?
             )
             SELECT chain.id AS id, kept.conversation AS conversation, kept.bytes AS bytes,
                 kept.finished AS finished
             FROM chain LEFT JOIN kept ON kept.id = chain.id AND kept.kind = 'response'
                 AND kept.principal = ? AND kept.expires_at_ms > ?
             ORDER BY depth DESC",
        )
        .bind(id)
        .bind(limits.responses_max)
        .bind(who.principal.as_str())
        .bind(who.now_ms)
        .fetch_all(&mut *reading)
        .await?;
        if let Some(stop) = why_not(&chain, limits)? {
            return Ok(stop);
        }
        let mut said = Vec::new();
        for response in &chain {
            let rows = sqlx::query("SELECT id, body FROM kept_items WHERE owner = ? ORDER BY seq")
                .bind(response.try_get::<String, _>("id")?)
                .fetch_all(&mut *reading)
                .await?;
            said.extend(items(&rows)?);
        }
        Ok(History::Items(said))
    }

    /// The ids and bodies of responses that are not finished, for a node that starts: nobody makes
    /// them any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unfinished_responses(&self) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query("SELECT id, body FROM kept WHERE finished = 0")
            .fetch_all(&self.readers)
            .await?;
        let pair = |row: &SqliteRow| Ok((row.try_get("id")?, row.try_get("body")?));
        rows.iter().map(pair).collect()
    }
}

/// Why a chain of responses, oldest first, is no history.
fn why_not(chain: &[SqliteRow], limits: HistoryLimits) -> Result<Option<History>, StoreError> {
    let mut bytes = 0_i64;
    for row in chain.iter().rev() {
        let id: String = row.try_get("id")?;
        let Some(finished) = row.try_get::<Option<bool>, _>("finished")? else {
            return Ok(Some(History::Missing(id)));
        };
        if !finished {
            return Ok(Some(History::Unfinished));
        }
        if let Some(conversation) = row.try_get("conversation")? {
            return Ok(Some(History::InConversation(conversation)));
        }
        bytes = bytes.saturating_add(row.try_get("bytes")?);
    }
    let too_long = bytes > limits.bytes_max || chain.len() as i64 > limits.responses_max;
    Ok(too_long.then_some(History::TooLong))
}

/// What is followed on lives as long as what follows.
async fn prolong(
    transaction: &mut Transaction<'_, Sqlite>,
    id: &str,
    expires_at_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "WITH RECURSIVE chain (id) AS (
             SELECT ?
             UNION
             SELECT kept.previous FROM chain JOIN kept ON kept.id = chain.id
             WHERE kept.previous IS NOT NULL
         )
         UPDATE kept SET expires_at_ms = MAX(expires_at_ms, ?)
         WHERE id IN (SELECT id FROM chain)
             OR id = (SELECT conversation FROM kept WHERE id = ?)",
    )
    .bind(id)
    .bind(expires_at_ms)
    .bind(id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Input and output become part of the conversation, if it is still there.
async fn join_conversation(
    transaction: &mut Transaction<'_, Sqlite>,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO kept_items (owner, seq, id, is_output, body)
         SELECT conversation.id,
             (SELECT COALESCE(MAX(seq) + 1, 0) FROM kept_items WHERE owner = conversation.id)
                 + item.seq,
             item.id, 0, item.body
         FROM kept AS response
             JOIN kept AS conversation ON conversation.id = response.conversation
                 AND conversation.principal = response.principal
             JOIN kept_items AS item ON item.owner = response.id
         WHERE response.id = ? ORDER BY item.seq",
    )
    .bind(id)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
