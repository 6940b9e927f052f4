//! A key file as text, four lines:
//!
//! ```text
//! kwaainet-node-key 1
//! node <the public key: 64 hexadecimal digits>
//! seal none
//! key <the secret key: 64 hexadecimal digits>
//! ```
//!
//! or, sealed with a passphrase, with its parameters in the third line and the encrypted key in the fourth. The
//! seal covers the first three lines too.

use data_encoding::HEXLOWER;
use kwaainet_core::NodeId;
use zeroize::Zeroizing;

use crate::NodeKey;
use crate::seal::{Cost, Passphrase, Seal};

const KIND: &str = "kwaainet-node-key";
const VERSION: &str = "1";
/// Bytes of a whole file at most.
pub(super) const FILE_MAX: usize = 4_096;

/// What is wrong with a text.
pub(super) enum BadText {
    /// A later version of this program wrote it.
    Newer,
    /// It is another, or cut.
    Malformed(&'static str),
}

/// A file's parts, each of the right form.
pub(super) struct Parsed<'a> {
    pub(super) node: NodeId,
    pub(super) seal: Option<Seal>,
    /// As it stands in the file: 32 bytes, or 48 if they are sealed.
    pub(super) key: Zeroizing<Vec<u8>>,
    /// The lines before the key.
    pub(super) open: &'a str,
}

/// Reads a text; there is one for each key and seal.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<'_>, BadText> {
    if bytes.len() > FILE_MAX {
        return Err(BadText::Malformed("it is too long for one"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| BadText::Malformed("it is no text"))?;
    let first = text.split('\n').next().unwrap_or(text);
    match first.split_once(' ') {
        Some((KIND, VERSION)) => {}
        Some((KIND, version)) if version.parse::<u32>().is_ok() => return Err(BadText::Newer),
        _ => return Err(BadText::Malformed("it does not begin like a key file")),
    }
    let body = text.strip_suffix('\n');
    let body = body.ok_or(BadText::Malformed("it ends too early"))?;
    let lines: Vec<_> = body.split('\n').collect();
    let [_, node, seal, key] = lines[..] else {
        return Err(BadText::Malformed("a key file has four lines"));
    };
    let open = &text[..text.len() - key.len() - 1];
    let node = node.strip_prefix("node ").and_then(hex);
    let node = node.and_then(|bytes| Some(NodeId(bytes.as_slice().try_into().ok()?)));
    let node = node.ok_or(BadText::Malformed(
        "its second line is not 'node' and an id",
    ))?;
    let seal = match seal.strip_prefix("seal ") {
        Some("none") => None,
        Some(text) => Some(Seal::parse(text).ok_or(BadText::Malformed("its seal is unknown"))?),
        None => return Err(BadText::Malformed("its third line is not 'seal'")),
    };
    let length = if seal.is_some() { 48 } else { 32 };
    let key = key.strip_prefix("key ").and_then(hex);
    let key = key.filter(|key| key.len() == length);
    let key = key.ok_or(BadText::Malformed("its fourth line is not 'key' and a key"))?;
    Ok(Parsed {
        node,
        seal,
        key,
        open,
    })
}

/// The text of a key, sealed if there is a passphrase.
pub(super) fn render(
    key: &NodeKey,
    passphrase: Option<&Passphrase>,
    cost: Cost,
) -> Zeroizing<String> {
    let head = format!("{KIND} {VERSION}\nnode {}\n", key.id());
    let (open, key) = match passphrase {
        None => {
            let key = HEXLOWER.encode(&*key.seed());
            (format!("{head}seal none\n"), Zeroizing::new(key))
        }
        Some(passphrase) => {
            let seal = Seal::fresh(cost);
            let open = format!("{head}seal {}\n", seal.text());
            let sealed = seal.seal(passphrase, &key.seed(), open.as_bytes());
            (open, Zeroizing::new(HEXLOWER.encode(&sealed)))
        }
    };
    Zeroizing::new(format!("{open}key {}\n", *key))
}

fn hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    HEXLOWER.decode(text.as_bytes()).ok().map(Zeroizing::new)
}
