//! Bytes to characters, while the bytes still come.

/// Gives out whole characters only. Bytes that can never become a character turn into U+FFFD; the
/// beginning of one waits for its end, and is dropped if none comes.
#[derive(Debug, Default)]
pub(crate) struct Detokenizer {
    /// The beginning of a character, three bytes at most.
    waiting: Vec<u8>,
}

impl Detokenizer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and gives what is whole.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> String {
        self.waiting.extend_from_slice(bytes);
        let mut whole = String::new();
        let mut rest = self.waiting.as_slice();
        loop {
            let chunk = std::str::from_utf8(rest);
            let valid = chunk.map_or_else(|error| error.valid_up_to(), str::len);
            whole.push_str(&String::from_utf8_lossy(&rest[..valid]));
            rest = &rest[valid..];
            match chunk.map_err(|error| error.error_len()) {
                Err(Some(malformed)) => {
                    whole.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[malformed..];
                }
                Ok(_) | Err(None) => break,
            }
        }
        self.waiting = rest.to_vec();
        whole
    }

    /// Whether the beginning of a character waits for its end.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole_however_the_bytes_are_cut() {
        let text = "aé€😀\u{1F468}\u{200D}\u{1F469}z";
        let bytes = text.as_bytes();
        for size in 1..=bytes.len() {
            let mut detokenizer = Detokenizer::new();
            let out: String = bytes
                .chunks(size)
                .map(|part| detokenizer.push(part))
                .collect();
            assert_eq!(out, text, "in parts of {size}");
            assert!(!detokenizer.is_waiting());
        }
    }

    #[test]
    fn malformed_bytes_are_replaced_and_incomplete_ones_wait() {
        let mut detokenizer = Detokenizer::new();
        assert_eq!(detokenizer.push(b"a\xFFb\xE2\x82"), "a\u{FFFD}b");
        assert!(detokenizer.is_waiting());
        assert_eq!(detokenizer.push(b""), "");
        assert_eq!(detokenizer.push(b"c"), "\u{FFFD}c");
        assert_eq!(detokenizer.push(b"\xF0\x9F"), "");
        assert_eq!(
            detokenizer.push(b"\xF0"),
            "\u{FFFD}",
            "the first beginning is lost"
        );
        assert_eq!(
            detokenizer.push(b"\x9F\x98\x80"),
            "😀",
            "the second one ends well"
        );
    }

    #[test]
    fn any_bytes_give_what_the_standard_library_gives_at_once() {
        let mut seed = 1_u32;
        for _ in 0..500 {
            let mut detokenizer = Detokenizer::new();
            let (mut all, mut out) = (Vec::new(), String::new());
            for _ in 0..12 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let lead = [
                    0x41, 0x80, 0xC3, 0xA9, 0xE2, 0x82, 0xAC, 0xF0, 0x9F, 0x98, 0xFF, 0xED,
                ];
                let byte = lead[(seed >> 16) as usize % lead.len()];
                all.push(byte);
                out.push_str(&detokenizer.push(&[byte]));
            }
            out.push_str(if detokenizer.is_waiting() {
                "\u{FFFD}"
            } else {
                ""
            });
            assert_eq!(out, String::from_utf8_lossy(&all), "{all:02X?}");
        }
    }
}
