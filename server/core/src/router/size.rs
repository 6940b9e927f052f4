//! How much a job asks for, as far as its words tell before anybody has tokenized them.

use crate::{Conversation, EmbedInput, GenerateParams, Job, Prompt, Work};

/// Bytes of text to a token, as most texts have it.
const BYTES_TO_A_TOKEN: usize = 4;
/// What a chat template puts around a message, in bytes.
const TEMPLATE_BYTES: usize = 24;
/// Tokens of an answer. Few are as long as they may be, so a larger limit counts as this too.
const ANSWER_TOKENS: u32 = 256;

/// How much a job asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Prompts, each of which goes to a backend as a request of its own.
    pub(super) parts: u32,
    /// Sequences that are computed, over all parts.
    pub(super) sequences: u32,
    /// Tokens to read over all parts, about.
    pub(super) prompt_tokens: u32,
    /// Tokens of a sequence's answer, about; none for work that writes nothing.
    pub(super) answer_tokens: u32,
    /// With a shorter context than this some part cannot be done; a longer one may be too short all the same.
    pub(super) room_least: u32,
}

impl Size {
    /// Of this job.
    pub(super) fn of(job: &Job) -> Self {
        match &job.work {
            Work::Generate { prompts, params } => Self::of_prompts(prompts, params),
            Work::Embed { inputs, .. } => Self::of_inputs(inputs),
            // Bytes of a recording say little of what it takes to hear it.
            Work::Transcribe(_) => Self {
                parts: 1,
                sequences: 1,
                ..Self::default()
            },
        }
    }

    fn of_prompts(prompts: &[Prompt], params: &GenerateParams) -> Self {
        let parts = count(prompts.len());
        let mut size = Self {
            parts,
            sequences: parts.saturating_mul(u32::from(params.n)),
            answer_tokens: params
                .max_tokens
                .map_or(ANSWER_TOKENS, |max| max.min(ANSWER_TOKENS)),
            ..Self::default()
        };
        // Without a limit an answer of one token is an answer too.
        let answer = params.max_tokens.unwrap_or(1);
        for prompt in prompts {
            let words = Words::of_prompt(prompt);
            size.add(words, answer);
        }
        size
    }

    fn of_inputs(inputs: &[EmbedInput]) -> Self {
        let mut size = Self {
            parts: 1,
            sequences: 1,
            ..Self::default()
        };
        for input in inputs {
            let words = match input {
                EmbedInput::Text(text) => Words::Bytes(text.len()),
                EmbedInput::Tokens(ids) => Words::Tokens(ids.len()),
            };
            size.add(words, 0);
        }
        size
    }

    fn add(&mut self, words: Words, answer: u32) {
        let (about, least) = match words {
            Words::Tokens(tokens) => (tokens, tokens),
            // How long the longest token of a vocabulary is, nobody knows.
            Words::Bytes(bytes) => (bytes.div_ceil(BYTES_TO_A_TOKEN), 0),
        };
        self.prompt_tokens = self.prompt_tokens.saturating_add(count(about));
        let room = count(least).saturating_add(answer);
        self.room_least = self.room_least.max(room);
    }
}

/// A prompt's length in what it is written in.
enum Words {
    Bytes(usize),
    Tokens(usize),
}

impl Words {
    fn of_prompt(prompt: &Prompt) -> Self {
        match prompt {
            Prompt::Chat(chat) => Self::Bytes(chat_bytes(chat)),
            Prompt::Text(text) => Self::Bytes(text.len()),
            Prompt::Infill { prefix, suffix } => Self::Bytes(prefix.len() + suffix.len()),
            Prompt::Tokens(ids) => Self::Tokens(ids.len()),
        }
    }
}

fn chat_bytes(chat: &Conversation) -> usize {
    let messages = chat.messages.iter().map(|message| {
        let calls = message.tool_calls.iter();
        let calls: usize = calls.map(|c| c.name.len() + c.arguments.len()).sum();
        message.content.len() + calls + TEMPLATE_BYTES
    });
    let tools = chat.tools.iter().map(|tool| {
        let schema = tool.parameters.as_ref().map_or(0, json_bytes);
        tool.name.len() + tool.description.as_ref().map_or(0, String::len) + schema
    });
    messages.sum::<usize>() + tools.sum::<usize>()
}

/// How long a value is when written, without writing it anywhere.
fn json_bytes(value: &serde_json::Value) -> usize {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).expect("a value has string keys only");
    counter.0
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
