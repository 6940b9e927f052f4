//! A whole recording, window after window, each knowing what was said before.

use candle_core::Tensor;
use kwaainet_core::{BackendError, SpeechSegment, SpeechTask, Transcript};

use super::hear::{Heard, Opening, hear};
use super::language::{ENGLISH, Language};
use super::mel::{HOP, Spectrogram};
use super::model::{Model, WINDOW};
use super::segments::{Cut, cut};
use super::words::Words;
use super::{RATE, Stop};

/// What was drawn above this temperature says nothing of what follows.
const TRUSTED_MAX: f32 = 0.5;

/// What is to be heard.
pub(super) struct Task<'a> {
    pub(super) kind: SpeechTask,
    /// Found out if there is none.
    pub(super) language: Option<Language>,
    pub(super) prompt: Option<&'a str>,
    pub(super) temperature: f32,
}

/// The text of samples at 16 kHz.
pub(super) fn transcribe(
    model: &mut Model,
    samples: &[f32],
    task: &Task<'_>,
    stop: &Stop,
) -> Result<Transcript, BackendError> {
    let spectrogram = Spectrogram::new(samples, WINDOW * HOP, model.bands(), || stop.is_wanted());
    stop.check()?;
    let frames = samples.len().div_ceil(HOP).min(spectrogram.frames());
    let mut before = task
        .prompt
        .map(|p| model.words.encode(p))
        .unwrap_or_default();
    let mut language = task.language;
    let mut transcript = Transcript {
        duration_s: samples.len() as f64 / RATE as f64,
        ..Transcript::default()
    };
    let mut from = 0;
    while from < frames {
        stop.check()?;
        let window = model.encode(spectrogram.window(from, WINDOW))?;
        let spoken = match language {
            Some(language) => language,
            None => *language.insert(detect(model, &window)?),
        };
        let opening = opening(&model.words, model.context(), &before, spoken, task.kind);
        let (heard, tokens) = hear(model, &window, &opening, task.temperature, stop)?;
        transcript.tokens = transcript.tokens.saturating_add(tokens);
        let left = WINDOW.min(frames - from);
        if heard.is_silence() {
            from += left;
            continue;
        }
        let (cuts, done) = cut(&heard.tokens, model.words.time, from, left);
        for cut in cuts {
            let text = model.words.text(&cut.tokens);
            if cut.start_s >= cut.end_s || text.trim().is_empty() {
                continue;
            }
            before.extend_from_slice(&cut.tokens);
            transcript.segments.push(segment(&heard, from, text, cut));
        }
        if heard.temperature > TRUSTED_MAX {
            before.clear();
        }
        from += done;
    }
    transcript.language = language.unwrap_or(ENGLISH).1.to_owned();
    Ok(transcript)
}

/// The most probable language of a window.
fn detect(model: &mut Model, window: &Tensor) -> Result<Language, BackendError> {
    let [logits] = model.logits(&[model.words.start], window, true, [0])?;
    let languages = model.words.languages.iter();
    let best = languages.max_by(|(a, _), (b, _)| {
        let (a, b) = (logits[*a as usize], logits[*b as usize]);
        a.total_cmp(&b)
    });
    Ok(best.map_or(ENGLISH, |(_, language)| *language))
}

/// At most half of the context is what came before, its end.
pub(super) fn opening(
    words: &Words,
    context: usize,
    before: &[u32],
    language: Language,
    task: SpeechTask,
) -> Opening {
    let mut tokens = Vec::new();
    if !before.is_empty() {
        let kept = before.len().min(context / 2 - 1);
        tokens.push(words.previous);
        tokens.extend_from_slice(&before[before.len() - kept..]);
    }
    let start = tokens.len();
    tokens.push(words.start);
    if words.multilingual {
        let spoken = words.languages.iter().find(|(_, known)| *known == language);
        tokens.extend(spoken.map(|(id, _)| *id));
        tokens.push(match task {
            SpeechTask::Transcribe => words.transcribe,
            SpeechTask::Translate => words.translate,
        });
    }
    Opening { tokens, start }
}

fn segment(heard: &Heard, from: usize, text: String, cut: Cut) -> SpeechSegment {
    SpeechSegment {
        window: from as u32,
        start_s: cut.start_s,
        end_s: cut.end_s,
        text,
        tokens: cut.tokens,
        temperature: heard.temperature,
        avg_logprob: heard.avg_logprob,
        compression_ratio: heard.compression_ratio,
        no_speech_prob: heard.no_speech_prob,
    }
}
