//! A node's key as 24 words that a person can write down: BIP-39's English words and checksum over the key's own 32
//! bytes. The list is that of the crate `bip39` (CC0). A wallet would make another key of the same words, since it
//! stretches them first.

use bip39::{Language, Mnemonic};
use zeroize::Zeroizing;

use crate::key::NodeKey;

/// Words of a key.
const WORDS: usize = 24;

/// A text that is no key's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "these are not the {WORDS} words of a key: one is missing, unknown, misspelt or in another place"
)]
pub struct BadPhrase;

/// The words of a key. Whoever has them is this node.
pub fn recovery_phrase(key: &NodeKey) -> Zeroizing<String> {
    let mnemonic = Mnemonic::from_entropy_in(Language::English, &*key.seed());
    let mnemonic = mnemonic.expect("32 bytes have words");
    let words: Vec<_> = mnemonic.words().collect();
    Zeroizing::new(words.join(" "))
}

/// The key of the words, in whatever case and spacing.
///
/// # Errors
/// When they are none.
pub fn key_of_phrase(text: &str) -> Result<NodeKey, BadPhrase> {
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    if words.len() != WORDS {
        return Err(BadPhrase);
    }
    let words = Zeroizing::new(words.join(" "));
    let mnemonic = Mnemonic::parse_in_normalized(Language::English, &words);
    let (entropy, length) = mnemonic.map_err(|_| BadPhrase)?.to_entropy_array();
    let entropy = Zeroizing::new(entropy);
    let seed = entropy.first_chunk().filter(|_| length == 32);
    seed.map(NodeKey::from_seed).ok_or(BadPhrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BIP-39's vectors of 32 bytes (github.com/trezor/python-mnemonic, vectors.json, MIT).
    #[test]
    fn the_words_are_those_of_the_vectors() {
        let vote = format!("{} vote", ["zoo"; 23].join(" "));
        let art = format!("{} art", ["abandon"; 23].join(" "));
        for (byte, words) in [(0x00, art), (0xFF, vote)] {
            let key = NodeKey::from_seed(&[byte; 32]);
            assert_eq!(*recovery_phrase(&key), words);
            let same = key_of_phrase(&format!("  {}\n", words.to_uppercase().replace(' ', "  ")));
            assert_eq!(same.expect("it is the key").id(), key.id());
        }
    }

    #[test]
    fn a_slip_is_noticed() {
        let words = recovery_phrase(&NodeKey::generate());
        let mut slips = 0;
        let parts: Vec<_> = words.split(' ').collect();
        for at in 1..WORDS {
            let mut swapped = parts.clone();
            swapped.swap(at - 1, at);
            let slipped = swapped.join(" ");
            slips += usize::from(slipped != **words && key_of_phrase(&slipped).is_ok());
        }
        assert!(slips <= 3, "the checksum has eight bits");
        for bad in ["", "zoo", &words[1..], &format!("{} zoo", *words)] {
            assert!(key_of_phrase(bad).is_err());
        }
    }
}
