//! Ids of calls: a function of the request, so that the same request with the same seed makes the same.

use crate::sampler::philox;

/// As many as OpenAI's have.
const LETTERS: usize = 24;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What tells the calls of one choice from all others.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallIds {
    seed: u64,
    prompt: u64,
    choice: u32,
}

impl CallIds {
    pub(super) fn new(seed: u64, prompt: &[u32], choice: u32) -> Self {
        let bytes = prompt.iter().flat_map(|token| token.to_le_bytes());
        Self {
            seed,
            prompt: fingerprint(bytes),
            choice,
        }
    }

    /// The id of the choice's call number `index`.
    pub(super) fn id(&self, index: u32) -> String {
        let [low, high] = halves(self.prompt);
        let mut id = "call_".to_owned();
        for block in 0..2 {
            // The last word of a draw's counter is 0, so that no id tells anything of a draw.
            let counter = [low, high, self.choice, 1 + 2 * index + block];
            for mut word in philox(counter, halves(self.seed)) {
                for _ in 0..LETTERS / 8 {
                    id.push(char::from(ALPHABET[word as usize % ALPHABET.len()]));
                    word /= ALPHABET.len() as u32;
                }
            }
        }
        id
    }
}

/// An id of so many letters and digits in place of one that has others, always the same.
pub(crate) fn shortened(id: &str, len: usize) -> String {
    let mut rest = fingerprint(id.bytes());
    let letter = |rest: &mut u64| {
        let letter = ALPHABET[(*rest % ALPHABET.len() as u64) as usize];
        *rest /= ALPHABET.len() as u64;
        char::from(letter)
    };
    // Ten letters are in it.
    (0..len.min(10)).map(|_| letter(&mut rest)).collect()
}

/// FNV-1a, of Fowler, Noll and Vo.
fn fingerprint(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Low half first.
fn halves(n: u64) -> [u32; 2] {
    [n as u32, (n >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_function_of_all_that_tells_calls_apart() {
        let ids = |seed, prompt: &[u32], choice| CallIds::new(seed, prompt, choice);
        let id = ids(1, &[5, 6], 0).id(0);
        assert_eq!(id, ids(1, &[5, 6], 0).id(0));
        assert_eq!(id.len(), "call_".len() + LETTERS);
        assert!(id[5..].bytes().all(|b| b.is_ascii_alphanumeric()));
        let others = [
            ids(2, &[5, 6], 0).id(0),
            ids(1 << 32, &[5, 6], 0).id(0),
            ids(1, &[5, 7], 0).id(0),
            ids(1, &[5, 6], 1).id(0),
            ids(1, &[5, 6], 0).id(1),
        ];
        for other in others {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn a_short_id_stands_for_a_long_one() {
        assert_eq!(shortened("call_abc", 9), shortened("call_abc", 9));
        assert_ne!(shortened("call_abc", 9), shortened("call_abd", 9));
        assert_eq!(shortened("", 9).len(), 9);
    }
}
