//! Asks the sources that the owner configured, and nobody else: one base URL each, no redirect, no proxy, answers bounded
//! in time and size. What goes wrong shows neither address nor key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use serde::de::DeserializeOwned;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(15);
const BODY_MAX: usize = 2 << 20;

/// A token or a password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps it.
    pub fn new(secret: &str) -> Self {
        Self(secret.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a source gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Its configuration makes no sense.
    #[error("{0}")]
    Config(&'static str),
    /// It cannot be reached, or did not answer in time.
    #[error("it cannot be reached")]
    Unreachable,
    /// It says no.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It answered with something else than it should.
    #[error("its answer is not understood: {0}")]
    Answer(&'static str),
}

/// The connection to one source.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    client: Client,
    base: Url,
}

/// A header that every request carries.
pub(crate) type Credential<'a> = (&'static str, &'a str);

impl Source {
    /// A source at this URL.
    pub(crate) fn new(
        base_url: &str,
        credential: Option<Credential<'_>>,
    ) -> Result<Self, FetchError> {
        let base = Url::parse(base_url).map_err(|_| FetchError::Config("its URL is none"))?;
        let sound = matches!(base.scheme(), "http" | "https")
            && base.host_str().is_some()
            && base.username().is_empty()
            && base.password().is_none()
            && base.query().is_none();
        if !sound {
            return Err(FetchError::Config("its URL must be http(s)://host/path"));
        }
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = credential {
            let value = HeaderValue::from_str(value);
            let mut value = value.map_err(|_| FetchError::Config("its token fits no header"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        install_tls_provider();
        let mut client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_MAX)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy();
        if base.scheme() == "http" {
            // No root certificates are needed, and a machine that has none is no reason to fail.
            client = client.tls_certs_only([]);
        }
        let client = client.build();
        let client = client.map_err(|_| FetchError::Config("no connection can be made"))?;
        Ok(Self { client, base })
    }

    /// What stands at this path.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, FetchError> {
        self.ask(path, query, |request| request).await
    }

    /// The same with more in the request.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<T, FetchError> {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{path}",
            self.base.path().trim_end_matches('/')
        ));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = with(self.client.get(url));
        let answered = tokio::time::timeout(ANSWER_MAX, read(request)).await;
        let body = answered.map_err(|_| FetchError::Unreachable)??;
        serde_json::from_slice(&body).map_err(|_| FetchError::Answer("it has another shape"))
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Vec<u8>, FetchError> {
    let unreachable = |_| FetchError::Unreachable;
    let mut response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    if !status.is_success() {
        return Err(FetchError::Status(status.as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(FetchError::Answer("it is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// reqwest asks the process for its provider of cryptography. The node sets one at start; a test gets the same.
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
    }
}

/// A name that goes into a path or a query: a zone, a region, an entity.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(is_plain) && !name.contains("..")
}
