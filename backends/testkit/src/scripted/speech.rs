//! A transcript out of a script: a word each second, up to four of them a segment.

use kwaainet_core::{SpeechSegment, SpeechTask, Transcribe, Transcript};

use super::Answer;

const WORDS_A_SEGMENT: usize = 4;

pub(super) fn transcript(answer: &Answer, speech: &Transcribe) -> Transcript {
    let words: Vec<String> = match answer {
        Answer::Words(count) => (0..*count).map(|n| format!("w{n}")).collect(),
        Answer::Pieces(pieces) => {
            let word = |piece: &Vec<u8>| String::from_utf8_lossy(piece).trim().to_owned();
            pieces.iter().map(word).collect()
        }
        Answer::Calls(_) => Vec::new(),
    };
    let segment = |(number, words): (usize, &[String])| {
        let start = number * WORDS_A_SEGMENT;
        SpeechSegment {
            start_s: start as f64,
            end_s: (start + words.len()) as f64,
            text: words.iter().map(|word| format!(" {word}")).collect(),
            tokens: (0..words.len() as u32).collect(),
            temperature: speech.temperature,
            avg_logprob: -0.25,
            compression_ratio: 1.5,
            ..SpeechSegment::default()
        }
    };
    let spoken = speech.language.as_deref().unwrap_or("english");
    Transcript {
        language: match speech.task {
            SpeechTask::Transcribe => spoken.to_owned(),
            SpeechTask::Translate => "german".to_owned(),
        },
        // Half a second of silence follows.
        duration_s: words.len() as f64 + 0.5,
        segments: words
            .chunks(WORDS_A_SEGMENT)
            .enumerate()
            .map(segment)
            .collect(),
        tokens: words.len() as u32,
    }
}
