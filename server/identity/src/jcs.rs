//! JSON in its one canonical form (RFC 8785), so that it can be signed.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The canonical bytes of an object.
///
/// # Panics
/// Never: what is JSON already can be written.
pub fn canonical(object: &Map<String, Value>) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(object).expect("JSON can be written as JSON")
}

/// Their SHA-256.
pub(crate) fn hash(object: &Map<String, Value>) -> [u8; 32] {
    Sha256::digest(canonical(object)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8785, section 3.2.2 and 3.2.3.
    #[test]
    fn the_rfcs_example_is_right() {
        let text = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        let object: Map<String, Value> = serde_json::from_str(text).expect("JSON");
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                        \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(String::from_utf8_lossy(&canonical(&object)), expected);
    }

    /// RFC 8785, section 3.2.3: by UTF-16 code units.
    #[test]
    fn names_are_in_the_order_of_utf_16() {
        let text = r#"{"\u20ac": 0, "\r": 0, "\ufb33": 0, "1": 0, "\ud83d\ude00": 0, "\u0080": 0, "\u00f6": 0}"#;
        let object: Map<String, Value> = serde_json::from_str(text).expect("JSON");
        let canonical = String::from_utf8(canonical(&object)).expect("UTF-8");
        let expected = "{\"\\r\":0,\"1\":0,\"\u{80}\":0,\"ö\":0,\"€\":0,\"😀\":0,\"\u{fb33}\":0}";
        assert_eq!(canonical, expected);
    }
}
