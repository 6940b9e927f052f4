//! One side of a replication: the node's own door, or another node's over HTTP. Both are asked the same way.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kwaainet_identity::FetchError;
use kwaainet_store::StoreError;
use reqwest::{Client, Url};
use tower::ServiceExt;

/// How long a side may take to answer what it does not wait for.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Why a replication did not come to its end. Its words are shown to the owner: no secrets, nothing of documents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// It may not be asked, or is not there.
    #[error("the other node cannot be reached: {0}")]
    Fetch(#[from] FetchError),
    /// The connection failed.
    #[error("{0} did not answer, or broke off")]
    Broken(&'static str),
    /// It answered with an error.
    #[error("{side} refused with the status {status}")]
    Refused {
        /// Who.
        side: &'static str,
        /// With which.
        status: u16,
    },
    /// There is no room left for what comes.
    #[error("{0} has no room left for this owner")]
    Full(&'static str),
    /// It answered with more than is taken.
    #[error("an answer was too long")]
    TooLong,
    /// It does not speak the protocol.
    #[error("what was answered is not CouchDB's protocol")]
    Malformed,
    /// Somebody else writes the same checkpoint.
    #[error("the checkpoint was written by somebody else; is the same replication run twice?")]
    Conflict,
    /// Whoever asked for it may not use storage any more.
    #[error("whoever asked for it may not use this node's storage any more")]
    Owner,
    /// The token cannot be opened.
    #[error("the token for the other node cannot be opened with this node's key; give it anew")]
    Key,
    /// The file of documents failed.
    #[error("this node's database failed")]
    Store,
    /// It was ended, or asked for anew.
    #[error("it was ended")]
    Gone,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "replications cannot read the database");
        Self::Store
    }
}

/// What is shown to another node: the value of its `Authorization` header. Never printed.
#[derive(Clone)]
pub(crate) struct Authorization(HeaderValue);

impl Authorization {
    /// An API key, a session's token or a capability.
    pub(crate) fn bearer(token: &str) -> Option<Self> {
        Self::of(&format!("Bearer {token}"))
    }

    /// A name and a password (RFC 7617).
    pub(crate) fn basic(name: &str, password: &str) -> Option<Self> {
        let pair = data_encoding::BASE64.encode(format!("{name}:{password}").as_bytes());
        Self::of(&format!("Basic {pair}"))
    }

    /// The header's value as it is.
    pub(crate) fn of(value: &str) -> Option<Self> {
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// As it was kept.
    pub(crate) fn read(kept: &[u8]) -> Option<Self> {
        Self::of(std::str::from_utf8(kept).ok()?)
    }

    /// To be sealed and kept.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// A database at one of the two sides.
pub(super) struct Side {
    who: &'static str,
    base: Url,
    way: Way,
}

enum Way {
    Here(Router),
    There(Client, Authorization),
}

/// One request to a side.
pub(super) struct Asking<'a> {
    pub(super) method: Method,
    /// What stands behind the database's path.
    pub(super) path: &'a [&'a str],
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<Vec<u8>>,
    /// Bytes of the answer at most.
    pub(super) bytes_max: usize,
    /// How long the side may wait of its own accord.
    pub(super) waits: Duration,
}

impl Side {
    /// A database here, behind a door that knows for whom it opens.
    pub(super) fn here(door: Router, name: &str) -> Self {
        let mut base: Url = "http://localhost/couch".parse().expect("it is a URL");
        push(&mut base, name);
        Self {
            who: "this node",
            base,
            way: Way::Here(door),
        }
    }

    /// A database there.
    pub(super) fn there(client: Client, base: Url, authorization: &Authorization) -> Self {
        Self {
            who: "the other node",
            base,
            way: Way::There(client, authorization.clone()),
        }
    }

    /// What it is called in a sentence.
    pub(super) fn who(&self) -> &'static str {
        self.who
    }

    /// Asks; the answer whatever its status.
    pub(super) async fn ask(&self, asking: Asking<'_>) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let patience = ANSWER_MAX + asking.waits;
        let asked = tokio::time::timeout(patience, self.ask_patiently(asking)).await;
        asked.unwrap_or(Err(Trouble::Broken(self.who)))
    }

    async fn ask_patiently(&self, asking: Asking<'_>) -> Result<(StatusCode, Vec<u8>), Trouble> {
        let broken = || Trouble::Broken(self.who);
        let url = self.url(asking.path, asking.query);
        let body = asking.body.unwrap_or_default();
        let mut answer = Answer {
            bytes: Vec::new(),
            max: asking.bytes_max,
        };
        match &self.way {
            Way::Here(door) => {
                let request = Request::builder()
                    .method(asking.method)
                    .uri(path_of(&url))
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::CONTENT_LENGTH, body.len())
                    .body(Body::from(body));
                let request = request.map_err(|_| Trouble::Malformed)?;
                let response = door.clone().oneshot(request).await;
                let (head, mut body) = response.map_err(|_| broken())?.into_parts();
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|_| broken())?;
                    if let Some(data) = frame.data_ref() {
                        answer.take(data)?;
                    }
                }
                Ok((head.status, answer.bytes))
            }
            Way::There(client, authorization) => {
                let sent = client
                    .request(asking.method, url)
                    .header(header::AUTHORIZATION, authorization.header())
                    .header(header::CONTENT_TYPE, "application/json")
                    .header(header::ACCEPT, "application/json")
                    .body(body)
                    .send();
                let mut response = sent.await.map_err(|_| broken())?;
                while let Some(piece) = response.chunk().await.map_err(|_| broken())? {
                    answer.take(&piece)?;
                }
                Ok((response.status(), answer.bytes))
            }
        }
    }

    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        for part in path {
            push(&mut url, part);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// An answer as far as it came.
struct Answer {
    bytes: Vec<u8>,
    max: usize,
}

impl Answer {
    fn take(&mut self, piece: &Bytes) -> Result<(), Trouble> {
        if self.bytes.len() + piece.len() > self.max {
            return Err(Trouble::TooLong);
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// A URL without the place.
fn path_of(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

/// One more part of a path; what would lead elsewhere in it is escaped.
fn push(url: &mut Url, part: &str) {
    let mut parts = url.path_segments_mut().expect("it is a web address");
    parts.pop_if_empty().push(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_part_of_the_path() {
        let side = Side::here(Router::new(), "a/b");
        let url = side.url(&["_design", "x/y?#", "ü"], &[("rev", "1-a&b")]);
        assert_eq!(
            path_of(&url),
            "/couch/a%2Fb/_design/x%2Fy%3F%23/%C3%BC?rev=1-a%26b"
        );
    }

    #[test]
    fn what_is_shown_to_others_is_never_printed() {
        let token = Authorization::bearer("kw_secret").expect("it fits a header");
        assert_eq!(token.bytes(), b"Bearer kw_secret");
        assert!(!format!("{:?}", token.header()).contains("secret"));
        let basic = Authorization::basic("Aladdin", "open sesame").expect("it fits");
        assert_eq!(basic.bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(Authorization::bearer("a\nb").is_none());
    }
}
