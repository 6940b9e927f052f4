//! What one side is asked in a replication, in the words of CouchDB's protocol: checkpoints, changes, revisions that
//! are missing, documents, attachments.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use kwaainet_storage::{Checkpoint, Digest};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::side::{Asking, Side, Trouble};

/// Bytes of an answer that holds no documents.
const WORDS_BYTES_MAX: usize = 16 << 20;

/// A page of what changed.
#[derive(Debug, Deserialize)]
pub(super) struct Changes {
    pub(super) results: Vec<Change>,
    pub(super) last_seq: Value,
}

/// The leaves of a document that changed.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    pub(super) id: String,
    pub(super) changes: Vec<Leaf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Leaf {
    pub(super) rev: String,
}

/// Documents, and for each some revisions.
pub(super) type Revisions = BTreeMap<String, Vec<String>>;

#[derive(Debug, Deserialize)]
struct Missing {
    missing: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct BulkGot {
    results: Vec<GotOne>,
}

#[derive(Debug, Deserialize)]
struct GotOne {
    docs: Vec<GotRevision>,
}

#[derive(Debug, Deserialize)]
struct GotRevision {
    ok: Option<Map<String, Value>>,
}

/// What became of documents that were written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// All were taken but so many.
    AllBut(u64),
    /// They were too much for one request.
    TooMuch,
}

#[derive(Debug, Deserialize)]
struct NotTaken {
    error: Option<String>,
}

impl Side {
    /// Makes sure that there is a database.
    pub(super) async fn exists(&self) -> Result<(), Trouble> {
        let (status, _) = self.get(&[], &[], WORDS_BYTES_MAX).await?;
        self.good(status)
    }

    /// The checkpoint of this name, and its revision.
    pub(super) async fn checkpoint(
        &self,
        id: &str,
    ) -> Result<(Option<Checkpoint>, Option<String>), Trouble> {
        let (status, bytes) = self.get(&["_local", id], &[], WORDS_BYTES_MAX).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok((None, None));
        }
        self.good(status)?;
        let found: Value = parse(&bytes)?;
        let rev = found["_rev"].as_str().map(str::to_owned);
        // One that says something else counts for nothing.
        Ok((serde_json::from_value(found).ok(), rev))
    }

    /// Writes a checkpoint over this revision of it; its revision now.
    pub(super) async fn keep(
        &self,
        id: &str,
        rev: Option<&str>,
        checkpoint: &Checkpoint,
    ) -> Result<Option<String>, Trouble> {
        let mut said = json!(checkpoint);
        said["_id"] = Value::from(format!("_local/{id}"));
        if let Some(rev) = rev {
            said["_rev"] = Value::from(rev);
        }
        let asking = Asking {
            method: Method::PUT,
            path: &["_local", id],
            query: &[],
            body: Some(said.to_string().into_bytes()),
            bytes_max: WORDS_BYTES_MAX,
            waits: Duration::ZERO,
        };
        let (status, bytes) = self.ask(asking).await?;
        if status == StatusCode::CONFLICT {
            return Err(Trouble::Conflict);
        }
        self.good(status)?;
        let answer: Value = parse(&bytes)?;
        Ok(answer["rev"].as_str().map(str::to_owned))
    }

    /// What changed since; waits that long for something, if nothing did.
    pub(super) async fn changes(
        &self,
        since: &Value,
        limit: usize,
        waits: Option<Duration>,
    ) -> Result<Changes, Trouble> {
        let since = text_of(since);
        let limit = limit.to_string();
        let timeout = waits.unwrap_or_default().as_millis().to_string();
        let mut query = vec![
            ("style", "all_docs"),
            ("since", since.as_str()),
            ("limit", limit.as_str()),
        ];
        if waits.is_some() {
            query.extend([("feed", "longpoll"), ("timeout", timeout.as_str())]);
        }
        let asking = Asking {
            method: Method::GET,
            path: &["_changes"],
            query: &query,
            body: None,
            bytes_max: WORDS_BYTES_MAX,
            waits: waits.unwrap_or_default(),
        };
        let (status, bytes) = self.ask(asking).await?;
        self.good(status)?;
        parse(&bytes)
    }

    /// Which of these revisions are not here.
    pub(super) async fn revs_diff(&self, offered: &Revisions) -> Result<Revisions, Trouble> {
        let body = json!(offered).to_string().into_bytes();
        let (status, bytes) = self.post("_revs_diff", &[], body, WORDS_BYTES_MAX).await?;
        self.good(status)?;
        let missing: BTreeMap<String, Missing> = parse(&bytes)?;
        let missing = missing.into_iter().map(|(id, one)| (id, one.missing));
        Ok(missing.collect())
    }

    /// Revisions with their histories, as far as they are still here; of what hangs on them only the names.
    pub(super) async fn bulk_get(
        &self,
        wanted: &[(String, String)],
        bytes_max: usize,
    ) -> Result<Vec<Map<String, Value>>, Trouble> {
        let docs = wanted.iter().map(|(id, rev)| json!({"id": id, "rev": rev}));
        let body = json!({"docs": docs.collect::<Vec<_>>()}).to_string();
        let query = [("revs", "true"), ("latest", "true")];
        let asked = self.post("_bulk_get", &query, body.into_bytes(), bytes_max);
        let (status, bytes) = asked.await?;
        self.good(status)?;
        let got: BulkGot = parse(&bytes)?;
        let docs = got.results.into_iter().flat_map(|one| one.docs);
        Ok(docs.filter_map(|doc| doc.ok).collect())
    }

    /// What hangs on a revision under this name, which has to be what this digest says; none if it is gone.
    pub(super) async fn attachment(
        &self,
        (id, rev): (&str, &str),
        (name, digest): (&str, &Digest),
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let mut path: Vec<&str> = match id.strip_prefix("_design/") {
            Some(design) => vec!["_design", design],
            None => vec![id],
        };
        path.push(name);
        let (status, bytes) = self.get(&path, &[("rev", rev)], bytes_max).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.good(status)?;
        match Digest::of(&bytes) == *digest {
            true => Ok(Some(bytes)),
            false => Err(Trouble::Malformed),
        }
    }

    /// Writes documents that were made elsewhere; each is JSON.
    pub(super) async fn bulk_docs(&self, docs: &[String]) -> Result<Wrote, Trouble> {
        let body = format!("{{\"new_edits\":false,\"docs\":[{}]}}", docs.join(","));
        let asked = self.post("_bulk_docs", &[], body.into_bytes(), WORDS_BYTES_MAX);
        let (status, bytes) = asked.await?;
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            return Ok(Wrote::TooMuch);
        }
        self.good(status)?;
        let answers: Vec<NotTaken> = parse(&bytes)?;
        let errors = answers.iter().filter_map(|one| one.error.as_deref());
        let mut refused = 0;
        for error in errors {
            // It may be taken once there is room, so it must not be passed over.
            if error == "quota_exceeded" {
                return Err(Trouble::Full(self.who()));
            }
            refused += 1;
        }
        Ok(Wrote::AllBut(refused))
    }

    async fn get(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let asking = Asking {
            method: Method::GET,
            path,
            query,
            body: None,
            bytes_max,
            waits: Duration::ZERO,
        };
        self.ask(asking).await
    }

    async fn post(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Vec<u8>,
        bytes_max: usize,
    ) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let asking = Asking {
            method: Method::POST,
            path: &[path],
            query,
            body: Some(body),
            bytes_max,
            waits: Duration::ZERO,
        };
        self.ask(asking).await
    }

    fn good(&self, status: StatusCode) -> Result<(), Trouble> {
        let refused = Trouble::Refused {
            side: self.who(),
            status: status.as_u16(),
        };
        status.is_success().then_some(()).ok_or(refused)
    }
}

/// A sequence number as it stands in a query; it is the source's own and opaque.
pub(super) fn text_of(seq: &Value) -> String {
    let text = seq.as_str().map(str::to_owned);
    text.unwrap_or_else(|| seq.to_string())
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Trouble> {
    // The words of the error may hold some of a document.
    serde_json::from_slice(bytes).map_err(|_| Trouble::Malformed)
}
