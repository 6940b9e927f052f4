//! Lists of the states of credentials (W3C Bitstring Status List 1.0): one bit for each, so that whoever asks for the
//! list does not say whose credential he looks at.

use std::io::{Read, Write};

use data_encoding::BASE64URL_NOPAD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};

/// Credentials of one list: the fewest that the standard allows, for a crowd to hide in (section 6.1).
pub const LIST_LENGTH: u32 = 131_072;
/// Bits of a foreign list at most.
const LENGTH_MAX: u64 = 1 << 24;

/// The context of credentials (W3C Verifiable Credentials Data Model 2.0, section 4.3).
pub(crate) const CONTEXT: &str = "https://www.w3.org/ns/credentials/v2";

/// A list of bits that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no list of states: base64url of a gzip of 131,072 to 16,777,216 bits")]
pub struct BadList;

/// States of credentials by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusList(Vec<u8>);

impl StatusList {
    /// With these places set.
    pub fn of(places: impl IntoIterator<Item = u32>) -> Self {
        let mut bits = vec![0; LIST_LENGTH as usize / 8];
        for place in places {
            if let Some(byte) = bits.get_mut(place as usize / 8) {
                // The first bit is the most significant one (section 3.2).
                *byte |= 0x80 >> (place % 8);
            }
        }
        Self(bits)
    }

    /// Whether a place is set; none where the list does not reach so far.
    pub fn get(&self, place: u64) -> Option<bool> {
        let byte = self.0.get(usize::try_from(place / 8).ok()?)?;
        Some(byte & (0x80 >> (place % 8)) != 0)
    }

    /// As it stands in a credential.
    pub fn encode(&self) -> String {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let written = encoder.write_all(&self.0).and_then(|()| encoder.finish());
        let bytes = written.expect("memory takes everything");
        format!("u{}", BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads what stands in a credential.
    ///
    /// # Errors
    /// When it is none, or too short or too long.
    pub fn decode(text: &str) -> Result<Self, BadList> {
        let text = text.strip_prefix('u').ok_or(BadList)?;
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| BadList)?;
        let mut bits = Vec::new();
        let mut decoder = GzDecoder::new(&bytes[..]).take(LENGTH_MAX / 8 + 1);
        decoder.read_to_end(&mut bits).map_err(|_| BadList)?;
        let length = bits.len() as u64 * 8;
        let bearable = (u64::from(LIST_LENGTH)..=LENGTH_MAX).contains(&length);
        bearable.then_some(Self(bits)).ok_or(BadList)
    }
}

/// The list as a credential that is not yet signed.
pub fn list_credential(
    url: &str,
    issuer: &str,
    valid_from: &str,
    list: &StatusList,
) -> Map<String, Value> {
    let credential = json!({
        "@context": [CONTEXT],
        "id": url,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": issuer,
        "validFrom": valid_from,
        "credentialSubject": {
            "id": format!("{url}#list"),
            "type": "BitstringStatusList",
            "statusPurpose": "revocation",
            "encodedList": list.encode()
        }
    });
    match credential {
        Value::Object(credential) => credential,
        _ => unreachable!("an object was written"),
    }
}

/// What a credential says of where its state stands.
pub fn entry(url: &str, place: u32) -> Value {
    json!({
        "id": format!("{url}#{place}"),
        "type": "BitstringStatusListEntry",
        "statusPurpose": "revocation",
        "statusListIndex": place.to_string(),
        "statusListCredential": url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_set_from_the_left() {
        let list = StatusList::of([0, 9, LIST_LENGTH - 1]);
        assert_eq!(&list.0[..2], [0x80, 0x40]);
        for place in 0..u64::from(LIST_LENGTH) {
            let set = [0, 9, u64::from(LIST_LENGTH) - 1].contains(&place);
            assert_eq!(list.get(place), Some(set), "{place}");
        }
        assert_eq!(list.get(u64::from(LIST_LENGTH)), None);
        assert_eq!(StatusList::decode(&list.encode()), Ok(list));
    }

    /// The list of the standard's example in section 2.2: nothing is set.
    #[test]
    fn the_standards_example_is_read() {
        let text = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA";
        let list = StatusList::decode(text).expect("a list");
        assert_eq!(list, StatusList::of([]));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let short = {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&[0; 16_383]).expect("memory");
            format!(
                "u{}",
                BASE64URL_NOPAD.encode(&encoder.finish().expect("memory"))
            )
        };
        let bomb = {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&vec![0; 64 << 20]).expect("memory");
            format!(
                "u{}",
                BASE64URL_NOPAD.encode(&encoder.finish().expect("memory"))
            )
        };
        let good = StatusList::of([3]).encode();
        for bad in [
            "",
            "u",
            "uAAAA",
            &good[1..],
            &good[..good.len() - 20],
            &short,
            &bomb,
        ] {
            assert_eq!(StatusList::decode(bad), Err(BadList), "{:.40}", bad);
        }
    }
}
