//! Speech in the domain's own words: what is heard, and what comes of it.

use std::sync::Arc;

/// A recording that is to become text.
#[derive(Clone, PartialEq)]
pub struct Transcribe {
    /// A whole file, in a container and a codec that the backend finds out by itself.
    pub audio: Arc<[u8]>,
    /// Which text.
    pub task: SpeechTask,
    /// What is spoken, as a code (`en`) or a name (`english`) in lower case; without one it is found out.
    pub language: Option<String>,
    /// What came before, or how names are spelled. Its end counts most. It is text: control tokens
    /// spelled out in it stay letters.
    pub prompt: Option<String>,
    /// 0 takes the most probable tokens, and draws only where that goes wrong; above it all are drawn.
    pub temperature: f32,
}

/// People's words do not belong in a log, spoken ones neither.
impl std::fmt::Debug for Transcribe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transcribe({:?}, {} bytes)", self.task, self.audio.len())
    }
}

/// Which text is made of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeechTask {
    /// What is said, in its own language.
    Transcribe,
    /// The same in English.
    Translate,
}

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    /// The name of the spoken language, in English and lower case.
    pub language: String,
    /// How long the recording is.
    pub duration_s: f64,
    /// One after the other; joined, their texts are the whole.
    pub segments: Vec<SpeechSegment>,
    /// Tokens generated, those of attempts that were given up included.
    pub tokens: u32,
}

impl Transcript {
    /// The whole text.
    pub fn text(&self) -> String {
        let whole: String = self.segments.iter().map(|s| s.text.as_str()).collect();
        whole.trim().to_owned()
    }
}

/// A piece of a [`Transcript`], some sentence long.
#[derive(Clone, Default, PartialEq)]
pub struct SpeechSegment {
    /// Where the window begins in which it was heard, in hundredths of a second.
    pub window: u32,
    /// When it begins.
    pub start_s: f64,
    /// When it ends.
    pub end_s: f64,
    /// What is said; a space in front belongs to it.
    pub text: String,
    /// The same as token ids, with tokens of time.
    pub tokens: Vec<u32>,
    /// At which temperature it was drawn.
    pub temperature: f32,
    /// The mean log-probability of its window's tokens.
    pub avg_logprob: f32,
    /// How much smaller its window's text becomes by compression.
    pub compression_ratio: f32,
    /// How probable it is that nobody speaks in its window.
    pub no_speech_prob: f32,
}

impl std::fmt::Debug for SpeechSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, end) = (self.start_s, self.end_s);
        write!(
            f,
            "SpeechSegment({start} to {end} s, {} bytes)",
            self.text.len()
        )
    }
}
