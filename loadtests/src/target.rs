//! The server under load: its address is checked here, and nothing is sent but through here.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Response, Url, redirect};
use serde_json::Value;

use crate::outcome::Failure;

const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Of the body that comes with a refusal, in bytes.
const REFUSAL_MAX: usize = 64 << 10;
/// Of an answer that is read whole, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// One server, with connections that are kept open between requests.
#[derive(Debug)]
pub struct Target {
    base: Url,
    client: Client,
}

/// Why a server is not put under load.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It cannot be parsed, or has parts that make no sense here.
    #[error("'{0}' is not an address like http://127.0.0.1:11435")]
    NotAnAddress(String),
    /// It is another machine's.
    #[error(
        "'{0}' is not this machine; load on other people's machines needs their consent and --remote"
    )]
    NotLoopback(String),
    /// Not usable in a header.
    #[error("the key holds characters that no HTTP header can carry")]
    Key,
    /// TLS could not be set up, for example.
    #[error("no HTTP client can be made: {0}")]
    Client(reqwest::Error),
}

impl Target {
    /// The server at this address, with or without `/v1` at its end.
    ///
    /// # Errors
    /// For an address that makes no sense, and for one that is not loopback unless `remote`.
    pub fn new(address: &str, key: Option<&str>, remote: bool) -> Result<Self, TargetError> {
        let base = check(address, remote)?;
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
            let mut bearer = bearer.map_err(|_| TargetError::Key)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let mut client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_WAIT_MAX)
            // A redirect could lead away from the address that was checked; so could a proxy.
            .redirect(redirect::Policy::none())
            .no_proxy();
        if base.scheme() == "http" {
            // No root certificates are needed, and a machine may have none.
            client = client.tls_certs_only([]);
        }
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // It fails only if there is one by now, which is as good.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        }
        let client = client.build().map_err(TargetError::Client)?;
        Ok(Self { base, client })
    }

    /// As it is named in reports.
    pub(crate) fn address(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Sends JSON to a path behind the address and gives the whole answer, if its status is good.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Vec<u8>, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        let status = response.status();
        let body = whole(response, ANSWER_MAX).await?;
        if status.is_success() {
            return Ok(body);
        }
        Err(Failure::refused(status.as_u16(), &body))
    }

    /// Sends a request to `/v1/{path}` and waits for the head of an answer with a good status.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/v1/{path}",
            self.base.path().trim_end_matches('/')
        ));
        let sent = self.client.post(url).json(body).send().await;
        let response = sent.map_err(|error| transport(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = whole(response, REFUSAL_MAX).await.unwrap_or_default();
        Err(Failure::refused(status, &body))
    }
}

/// A whole body, if it is not too large.
pub(crate) async fn whole(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| transport(&error))? {
        if body.len() + bytes.len() > bytes_max {
            return Err(Failure::new("answer too large"));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(body)
}

/// What happened to a connection.
pub(crate) fn transport(error: &reqwest::Error) -> Failure {
    Failure::new(if error.is_connect() {
        "cannot connect"
    } else {
        "connection broke"
    })
}

fn check(address: &str, remote: bool) -> Result<Url, TargetError> {
    let not_an_address = || TargetError::NotAnAddress(address.to_owned());
    let trimmed = address.trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/v1").unwrap_or(trimmed);
    let url = Url::parse(trimmed).map_err(|_| not_an_address())?;
    let plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !plain || !matches!(url.scheme(), "http" | "https") {
        return Err(not_an_address());
    }
    let host = url.host_str().ok_or_else(not_an_address)?;
    if remote || is_loopback(host) {
        Ok(url)
    } else {
        Err(TargetError::NotLoopback(host.to_owned()))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_put_under_load() {
        for here in [
            "http://127.0.0.1:11435",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://localhost:1/v1/",
            "https://LOCALHOST",
        ] {
            assert!(check(here, false).is_ok(), "{here}");
        }
        for elsewhere in [
            "http://example.com",
            "http://10.0.0.1:11435",
            "http://0.0.0.0:11435",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://[::2]:80",
            "http://[::ffff:10.0.0.1]",
        ] {
            let refused = check(elsewhere, false);
            assert!(
                matches!(refused, Err(TargetError::NotLoopback(_))),
                "{elsewhere}"
            );
            assert!(check(elsewhere, true).is_ok(), "{elsewhere} with --remote");
        }
    }

    #[test]
    fn addresses_that_make_no_sense_are_refused_even_with_remote() {
        for bad in [
            "",
            "localhost:11435",
            "ftp://127.0.0.1",
            "http://user:pass@127.0.0.1",
            "http://127.0.0.1/?x=1",
            "http://",
        ] {
            let refused = check(bad, true);
            assert!(
                matches!(refused, Err(TargetError::NotAnAddress(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn the_version_at_the_end_of_the_address_may_be_there_or_not() {
        for address in [
            "http://127.0.0.1:1",
            "http://127.0.0.1:1/",
            "http://127.0.0.1:1/v1/",
        ] {
            let target = Target::new(address, None, false).expect("it is loopback");
            assert_eq!(target.address(), "http://127.0.0.1:1");
        }
        assert!(matches!(
            Target::new("http://127.0.0.1:1", Some("two\nlines"), false),
            Err(TargetError::Key)
        ));
    }
}
