//! Pieces of text with their vectors, and the exact search among them: every vector is looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{Store, StoreError};

/// A piece of a file's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// The text.
    pub text: String,
    /// Of unit length.
    pub vector: Vec<f32>,
}

/// A file that can be searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchPart {
    /// Stands for the file in its store.
    pub part: i64,
    /// The file's id.
    pub file: String,
    /// The file's name.
    pub filename: String,
    /// A JSON object, as its owner gave it.
    pub attributes: Option<String>,
}

/// A piece that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Of which file in which store.
    pub part: i64,
    /// The cosine of the angle to the nearest query.
    pub cosine: f32,
    /// The piece's text.
    pub text: String,
}

/// Vectors that are read at a time.
const VECTORS_AT_ONCE: usize = 512;

impl Store {
    /// Writes the pieces of a file and says that it is done, in one transaction. `false`, and nothing is
    /// written, when the file is not waited for any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish_vector_file(
        &self,
        part: i64,
        chunks: &[Chunk],
    ) -> Result<bool, StoreError> {
        let size = |chunk: &Chunk| chunk.text.len() + 4 * chunk.vector.len();
        let bytes: usize = chunks.iter().map(size).sum();
        let mut transaction = self.writer.begin().await?;
        let done = sqlx::query(
            "UPDATE vector_store_files SET status = 'completed', bytes = ?
             WHERE seq = ? AND status = 'in_progress'",
        )
        .bind(crate::files::signed(bytes as u64))
        .bind(part)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for chunk in chunks {
            let vector: Vec<u8> = chunk.vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            sqlx::query("INSERT INTO vector_chunks (part, vector, text) VALUES (?, ?, ?)")
                .bind(part)
                .bind(vector)
                .bind(&chunk.text)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// How many pieces a store has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_chunks(&self, store: &str) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS chunks FROM vector_chunks WHERE part IN (
                 SELECT seq FROM vector_store_files WHERE store = ?)",
        )
        .bind(store)
        .fetch_one(&self.readers)
        .await?;
        crate::files::unsigned(&row, "chunks")
    }

    /// The files of a store that can be searched.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search_parts(&self, store: &str) -> Result<Vec<SearchPart>, StoreError> {
        let rows = sqlx::query(
            "SELECT f.seq AS part, f.file AS file, f.attributes AS attributes, files.filename AS filename
             FROM vector_store_files f JOIN files ON files.id = f.file
             WHERE f.store = ? AND f.status = 'completed' ORDER BY f.seq",
        )
        .bind(store)
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| {
            Ok(SearchPart {
                part: row.try_get("part")?,
                file: row.try_get("file")?,
                filename: row.try_get("filename")?,
                attributes: row.try_get("attributes")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// The pieces of these files that are nearest to one of the queries, nearest first, the older one on a
    /// tie; none below `cosine_min`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn nearest_chunks(
        &self,
        parts: &[i64],
        queries: &[Vec<f32>],
        limit: usize,
        cosine_min: f32,
    ) -> Result<Vec<Hit>, StoreError> {
        // The worst of the best is on top.
        let mut best = BinaryHeap::with_capacity(limit + 1);
        for &part in parts {
            let mut after = 0_i64;
            loop {
                let vectors = self.vectors(part, after).await?;
                for (seq, vector) in &vectors {
                    let cosines = queries.iter().filter_map(|query| dot(query, vector));
                    let Some(cosine) = cosines.reduce(f32::max) else {
                        continue;
                    };
                    if cosine >= cosine_min {
                        best.push(Reverse(Ranked {
                            cosine,
                            seq: *seq,
                            part,
                        }));
                    }
                    if best.len() > limit {
                        best.pop();
                    }
                }
                match vectors.last() {
                    Some((last, _)) if vectors.len() == VECTORS_AT_ONCE => after = *last,
                    _ => break,
                }
            }
        }
        let mut hits = Vec::with_capacity(best.len());
        // Sorted by what is reversed, so the best comes first.
        for Reverse(found) in best.into_sorted_vec() {
            let row = sqlx::query("SELECT text FROM vector_chunks WHERE seq = ?")
                .bind(found.seq)
                .fetch_optional(&self.readers)
                .await?;
            // One that was deleted meanwhile is not found.
            let Some(row) = row else { continue };
            hits.push(Hit {
                part: found.part,
                cosine: found.cosine,
                text: row.try_get("text")?,
            });
        }
        Ok(hits)
    }

    async fn vectors(&self, part: i64, after: i64) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, vector FROM vector_chunks WHERE part = ? AND seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(part)
        .bind(after)
        .bind(VECTORS_AT_ONCE as i64)
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &SqliteRow| Ok((row.try_get("seq")?, row.try_get("vector")?));
        rows.iter().map(read).collect()
    }
}

struct Ranked {
    cosine: f32,
    seq: i64,
    part: i64,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let cosine = self.cosine.total_cmp(&other.cosine);
        cosine.then(other.seq.cmp(&self.seq))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// The product of two vectors of unit length, summed in f64, which is the cosine of their angle. Vectors of
/// two lengths have none: a model of the same name was exchanged for another.
fn dot(query: &[f32], stored: &[u8]) -> Option<f32> {
    if stored.len() != 4 * query.len() {
        return None;
    }
    let numbers = stored
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let products = query.iter().zip(numbers);
    let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(b)).sum();
    Some(sum as f32)
}
