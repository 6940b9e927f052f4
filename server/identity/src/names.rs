//! The other names of a node's key. All three are the same 32 bytes, so none needs a table.

use kwaainet_core::NodeId;

use crate::base58;

/// Says "an Ed25519 public key": the multicodec `ed25519-pub`, 0xed, as a varint.
const DID_PREFIX: [u8; 2] = [0xED, 0x01];
/// The identity multihash (0x00) of 36 bytes (0x24): libp2p's `PublicKey` message with type Ed25519 (0x08 0x01)
/// and 32 bytes of data (0x12 0x20).
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// A text that names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no node: 64 hexadecimal digits, did:key:z6Mk... or 12D3Koo...")]
pub struct BadNodeName(String);

/// As a DID: `did:key:z6Mk...` (W3C CCG, "The did:key Method v0.7").
pub fn did_key(node: NodeId) -> String {
    let bytes = [&DID_PREFIX[..], &node.0].concat();
    format!("did:key:z{}", base58::encode(&bytes))
}

/// As a libp2p `PeerId`: `12D3Koo...` (libp2p specifications, "Peer Ids and Keys").
pub fn peer_id(node: NodeId) -> String {
    base58::encode(&[&PEER_PREFIX[..], &node.0].concat())
}

/// The node of any of its names.
///
/// # Errors
/// When it is none.
pub fn node_of_name(name: &str) -> Result<NodeId, BadNodeName> {
    let bad = || BadNodeName(name.chars().take(80).collect());
    let (text, prefix) = match name.strip_prefix("did:key:z") {
        Some(text) => (text, &DID_PREFIX[..]),
        None if name.starts_with("12D3Koo") => (name, &PEER_PREFIX[..]),
        None => return name.parse().map_err(|_| bad()),
    };
    let bytes = base58::decode(text).ok_or_else(bad)?;
    let key = bytes.strip_prefix(prefix).ok_or_else(bad)?;
    Ok(NodeId(key.try_into().map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;

    fn id(seed: &str) -> NodeId {
        let seed = data_encoding::HEXLOWER.decode(seed.as_bytes());
        let seed: Vec<u8> = seed.expect("hexadecimal digits");
        NodeKey::from_seed(&seed.try_into().expect("32 bytes")).id()
    }

    /// Seeds and DIDs of the method's own test vectors (github.com/w3c-ccg/did-method-key,
    /// test-vectors/ed25519-x25519.json, W3C Software and Document License).
    #[test]
    fn dids_are_those_of_the_methods_test_vectors() {
        for (last, did) in [
            (0, "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"),
            (1, "z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG"),
            (2, "z6MknGc3ocHs3zdPiJbnaaqDi58NGb4pk1Sp9WxWufuXSdxf"),
            (3, "z6MkvqoYXQfDDJRv8L4wKzxYeuKyVZBfi9Qo6Ro8MiLH3kDQ"),
            (4, "z6MkwW6aqMnjgrhJXFUko3NnZPGzVpkNzhYK7yEhnsibmLwL"),
        ] {
            assert_eq!(
                did_key(id(&format!("{last:064}"))),
                format!("did:key:{did}")
            );
        }
    }

    /// The Ed25519 key of libp2p's specification (github.com/libp2p/specs, peer-ids, "Test vectors"), and its peer
    /// id as libp2p's own implementations give it (rust-libp2p, identity, MIT).
    #[test]
    fn peer_ids_are_those_of_libp2p() {
        let seed = "7e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d";
        let public = "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
        assert_eq!(id(seed).to_string(), public);
        let name = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
        assert_eq!(peer_id(id(seed)), name);
    }

    #[test]
    fn every_name_leads_back_to_the_node() {
        let node = NodeKey::generate().id();
        for name in [node.to_string(), did_key(node), peer_id(node)] {
            assert_eq!(node_of_name(&name), Ok(node), "{name}");
            assert!(node_of_name(&name[..name.len() - 1]).is_err());
            assert!(node_of_name(&format!("{name}1")).is_err());
        }
        // A DID of another kind of key: P-256.
        let other = "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169";
        assert!(node_of_name(other).is_err());
        assert!(node_of_name("").is_err());
    }
}
