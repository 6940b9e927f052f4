//! The grammar of EIP-4361, section "ABNF Message Format", line by line; Solana's differs in leaving out what is empty.

use std::iter::Peekable;
use std::str::FromStr;
use std::str::Split;

use super::{KEY_KIND, SignInText};
use crate::credential::is_uri;
use crate::timestamp::parse_timestamp;

/// Bytes of a text at most.
const TEXT_MAX: usize = 8_192;
const RESOURCES_MAX: usize = 32;

/// A text that the grammar does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is no sign-in message: {0}")]
pub struct BadText(pub &'static str);

type Lines<'a> = Peekable<Split<'a, char>>;

impl FromStr for SignInText {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.len() > TEXT_MAX {
            return Err(BadText("it is too long"));
        }
        let mut lines = text.split('\n').peekable();
        let (scheme, domain, kind) = head(lines.next().unwrap_or(""))?;
        let address = lines.next().unwrap_or("");
        if address.is_empty() || !address.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(BadText("its second line is no address"));
        }
        blank(&mut lines, "its third line is not empty")?;
        let statement = statement(&mut lines, kind)?;
        let uri = field(&mut lines, "URI: ", is_uri)?.ok_or(BadText("it has no URI"))?;
        let version = field(&mut lines, "Version: ", |version| version == "1")?;
        version.ok_or(BadText("it has no Version"))?;
        let chain_id = field(&mut lines, "Chain ID: ", |chain| is_chain(kind, chain))?;
        if chain_id.is_some() == (kind == KEY_KIND) && kind != "Solana" {
            return Err(BadText("its Chain ID is missing, or should not be there"));
        }
        let nonce = field(&mut lines, "Nonce: ", is_nonce)?.ok_or(BadText("it has no Nonce"))?;
        let issued_at = field(&mut lines, "Issued At: ", is_time)?;
        let issued_at = issued_at.ok_or(BadText("it has no Issued At"))?;
        let expiration_time = field(&mut lines, "Expiration Time: ", is_time)?;
        let not_before = field(&mut lines, "Not Before: ", is_time)?;
        let request_id = field(&mut lines, "Request ID: ", is_request_id)?;
        let resources = resources(&mut lines)?;
        if lines.next().is_some() {
            return Err(BadText("something in it is unknown, or not in its place"));
        }
        Ok(Self {
            scheme: scheme.map(str::to_owned),
            domain: domain.to_owned(),
            kind: kind.to_owned(),
            address: address.to_owned(),
            statement,
            uri,
            chain_id,
            nonce,
            issued_at,
            expiration_time,
            not_before,
            request_id,
            resources,
        })
    }
}

/// The scheme, the domain and the kind of account of the first line.
fn head(line: &str) -> Result<(Option<&str>, &str, &str), BadText> {
    let bad = BadText("its first line is another");
    let (asker, rest) = line
        .split_once(" wants you to sign in with your ")
        .ok_or(bad.clone())?;
    let kind = rest.strip_suffix(" account:").ok_or(bad)?;
    if !["Ethereum", "Solana", KEY_KIND].contains(&kind) {
        return Err(BadText("its kind of account is unknown"));
    }
    let (scheme, domain) = match asker.split_once("://") {
        Some((scheme, domain)) => (Some(scheme), domain),
        None => (None, asker),
    };
    let is_scheme = |scheme: &str| is_uri(&format!("{scheme}:x"));
    if !scheme.is_none_or(is_scheme) || !is_authority(domain) {
        return Err(BadText("its domain is none"));
    }
    Ok((scheme, domain, kind))
}

/// The statement and the empty lines around it.
fn statement(lines: &mut Lines<'_>, kind: &str) -> Result<Option<String>, BadText> {
    if kind != "Ethereum" && lines.peek().is_some_and(|line| line.starts_with("URI: ")) {
        return Ok(None);
    }
    let line = lines.next().unwrap_or("");
    if line.is_empty() {
        return Ok(None);
    }
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b" -._~:/?#[]@!$&'()*+,;=".contains(&c);
    if !line.bytes().all(allowed) {
        return Err(BadText(
            "its statement has other characters than are allowed",
        ));
    }
    blank(lines, "no empty line follows its statement")?;
    Ok(Some(line.to_owned()))
}

fn blank(lines: &mut Lines<'_>, otherwise: &'static str) -> Result<(), BadText> {
    match lines.next() {
        Some("") => Ok(()),
        _ => Err(BadText(otherwise)),
    }
}

/// The value of the next line, if it is this field's.
fn field(
    lines: &mut Lines<'_>,
    label: &str,
    is_good: impl Fn(&str) -> bool,
) -> Result<Option<String>, BadText> {
    let Some(value) = lines.peek().and_then(|line| line.strip_prefix(label)) else {
        return Ok(None);
    };
    lines.next();
    if !is_good(value) {
        return Err(BadText("one of its fields has a value that is none"));
    }
    Ok(Some(value.to_owned()))
}

fn resources(lines: &mut Lines<'_>) -> Result<Vec<String>, BadText> {
    let mut resources = Vec::new();
    if lines.peek() != Some(&"Resources:") {
        return Ok(resources);
    }
    lines.next();
    while let Some(resource) = lines.peek().and_then(|line| line.strip_prefix("- ")) {
        if !is_uri(resource) || resources.len() == RESOURCES_MAX {
            return Err(BadText("its resources are too many, or no URIs"));
        }
        resources.push(resource.to_owned());
        lines.next();
    }
    Ok(resources)
}

/// RFC 3986, section 3.2, without user information, which could pass for a domain.
fn is_authority(text: &str) -> bool {
    let clean = |c: u8| c.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,;=".contains(&c);
    !text.is_empty() && text.len() <= 300 && text.bytes().all(clean)
}

fn is_chain(kind: &str, chain: &str) -> bool {
    match kind {
        "Ethereum" => chain.parse::<u64>().is_ok() && chain.bytes().all(|c| c.is_ascii_digit()),
        _ => {
            (1..=64).contains(&chain.len())
                && chain
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b':')
        }
    }
}

fn is_nonce(nonce: &str) -> bool {
    (8..=128).contains(&nonce.len()) && nonce.bytes().all(|c| c.is_ascii_alphanumeric())
}

fn is_time(text: &str) -> bool {
    parse_timestamp(text).is_some()
}

/// `*pchar` (RFC 3986, section 3.3).
fn is_request_id(text: &str) -> bool {
    let clean = |c: u8| c.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@".contains(&c);
    text.bytes().all(clean)
}
