//! Base58 with Bitcoin's alphabet (draft-msporny-base58), for names of keys: short inputs only, since the time
//! grows with the square of the length.

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// Characters of a name at most. Those of Ed25519 keys have some fifty.
const TEXT_MAX: usize = 128;

/// Bytes as text. Each leading zero byte is a `1`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    // Lowest digit first.
    let mut digits: Vec<u8> = Vec::new();
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| &0);
    let letter = |digit: &u8| char::from(ALPHABET[usize::from(*digit)]);
    zeros.chain(digits.iter().rev()).map(letter).collect()
}

/// Text as bytes; none where it is too long or has other letters.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > TEXT_MAX {
        return None;
    }
    // Lowest byte first.
    let mut bytes: Vec<u8> = Vec::new();
    for letter in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == letter)?;
        let mut carry = digit as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(carry as u8);
            carry >>= 8;
        }
    }
    let zeros = text.bytes().take_while(|letter| *letter == b'1').count();
    bytes.extend(std::iter::repeat_n(0, zeros));
    bytes.reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of draft-msporny-base58-03, section 5.
    #[test]
    fn the_drafts_examples_are_right() {
        for (bytes, text) in [
            (&b"Hello World!"[..], "2NEpo7TZRRrLZSi2U"),
            (
                b"The quick brown fox jumps over the lazy dog.",
                "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
            ),
            (&[0, 0, 0x28, 0x7F, 0xB4, 0xCD], "11233QC4"),
        ] {
            assert_eq!(encode(bytes), text);
            assert_eq!(decode(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn leading_zeros_and_foreign_letters_are_seen() {
        for bytes in [&[][..], &[0], &[0, 0, 0], &[0, 1], &[255; 40]] {
            assert_eq!(decode(&encode(bytes)).as_deref(), Some(bytes));
        }
        for bad in ["0", "O", "I", "l", " 2", "é"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode(&"2".repeat(TEXT_MAX + 1)), None);
    }
}
