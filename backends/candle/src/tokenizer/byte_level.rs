//! The alphabet in which byte-level vocabularies spell bytes: printable Latin-1 stands for
//! itself, the other 68 bytes for the code points from U+0100 on, in order (GPT-2's encoder).

const FIRST_SUBSTITUTE: u32 = 0x100;

/// The bytes that a token of such a vocabulary stands for; none if a character is not of the
/// alphabet, which only tokens that are matched as written can afford.
pub(super) fn decode(piece: &str) -> Option<Vec<u8>> {
    piece.chars().map(byte_of).collect()
}

fn byte_of(letter: char) -> Option<u8> {
    let code = u32::from(letter);
    match u8::try_from(code) {
        Ok(byte) => is_itself(byte).then_some(byte),
        Err(_) => substituted().nth((code - FIRST_SUBSTITUTE) as usize),
    }
}

fn substituted() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).filter(|byte| !is_itself(*byte))
}

fn is_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_letter() {
        let mut seen: Vec<u8> = ('\0'..'\u{200}').filter_map(byte_of).collect();
        seen.sort_unstable();
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn known_letters() {
        assert_eq!(decode("ĠHi"), Some(b" Hi".to_vec()));
        assert_eq!(decode("Ċ"), Some(b"\n".to_vec()));
        assert_eq!(decode("Ã©"), Some("é".as_bytes().to_vec()));
        assert_eq!(decode("a b"), None);
        assert_eq!(decode("\u{10FFFF}"), None);
    }
}
