//! What the owner says about an upstream.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kwaainet_core::{BackendId, ModelId};
use reqwest::Url;
use reqwest::header::HeaderValue;

/// One upstream server.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Its name in logs, receipts and route explanations.
    pub id: BackendId,
    /// Up to and with the version, like `https://api.example.com/v1`.
    pub base_url: String,
    /// Sent as `Authorization: Bearer`, if there is one.
    pub api_key: Option<Secret>,
    /// Our names of its models, and its own. If empty, all that it lists are served under its
    /// own names.
    pub models: BTreeMap<ModelId, String>,
    /// For the TCP and TLS handshakes.
    pub connect_timeout: Duration,
    /// From sending a request to the first word of the answer; long enough to read a long prompt.
    pub first_byte_timeout: Duration,
    /// Between two pieces of an answer.
    pub idle_timeout: Duration,
}

impl HttpConfig {
    /// An upstream without a key that serves all that it lists, with patience for a slow machine.
    pub fn new(id: impl Into<BackendId>, base_url: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            base_url: base_url.into(),
            api_key: None,
            models: BTreeMap::new(),
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(60),
        }
    }

    /// The address, without a slash at its end.
    pub(crate) fn base(&self) -> Result<Url, ConfigError> {
        let bad = |why| ConfigError::BaseUrl {
            id: self.id.clone(),
            why,
        };
        let url =
            Url::parse(self.base_url.trim_end_matches('/')).map_err(|_| bad("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad("it does not begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it holds a password; give the key as the API key"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("it has a query or a fragment"));
        }
        Ok(url)
    }

    /// The header that carries the key.
    pub(crate) fn authorization(&self) -> Result<Option<HeaderValue>, ConfigError> {
        let Some(key) = &self.api_key else {
            return Ok(None);
        };
        let bad = || ConfigError::ApiKey(self.id.clone());
        if key.reveal().is_empty() {
            return Err(bad());
        }
        let header = HeaderValue::from_str(&format!("Bearer {}", key.reveal()));
        let mut header = header.map_err(|_| bad())?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

/// A key that is not printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key; white space around it, as files have it, is no part of it.
    pub fn new(key: &str) -> Self {
        Self(key.trim().to_owned())
    }

    /// The key itself.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why there can be no such backend.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The address will not do.
    #[error("the base URL of the upstream '{id}' is not usable: {why}")]
    BaseUrl {
        /// Which upstream.
        id: BackendId,
        /// In a few words.
        why: &'static str,
    },
    /// The key cannot be sent.
    #[error("the API key of the upstream '{0}' is empty or no HTTP header can carry it")]
    ApiKey(BackendId),
    /// No HTTP client can be made, for want of root certificates for instance.
    #[error("the upstream '{id}' cannot be used: {source}")]
    Client {
        /// Which upstream.
        id: BackendId,
        /// Why.
        source: reqwest::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_are_checked() {
        let base = |url: &str| HttpConfig::new("up", url).base();
        let good = base("http://localhost:8080/v1/").expect("it is good");
        assert_eq!(good.as_str(), "http://localhost:8080/v1");
        for bad in [
            "",
            "localhost:8080",
            "ftp://host/v1",
            "http://user:pass@host/v1",
            "http://host/v1?key=1",
        ] {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_is_trimmed_and_not_printed() {
        let mut config = HttpConfig::new("up", "http://host/v1");
        config.api_key = Some(Secret::new(" sk-very-secret\n"));
        assert!(!format!("{config:?}").contains("very-secret"));
        let header = config.authorization().expect("it is good");
        let header = header.expect("there is a key");
        assert_eq!(header.as_bytes(), b"Bearer sk-very-secret");
        assert!(!format!("{header:?}").contains("very-secret"));
        for bad in ["two\nlines", " "] {
            config.api_key = Some(Secret::new(bad));
            assert!(config.authorization().is_err(), "{bad:?}");
        }
    }
}
