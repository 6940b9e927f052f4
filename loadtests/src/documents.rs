//! Load on a document database that speaks CouchDB's HTTP API: documents in bulk, and how many of them a
//! second are acknowledged.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Target;
use crate::time::Stopwatch;

/// What is written.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Documents in all.
    pub documents: u64,
    /// Documents of one request.
    pub batch: u64,
    /// Requests at once.
    pub streams: u64,
    /// Bytes of text in each document.
    pub bytes: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Documents that were acknowledged.
    pub documents: u64,
    /// How long that took.
    pub took: Duration,
}

impl Written {
    /// Documents a second.
    pub fn per_second(&self) -> f64 {
        self.documents as f64 / self.took.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// Writes documents into a new database of this name and counts them afterwards. The target is where the
/// databases are, like `http://127.0.0.1:11435/couch`.
///
/// # Errors
/// When anything but success is answered, or when a document is missing.
pub async fn load(target: &Target, database: &str, bulk: Bulk) -> anyhow::Result<Written> {
    let path = format!("/{database}");
    target.send(Method::PUT, &path, None).await?;
    // Made before the time runs, since the server needs the cores.
    let batches: Vec<String> = (0..bulk.documents)
        .step_by(bulk.batch.max(1) as usize)
        .map(|first| batch(first, (first + bulk.batch).min(bulk.documents), bulk.bytes))
        .collect();
    let (batches, bulk_docs) = (&batches, &format!("{path}/_bulk_docs"));
    let streams = bulk.streams.max(1) as usize;
    let watch = Stopwatch::start();
    try_join_all((0..streams).map(|stream| async move {
        for body in batches.iter().skip(stream).step_by(streams) {
            target
                .send(Method::POST, bulk_docs, Some(body.clone()))
                .await?;
        }
        Ok::<_, anyhow::Error>(())
    }))
    .await?;
    let took = watch.elapsed();
    let said = target.send(Method::GET, &path, None).await?;
    let said: Value = serde_json::from_slice(&said).context("its answer is no JSON")?;
    let there = said["doc_count"].as_u64().unwrap_or(0);
    let all = bulk.documents;
    ensure!(
        there == all,
        "{there} documents are there, and {all} were acknowledged"
    );
    Ok(Written {
        documents: there,
        took,
    })
}

fn batch(first: u64, end: u64, bytes: usize) -> String {
    let text: String = "words of a document ".chars().cycle().take(bytes).collect();
    let documents = (first..end).map(|n| {
        json!({"_id": format!("doc-{n:010}"), "n": n, "text": text, "list": [1, 2, 3], "flag": true})
    });
    json!({ "docs": documents.collect::<Vec<_>>() }).to_string()
}
