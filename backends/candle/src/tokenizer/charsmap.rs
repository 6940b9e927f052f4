//! A SentencePiece model's own table of characters to be replaced before anything else: full-width
//! forms, ligatures and the like. Each lookup checks its bounds, for the table comes from a file.
//!
//! The table is a double-array trie over the bytes of what is replaced (Kanda 2018), preceded by its
//! size in bytes and followed by the replacements, each ended by a zero. An entry of 32 bits holds
//! the byte that led to it in bits 0 to 7, in bit 8 whether something ends here, and in bits 10 to
//! 31 the offset of its children, which bit 9 multiplies by 256. An entry with bit 31 set is the
//! place of a replacement instead.

use kwaainet_decoder::Value;

use super::vocab::bad;
use super::{TextError, check_length};

/// No useful replacement is longer; bounds what a hostile table makes of a text.
const REPLACEMENT_BYTES_MAX: usize = 64;
/// Nothing longer is replaced; bounds what a table with a circle in it costs.
const REPLACED_BYTES_MAX: usize = 256;

/// The table.
pub(super) struct CharsMap {
    trie: Vec<u32>,
    replacements: Vec<u8>,
}

impl CharsMap {
    pub(super) fn read(table: &[Value]) -> Result<Self, TextError> {
        let bytes: Option<Vec<u8>> = table
            .iter()
            .map(|value| match value {
                Value::U8(byte) => Some(*byte),
                Value::I8(byte) => Some(byte.cast_unsigned()),
                _ => None,
            })
            .collect();
        bytes
            .and_then(|bytes| Self::parse(&bytes))
            .ok_or_else(broken)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, replacements) = rest.split_at_checked(size)?;
        Some(Self {
            trie: trie
                .chunks_exact(4)
                .map(|entry| {
                    entry
                        .iter()
                        .rev()
                        .fold(0, |n, byte| n << 8 | u32::from(*byte))
                })
                .collect(),
            replacements: replacements.to_vec(),
        })
    }

    /// The text with the longest replaceable stretch replaced at each place.
    ///
    /// # Errors
    /// Where the table is broken, and [`TextError::TooLong`] where the replacements make it so.
    pub(super) fn apply(&self, text: &str) -> Result<String, TextError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(letter) = rest.chars().next() {
            let (length, replacement) = match self.longest(rest.as_bytes()) {
                Some((length, place)) => (length, self.replacement(place)?),
                None => (letter.len_utf8(), &rest[..letter.len_utf8()]),
            };
            out.push_str(replacement);
            check_length(out.len())?;
            rest = rest.get(length..).ok_or_else(broken)?;
        }
        Ok(out)
    }

    /// How many bytes to replace, and by what.
    fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        let mut longest = None;
        let mut node = offset(*self.trie.first()?);
        for (at, byte) in text.iter().enumerate().take(REPLACED_BYTES_MAX) {
            node ^= u32::from(*byte);
            let entry = self.trie.get(node as usize).copied().unwrap_or(0);
            if *byte == 0 || entry & (1 << 31 | 0xFF) != u32::from(*byte) {
                break;
            }
            node ^= offset(entry);
            if entry >> 8 & 1 == 1 {
                let place = self.trie.get(node as usize).copied().unwrap_or(u32::MAX);
                longest = Some((at + 1, place & (u32::MAX >> 1)));
            }
        }
        longest
    }

    fn replacement(&self, place: u32) -> Result<&str, TextError> {
        let from = self.replacements.get(place as usize..).ok_or_else(broken)?;
        let end = from
            .iter()
            .take(REPLACEMENT_BYTES_MAX)
            .position(|byte| *byte == 0);
        let bytes = &from[..end.ok_or_else(broken)?];
        std::str::from_utf8(bytes).map_err(|_| broken())
    }
}

fn offset(entry: u32) -> u32 {
    entry >> 10 << (if entry >> 9 & 1 == 1 { 8 } else { 0 })
}

fn broken() -> TextError {
    bad("its table of characters is broken")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table that replaces the one-byte text `from`.
    fn table(from: u8, to: &[u8]) -> Vec<Value> {
        let mut trie = vec![0_u32; 512];
        trie[0] = 1 << 10 << 8; // children from 256 on
        trie[256 ^ usize::from(from)] = u32::from(from) | 1 << 8 | 1 << 10;
        trie[256 ^ usize::from(from) ^ 1] = 1 << 31;
        let size = (trie.len() * 4) as u32;
        let mut bytes = size.to_le_bytes().to_vec();
        bytes.extend(trie.iter().flat_map(|entry| entry.to_le_bytes()));
        bytes.extend(to);
        bytes.into_iter().map(Value::U8).collect()
    }

    #[test]
    fn replaces_what_the_table_says() {
        let map = CharsMap::read(&table(b'A', b"bc\0")).expect("the table is whole");
        assert_eq!(map.apply("xAyAé").expect("it applies"), "xbcybcé");
        let gone = CharsMap::read(&table(b'A', b"\0")).expect("the table is whole");
        assert_eq!(gone.apply("xAy").expect("it applies"), "xy");
    }

    #[test]
    fn replacements_cannot_make_a_text_too_long() {
        let map = CharsMap::read(&table(b'A', &[&[b'x'; 63], &b"\0"[..]].concat()));
        let map = map.expect("the table is whole");
        assert_eq!(map.apply(&"A".repeat(1 << 17)), Err(TextError::TooLong));
    }

    #[test]
    fn a_walk_in_a_circle_has_an_end() {
        let mut map = CharsMap::read(&table(b'A', b"x\0")).expect("the table is whole");
        // The children of the only entry are where it began.
        map.trie = vec![0; 256];
        map.trie[usize::from(b'A')] = u32::from(b'A') | 1 << 8 | u32::from(b'A') << 10;
        let text = [b'A'; 4 * REPLACED_BYTES_MAX];
        let (length, _) = map.longest(&text).expect("it ends somewhere");
        assert_eq!(length, REPLACED_BYTES_MAX);
    }

    #[test]
    fn a_broken_table_is_an_error_and_never_a_panic() {
        assert!(CharsMap::read(&[]).is_err());
        assert!(CharsMap::read(&[Value::Bool(true)]).is_err());
        let claims_too_much = [0xFF, 0xFF, 0xFF, 0xFF, 1].map(Value::U8);
        assert!(CharsMap::read(&claims_too_much).is_err());
        let unended = CharsMap::read(&table(b'A', b"bc")).expect("it is read");
        assert!(unended.apply("A").is_err());
        let empty = CharsMap::read(&[0; 4].map(Value::U8)).expect("it is read");
        assert_eq!(empty.apply("A").expect("nothing to replace"), "A");
    }
}
