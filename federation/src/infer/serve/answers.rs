//! Whole answers for a peer, in pieces that are short enough to come through a slow line in time.

use kwaainet_core::{
    Backend, BackendError, Embeddings, Job, JobError, ModelId, Place, Priority, RouteError,
    TextTokens, Tokenized, Usage,
};

use super::super::wire::says::{Detokenized, End, Tokens, Vectors, say};
use super::line::Stop;
use super::{Course, Session};

/// Bytes of a piece.
const PIECE: usize = 64 << 10;

impl Session<'_> {
    pub(super) async fn embed(mut self, job: Job) {
        let hall = &self.door.hall;
        let embedding = hall.embed_as(self.principal.clone(), job, Priority::Interactive);
        let embeddings = match self.line.until(embedding).await {
            Ok(Ok(embeddings)) => embeddings,
            Ok(Err(error)) => return self.refuse(error).await,
            Err(stop) => return self.stopped(stop).await,
        };
        let usage = Usage {
            prompt_tokens: embeddings.prompt_tokens,
            ..Usage::default()
        };
        self.account.set_usage(usage);
        let course = match self.vectors(embeddings).await {
            Ok(()) => Course::Done(usage),
            Err(stop) => Course::Stopped(stop),
        };
        self.close(course).await;
    }

    async fn vectors(&mut self, embeddings: Embeddings) -> Result<(), Stop> {
        self.accept().await?;
        let dimensions = embeddings.vectors.first().map_or(0, Vec::len) as u32;
        let values = embeddings.vectors.concat();
        for (seq, piece) in (0..).zip(values.chunks(PIECE / 4)) {
            let frame = Vectors {
                seq,
                dimensions,
                values: piece.iter().flat_map(|value| value.to_le_bytes()).collect(),
            };
            self.line.send(say::Kind::Vectors(frame)).await?;
            self.account.message(self.line.last_sent());
        }
        Ok(())
    }

    pub(super) async fn tokenize(self, model: ModelId, text: Tokenized) {
        let ask = async |backend: &dyn Backend| backend.tokenize(model.clone(), text).await;
        let frames = |tokens: TextTokens| {
            let TextTokens { ids, context } = tokens;
            let pieces = ids.chunks(PIECE / 4).map(<[u32]>::to_vec);
            // The context is to be told of an empty text too.
            let pieces = pieces.chain(ids.is_empty().then(Vec::new));
            let frame = |(seq, ids)| say::Kind::Tokens(Tokens { seq, context, ids });
            (0..).zip(pieces).map(frame).collect()
        };
        self.question(&model.clone(), ask, frames).await;
    }

    pub(super) async fn detokenize(self, model: ModelId, ids: Vec<u32>) {
        let ask = async |backend: &dyn Backend| backend.detokenize(model.clone(), ids).await;
        let frames = |text: String| {
            let mut frames = Vec::new();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(rest.floor_char_boundary(PIECE));
                frames.push(say::Kind::Detokenized(Detokenized {
                    seq: frames.len() as u64,
                    text: piece.to_owned(),
                }));
                rest = later;
            }
            frames
        };
        self.question(&model.clone(), ask, frames).await;
    }

    /// What is no job: no receipt is made of it.
    async fn question<T>(
        mut self,
        model: &ModelId,
        ask: impl AsyncFnOnce(&dyn Backend) -> Result<T, BackendError>,
        frames: impl FnOnce(T) -> Vec<say::Kind>,
    ) {
        let asked = async {
            let (backend, _permit) = self.door.hall.question(&self.principal, model)?;
            let snapshot = self.door.hall.snapshot();
            let mut here = snapshot.candidates.iter();
            // Never asked of a third node.
            if !here.any(|one| one.backend == *backend.id() && one.place == Place::Here) {
                return Err(RouteError::ModelNotFound(model.clone()).into());
            }
            Ok::<T, JobError>(ask(backend.as_ref()).await?)
        };
        let answer = match self.line.until(asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.refuse(error).await,
            Err(stop) => return self.stopped(stop).await,
        };
        if self.accept().await.is_err() {
            return;
        }
        for frame in frames(answer) {
            if self.line.send(frame).await.is_err() {
                return;
            }
        }
        let usage = Some(Default::default());
        let end = End {
            usage,
            ..End::default()
        };
        let _the_asker_may_be_gone = self.line.send(say::Kind::End(end)).await;
    }
}
