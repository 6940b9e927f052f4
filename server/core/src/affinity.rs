//! Who has read which prompt before, as this node remembers of its own jobs. Whoever has read the beginning
//! of a prompt has it in his cache and need not read it again.
//!
//! What is remembered are hashes under a secret of this process, and of each prompt also the principal: nobody
//! finds by the speed of an answer, or in a copy of this memory, what another principal has asked.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Mutex;

use crate::{BackendId, Job, PrincipalId, Prompt, Tool, Work};

/// Bytes of a prompt that are remembered as one.
const BLOCK_BYTES: usize = 256;
/// Blocks of a job that are remembered: its first 256 KiB.
const BLOCKS_MAX: usize = 1_024;
/// Blocks in each of the two halves of the memory.
const HALF_MAX: usize = 32_768;
/// Backends that have read one block.
const READERS_MAX: usize = 4;

/// Who has read what.
#[derive(Debug, Default)]
pub(crate) struct Affinity {
    /// Keyed at random for each process.
    secret: RandomState,
    memory: Mutex<Memory>,
}

/// The blocks of a job's prompts, each hashed with all before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefix {
    /// For each prompt.
    prompts: Vec<Vec<u64>>,
    bytes: usize,
}

impl Affinity {
    /// The blocks of what this principal asks.
    pub(crate) fn prefix(&self, principal: &PrincipalId, job: &Job) -> Prefix {
        let Work::Generate { prompts, .. } = &job.work else {
            return Prefix::default();
        };
        let mut left = BLOCKS_MAX;
        let mut all = Prefix::default();
        for prompt in prompts {
            let mut blocks = Blocks::new(&self.secret, left);
            blocks.add(principal.as_str().as_bytes());
            blocks.add(job.model.as_str().as_bytes());
            // A conversation is read otherwise than a text of the same words.
            blocks.add(kind(prompt));
            blocks.begin();
            add_prompt(&mut blocks, prompt);
            left -= blocks.hashes.len();
            all.bytes += blocks.bytes;
            all.prompts.push(blocks.hashes);
        }
        all
    }

    /// Remembers that a backend reads these.
    pub(crate) fn learn(&self, prefix: &Prefix, backend: &BackendId) {
        let mut memory = self.memory.lock().expect("no holder panics");
        for hash in prefix.prompts.iter().flatten() {
            memory.add(*hash, backend);
        }
    }

    /// How much of it each backend has read, from 0 to 1; those that have read nothing are not named.
    pub(crate) fn read_before(&self, prefix: &Prefix) -> HashMap<BackendId, f64> {
        let mut memory = self.memory.lock().expect("no holder panics");
        let mut bytes: HashMap<BackendId, usize> = HashMap::new();
        for blocks in &prefix.prompts {
            let mut longest: HashMap<BackendId, usize> = HashMap::new();
            for (count, hash) in (1..).zip(blocks) {
                // A block is remembered with all that comes before it, so the last one says it all.
                for backend in memory.readers(*hash) {
                    longest.insert(backend.clone(), count);
                }
            }
            for (backend, count) in longest {
                *bytes.entry(backend).or_default() += count * BLOCK_BYTES;
            }
        }
        let all = prefix.bytes.max(1) as f64;
        let parts = bytes.into_iter();
        parts
            .map(|(backend, bytes)| (backend, bytes as f64 / all))
            .collect()
    }
}

/// Two halves: what is touched goes into the young one, and when that is full it becomes the old one, whose
/// blocks are then forgotten.
#[derive(Debug, Default)]
struct Memory {
    young: HashMap<u64, Vec<BackendId>>,
    old: HashMap<u64, Vec<BackendId>>,
}

impl Memory {
    fn readers(&mut self, hash: u64) -> &[BackendId] {
        if let Some(readers) = self.old.remove(&hash) {
            self.make_room();
            self.young.insert(hash, readers);
        }
        self.young.get(&hash).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, hash: u64, backend: &BackendId) {
        let mut readers = self.readers(hash).to_vec();
        readers.retain(|reader| reader != backend);
        readers.truncate(READERS_MAX - 1);
        readers.insert(0, backend.clone());
        self.make_room();
        self.young.insert(hash, readers);
    }

    fn make_room(&mut self) {
        if self.young.len() >= HALF_MAX {
            self.old = std::mem::take(&mut self.young);
        }
    }
}

/// Cuts bytes into blocks and hashes each with what came before.
struct Blocks<'a> {
    secret: &'a RandomState,
    hasher: std::hash::DefaultHasher,
    /// In the block that is not full yet.
    filled: usize,
    max: usize,
    hashes: Vec<u64>,
    /// Of the prompt, also beyond the last block.
    bytes: usize,
}

impl<'a> Blocks<'a> {
    fn new(secret: &'a RandomState, max: usize) -> Self {
        Self {
            secret,
            hasher: secret.build_hasher(),
            filled: 0,
            max,
            hashes: Vec::new(),
            bytes: 0,
        }
    }

    /// What all blocks depend on was added; the prompt itself begins.
    fn begin(&mut self) {
        self.hashes.clear();
        self.chain();
        self.bytes = 0;
    }

    /// Adds a piece of text and its end, which is no byte of any text. Its length does not come first: pieces
    /// that begin alike are blocks alike.
    fn add(&mut self, piece: &[u8]) {
        self.write(piece);
        self.write(&[0xFF]);
    }

    fn write(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len();
        while !bytes.is_empty() && self.hashes.len() < self.max {
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.hasher.write(now);
            self.filled += now.len();
            bytes = rest;
            if self.filled == BLOCK_BYTES {
                let hash = self.chain();
                self.hashes.push(hash);
            }
        }
    }

    fn chain(&mut self) -> u64 {
        let hash = self.hasher.finish();
        self.hasher = self.secret.build_hasher();
        self.hasher.write_u64(hash);
        self.filled = 0;
        hash
    }
}

fn kind(prompt: &Prompt) -> &'static [u8] {
    match prompt {
        Prompt::Chat(_) => b"chat",
        Prompt::Text(_) => b"text",
        Prompt::Infill { .. } => b"infill",
        Prompt::Tokens(_) => b"tokens",
    }
}

fn add_prompt(blocks: &mut Blocks<'_>, prompt: &Prompt) {
    match prompt {
        Prompt::Chat(chat) => {
            // As templates have it: tools come first.
            chat.tools.iter().for_each(|tool| add_tool(blocks, tool));
            for message in &chat.messages {
                blocks.add(message.role.as_str().as_bytes());
                blocks.add(message.content.as_bytes());
                for call in &message.tool_calls {
                    blocks.add(call.name.as_bytes());
                    blocks.add(call.arguments.as_bytes());
                }
            }
        }
        // Raw text has no pieces: whatever begins with the same bytes begins alike.
        Prompt::Text(text) => blocks.write(text.as_bytes()),
        Prompt::Infill { prefix, suffix } => {
            blocks.add(prefix.as_bytes());
            blocks.add(suffix.as_bytes());
        }
        Prompt::Tokens(ids) => ids.iter().for_each(|id| blocks.write(&id.to_le_bytes())),
    }
}

fn add_tool(blocks: &mut Blocks<'_>, tool: &Tool) {
    blocks.add(tool.name.as_bytes());
    blocks.add(tool.description.as_deref().unwrap_or_default().as_bytes());
    let schema = tool.parameters.as_ref();
    let schema = schema.map(|schema| schema.to_string()).unwrap_or_default();
    blocks.add(schema.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conversation, GenerateParams, JobId, Message, Role};

    fn chat(turns: &[&str]) -> Job {
        let messages = turns.iter().map(|text| Message::new(Role::User, *text));
        let chat = Conversation::from(messages.collect::<Vec<_>>());
        of(vec![Prompt::Chat(chat)])
    }

    fn of(prompts: Vec<Prompt>) -> Job {
        let params = GenerateParams::default();
        Job::new(
            JobId::new("j"),
            "m".into(),
            Work::Generate { prompts, params },
        )
    }

    fn share(affinity: &Affinity, principal: &str, job: &Job, backend: &str) -> f64 {
        let prefix = affinity.prefix(&PrincipalId::new(principal), job);
        let read = affinity.read_before(&prefix);
        read.get(&backend.into()).copied().unwrap_or(0.0)
    }

    fn learn(affinity: &Affinity, principal: &str, job: &Job, backend: &str) {
        let prefix = affinity.prefix(&PrincipalId::new(principal), job);
        affinity.learn(&prefix, &backend.into());
    }

    #[test]
    fn a_conversation_that_goes_on_is_known_where_it_was_read() {
        let affinity = Affinity::default();
        let long = "a long beginning ".repeat(200);
        learn(&affinity, "a", &chat(&[&long, "and then?"]), "x");
        let on = chat(&[&long, "and then?", "so?"]);
        assert!(share(&affinity, "a", &on, "x") > 0.9);
        assert_eq!(share(&affinity, "a", &on, "y"), 0.0);
        // The same beginning within one message.
        let other = chat(&[&format!("{long}, otherwise")]);
        assert!(share(&affinity, "a", &other, "x") > 0.9);
        let half = chat(&[&format!("{}{}", &long[..1_700], "z".repeat(1_700))]);
        assert!((0.3..0.6).contains(&share(&affinity, "a", &half, "x")));
        let short = chat(&["a long beginning"]);
        assert_eq!(share(&affinity, "a", &short, "x"), 0.0, "less than a block");
    }

    #[test]
    fn nobody_learns_what_another_asked() {
        let (affinity, again) = (Affinity::default(), Affinity::default());
        let job = chat(&[&"secret ".repeat(100)]);
        learn(&affinity, "a", &job, "x");
        assert!(share(&affinity, "a", &job, "x") > 0.5);
        assert_eq!(share(&affinity, "b", &job, "x"), 0.0);
        let other = Job {
            model: "n".into(),
            ..job.clone()
        };
        assert_eq!(
            share(&affinity, "a", &other, "x"),
            0.0,
            "another model's cache"
        );
        let hashes = |affinity: &Affinity| affinity.prefix(&PrincipalId::new("a"), &job).prompts;
        assert_ne!(
            hashes(&affinity),
            hashes(&again),
            "each process has a secret of its own"
        );
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest() {
        let affinity = Affinity::default();
        let text = |n: u32| of(vec![Prompt::Text(format!("{n:8}").repeat(8_000))]);
        for n in 0..400 {
            learn(&affinity, "a", &text(n), "x");
        }
        let memory = affinity.memory.lock().expect("no holder panics");
        assert!(memory.young.len() + memory.old.len() <= 2 * HALF_MAX);
        drop(memory);
        assert!(share(&affinity, "a", &text(399), "x") > 0.9);
        assert_eq!(share(&affinity, "a", &text(0), "x"), 0.0);

        let job = text(7);
        (0..10).for_each(|n| learn(&affinity, "a", &job, &format!("b{n}")));
        assert_eq!(share(&affinity, "a", &job, "b0"), 0.0);
        assert!(share(&affinity, "a", &job, "b9") > 0.9);
    }

    #[test]
    fn only_the_beginning_of_a_huge_prompt_is_hashed() {
        let affinity = Affinity::default();
        let huge = of(vec![
            Prompt::Text("x".repeat(1 << 20)),
            Prompt::Tokens(vec![7; 9]),
        ]);
        let prefix = affinity.prefix(&PrincipalId::new("a"), &huge);
        let blocks: usize = prefix.prompts.iter().map(Vec::len).sum();
        assert_eq!(blocks, BLOCKS_MAX);
        assert_eq!(prefix.bytes, (1 << 20) + 36);
    }
}
