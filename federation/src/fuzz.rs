//! Everything that reads bytes of other nodes, in one list: for the tests of this crate, which change good bytes by a
//! seed, and for the fuzzer in `fuzz/`, which looks for new ways through the code.

mod signed;

use crate::control::fuzz as control;
use crate::control::gossip::fuzz as gossip;
use crate::infer::fuzz as infer;
use crate::receipts::reconcile::fuzz as books;

/// One kind of bytes from outside.
#[derive(Clone, Copy)]
pub struct Family {
    /// As the fuzzer's target is called.
    pub name: &'static str,
    read: fn(&[u8]),
    sample: fn(u64) -> Vec<u8>,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::new("hello", control::read_hello, control::sample_hello),
        Self::new("answer", control::read_answer, control::sample_answer),
        Self::new("control", control::read_frame, control::sample_frame),
        Self::new("ask", infer::read_ask, infer::sample_ask),
        Self::new("say", infer::read_say, infer::sample_say),
        Self::new("frames", signed::read_frames, signed::sample_frames),
        Self::new("envelope", signed::read_envelope, signed::sample_envelope),
        Self::new("ticket", signed::read_ticket, signed::sample_ticket),
        Self::new("receipt", signed::read_receipt, signed::sample_receipt),
        Self::new("receipts", signed::read_file, signed::sample_file),
        Self::new(
            "introduction",
            signed::read_introduction,
            signed::sample_introduction,
        ),
        Self::new("gossip", gossip::read_message, gossip::sample_message),
        Self::new("news", gossip::read_news, gossip::sample_news),
        Self::new("books", books::read_talk, books::sample_talk),
    ];

    const fn new(name: &'static str, read: fn(&[u8]), sample: fn(u64) -> Vec<u8>) -> Self {
        Self { name, read, sample }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name == name)
    }

    /// Reads bytes as a node does that got them from another one.
    ///
    /// # Panics
    /// When they lead to something that must never be. That is what this is for.
    pub fn read(&self, bytes: &[u8]) {
        (self.read)(bytes);
    }

    /// Good bytes of this kind.
    pub fn sample(&self, seed: u64) -> Vec<u8> {
        (self.sample)(seed)
    }
}

/// Changes a few bytes, cuts, doubles or adds some, as the numbers that are drawn say.
pub fn mutate(draw: &mut dyn FnMut() -> u64, bytes: &mut Vec<u8>) {
    for _ in 0..=draw() % 4 {
        let at = (draw() % (bytes.len() as u64 + 1)) as usize;
        match draw() % 6 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, draw() as u8),
            2 => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece.into_iter().take(64));
            }
            _ if bytes.is_empty() => {}
            _ => {
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1 << (draw() % 8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Signatures are dear.
    fn rounds(family: Family) -> u64 {
        match family.name {
            "envelope" | "ticket" | "receipt" | "receipts" | "introduction" | "gossip" | "news" => {
                1_500
            }
            _ => 20_000,
        }
    }

    #[test]
    fn changed_bytes_of_every_family_are_read_or_refused() {
        for family in Family::ALL {
            for seed in 0..rounds(family) {
                let mut bytes = family.sample(seed);
                let mut random = Seeded::new(seed);
                if seed % 8 > 0 {
                    mutate(&mut || random.draw(), &mut bytes);
                }
                let read = catch_unwind(AssertUnwindSafe(|| family.read(&bytes)));
                assert!(read.is_ok(), "{} with the seed {seed}", family.name);
            }
        }
    }

    #[test]
    fn every_family_has_its_target() {
        let manifest = include_str!("../../fuzz/Cargo.toml");
        for family in Family::ALL {
            let path = format!("path = \"fuzz_targets/{}.rs\"", family.name);
            assert!(manifest.contains(&path), "no {path}");
            let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/fuzz_targets");
            let text = std::fs::read_to_string(format!("{target}/{}.rs", family.name));
            let text = text.expect("it is there");
            assert!(
                text.contains(&format!("(\"{}\", bytes)", family.name)),
                "{text}"
            );
        }
    }

    #[test]
    fn families_are_found_by_their_names() {
        for family in Family::ALL {
            let found = Family::named(family.name).expect("it is one");
            assert_eq!(found.sample(1), family.sample(1));
        }
        assert!(Family::named("nothing").is_none());
    }
}
