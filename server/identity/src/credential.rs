//! Verifiable credentials and presentations as text (W3C Verifiable Credentials Data Model 2.0): what they must have,
//! read into types. Nothing is checked here against anybody's word.

use serde_json::{Map, Value};

use crate::status::CONTEXT;
use crate::timestamp::parse_timestamp;

/// Credentials of a presentation, subjects and states of a credential, proofs of either, at most.
pub(crate) const PARTS_MAX: usize = 16;

/// Why something is not accepted. The problem types are the standards' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It lacks what it must have, or has it in another form.
    #[error("{0}")]
    Malformed(String),
    /// Its proof is not good.
    #[error("{0}")]
    Proof(String),
    /// It is not yet good, or not any more.
    #[error("the credential is {0}")]
    Time(&'static str),
    /// It was revoked or suspended.
    #[error("the credential's state is '{0}'")]
    Status(String),
    /// Its state cannot be told, so that it counts as not good.
    #[error("the credential's state cannot be told: {0}")]
    StatusUnknown(String),
}

impl Problem {
    /// Its type, as a problem report (RFC 9457) has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "https://www.w3.org/TR/vc-data-model#MALFORMED_VALUE_ERROR",
            Self::Proof(_) => "https://www.w3.org/TR/vc-data-model#CRYPTOGRAPHIC_SECURITY_ERROR",
            Self::Time(_) => "https://www.w3.org/TR/vc-data-model#RANGE_ERROR",
            Self::Status(_) => {
                "https://www.w3.org/ns/credentials/status-list#STATUS_VERIFICATION_ERROR"
            }
            Self::StatusUnknown(_) => {
                "https://www.w3.org/ns/credentials/status-list#STATUS_RETRIEVAL_ERROR"
            }
        }
    }
}

/// Where a credential's state stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEntry {
    /// The list's URL.
    pub list: String,
    /// The place in it.
    pub place: u64,
    /// `revocation` or `suspension`.
    pub purpose: String,
}

/// What a credential says, as far as it has to be understood.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The issuer's id.
    pub issuer: String,
    /// Its own id, if it has one.
    pub id: Option<String>,
    /// The ids of those whom it is about; none of those who have none.
    pub subjects: Vec<String>,
    /// Its types.
    pub types: Vec<String>,
    /// From when on it is good: milliseconds since 1970, as all times here.
    pub valid_from_ms: Option<i64>,
    /// Until when.
    pub valid_until_ms: Option<i64>,
    /// Its states.
    pub statuses: Vec<StatusEntry>,
}

impl Credential {
    /// Reads one.
    ///
    /// # Errors
    /// When it lacks what it must have.
    pub fn read(text: &Map<String, Value>) -> Result<Self, Problem> {
        let types = types(text, "VerifiableCredential")?;
        let issuer = match text.get("issuer") {
            Some(Value::Object(issuer)) => issuer.get("id").and_then(Value::as_str),
            issuer => issuer.and_then(Value::as_str),
        };
        let issuer = issuer.filter(|issuer| is_uri(issuer));
        let issuer =
            issuer.ok_or_else(|| malformed("'issuer' is no URL, and has none as its id"))?;
        let id = match text.get("id") {
            None => None,
            Some(id) => Some(uri(id).ok_or_else(|| malformed("'id' is no URL"))?),
        };
        let subjects = one_or_more(text, "credentialSubject")?;
        if subjects.is_empty() {
            return Err(malformed("'credentialSubject' is missing"));
        }
        let mut ids = Vec::new();
        for subject in subjects {
            if subject.is_empty() {
                return Err(malformed("a 'credentialSubject' says nothing"));
            }
            if let Some(id) = subject.get("id") {
                ids.push(uri(id).ok_or_else(|| malformed("a subject's 'id' is no URL"))?);
            }
        }
        let statuses = one_or_more(text, "credentialStatus")?;
        let statuses = statuses.into_iter().map(status).collect::<Result<_, _>>()?;
        let (valid_from_ms, valid_until_ms) = (date(text, "validFrom")?, date(text, "validUntil")?);
        if valid_until_ms.is_some_and(|end| valid_from_ms.is_some_and(|start| end < start)) {
            return Err(malformed("'validUntil' is before 'validFrom'"));
        }
        Ok(Self {
            issuer: issuer.to_owned(),
            id,
            subjects: ids,
            types,
            valid_from_ms,
            valid_until_ms,
            statuses,
        })
    }

    /// Sees that it is good at this time.
    ///
    /// # Errors
    /// When it is not.
    pub fn is_valid_at(&self, now_ms: i64) -> Result<(), Problem> {
        if self.valid_from_ms.is_some_and(|start| now_ms < start) {
            return Err(Problem::Time("not valid yet"));
        }
        if self.valid_until_ms.is_some_and(|end| now_ms >= end) {
            return Err(Problem::Time("not valid any more"));
        }
        Ok(())
    }
}

/// What a presentation says.
#[derive(Clone, Debug)]
pub struct Presentation<'a> {
    /// Who shows it.
    pub holder: Option<String>,
    /// What is shown.
    pub credentials: Vec<&'a Map<String, Value>>,
}

impl<'a> Presentation<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// When it lacks what it must have.
    pub fn read(text: &'a Map<String, Value>) -> Result<Self, Problem> {
        types(text, "VerifiablePresentation")?;
        let holder = match text.get("holder") {
            None => None,
            Some(Value::Object(holder)) => holder.get("id").and_then(uri),
            Some(holder) => uri(holder),
        };
        if text.contains_key("holder") && holder.is_none() {
            return Err(malformed("'holder' is no URL, and has none as its id"));
        }
        Ok(Self {
            holder,
            credentials: one_or_more(text, "verifiableCredential")?,
        })
    }
}

fn malformed(reason: &str) -> Problem {
    Problem::Malformed(reason.to_owned())
}

/// Sees the context, which comes first, and gives the types, of which `needed` is one.
fn types(text: &Map<String, Value>, needed: &str) -> Result<Vec<String>, Problem> {
    let first = match text.get("@context") {
        Some(Value::Array(contexts)) => contexts.first(),
        context => context,
    };
    if first.and_then(Value::as_str) != Some(CONTEXT) {
        return Err(Problem::Malformed(format!(
            "'@context' does not begin with {CONTEXT}"
        )));
    }
    let types: Option<Vec<String>> = match text.get("type") {
        Some(Value::Array(types)) if types.len() <= PARTS_MAX => {
            let text = |word: &Value| word.as_str().map(str::to_owned);
            types.iter().map(text).collect()
        }
        Some(Value::String(word)) => Some(vec![word.clone()]),
        _ => None,
    };
    types
        .filter(|types| types.iter().any(|word| word == needed))
        .ok_or_else(|| Problem::Malformed(format!("'type' does not have '{needed}'")))
}

/// A field's objects; it may have one, several or none.
pub(crate) fn one_or_more<'a>(
    text: &'a Map<String, Value>,
    field: &str,
) -> Result<Vec<&'a Map<String, Value>>, Problem> {
    let objects: Option<Vec<_>> = match text.get(field) {
        None => Some(Vec::new()),
        Some(Value::Object(one)) => Some(vec![one]),
        Some(Value::Array(several)) if (1..=PARTS_MAX).contains(&several.len()) => {
            several.iter().map(Value::as_object).collect()
        }
        Some(_) => None,
    };
    objects.ok_or_else(|| {
        Problem::Malformed(format!(
            "'{field}' is neither an object nor 1 to {PARTS_MAX} of them"
        ))
    })
}

fn date(text: &Map<String, Value>, field: &str) -> Result<Option<i64>, Problem> {
    let Some(value) = text.get(field) else {
        return Ok(None);
    };
    let read = value.as_str().and_then(parse_timestamp);
    let bad = || Problem::Malformed(format!("'{field}' is no date and time with a zone"));
    read.map(Some).ok_or_else(bad)
}

fn status(entry: &Map<String, Value>) -> Result<StatusEntry, Problem> {
    let text = |field: &str| entry.get(field).and_then(Value::as_str);
    let unknown = |reason: &str| Problem::StatusUnknown(reason.to_owned());
    if text("type") != Some("BitstringStatusListEntry") {
        return Err(unknown(
            "its 'credentialStatus' is not a BitstringStatusListEntry",
        ));
    }
    let purpose = text("statusPurpose").unwrap_or("");
    // A message, or a purpose of somebody's own, would have to be understood.
    if !["revocation", "suspension"].contains(&purpose) {
        return Err(unknown(
            "its statusPurpose is neither revocation nor suspension",
        ));
    }
    if entry.get("statusSize").is_some_and(|size| size != 1) {
        return Err(unknown("its states have more than one bit"));
    }
    let place = text("statusListIndex").and_then(|place| place.parse().ok());
    Ok(StatusEntry {
        list: entry
            .get("statusListCredential")
            .and_then(uri)
            .ok_or_else(|| malformed("a 'statusListCredential' is no URL"))?,
        place: place.ok_or_else(|| malformed("a 'statusListIndex' is no number as a text"))?,
        purpose: purpose.to_owned(),
    })
}

fn uri(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    is_uri(text).then(|| text.to_owned())
}

/// Whether it looks like a URI (RFC 3986): a scheme, something behind it, no spaces or control characters.
pub(crate) fn is_uri(text: &str) -> bool {
    let clean = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    text.len() <= 2_048
        && text
            .split_once(':')
            .is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
        && text.chars().all(clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(change: impl Fn(&mut Value)) -> Result<Credential, Problem> {
        let mut credential = json!({
            "@context": [CONTEXT, "https://example.com/v1"],
            "id": "urn:uuid:1",
            "type": ["VerifiableCredential", "MemberCredential"],
            "issuer": {"id": "did:example:issuer", "name": "Somebody"},
            "validFrom": "2026-01-01T00:00:00Z",
            "validUntil": "2027-01-01T00:00:00Z",
            "credentialSubject": {"id": "did:example:subject", "member": true},
            "credentialStatus": {
                "type": "BitstringStatusListEntry",
                "statusPurpose": "revocation",
                "statusListIndex": "94567",
                "statusListCredential": "https://example.com/status/3"
            }
        });
        change(&mut credential);
        Credential::read(credential.as_object().expect("an object"))
    }

    #[test]
    fn what_it_says_is_read() {
        let read = read(|_| {}).expect("it is sound");
        assert_eq!(read.issuer, "did:example:issuer");
        assert_eq!(read.subjects, ["did:example:subject"]);
        assert_eq!(read.statuses[0].place, 94_567);
        let (from, until) = (read.valid_from_ms, read.valid_until_ms);
        let (from, until) = (from.expect("a date"), until.expect("a date"));
        assert_eq!(read.is_valid_at(from), Ok(()));
        assert!(read.is_valid_at(from - 1).is_err());
        assert!(read.is_valid_at(until).is_err());
    }

    #[test]
    fn what_lacks_something_is_refused_and_an_unknown_state_is_no_state() {
        for (path, value) in [
            (
                "/@context",
                json!(["https://www.w3.org/2018/credentials/v1"]),
            ),
            ("/type", json!("MemberCredential")),
            ("/issuer", json!("somebody")),
            ("/issuer", json!({"name": "Somebody"})),
            ("/id", json!(7)),
            ("/credentialSubject", json!({})),
            ("/credentialSubject", json!([])),
            ("/credentialSubject", json!("did:example:subject")),
            ("/validFrom", json!("2026-01-01")),
            ("/validUntil", json!("2025-01-01T00:00:00Z")),
            ("/credentialStatus/statusListIndex", json!(94_567)),
            ("/credentialStatus/statusListCredential", json!("status")),
        ] {
            let error =
                read(|credential| *credential.pointer_mut(path).expect("there") = value.clone());
            assert!(
                matches!(error, Err(Problem::Malformed(_))),
                "{path}: {error:?}"
            );
        }
        for (path, value) in [
            ("/credentialStatus/type", json!("StatusList2021Entry")),
            ("/credentialStatus/statusPurpose", json!("message")),
            ("/credentialStatus", json!({"type": "Other"})),
        ] {
            let error =
                read(|credential| *credential.pointer_mut(path).expect("there") = value.clone());
            assert!(matches!(error, Err(Problem::StatusUnknown(_))), "{path}");
        }
    }
}
