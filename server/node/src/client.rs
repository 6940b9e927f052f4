//! Asks the running node over HTTP, for commands that only it can answer. Never asks anybody else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, RequestBuilder, Response, redirect};
use serde_json::Value;

use crate::config::Environment;

/// Holds the API key for commands that ask the running node.
pub(crate) const KEY_VARIABLE: &str = "KWAAINET_API_KEY";
const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// The way to the node that runs on this machine.
pub(crate) struct NodeClient {
    address: SocketAddr,
    key: Option<String>,
    client: Client,
}

impl NodeClient {
    /// To the node that listens here.
    pub(crate) fn new(listen: SocketAddr, environment: &Environment) -> anyhow::Result<Self> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // It fails only if there is one by now, which is as good.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tls_certs_only([])
            .build();
        Ok(Self {
            address: reachable(listen),
            key: environment.get(KEY_VARIABLE).map(str::to_owned),
            client: client.context("no HTTP client can be made")?,
        })
    }

    /// What is to be had there; the node's own sentence if it refuses.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(self.client.get(self.url(path))).await
    }

    /// The answer to a question; the node's own sentence if it refuses.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(self.client.post(self.url(path)).json(body)).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn ask(&self, mut request: RequestBuilder) -> anyhow::Result<Value> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| match error.is_connect() {
            true => anyhow::anyhow!(
                "no node answers at {}; start one with 'kwaainet serve'",
                self.address
            ),
            false => anyhow::Error::new(error).context("the node did not answer"),
        })?;
        let status = response.status();
        let bytes = bounded(response).await?;
        let answer: Value = serde_json::from_slice(&bytes).context("the answer is not JSON")?;
        if status.is_success() {
            return Ok(answer);
        }
        let message = answer["error"]["message"].as_str().unwrap_or("no reason");
        bail!("the node refused ({status}): {message}");
    }
}

async fn bounded(mut response: Response) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.context("the answer broke off")? {
        if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
            bail!("the answer is too long");
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Who listens everywhere is reached at the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
