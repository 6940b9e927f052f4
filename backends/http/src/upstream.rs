//! The connection to one upstream: requests go out with the key, answers come back bounded in time
//! and size, and what goes wrong is a [`BackendError`] that shows neither address nor key.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{BackendError, BackendId};
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, Response, Url, redirect};
use serde::Serialize;

use crate::config::{ConfigError, HttpConfig};
use crate::errors::{self, Asked};

/// Of an error's body, in bytes.
const ERROR_BODY_MAX: usize = 64 << 10;

pub(crate) struct Upstream {
    id: BackendId,
    client: Client,
    base: Url,
    pub(crate) first_byte_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    hidden: Arc<[String]>,
}

impl Upstream {
    pub(crate) fn new(config: &HttpConfig) -> Result<Self, ConfigError> {
        let base = config.base()?;
        let mut headers = HeaderMap::new();
        if let Some(key) = config.authorization()? {
            headers.insert(AUTHORIZATION, key);
        }
        let mut client = Client::builder()
            .default_headers(headers)
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy();
        if base.scheme() == "http" {
            // No root certificates are needed, and a machine that has none is no reason to fail.
            client = client.tls_certs_only([]);
        }
        install_tls_provider();
        let client = client.build().map_err(|source| ConfigError::Client {
            id: config.id.clone(),
            source,
        })?;
        Ok(Self {
            id: config.id.clone(),
            client,
            hidden: hidden(&base, config),
            base,
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
        })
    }

    /// What callers may not see in an upstream's sentences.
    pub(crate) fn hidden(&self) -> Arc<[String]> {
        Arc::clone(&self.hidden)
    }

    /// Sends a request and waits for the head of a good answer. The caller bounds the time.
    pub(crate) async fn post<B: Serialize + ?Sized>(
        &self,
        path: &str,
        body: &B,
        asked: &Asked,
    ) -> Result<Response, BackendError> {
        let request = self.client.request(Method::POST, self.url(path)).json(body);
        let sent = request.send().await;
        let response = sent.map_err(|error| self.transport(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refusal(response, asked).await)
    }

    /// The status and the body of a GET.
    pub(crate) async fn fetch(
        &self,
        path: &str,
        bytes_max: usize,
    ) -> Result<(u16, Vec<u8>), BackendError> {
        let sent = self.client.request(Method::GET, self.url(path)).send();
        let response = within(self.first_byte_timeout, "for an answer", sent).await?;
        let response = response.map_err(|error| self.transport(error))?;
        let status = response.status().as_u16();
        Ok((status, self.body(response, bytes_max).await?))
    }

    /// A whole body, if it is not too large.
    pub(crate) async fn body(
        &self,
        mut response: Response,
        bytes_max: usize,
    ) -> Result<Vec<u8>, BackendError> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk(&mut response);
            let chunk = within(self.idle_timeout, "for the rest of its answer", chunk).await??;
            let Some(chunk) = chunk else {
                return Ok(body);
            };
            if body.len() + chunk.len() > bytes_max {
                return Err(failed("its answer is too large"));
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// The next bytes of a body, or none at its end. The caller bounds the time.
    pub(crate) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, BackendError> {
        let chunk = response.chunk().await;
        chunk.map_err(|error| self.transport(error))
    }

    /// Reads an answer that came, with a good status, where a stream was asked for.
    pub(crate) async fn no_stream(&self, response: Response, asked: &Asked) -> BackendError {
        match self.body(response, ERROR_BODY_MAX).await {
            Ok(body) => errors::from_stream(&body, asked),
            Err(error) => error,
        }
    }

    /// Reads an answer that says no.
    async fn refusal(&self, response: Response, asked: &Asked) -> BackendError {
        let status = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER);
        let retry_after = errors::retry_after(header.and_then(|value| value.to_str().ok()));
        let body = self.body(response, ERROR_BODY_MAX).await;
        // A body that cannot be read says nothing; the status still does.
        errors::from_response(status, retry_after, &body.unwrap_or_default(), asked)
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{path}",
            self.base.path().trim_end_matches('/')
        ));
        url
    }

    /// The details are for our log only: they may hold addresses.
    fn transport(&self, error: reqwest::Error) -> BackendError {
        let error = error.without_url();
        tracing::debug!(backend = %self.id, ?error, "the connection to the upstream failed");
        match (error.is_timeout(), error.is_connect()) {
            (true, _) => BackendError::Timeout {
                reason: "connecting took too long".into(),
            },
            (_, true) => failed("it cannot be reached"),
            _ => failed("the connection broke"),
        }
    }
}

/// A fault of the upstream, in a few words for the caller.
pub(crate) fn failed(reason: &str) -> BackendError {
    BackendError::Upstream {
        reason: reason.to_owned(),
    }
}

/// Waits no longer than this for the future.
pub(crate) async fn within<F: Future>(
    wait_max: Duration,
    what: &str,
    future: F,
) -> Result<F::Output, BackendError> {
    let waited = tokio::time::timeout(wait_max, future).await;
    waited.map_err(|_| BackendError::Timeout {
        reason: format!("we waited {} ms {what}", wait_max.as_millis()),
    })
}

/// reqwest asks the process for its provider of cryptography. The node sets one at start; whoever
/// did not, in a test or a tool, gets the same.
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
    }
}

fn hidden(base: &Url, config: &HttpConfig) -> Arc<[String]> {
    let key = config.api_key.as_ref().map(|key| key.reveal().to_owned());
    let address = base.host_str().map(|host| match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    });
    let hidden = [key, address].into_iter().flatten();
    hidden.filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_made_where_nobody_set_up_tls() {
        for url in ["http://localhost/v1", "https://localhost/v1"] {
            // A machine without root certificates has an error for https, and no panic.
            let made = Upstream::new(&HttpConfig::new("up", url));
            let no_roots = matches!(made, Err(ConfigError::Client { .. }));
            assert!(
                made.is_ok() || (no_roots && url.starts_with("https")),
                "{url}"
            );
        }
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }

    #[test]
    fn paths_follow_the_base_url() {
        for (base, url) in [
            ("http://host", "http://host/models"),
            ("http://host:1/api/v1/", "http://host:1/api/v1/models"),
        ] {
            let upstream = Upstream::new(&HttpConfig::new("up", base));
            let upstream = upstream.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(upstream.url("models").as_str(), url);
        }
    }
}
