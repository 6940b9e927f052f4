//! What stands in a request: the query, whose values are text or JSON, and the body.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use kwaainet_storage::Rev;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::SemaphorePermit;

use super::bad_request;
use crate::door::objects::Objects;
use crate::door::{ApiError, App, body};

/// The fields of a query, as they came. Those that nobody asks for are passed over.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let fields = Query::try_from_uri(&parts.uri);
        let Query(fields) = fields.map_err(|_| bad_request("Malformed query"))?;
        Ok(Self(fields))
    }
}

impl Asked {
    /// A field's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A switch, off if it is not there.
    pub(super) fn is_set(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(name, "a boolean")),
        }
    }

    /// A number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let text = self.text(name);
        let number = text.map(|text| text.parse().map_err(|_| wrong(name, "a number")));
        number.transpose()
    }

    /// A value in JSON, under the first of these names that is there.
    pub(super) fn json<T: DeserializeOwned>(&self, names: &[&str]) -> Result<Option<T>, ApiError> {
        let found = names.iter().find_map(|name| Some((name, self.text(name)?)));
        let read = |(name, text): (&&str, &str)| {
            serde_json::from_str(text).map_err(|_| wrong(name, "JSON of the right type"))
        };
        found.map(read).transpose()
    }

    /// A revision; quotation marks around it do no harm.
    pub(super) fn rev(&self, name: &str) -> Result<Option<Rev>, ApiError> {
        let text = self.text(name).filter(|text| !text.is_empty());
        text.map(parse_rev).transpose()
    }

    /// The same fields, and those of a body over them.
    pub(super) fn with(mut self, body: &Value) -> Self {
        for (name, value) in body.as_object().into_iter().flatten() {
            self.0.retain(|(field, _)| field != name);
            let text = value.as_str().filter(|_| is_plain(name));
            let text = text.map_or_else(|| value.to_string(), str::to_owned);
            self.0.push((name.clone(), text));
        }
        self
    }
}

/// Fields whose texts are not JSON.
fn is_plain(name: &str) -> bool {
    matches!(name, "feed" | "filter" | "since" | "style" | "rev")
}

pub(super) fn parse_rev(text: &str) -> Result<Rev, ApiError> {
    let rev = text.trim_matches('"').parse();
    rev.map_err(|bad: kwaainet_storage::BadRev| bad_request(bad.to_string()))
}

/// The revision that `If-Match` names.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Rev>, ApiError> {
    let value = headers.get(header::IF_MATCH);
    let text = value.map(|value| value.to_str().unwrap_or(""));
    text.map(parse_rev).transpose()
}

fn wrong(name: &str, what: &str) -> ApiError {
    bad_request(format!("Invalid value for {name}: expected {what}"))
}

/// A body in memory, with its place among all bodies.
pub(super) struct Held<'a> {
    pub(super) bytes: Vec<u8>,
    _place: SemaphorePermit<'a>,
}

/// Reads a body whole.
pub(super) async fn held<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: Body,
) -> Result<Held<'a>, ApiError> {
    let max = app.storage.body_bytes_max;
    let place = body::declared(headers).unwrap_or(max).min(max);
    let place = body::place(&app.storage.bodies, place).await?;
    let bytes = body::read_whole(headers, body, max).await?;
    Ok(Held {
        bytes,
        _place: place,
    })
}

/// Reads a body as JSON, whatever it is called. A page of somebody else cannot have sent it: `auth` and the
/// answers to preflight requests see to that.
pub(super) async fn json<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, ApiError> {
    body::require_json_of_pages(headers)?;
    let held = held(app, headers, body).await?;
    parse(&held.bytes)
}

pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // The words of the error may hold some of the document.
    let wrong = |_| bad_request("invalid UTF-8 JSON");
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(Objects(&mut json)).map_err(wrong)?;
    json.end().map_err(wrong)?;
    Ok(value)
}
