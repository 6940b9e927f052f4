//! Whole answers for a peer, in pieces that are short enough to come through a slow line in time.

use kwaainet_core::{
    Constraints, Embeddings, Hallway, Job, JobError, ModelId, Place, Principal, Priority,
    RouteError, TextTokens, Tokenized, Usage,
};

use super::super::wire::says::{Detokenized, End, Tokens, Vectors, say};
use super::line::Stop;
use super::{Course, Session};

/// Bytes of a piece: half a second on a line of 256 kbit/s.
const PIECE: usize = 16 << 10;

impl Session<'_> {
    pub(super) async fn embed(mut self, job: Job) {
        let hall = &self.door.hall;
        let embedding = hall.embed_as(self.principal.clone(), job, Priority::Interactive);
        let embeddings = match self.line.until(embedding).await {
            Ok(Ok(served)) => {
                self.account.took(served.course.stages().footprint);
                served.answer
            }
            Ok(Err(error)) => return self.refuse(error).await,
            Err(stop) => return self.stopped(stop).await,
        };
        let usage = Usage {
            prompt_tokens: embeddings.prompt_tokens,
            ..Usage::default()
        };
        self.account.set_usage(usage);
        self.owes = true;
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

    /// What is no job: no receipt is made of it.
    pub(super) async fn question(mut self, model: ModelId, question: Question) {
        let answering = answer(&self.door.hall, &self.principal, model, question);
        let frames = match self.line.until(answering).await {
            Ok(Ok(frames)) => frames,
            Ok(Err(error)) => return self.refuse(error).await,
            Err(stop) => return self.stopped(stop).await,
        };
        if self.accept().await.is_err() {
            return;
        }
        let end = say::Kind::End(End {
            usage: Some(Default::default()),
            ..End::default()
        });
        for frame in frames.into_iter().chain([end]) {
            if self.line.send(frame).await.is_err() {
                return;
            }
        }
    }
}

/// About a model's tokens.
pub(super) enum Question {
    Tokenize(Tokenized),
    Detokenize(Vec<u32>),
}

async fn answer(
    hall: &Hallway,
    principal: &Principal,
    model: ModelId,
    question: Question,
) -> Result<Vec<say::Kind>, JobError> {
    let (backend, _permit) = hall.question(principal, &model, &Constraints::default())?;
    let snapshot = hall.snapshot();
    let mut here = snapshot.candidates.iter();
    // Never asked of a third node.
    if !here.any(|one| one.backend == *backend.id() && one.place == Place::Here) {
        return Err(RouteError::ModelNotFound(model).into());
    }
    Ok(match question {
        Question::Tokenize(text) => tokens(backend.tokenize(model, text).await?),
        Question::Detokenize(ids) => text(&backend.detokenize(model, ids).await?),
    })
}

fn tokens(tokens: TextTokens) -> Vec<say::Kind> {
    let TextTokens { ids, context } = tokens;
    let pieces = ids.chunks(PIECE / 4).map(<[u32]>::to_vec);
    // The context is to be told of an empty text too.
    let pieces = pieces.chain(ids.is_empty().then(Vec::new));
    let frame = |(seq, ids)| say::Kind::Tokens(Tokens { seq, context, ids });
    (0..).zip(pieces).map(frame).collect()
}

fn text(mut rest: &str) -> Vec<say::Kind> {
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.floor_char_boundary(PIECE));
        frames.push(say::Kind::Detokenized(Detokenized {
            seq: frames.len() as u64,
            text: piece.to_owned(),
        }));
        rest = later;
    }
    frames
}
