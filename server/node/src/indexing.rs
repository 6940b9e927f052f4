//! Reads files into vector stores: text, pieces, vectors. One file at a time, the principals in turn, after
//! all work that somebody waits for. A file that was begun when the node stopped is begun again.

mod chunks;
pub(crate) mod text;

pub(crate) use chunks::sizes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{
    Constraints, DataClass, EmbedInput, Job, JobId, ModelId, Principal, PrincipalId, Priority, Work,
};
use kwaainet_store::{Chunk, StoreError, VectorWork};

use crate::door::{ApiError, App, returning};

/// How often it is looked for files if nothing rings.
const PERIOD: Duration = Duration::from_secs(30);
/// Principals that are looked at for the next file.
const WAITING_AT_ONCE: u32 = 64;
/// Pieces of one file, and of one store.
const FILE_CHUNKS_MAX: usize = 10_000;
const STORE_CHUNKS_MAX: u64 = 50_000;
/// Pieces that are embedded in one job.
const CHUNKS_AT_ONCE: usize = 16;
/// Tries of a step for which the node has no place, and the rests between them.
const TRIES_MAX: u32 = 60;
const REST: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(15));

/// Why a file is not in its store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// Nobody can read it: OpenAI's code and a sentence.
    #[error("{1}")]
    File(&'static str, String),
    /// The database failed; the file is tried again later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The node is at fault, or what it depends on.
fn server(message: impl Into<String>) -> Trouble {
    Trouble::File("server_error", message.into())
}

/// Reads files until dropped.
pub(crate) async fn run(app: Arc<App>) {
    let mut bell = app.bells.indexing.listen();
    let mut turns = Turns::default();
    loop {
        match next(&app, &mut turns).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "files cannot be read into vector stores for now")
            }
        }
        tokio::select! {
            () = bell.rings() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}

/// Reads the next file; `false` if none waits.
async fn next(app: &App, turns: &mut Turns) -> Result<bool, StoreError> {
    let waiting = app.store.next_vector_files(WAITING_AT_ONCE).await?;
    let Some(work) = turns.choose(waiting) else {
        return Ok(false);
    };
    match read(app, &work).await {
        Ok(chunks) => {
            app.store.finish_vector_file(work.part, &chunks).await?;
        }
        Err(Trouble::File(code, message)) => {
            app.store
                .fail_vector_file(work.part, code, &message)
                .await?;
        }
        Err(Trouble::Store(error)) => return Err(error),
    }
    Ok(true)
}

/// Whose file was read when.
#[derive(Default)]
struct Turns {
    now: u64,
    last: HashMap<PrincipalId, u64>,
}

impl Turns {
    /// The file of whoever has waited longest for a turn.
    fn choose(&mut self, waiting: Vec<VectorWork>) -> Option<VectorWork> {
        // Whoever has nothing to do is not waiting, so the map stays as small as the list.
        self.last
            .retain(|principal, _| waiting.iter().any(|work| work.principal == *principal));
        let turn = |work: &VectorWork| self.last.get(&work.principal).copied().unwrap_or(0);
        let chosen = waiting.into_iter().min_by_key(turn)?;
        self.now += 1;
        self.last.insert(chosen.principal.clone(), self.now);
        Some(chosen)
    }
}

async fn read(app: &App, work: &VectorWork) -> Result<Vec<Chunk>, Trouble> {
    let principal = principal(app, work).await?;
    let model = ModelId::new(work.model.as_str());
    let text = text::of_file(app, &work.file.file, &work.filename).await?;
    let counter = Counter {
        app,
        principal: &principal,
        model: &model,
    };
    let ranges = chunks::cut(&text, work.file.chunking, FILE_CHUNKS_MAX, &counter).await?;
    let there = app.store.count_chunks(&work.file.store).await?;
    if there + ranges.len() as u64 > STORE_CHUNKS_MAX {
        let message = format!("the vector store would have more than {STORE_CHUNKS_MAX} pieces");
        return Err(Trouble::File("invalid_file", message));
    }
    let bytes: usize = ranges.iter().map(|range| range.len()).sum();
    let max = app.vault.limits().principal_bytes;
    let there = app.store.bytes_of(&work.principal).await?;
    if there.saturating_add(bytes as u64) > max {
        let message = format!("your files and vector stores would have more than {max} bytes");
        return Err(Trouble::File("invalid_file", message));
    }
    let mut chunks = Vec::with_capacity(ranges.len());
    for ranges in ranges.chunks(CHUNKS_AT_ONCE) {
        let texts: Vec<&str> = ranges.iter().map(|range| &text[range.clone()]).collect();
        let vectors = embed(app, &principal, &model, &texts).await?;
        let pairs = texts.into_iter().zip(vectors);
        chunks.extend(pairs.map(|(text, vector)| Chunk {
            text: text.to_owned(),
            vector,
        }));
    }
    Ok(chunks)
}

/// Whoever put the file in, if his key is still good.
async fn principal(app: &App, work: &VectorWork) -> Result<Principal, Trouble> {
    let principal = returning(app, &work.principal, work.file.key.as_ref()).await?;
    let message = "the API key that the file was put in with is expired or revoked";
    principal.ok_or_else(|| server(message))
}

/// Who stores a document here has not been asked whether other nodes may read it, so they do not. The embedder is
/// one of this node's own anyway.
fn in_private() -> Constraints {
    Constraints {
        data_class: DataClass::Own,
        ..Constraints::default()
    }
}

/// The vectors of texts.
async fn embed(
    app: &App,
    principal: &Principal,
    model: &ModelId,
    texts: &[&str],
) -> Result<Vec<Vec<f32>>, Trouble> {
    let inputs = texts
        .iter()
        .map(|text| EmbedInput::Text((*text).to_owned()));
    let work = Work::Embed {
        inputs: inputs.collect(),
        dimensions: None,
    };
    patiently(|| async {
        let job = Job::new(JobId::random(), model.clone(), work.clone()).within(in_private());
        let made = app
            .hallway
            .embed_as(principal.clone(), job, Priority::Batch)
            .await;
        Ok(made?.answer.vectors)
    })
    .await
}

/// Counts tokens as a store's model does.
struct Counter<'a> {
    app: &'a App,
    principal: &'a Principal,
    model: &'a ModelId,
}

impl chunks::Tokens for Counter<'_> {
    async fn count(&self, text: &str) -> Result<chunks::Counted, Trouble> {
        let counted = patiently(|| async {
            let hallway = &self.app.hallway;
            let (backend, _permit) = hallway.question(self.principal, self.model, &in_private())?;
            let text = kwaainet_core::Tokenized::Text {
                text: text.to_owned(),
                add_special: true,
                parse_special: false,
            };
            Ok(backend.tokenize(self.model.clone(), text).await?)
        });
        let counted = counted.await?;
        Ok(chunks::Counted {
            tokens: counted.ids.len(),
            context: counted.context as usize,
        })
    }
}

/// Tries a step again while the node is full.
async fn patiently<T, F>(mut step: impl FnMut() -> F) -> Result<T, Trouble>
where
    F: Future<Output = Result<T, ApiError>>,
{
    let mut rest = REST.0;
    for _ in 0..TRIES_MAX {
        match step().await {
            Ok(done) => return Ok(done),
            Err(error) if error.retry_after().is_some() => {
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(REST.1);
            }
            Err(error) => {
                error.record();
                return Err(server(
                    "the embedding model failed or is not there any more",
                ));
            }
        }
    }
    Err(server("the node was too busy for too long"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_store::{VectorFileRecord, VectorFileStatus};

    fn waiting(names: &str) -> Vec<VectorWork> {
        let work = |name: char| VectorWork {
            part: 1,
            file: VectorFileRecord {
                store: "vs".to_owned(),
                file: "file".to_owned(),
                file_batch: None,
                key: None,
                status: VectorFileStatus::InProgress,
                error: None,
                attributes: None,
                chunking: None,
                bytes: 0,
                created_at_ms: 0,
            },
            filename: "a.txt".to_owned(),
            principal: PrincipalId::new(name.to_string()),
            model: "m".to_owned(),
        };
        names.chars().map(work).collect()
    }

    #[test]
    fn principals_take_turns_whoever_came_first() {
        let mut turns = Turns::default();
        let mut order = String::new();
        for names in ["abc", "abc", "abc", "abc", "ab", "abc", "a", "abc"] {
            let chosen = turns.choose(waiting(names)).expect("somebody waits");
            order.push_str(chosen.principal.as_str());
        }
        assert_eq!(order, "abcabcab");
        assert!(turns.choose(Vec::new()).is_none());
        assert!(turns.last.is_empty(), "nobody is remembered for ever");
    }
}
