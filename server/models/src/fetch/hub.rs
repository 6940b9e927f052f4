//! Files of the Hugging Face hub: `GET <endpoint>/<owner>/<repo>/resolve/<revision>/<file>`, which
//! redirects to wherever the bytes are
//! (<https://huggingface.co/docs/huggingface_hub/guides/download>).

use std::error::Error;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, Response, StatusCode, Url};

use super::{SourceError, Sources};
use crate::intake::{Intake, IntakeError};
use crate::source::HubFile;

const REDIRECTS_MAX: usize = 5;

/// The hub, as far as one pull is concerned.
pub(super) struct Hub<'a> {
    sources: &'a Sources,
    client: Option<Client>,
    unreachable: Option<SourceError>,
}

impl<'a> Hub<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self {
            sources,
            client: None,
            unreachable: None,
        }
    }

    /// Set when nobody answered. A model of many files would otherwise wait for that once per file.
    pub(super) fn unreachable(&self) -> Option<&SourceError> {
        self.unreachable.as_ref()
    }

    pub(super) async fn fetch(
        &mut self,
        file: &HubFile,
        intake: &mut Intake<'_>,
    ) -> Result<(), IntakeError> {
        let mut response = self.ask(file).await.inspect_err(|error| {
            if matches!(error, SourceError::Unreachable(_)) {
                self.unreachable = Some(error.clone());
            }
        })?;
        if response.status() != StatusCode::OK {
            return Err(SourceError::Status(response.status().as_u16()).into());
        }
        if let Some(bytes) = response.content_length() {
            intake.announce(bytes)?;
        }
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|error| self.explain(error))?
        {
            intake.write(&chunk).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, file: &HubFile) -> Result<Response, SourceError> {
        let endpoint = self.sources.hub_endpoint.trim_end_matches('/');
        let HubFile {
            repo,
            revision,
            file,
        } = file;
        let url = format!("{endpoint}/{repo}/resolve/{revision}/{file}");
        let url = Url::parse(&url).map_err(|error| {
            SourceError::Unreachable(format!("'{endpoint}' is not an address: {error}"))
        })?;
        let client = match &self.client {
            Some(client) => client,
            None => self.client.insert(self.connect(&url)?),
        };
        let mut request = client.get(url);
        if let Some(token) = &self.sources.hub_token {
            request = request.bearer_auth(&token.0);
        }
        request.send().await.map_err(|error| self.explain(error))
    }

    fn connect(&self, url: &Url) -> Result<Client, SourceError> {
        // The process may have chosen its cryptography already, which is as good.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _lost_a_race = rustls::crypto::ring::default_provider().install_default();
        }
        let limits = &self.sources.limits;
        let mut builder = ClientBuilder::new()
            .connect_timeout(limits.connect)
            .read_timeout(limits.idle)
            .redirect(Policy::custom(redirect))
            .user_agent(concat!("kwaainet/", env!("CARGO_PKG_VERSION")));
        if is_this_machine(url) {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| self.explain(error))
    }

    /// The error in our words, without the address: after redirects that holds signatures.
    fn explain(&self, error: reqwest::Error) -> SourceError {
        if error.is_timeout() && !error.is_connect() {
            return SourceError::Silent(self.sources.limits.idle);
        }
        let (connect, error) = (error.is_connect(), error.without_url());
        let mut cause: &dyn Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        if connect {
            SourceError::Unreachable(cause.to_string())
        } else {
            SourceError::Broken(cause.to_string())
        }
    }
}

/// Follows a redirect unless it leads in circles or out of encryption. The client itself keeps the
/// token from other hosts.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_https = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error("too many redirects")
    } else if was_https && attempt.url().scheme() != "https" {
        attempt.error("the server redirects to an address without encryption")
    } else {
        attempt.follow()
    }
}

/// A loopback address is never behind a proxy, whatever the environment says.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}
