//! Errors, without loss but for times under a millisecond. A peer's sentences are shown to people, so they are
//! short and have no control characters.

use std::time::Duration;

use kwaainet_core::{BackendError, ModelId};

use super::{Bad, names, says::Error};

/// Bytes of a sentence.
const SENTENCE_MAX: usize = 2 << 10;

const MODEL_NOT_FOUND: u32 = 1;
const CONTEXT_OVERFLOW: u32 = 2;
const INPUT_TOO_LONG: u32 = 3;
const AUDIO_TOO_LONG: u32 = 4;
const UNSUPPORTED: u32 = 5;
const INVALID: u32 = 6;
const BUSY: u32 = 7;
const UPSTREAM: u32 = 8;
const TIMEOUT: u32 = 9;
const INTERNAL: u32 = 10;

pub(crate) fn write(error: BackendError) -> Error {
    let of = |kind| Error {
        kind,
        ..Error::default()
    };
    match error {
        BackendError::ModelNotFound(model) => Error {
            model: model.as_str().to_owned(),
            ..of(MODEL_NOT_FOUND)
        },
        BackendError::ContextOverflow {
            prompt_tokens,
            max_tokens,
            context,
            param,
        } => Error {
            prompt_tokens,
            max_tokens,
            context,
            param: param.to_owned(),
            ..of(CONTEXT_OVERFLOW)
        },
        BackendError::InputTooLong { param, bytes_max } => Error {
            param: param.to_owned(),
            max: bytes_max as u64,
            ..of(INPUT_TOO_LONG)
        },
        BackendError::AudioTooLong { seconds_max } => Error {
            max: u64::from(seconds_max),
            ..of(AUDIO_TOO_LONG)
        },
        BackendError::Unsupported { param, reason } => Error {
            param: param.to_owned(),
            reason: sentence(reason),
            ..of(UNSUPPORTED)
        },
        BackendError::Invalid { param, reason } => Error {
            param: param.to_owned(),
            reason: sentence(reason),
            ..of(INVALID)
        },
        BackendError::Busy {
            reason,
            retry_after,
        } => Error {
            reason: sentence(reason),
            retry_after_ms: millis(retry_after),
            ..of(BUSY)
        },
        BackendError::Upstream { reason } => Error {
            reason: sentence(reason),
            ..of(UPSTREAM)
        },
        BackendError::Timeout { reason } => Error {
            reason: sentence(reason),
            ..of(TIMEOUT)
        },
        BackendError::Internal(reason) => Error {
            reason: sentence(reason),
            ..of(INTERNAL)
        },
    }
}

/// `own` are names of fields that the asker gave with his request.
pub(crate) fn read(error: Error, own: &[&'static str]) -> Result<BackendError, Bad> {
    let param = names::find(&error.param, own).unwrap_or("request");
    let reason = sentence(error.reason);
    Ok(match error.kind {
        MODEL_NOT_FOUND => BackendError::ModelNotFound(ModelId::new(sentence(error.model))),
        CONTEXT_OVERFLOW => BackendError::ContextOverflow {
            prompt_tokens: error.prompt_tokens,
            max_tokens: error.max_tokens,
            context: error.context,
            param,
        },
        INPUT_TOO_LONG => BackendError::InputTooLong {
            param,
            bytes_max: usize::try_from(error.max).unwrap_or(usize::MAX),
        },
        AUDIO_TOO_LONG => BackendError::AudioTooLong {
            seconds_max: u32::try_from(error.max).unwrap_or(u32::MAX),
        },
        UNSUPPORTED => BackendError::Unsupported { param, reason },
        INVALID => BackendError::Invalid { param, reason },
        BUSY => BackendError::Busy {
            reason,
            retry_after: wait(error.retry_after_ms),
        },
        UPSTREAM => BackendError::Upstream { reason },
        TIMEOUT => BackendError::Timeout { reason },
        INTERNAL => BackendError::Internal(reason),
        kind => {
            return Err(Bad::new(
                "error",
                format!("an error of unknown kind {kind}"),
            ));
        }
    })
}

/// A day; nobody waits longer.
const RETRY_AFTER_MAX_MS: u64 = 86_400_000;

/// A time that somebody is told to wait.
pub(crate) fn wait(millis: u64) -> Duration {
    Duration::from_millis(millis.min(RETRY_AFTER_MAX_MS))
}

/// Rounded up, so that a short wait is not none.
pub(crate) fn millis(time: Duration) -> u64 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis)
        .unwrap_or(u64::MAX)
        .min(RETRY_AFTER_MAX_MS)
}

/// Fit to be shown.
pub(crate) fn sentence(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(SENTENCE_MAX));
    if text.contains(is_unfit) {
        text = text.replace(is_unfit, " ");
    }
    text
}

fn is_unfit(c: char) -> bool {
    c.is_control() && c != '\n'
}
