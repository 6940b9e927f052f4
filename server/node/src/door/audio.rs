//! `POST /v1/audio/transcriptions` and `POST /v1/audio/translations`.

mod answer;
mod asked;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use kwaainet_core::{
    AdmissionError, Constraints, Footprint, Job, JobId, Principal, SpeechTask, Transcribe,
    Transcript, Work,
};
use kwaainet_openapi::{SpeechText, TranscriptionForm, TranslationForm};

use super::constraints::Demands;
use super::footprint::Figures;
use super::{ApiError, App};
use asked::Asked;

/// Recordings that are in memory at once, whoever sends them.
pub(crate) const RECORDINGS_AT_ONCE: usize = 8;
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Makes text of speech.
#[utoipa::path(
    post,
    path = "/v1/audio/transcriptions",
    tag = "inference",
    operation_id = "createTranscription",
    request_body(content = TranscriptionForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "The text; plain with `text`, `srt` and `vtt`.", content(
        (SpeechText = "application/json"),
        (String = "text/plain"),
    )))
)]
pub(crate) async fn transcribe(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    request: Request,
) -> Result<Response, ApiError> {
    let constraints = demands.with(None)?;
    let asking = Asking {
        principal,
        constraints,
    };
    serve(&app, asking, request, SpeechTask::Transcribe).await
}

/// Makes English text of speech in any language.
#[utoipa::path(
    post,
    path = "/v1/audio/translations",
    tag = "inference",
    operation_id = "createTranslation",
    request_body(content = TranslationForm, content_type = "multipart/form-data"),
    responses((status = 200, description = "The text; plain with `text`, `srt` and `vtt`.", content(
        (SpeechText = "application/json"),
        (String = "text/plain"),
    )))
)]
pub(crate) async fn translate(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    demands: Demands,
    request: Request,
) -> Result<Response, ApiError> {
    let constraints = demands.with(None)?;
    let asking = Asking {
        principal,
        constraints,
    };
    serve(&app, asking, request, SpeechTask::Translate).await
}

/// Who asks, and what he demands.
struct Asking {
    principal: Principal,
    constraints: Constraints,
}

async fn serve(
    app: &App,
    asking: Asking,
    request: Request,
    task: SpeechTask,
) -> Result<Response, ApiError> {
    let retry_after = RETRY_AFTER;
    let place = app.recordings.try_acquire();
    let _place = place.map_err(|_| AdmissionError::Overloaded { retry_after })?;
    let (head, body) = request.into_parts();
    let asked = asked::receive(&head.headers, body, app.recording_bytes_max).await?;
    let format = asked.format;
    let (transcript, footprint) = hear(app, asking, asked, task).await?;
    let answer = answer::write(transcript, task, format);
    Ok((Figures(footprint), answer).into_response())
}

async fn hear(
    app: &App,
    asking: Asking,
    asked: Asked,
    task: SpeechTask,
) -> Result<(Transcript, Option<Footprint>), ApiError> {
    let job = Job::new(
        JobId::random(),
        asked.model,
        Work::Transcribe(Transcribe {
            audio: asked.audio.into(),
            task,
            language: asked.language,
            prompt: asked.prompt,
            temperature: asked.temperature,
        }),
    )
    .within(asking.constraints);
    tokio::select! {
        transcript = app.hallway.transcribe(asking.principal, job) => Ok(transcript?),
        // It may take longer than a node that is told to stop has time.
        () = app.cut.cancelled() => Err(AdmissionError::Draining.into()),
    }
}
