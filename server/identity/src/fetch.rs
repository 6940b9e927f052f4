//! Fetches what strangers name: a DID's document, a list of states. Only from public addresses, over TLS, without
//! redirects, so that nobody can make this node look into its owner's network (`reach`).

use std::time::Duration;

use kwaainet_core::BoxFuture;
use reqwest::Url;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::reach::client_to;

/// Bytes of an answer at most.
const BYTES_MAX: usize = 1 << 20;
/// From the first look at the name to the last byte.
const WHOLE_MAX: Duration = Duration::from_secs(8);
const AT_ONCE: usize = 4;

/// Why something could not be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The URL is not of a kind that is fetched.
    #[error("only https URLs without a user's name are fetched")]
    Url,
    /// The place is not a public one.
    #[error("the place is not at a public address, and is not asked")]
    Address,
    /// Nobody is there, or he does not answer properly or in time.
    #[error("the place did not answer: {0}")]
    Unreachable(&'static str),
    /// It is not there.
    #[error("there is nothing at the place")]
    NotFound,
    /// What came is no JSON object of a bearable size.
    #[error("what is at the place is no JSON object of at most 1 MiB")]
    Malformed,
}

/// Gets a JSON object from a URL: the seam for tests.
pub trait Fetch: Send + Sync + 'static {
    /// What is there.
    fn object<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Map<String, Value>, FetchError>>;
}

/// The web.
pub struct WebFetcher {
    /// Whether addresses of the owner's own network are asked too, and this machine without TLS.
    local: bool,
    places: Semaphore,
}

impl WebFetcher {
    /// With `local`, also addresses that are not public, and this machine without TLS: for trying things out.
    pub fn new(local: bool) -> Self {
        Self {
            local,
            places: Semaphore::new(AT_ONCE),
        }
    }

    async fn fetch(&self, url: &str) -> Result<Map<String, Value>, FetchError> {
        let url = self.allowed(url)?;
        let _place = self.places.acquire().await;
        let client = client_to(&url, self.local, WHOLE_MAX).await?;
        let sent = client.get(url).header("accept", "application/json").send();
        let mut response = sent
            .await
            .map_err(|_| FetchError::Unreachable("no connection, or no proper answer"))?;
        match response.status().as_u16() {
            200 => {}
            404 | 410 => return Err(FetchError::NotFound),
            _ => return Err(FetchError::Unreachable("it answers with another status")),
        }
        let mut bytes = Vec::new();
        let broken = |_| FetchError::Unreachable("the answer broke off");
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            if bytes.len() + piece.len() > BYTES_MAX {
                return Err(FetchError::Malformed);
            }
            bytes.extend_from_slice(&piece);
        }
        serde_json::from_slice(&bytes).map_err(|_| FetchError::Malformed)
    }

    fn allowed(&self, url: &str) -> Result<Url, FetchError> {
        let url: Url = url.parse().map_err(|_| FetchError::Url)?;
        let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let scheme = match url.scheme() {
            "https" => true,
            "http" => self.local && here,
            _ => false,
        };
        let plain = url.username().is_empty() && url.password().is_none();
        (scheme && plain).then_some(url).ok_or(FetchError::Url)
    }
}

impl Fetch for WebFetcher {
    fn object<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Map<String, Value>, FetchError>> {
        Box::pin(async move {
            let fetched = tokio::time::timeout(WHOLE_MAX, self.fetch(url)).await;
            fetched.unwrap_or(Err(FetchError::Unreachable("not in time")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers one request with this, whole.
    async fn serve(answer: String) -> (u16, tokio::task::JoinHandle<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        #[expect(clippy::disallowed_methods, reason = "a test awaits it")]
        let served = tokio::spawn(async move {
            let wait = Duration::from_millis(500);
            let Ok(Ok((mut stream, _))) = tokio::time::timeout(wait, listener.accept()).await
            else {
                return false;
            };
            let mut head = [0; 1024];
            let _read = stream.read(&mut head).await;
            let _sent = stream.write_all(answer.as_bytes()).await;
            true
        });
        (port, served)
    }

    fn answer(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
    }

    #[tokio::test]
    async fn what_is_not_public_is_not_even_connected_to() {
        let fetcher = WebFetcher::new(false);
        let (port, served) = serve(answer("200 OK", "{}")).await;
        for host in [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0.0.0.0",
        ] {
            let fetched = fetcher.object(&format!("https://{host}:{port}/")).await;
            assert_eq!(fetched, Err(FetchError::Address), "{host}");
            let fetched = fetcher.object(&format!("http://{host}:{port}/")).await;
            assert_eq!(fetched, Err(FetchError::Url), "{host}");
        }
        assert!(!served.await.expect("it ends"), "nobody came");
        for bad in [
            "",
            "file:///etc/passwd",
            "ftp://example.com/",
            "https://a:b@example.com/",
        ] {
            assert_eq!(fetcher.object(bad).await, Err(FetchError::Url), "{bad}");
        }
    }

    #[tokio::test]
    async fn redirects_are_not_followed_and_answers_are_bounded() {
        let fetcher = WebFetcher::new(true);
        let get = async |text: String| {
            let (port, served) = serve(text).await;
            let fetched = fetcher.object(&format!("http://127.0.0.1:{port}/x")).await;
            assert!(served.await.expect("it ends"), "it was asked");
            fetched
        };
        let good = get(answer("200 OK", r#"{"a": 1}"#))
            .await
            .expect("an object");
        assert_eq!(good["a"], 1);
        let moved =
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(
            get(moved.to_owned()).await,
            Err(FetchError::Unreachable(_))
        ));
        assert_eq!(
            get(answer("404 Not Found", "")).await,
            Err(FetchError::NotFound)
        );
        assert_eq!(
            get(answer("200 OK", "[1]")).await,
            Err(FetchError::Malformed)
        );
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(BYTES_MAX));
        assert_eq!(
            get(answer("200 OK", &long)).await,
            Err(FetchError::Malformed)
        );
    }
}
