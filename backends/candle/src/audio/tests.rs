//! Against `transformers` and files that ffmpeg wrote (`tests/whisper/make_whisper.py`).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use kwaainet_core::{BackendError, SpeechTask, Transcribe};
use serde::Deserialize;

use super::hear::attempt;
use super::language::ENGLISH;
use super::listen::opening;
use super::mel::{HOP, Spectrogram};
use super::model::{Model, WINDOW};
use super::*;

#[derive(Deserialize)]
struct Expected {
    /// Bands to frame to values.
    mels: HashMap<usize, HashMap<usize, Vec<f32>>>,
    greedy: Greedy,
}

#[derive(Deserialize)]
struct Greedy {
    opening: Vec<u32>,
    tokens: Vec<u32>,
    text: String,
    language: String,
    avg_logprob: f32,
    no_speech_prob: f32,
    first_logits: Vec<f32>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/whisper")
}

fn expected() -> Expected {
    let text = std::fs::read(folder().join("expected.json")).expect("it is checked in");
    serde_json::from_slice(&text).expect("it is what the script wrote")
}

fn sound(name: &str) -> Arc<[u8]> {
    let bytes = std::fs::read(folder().join("sounds").join(name));
    bytes.expect("it is checked in").into()
}

fn samples(name: &str) -> Vec<f32> {
    recording::read(sound(name), 60, &Stop::default()).expect("it can be read")
}

fn speech(name: &str) -> Transcribe {
    Transcribe {
        audio: sound(name),
        task: SpeechTask::Transcribe,
        language: None,
        prompt: None,
        temperature: 0.0,
    }
}

fn listener() -> Listener {
    Listener::load(&folder()).expect("it is a model")
}

fn near(ours: &[f32], theirs: &[f32], bound: f32) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= bound, "{a} is not {b}");
    }
}

#[test]
fn spectrograms_are_those_of_transformers() {
    let samples = samples("vowels.wav");
    for (bands, frames) in expected().mels {
        let spectrogram = Spectrogram::new(&samples, WINDOW * HOP, bands, || false);
        let window = spectrogram.window(0, WINDOW);
        for (frame, theirs) in frames {
            let ours: Vec<f32> = (0..bands)
                .map(|band| window[band * WINDOW + frame])
                .collect();
            near(&ours, &theirs, 1e-4);
        }
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    let expected = expected().greedy;
    let mut model = Model::load(&folder()).expect("it is a model");
    let spectrogram = Spectrogram::new(&samples("vowels.wav"), WINDOW * HOP, 80, || false);
    let window = model
        .encode(spectrogram.window(0, WINDOW))
        .expect("candle computes");
    let opening = opening(&model.words, 64, &[], ENGLISH, SpeechTask::Transcribe);
    assert_eq!(opening.tokens, expected.opening);
    let [logits] = model
        .logits(&opening.tokens, &window, true, [2])
        .expect("candle computes");
    // candle computes GELU by its tanh form where transformers takes the exact one.
    near(&logits[..32], &expected.first_logits, 0.05);
    let heard = attempt(&mut model, &window, &opening, 0.0, &Stop::default());
    let heard = heard.expect("nobody stops it");
    assert_eq!(heard.tokens, expected.tokens);
    assert_eq!(model.words.text(&heard.tokens), expected.text);
    near(&[heard.avg_logprob], &[expected.avg_logprob], 0.01);
    near(&[heard.no_speech_prob], &[expected.no_speech_prob], 1e-4);
}

#[test]
fn every_container_gives_the_same_tone() {
    // Half as loud as the left channel, since the right one is silent.
    let loud = |samples: &[f32]| {
        let middle = &samples[2_000..6_000];
        (middle.iter().map(|x| x * x).sum::<f32>() / middle.len() as f32).sqrt()
    };
    let wav = samples("tone.wav");
    assert_eq!(wav.len(), 8_000);
    let crossings = wav
        .windows(2)
        .filter(|w| (w[0] < 0.0) != (w[1] < 0.0))
        .count();
    assert!((495..=505).contains(&crossings), "{crossings}");
    near(&samples("tone.flac"), &wav, 1e-6);
    for name in ["tone.mp3", "tone.ogg", "tone.m4a"] {
        let samples = samples(name);
        // Encoders add some silence.
        assert!(
            (8_000..10_000).contains(&samples.len()),
            "{name}: {}",
            samples.len()
        );
        assert!((loud(&samples) / loud(&wav) - 1.0).abs() < 0.05, "{name}");
    }
}

#[test]
fn what_is_no_recording_is_refused() {
    let read = |bytes: &[u8], max| recording::read(bytes.into(), max, &Stop::default());
    let wav = sound("tone.wav");
    for bytes in [
        &b""[..],
        b"hello",
        &[0; 5_000],
        &sound("tone.opus"),
        &wav[..40],
    ] {
        let error = read(bytes, 60).expect_err("it is no recording");
        assert!(
            matches!(error, BackendError::Invalid { param: "file", .. }),
            "{error}"
        );
    }
    let cut = read(&wav[..wav.len() / 2], 60).expect("half is heard");
    assert!((3_900..4_100).contains(&cut.len()), "{}", cut.len());
    assert_eq!(
        read(&wav, 0),
        Err(BackendError::AudioTooLong { seconds_max: 0 })
    );
    // Seeded damage; nothing may panic through or hang.
    for name in ["tone.flac", "tone.mp3", "tone.ogg", "tone.m4a"] {
        let whole = sound(name);
        for seed in 0..40_u64 {
            let mut bytes = whole.to_vec();
            for at in 0..8 {
                let random = crate::sampler::random_bits(seed, at, 0);
                let place = random as usize % bytes.len();
                bytes[place] = (random >> 56) as u8;
            }
            let result = read(&bytes, 60);
            assert!(result.is_ok_and(|s| s.len() < 60 * RATE) || read(&bytes, 60).is_err());
        }
    }
}

#[test]
fn a_recording_becomes_a_transcript() {
    let listener = listener();
    let speech = speech("vowels.wav");
    let transcript = listener
        .transcribe(&speech, 60, &Stop::default())
        .expect("it is heard");
    assert_eq!(
        transcript.language,
        language::find(&expected().greedy.language)
            .expect("known")
            .1
    );
    assert!((transcript.duration_s - 2.5).abs() < 1e-9);
    assert!(transcript.tokens > 0);
    for segment in &transcript.segments {
        assert!(
            segment.start_s < segment.end_s && segment.end_s <= 30.0,
            "{segment:?}"
        );
    }
    let again = listener.transcribe(&speech, 60, &Stop::default());
    assert_eq!(again, Ok(transcript), "drawn tokens are the same each time");
}

#[test]
fn long_recordings_take_several_windows() {
    let quiet = vec![0.01; 40 * RATE];
    let task = Task {
        kind: SpeechTask::Translate,
        language: None,
        prompt: Some("the cat <|endoftext|> sat"),
        temperature: 0.7,
    };
    let mut model = Model::load(&folder()).expect("it is a model");
    let transcript = listen::transcribe(&mut model, &quiet, &task, &Stop::default());
    let transcript = transcript.expect("it is heard");
    assert_eq!(transcript.duration_s, 40.0);
    assert!(
        transcript.tokens > 32,
        "more than one window: {}",
        transcript.tokens
    );
}

#[test]
fn a_prompt_is_text_and_stands_before_the_start() {
    let model = Model::load(&folder()).expect("it is a model");
    let words = &model.words;
    let ids = words.encode("the <|endoftext|> cat");
    assert!(ids.iter().all(|&id| id < words.end), "{ids:?}");
    assert_eq!(words.text(&ids), "the <|endoftext|> cat");
    let before = vec![5; 100];
    let opening = opening(words, 64, &before, ENGLISH, SpeechTask::Translate);
    assert_eq!(opening.tokens.len(), 1 + 31 + 3);
    assert_eq!(opening.tokens[0], words.previous);
    assert_eq!(opening.tokens[opening.start], words.start);
    assert_eq!(opening.tokens.last(), Some(&words.translate));
}

#[test]
fn what_the_model_cannot_do_is_refused_at_once() {
    let listener = listener();
    for known in ["de", "german", "zh"] {
        let mut speech = speech("tone.wav");
        speech.language = Some(known.into());
        assert_eq!(listener.check(&speech), Ok(()));
    }
    // Italian is a language of Whisper's, but not of this model's.
    for unknown in ["it", "xx", "", "German", "<|de|>"] {
        let mut speech = speech("tone.wav");
        speech.language = Some(unknown.into());
        let error = listener.check(&speech).expect_err("it is unknown");
        assert!(matches!(
            error,
            BackendError::Invalid {
                param: "language",
                ..
            }
        ));
    }
    let mut short = vec![0; 44 + 2 * 1_000];
    short[..44].copy_from_slice(&sound("vowels.wav")[..44]);
    let mut speech = speech("tone.wav");
    speech.audio = short.into();
    let error = listener.transcribe(&speech, 60, &Stop::default());
    assert!(
        error
            .expect_err("it is short")
            .to_string()
            .contains("tenth of a second")
    );
}

#[tokio::test]
async fn few_wait_and_who_leaves_stops_the_work() {
    let listener = Arc::new(listener());
    let first = listener.turn().await.expect("nobody is there");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..WAITING_MAX {
        let listener = Arc::clone(&listener);
        waiting.spawn(async move { listener.turn().await.map(|_| ()) });
    }
    tokio::task::yield_now().await;
    let refused = listener.turn().await.err();
    assert!(matches!(refused, Some(BackendError::Busy { .. })));
    drop(first);
    for ended in waiting.join_all().await {
        assert_eq!(ended, Ok(()));
    }
    let stop = Stop::default();
    drop(stop.when_dropped());
    assert!(
        listener
            .transcribe(&speech("vowels.wav"), 60, &stop)
            .is_err()
    );
}
