//! Jobs whose answer comes as a whole: vectors, and text of speech.

use super::search::Search;
use super::{Hallway, JobError};
use crate::{
    Admitted, Backend, BackendError, EmbedRequest, Embeddings, Job, Outcome, Principal, Priority,
    Served, TranscribeRequest, Transcript, Usage, Work,
};

/// Inputs of batch work that a backend embeds at a time. A backend may do one request after the other, so
/// that whoever waits for a vector would else wait for a whole batch.
const BATCH_INPUTS_AT_ONCE: usize = 8;

impl Hallway {
    /// Runs an embedding job.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not an embedding: the caller made it.
    pub async fn embed(
        &self,
        principal: Principal,
        job: Job,
    ) -> Result<Served<Embeddings>, JobError> {
        self.embed_as(principal, job, Priority::Interactive).await
    }

    /// Runs an embedding job that others go before, or do not.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not an embedding: the caller made it.
    pub async fn embed_as(
        &self,
        principal: Principal,
        job: Job,
        priority: Priority,
    ) -> Result<Served<Embeddings>, JobError> {
        let mut admitted = self.admit(principal, job, priority).await?;
        let result = self.start_embed(&mut admitted, priority).await;
        match &result {
            Ok(embeddings) => {
                admitted.meter.count(Usage {
                    prompt_tokens: embeddings.prompt_tokens,
                    ..Usage::default()
                });
                admitted.meter.ended(Outcome::Done);
            }
            Err(_) => admitted.meter.ended(Outcome::Error),
        }
        served(result, admitted)
    }

    /// Runs a transcription.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    ///
    /// # Panics
    /// When the job is not a transcription: the caller made it.
    pub async fn transcribe(
        &self,
        principal: Principal,
        job: Job,
    ) -> Result<Served<Transcript>, JobError> {
        let mut admitted = self.admit(principal, job, Priority::Interactive).await?;
        let result = self.start_transcribe(&mut admitted).await;
        match &result {
            Ok(transcript) => {
                admitted.meter.count(Usage {
                    completion_tokens: transcript.tokens,
                    ..Usage::default()
                });
                admitted.meter.ended(Outcome::Done);
            }
            Err(_) => admitted.meter.ended(Outcome::Error),
        }
        served(result, admitted)
    }

    async fn start_embed(
        &self,
        admitted: &mut Admitted,
        priority: Priority,
    ) -> Result<Embeddings, JobError> {
        let Work::Embed { inputs, dimensions } = &admitted.job.work else {
            unreachable!("the door sends embeddings here");
        };
        let ways = self.route(admitted.meter.principal(), &admitted.job)?;
        let mut search = Search::default();
        for way in ways.all {
            if search.is_over_for(way.context) {
                continue;
            }
            let backend = &way.backend;
            let given = self.in_hand.give(backend.id(), &way.place, &admitted.job);
            admitted.meter.served_by(given);
            let request = EmbedRequest {
                model: admitted.job.model.clone(),
                inputs: inputs.clone(),
                dimensions: *dimensions,
            };
            let embedded = match priority {
                Priority::Interactive => backend.embed(request).await,
                Priority::Batch => embed_in_groups(backend.as_ref(), request).await,
            };
            match embedded {
                Ok(embeddings) => return Ok(embeddings),
                Err(error) => search.next_or_fail(error, way.context)?,
            }
        }
        Err(search.exhausted())
    }

    async fn start_transcribe(&self, admitted: &mut Admitted) -> Result<Transcript, JobError> {
        let Work::Transcribe(speech) = &admitted.job.work else {
            unreachable!("the door sends transcriptions here");
        };
        let ways = self.route(admitted.meter.principal(), &admitted.job)?;
        let mut search = Search::default();
        for way in ways.all {
            if search.is_over_for(way.context) {
                continue;
            }
            let backend = &way.backend;
            let given = self.in_hand.give(backend.id(), &way.place, &admitted.job);
            admitted.meter.served_by(given);
            let request = TranscribeRequest {
                model: admitted.job.model.clone(),
                speech: speech.clone(),
            };
            match backend.transcribe(request).await {
                Ok(transcript) => return Ok(transcript),
                Err(error) => search.next_or_fail(error, way.context)?,
            }
        }
        Err(search.exhausted())
    }
}

/// Gives the job's place back; from then on its course says what it took.
fn served<T>(result: Result<T, JobError>, admitted: Admitted) -> Result<Served<T>, JobError> {
    let course = admitted.meter.course();
    drop(admitted);
    result.map(|answer| Served { answer, course })
}

/// The same vectors as at once, since each is what it would be alone.
async fn embed_in_groups(
    backend: &dyn Backend,
    request: EmbedRequest,
) -> Result<Embeddings, BackendError> {
    let mut all = Embeddings {
        vectors: Vec::with_capacity(request.inputs.len()),
        prompt_tokens: 0,
    };
    for inputs in request.inputs.chunks(BATCH_INPUTS_AT_ONCE) {
        let group = EmbedRequest {
            model: request.model.clone(),
            inputs: inputs.to_vec(),
            dimensions: request.dimensions,
        };
        let group = backend.embed(group).await?;
        all.vectors.extend(group.vectors);
        all.prompt_tokens = all.prompt_tokens.saturating_add(group.prompt_tokens);
    }
    Ok(all)
}
