//! Names of people and nodes: `did:key` (W3C CCG, "The did:key Method"), `did:pkh` (W3C CCG, "did:pkh Method
//! Specification") and `did:web` (W3C CCG, "did:web Method Specification"). A [`Did`] was read whole.

use std::fmt;
use std::str::FromStr;

use crate::account::Account;
use crate::public_key::PublicKey;

/// Characters of a DID at most.
const DID_MAX: usize = 512;

/// A name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Did {
    /// A key.
    Key(PublicKey),
    /// An account on a chain.
    Pkh(Account),
    /// Whoever has a place on the web.
    Web(WebDid),
}

/// Why a text is no DID of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDid {
    /// It is none at all, or malformed in its method.
    #[error("this is no DID of the methods key, pkh or web")]
    Malformed,
    /// It is one of a method that this node does not know.
    #[error("this node resolves the methods key, pkh and web only")]
    Method,
}

/// A place on the web: where the document is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WebDid {
    /// The host's name.
    pub(crate) host: String,
    /// The port, if it is not the usual one.
    pub(crate) port: Option<u16>,
    /// The folders below it.
    pub(crate) path: Vec<String>,
}

impl WebDid {
    /// The document's place, without its scheme: `example.com/.well-known/did.json`.
    pub(crate) fn place(&self) -> String {
        let authority = match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        };
        match &self.path[..] {
            [] => format!("{authority}/.well-known/did.json"),
            path => format!("{authority}/{}/did.json", path.join("/")),
        }
    }

    fn parse(id: &str) -> Option<Self> {
        let mut parts = id.split(':');
        let authority = parts.next()?;
        let (host, port) = match authority.split_once("%3A").or(authority.split_once("%3a")) {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => (authority, None),
        };
        let path: Vec<_> = parts.map(str::to_owned).collect();
        let is_segment = |segment: &String| {
            let clean = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
            !segment.is_empty()
                && segment.bytes().all(clean)
                && !segment.trim_matches('.').is_empty()
        };
        (is_host(host) && path.iter().all(is_segment)).then(|| Self {
            host: host.to_ascii_lowercase(),
            port,
            path,
        })
    }
}

/// A name of the domain name system, not an address of the network: labels of letters, digits and hyphens, the
/// last not all digits (RFC 1123, section 2.1).
pub(crate) fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or("");
    host.len() <= 253
        && host.split('.').all(is_label)
        && !last.bytes().all(|c| c.is_ascii_digit())
        // Some resolvers read this as a number, too.
        && !last.to_ascii_lowercase().starts_with("0x")
}

impl Did {
    /// A name of a place on the web by its authority, `example.com` or `example.com:8443`.
    pub fn web(authority: &str) -> Option<Self> {
        WebDid::parse(&authority.replace(':', "%3A")).map(Self::Web)
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "did:key:{key}"),
            Self::Pkh(account) => write!(f, "did:pkh:{account}"),
            Self::Web(web) => {
                write!(f, "did:web:{}", web.host)?;
                if let Some(port) = web.port {
                    write!(f, "%3A{port}")?;
                }
                web.path.iter().try_for_each(|part| write!(f, ":{part}"))
            }
        }
    }
}

impl FromStr for Did {
    type Err = BadDid;

    fn from_str(text: &str) -> Result<Self, BadDid> {
        let rest = text.strip_prefix("did:").filter(|_| text.len() <= DID_MAX);
        let (method, id) = rest
            .and_then(|rest| rest.split_once(':'))
            .ok_or(BadDid::Malformed)?;
        match method {
            "key" => id.parse().map(Self::Key).map_err(|_| BadDid::Malformed),
            "pkh" => id.parse().map(Self::Pkh).map_err(|_| BadDid::Malformed),
            "web" => WebDid::parse(id).map(Self::Web).ok_or(BadDid::Malformed),
            _ if !method.is_empty()
                && method
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                && !id.is_empty() =>
            {
                Err(BadDid::Method)
            }
            _ => Err(BadDid::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_written_as_it_was_read() {
        for did in [
            "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
            "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169",
            "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
            "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a",
            "did:web:example.com",
            "did:web:example.com%3A3000",
            "did:web:example.com:user:alice",
        ] {
            let read: Did = did.parse().expect("it is one");
            assert_eq!(read.to_string(), did);
        }
    }

    /// The examples of the did:web method's section "Read (Resolve)".
    #[test]
    fn a_place_on_the_web_has_one_document() {
        for (did, place) in [
            (
                "did:web:w3c-ccg.github.io",
                "w3c-ccg.github.io/.well-known/did.json",
            ),
            (
                "did:web:w3c-ccg.github.io:user:alice",
                "w3c-ccg.github.io/user/alice/did.json",
            ),
            (
                "did:web:example.com%3A3000:user:alice",
                "example.com:3000/user/alice/did.json",
            ),
        ] {
            let Ok(Did::Web(web)) = did.parse() else {
                panic!("{did}");
            };
            assert_eq!(web.place(), place);
        }
        assert_eq!(
            Did::web("example.com:8443").map(|did| did.to_string()),
            Some("did:web:example.com%3A8443".to_owned())
        );
    }

    #[test]
    fn what_could_lead_elsewhere_is_no_name() {
        for bad in [
            "",
            "did",
            "did:key",
            "did:key:",
            "did:key:z6Mk",
            "did:web:",
            "did:web:127.0.0.1",
            "did:web:0x7f000001",
            "did:web:2130706433",
            "did:web:[::1]",
            "did:web:a@example.com",
            "did:web:example.com%3A",
            "did:web:example.com%3A0",
            "did:web:example.com%3A99999",
            "did:web:example.com%2Fx",
            "did:web:example.com:..",
            "did:web:example.com:%2e%2e",
            "did:web:example.com:a?b",
            "did:web:example.com::a",
            "did:web:-example.com",
            "did:web:example..com",
            "did:web:exa mple.com",
            "DID:web:example.com",
        ] {
            assert_eq!(bad.parse::<Did>(), Err(BadDid::Malformed), "{bad}");
        }
        assert_eq!("did:ion:abc".parse::<Did>(), Err(BadDid::Method));
        let long = format!("did:web:{}com", "a.".repeat(300));
        assert_eq!(long.parse::<Did>(), Err(BadDid::Malformed));
    }
}
