//! A recording and how it is to be heard: the form's fields, checked.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use kwaainet_core::ModelId;

use super::answer::Format;
use crate::door::form::Form;
use crate::door::{ApiError, body, params};

/// How long an upload may take in all.
const UPLOAD_MAX: Duration = Duration::from_secs(300);
/// What the rest of the form may add to the recording.
const FORM_BYTES_MAX: usize = 1 << 20;
const FIELD_BYTES_MAX: usize = 512;
/// Of the text before a recording. Of some hundred tokens at its end more than this is never read.
const PROMPT_BYTES_MAX: usize = 16 << 10;

/// What other servers take, or OpenAI for other models, and this node cannot honour.
const REFUSED: [&str; 11] = [
    "chunking_strategy[type]",
    "hotwords",
    "include",
    "include[]",
    "known_speaker_names[]",
    "known_speaker_references[]",
    "kwaai",
    "seed",
    "to_language",
    "vad_filter",
    "word_timestamps",
];

/// What the form asks for.
pub(super) struct Asked {
    pub(super) audio: Vec<u8>,
    pub(super) model: ModelId,
    pub(super) language: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) temperature: f32,
    pub(super) format: Format,
}

/// The form's fields as they came.
#[derive(Default)]
struct Fields {
    model: Option<String>,
    language: Option<String>,
    prompt: Option<String>,
    response_format: Option<String>,
    temperature: Option<String>,
    chunking_strategy: Option<String>,
    stream: Option<String>,
    granularities: Vec<String>,
}

/// Takes a form in whose file has at most so many bytes.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Asked, ApiError> {
    let form = Form::new(headers, body)?;
    if body::declared(headers).unwrap_or(0) > bytes_max.saturating_add(FORM_BYTES_MAX) {
        return Err(body::too_large(headers, form.into_body(), too_large(bytes_max)).await);
    }
    let reading = read(headers, form, bytes_max);
    let read = tokio::time::timeout(UPLOAD_MAX, reading).await;
    let (audio, fields) = read.map_err(|_| body::too_slow())??;
    fields.check(audio)
}

async fn read(
    headers: &HeaderMap,
    mut form: Form,
    bytes_max: usize,
) -> Result<(Option<Vec<u8>>, Fields), ApiError> {
    let mut fields = Fields::default();
    let mut file: Option<Vec<u8>> = None;
    while let Some(head) = form.next().await? {
        let name = head.name.as_str();
        if REFUSED.contains(&name) {
            return Err(unsupported(name, "this node does not support it"));
        }
        let mut granularity = None;
        let field = match name {
            "file" if file.is_some() => {
                let message = "Invalid 'file': there is more than one.";
                return Err(ApiError::invalid("file", "invalid_value", message));
            }
            "file" => {
                let Some(bytes) = fill(&mut form, bytes_max).await? else {
                    let message = too_large(bytes_max);
                    return Err(body::too_large(headers, form.into_body(), message).await);
                };
                file = Some(bytes);
                continue;
            }
            "model" => &mut fields.model,
            "language" => &mut fields.language,
            "prompt" => &mut fields.prompt,
            "response_format" => &mut fields.response_format,
            "temperature" => &mut fields.temperature,
            "chunking_strategy" => &mut fields.chunking_strategy,
            "stream" => &mut fields.stream,
            "timestamp_granularities[]" | "timestamp_granularities" => &mut granularity,
            // The reader passes over what nobody knows.
            _ => continue,
        };
        let most = match name {
            "prompt" => PROMPT_BYTES_MAX,
            _ => FIELD_BYTES_MAX,
        };
        let text = form.text(most).await?.ok_or_else(|| {
            let message = format!("Invalid '{name}': it is no text of at most {most} bytes.");
            ApiError::invalid(name, "invalid_value", message)
        })?;
        *field = Some(text);
        fields.granularities.extend(granularity);
    }
    Ok((file, fields))
}

/// The part's content; none if it is too large.
async fn fill(form: &mut Form, bytes_max: usize) -> Result<Option<Vec<u8>>, ApiError> {
    let mut bytes = Vec::new();
    while let Some(piece) = form.piece().await? {
        if bytes.len() + piece.len() > bytes_max {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

impl Fields {
    fn check(self, audio: Option<Vec<u8>>) -> Result<Asked, ApiError> {
        let audio = params::required(audio, "file")?;
        if audio.is_empty() {
            let message = "Invalid 'file': it is empty.";
            return Err(ApiError::invalid("file", "invalid_value", message));
        }
        let model = params::model(self.model)?;
        let format = format(self.response_format)?;
        granularities(&self.granularities, format)?;
        if self
            .chunking_strategy
            .is_some_and(|strategy| strategy != "auto")
        {
            return Err(unsupported("chunking_strategy", "only 'auto' is supported"));
        }
        match self.stream.as_deref() {
            None | Some("false") => {}
            Some("true") => {
                let what =
                    "the text of a recording comes as a whole; leave it out or set it to false";
                return Err(unsupported("stream", what));
            }
            Some(_) => {
                let message = "Invalid type for 'stream': expected a boolean.";
                return Err(ApiError::invalid("stream", "invalid_type", message));
            }
        }
        Ok(Asked {
            audio,
            model,
            language: self.language,
            prompt: self.prompt.filter(|prompt| !prompt.is_empty()),
            temperature: temperature(self.temperature)?,
            format,
        })
    }
}

fn format(given: Option<String>) -> Result<Format, ApiError> {
    match given.as_deref() {
        None | Some("json") => Ok(Format::Json),
        Some("text") => Ok(Format::Text),
        Some("srt") => Ok(Format::Srt),
        Some("verbose_json") => Ok(Format::VerboseJson),
        Some("vtt") => Ok(Format::Vtt),
        Some("diarized_json") => {
            let what = "this node does not tell speakers apart";
            Err(unsupported("response_format", what))
        }
        Some(_) => {
            let message = "Invalid 'response_format': it must be 'json', 'text', 'srt', \
                           'verbose_json' or 'vtt'.";
            Err(ApiError::invalid(
                "response_format",
                "invalid_value",
                message,
            ))
        }
    }
}

fn granularities(given: &[String], format: Format) -> Result<(), ApiError> {
    let param = "timestamp_granularities";
    for granularity in given {
        match granularity.as_str() {
            "segment" => {}
            "word" => return Err(unsupported(param, "times of words are not found out here")),
            _ => {
                let message = format!("Invalid '{param}': it must be 'segment'.");
                return Err(ApiError::invalid(param, "invalid_value", message));
            }
        }
    }
    if !given.is_empty() && format != Format::VerboseJson {
        let message = format!("Invalid '{param}': it goes with 'verbose_json' only.");
        return Err(ApiError::invalid(param, "invalid_value", message));
    }
    Ok(())
}

fn temperature(given: Option<String>) -> Result<f32, ApiError> {
    let number = given.map(|text| text.trim().parse::<f64>());
    let number = number.transpose().map_err(|_| {
        let message = "Invalid type for 'temperature': expected a number.";
        ApiError::invalid("temperature", "invalid_type", message)
    })?;
    params::number(number, "temperature", (0.0, 1.0), 0.0)
}

fn too_large(max: usize) -> String {
    format!("the recording is larger than {max} bytes")
}

fn unsupported(param: &str, what: &str) -> ApiError {
    let message = format!("Unsupported parameter: '{param}': {what}.");
    ApiError::invalid(param, "unsupported_parameter", message)
}
