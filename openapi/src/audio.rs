use serde::Serialize;
use utoipa::ToSchema;

/// `POST /v1/audio/transcriptions`: a form with a recording.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a form is read part by part; this describes it")]
pub struct TranscriptionForm {
    /// The recording: flac, mp3, mp4 or m4a (AAC-LC), ogg (Vorbis) or wav.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// The model's name.
    #[schema(example = "whisper-base")]
    model: String,
    /// What is spoken, as an ISO 639-1 code; found out if not given.
    #[schema(example = "en")]
    language: Option<String>,
    /// What came before the recording, or how names in it are spelled. Only its end counts.
    prompt: Option<String>,
    /// `json`, `text`, `srt`, `verbose_json` or `vtt`.
    #[schema(default = "json")]
    response_format: Option<String>,
    /// From 0 to 1. At 0 the most probable text, and drawn again where that goes wrong.
    #[schema(minimum = 0, maximum = 1, default = 0)]
    temperature: Option<f64>,
    /// `segment`, with `verbose_json` only. `word` is refused.
    #[schema(rename = "timestamp_granularities[]")]
    timestamp_granularities: Option<Vec<String>>,
    /// `auto`, if given: a recording is always heard in windows.
    chunking_strategy: Option<String>,
    /// `false`, if given.
    stream: Option<bool>,
}

/// `POST /v1/audio/translations`: a form with a recording.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a form is read part by part; this describes it")]
pub struct TranslationForm {
    /// The recording: flac, mp3, mp4 or m4a (AAC-LC), ogg (Vorbis) or wav.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// The model's name.
    #[schema(example = "whisper-base")]
    model: String,
    /// What is spoken, as an ISO 639-1 code; found out if not given. An addition to OpenAI's fields.
    #[schema(example = "de")]
    language: Option<String>,
    /// What came before the recording, in English. Only its end counts.
    prompt: Option<String>,
    /// `json`, `text`, `srt`, `verbose_json` or `vtt`.
    #[schema(default = "json")]
    response_format: Option<String>,
    /// From 0 to 1. At 0 the most probable text, and drawn again where that goes wrong.
    #[schema(minimum = 0, maximum = 1, default = 0)]
    temperature: Option<f64>,
}

/// The text of a recording.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SpeechText {
    /// With `verbose_json`.
    Verbose(VerboseTranscription),
    /// With `json`.
    Plain(Transcription),
}

/// The text of a recording, and nothing else.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Transcription {
    /// All of it.
    pub text: String,
    /// What it took.
    pub usage: SpeechUsage,
}

/// The text of a recording with its times.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct VerboseTranscription {
    /// `transcribe` or `translate`.
    pub task: &'static str,
    /// The spoken language, as an English name in lower case.
    #[schema(example = "english")]
    pub language: String,
    /// Seconds of the recording.
    pub duration: f64,
    /// All of the text.
    pub text: String,
    /// Its pieces.
    pub segments: Vec<TranscriptionSegment>,
    /// What it took.
    pub usage: SpeechUsage,
}

/// A piece of a recording's text.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TranscriptionSegment {
    /// Counts from 0.
    pub id: u32,
    /// Where its window begins, in hundredths of a second.
    pub seek: u32,
    /// When it begins, in seconds.
    pub start: f64,
    /// When it ends, in seconds.
    pub end: f64,
    /// What is said.
    pub text: String,
    /// The same as token ids, with tokens of time.
    pub tokens: Vec<u32>,
    /// At which temperature it was drawn.
    pub temperature: f32,
    /// The mean log-probability of its window's tokens; below -1 the model has guessed.
    pub avg_logprob: f32,
    /// How much smaller its window's text becomes by compression; above 2.4 it repeats itself.
    pub compression_ratio: f32,
    /// How probable it is that nobody speaks in its window.
    pub no_speech_prob: f32,
}

/// What a recording is counted as.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SpeechUsage {
    /// `duration`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Seconds of the recording, the last one whole.
    pub seconds: u64,
}
