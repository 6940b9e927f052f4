//! What was heard, in the format that was asked for.

use std::fmt::Write;

use axum::Json;
use axum::response::{IntoResponse, Response};
use kwaainet_core::{SpeechSegment, SpeechTask, Transcript};
use kwaainet_openapi::{
    SpeechText, SpeechUsage, Transcription, TranscriptionSegment, VerboseTranscription,
};

/// OpenAI's `response_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Text,
    Srt,
    VerboseJson,
    Vtt,
}

pub(super) fn write(transcript: Transcript, task: SpeechTask, format: Format) -> Response {
    match format {
        Format::Json => Json(SpeechText::Plain(Transcription {
            text: transcript.text(),
            usage: usage(&transcript),
        }))
        .into_response(),
        Format::VerboseJson => Json(SpeechText::Verbose(verbose(transcript, task))).into_response(),
        Format::Text => format!("{}\n", transcript.text()).into_response(),
        Format::Srt => srt(&transcript.segments).into_response(),
        Format::Vtt => vtt(&transcript.segments).into_response(),
    }
}

fn verbose(transcript: Transcript, task: SpeechTask) -> VerboseTranscription {
    VerboseTranscription {
        task: match task {
            SpeechTask::Transcribe => "transcribe",
            SpeechTask::Translate => "translate",
        },
        duration: rounded(transcript.duration_s),
        text: transcript.text(),
        usage: usage(&transcript),
        language: transcript.language,
        segments: (0..).zip(transcript.segments).map(wire).collect(),
    }
}

fn wire((id, segment): (u32, SpeechSegment)) -> TranscriptionSegment {
    TranscriptionSegment {
        id,
        seek: segment.window,
        start: rounded(segment.start_s),
        end: rounded(segment.end_s),
        text: segment.text,
        tokens: segment.tokens,
        temperature: segment.temperature,
        avg_logprob: segment.avg_logprob,
        compression_ratio: segment.compression_ratio,
        no_speech_prob: segment.no_speech_prob,
    }
}

fn usage(transcript: &Transcript) -> SpeechUsage {
    SpeechUsage {
        kind: "duration",
        seconds: transcript.duration_s.ceil() as u64,
    }
}

/// To milliseconds.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

/// SubRip's subtitles.
fn srt(segments: &[SpeechSegment]) -> String {
    let mut written = String::new();
    for (number, segment) in (1..).zip(segments) {
        let (start, end) = (clock(segment.start_s, ','), clock(segment.end_s, ','));
        let cue = cue(&segment.text);
        // Writing to a string does not fail.
        let _ = write!(written, "{number}\n{start} --> {end}\n{cue}\n\n");
    }
    written
}

/// WebVTT's subtitles.
fn vtt(segments: &[SpeechSegment]) -> String {
    let mut written = "WEBVTT\n\n".to_owned();
    for segment in segments {
        let (start, end) = (clock(segment.start_s, '.'), clock(segment.end_s, '.'));
        let cue = cue(&segment.text);
        let _ = write!(written, "{start} --> {end}\n{cue}\n\n");
    }
    written
}

/// One line without an arrow, either of which would end it.
fn cue(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace("-->", "->")
}

fn clock(seconds: f64, point: char) -> String {
    let all = (seconds.max(0.0) * 1_000.0).round() as u64;
    let (hours, minutes) = (all / 3_600_000, all / 60_000 % 60);
    let (seconds, rest) = (all / 1_000 % 60, all % 1_000);
    format!("{hours:02}:{minutes:02}:{seconds:02}{point}{rest:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(start_s: f64, end_s: f64, text: &str) -> SpeechSegment {
        SpeechSegment {
            start_s,
            end_s,
            text: text.to_owned(),
            ..SpeechSegment::default()
        }
    }

    #[test]
    fn subtitles_have_clocks_and_one_line_each() {
        let segments = [
            segment(0.0, 2.5, " Hello\n\nthere."),
            segment(3_599.999_6, 3_661.02, " a --> b"),
        ];
        let expected = "1\n00:00:00,000 --> 00:00:02,500\nHello there.\n\n\
                        2\n01:00:00,000 --> 01:01:01,020\na -> b\n\n";
        assert_eq!(srt(&segments), expected);
        let expected = "WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nHello there.\n\n\
                        01:00:00.000 --> 01:01:01.020\na -> b\n\n";
        assert_eq!(vtt(&segments), expected);
        assert_eq!(vtt(&[]), "WEBVTT\n\n");
    }
}
