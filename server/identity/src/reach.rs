//! Connects to what others name, and to no other place: the name is looked up once, its addresses are checked, and
//! the connection goes to those and no others. No redirects, no proxy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, Url, redirect};

use crate::addresses::is_public;
use crate::fetch::FetchError;

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Addresses of a name that are tried at most.
const ADDRESSES_MAX: usize = 8;

/// A client for the place of this URL, each of whose requests may take so long. With `local`, also for addresses
/// that are not public; only those are asked without TLS.
///
/// # Errors
/// [`FetchError::Url`] and [`FetchError::Address`] when it may not be asked, else when it has no address.
pub async fn client_to(url: &Url, local: bool, whole_max: Duration) -> Result<Client, FetchError> {
    let is_plain = match url.scheme() {
        "https" => false,
        "http" if local => true,
        _ => return Err(FetchError::Url),
    };
    let addresses = tokio::time::timeout(CONNECT_MAX, addresses(url)).await;
    let addresses = addresses.map_err(|_| FetchError::Unreachable("its name is not known"))??;
    // All of them, or a name could have one address of each kind.
    let public = addresses.iter().filter(|address| is_public(address.ip()));
    let public = public.count();
    if !local && public < addresses.len() {
        return Err(FetchError::Address);
    }
    if is_plain && public > 0 {
        return Err(FetchError::Url);
    }
    client(url, &addresses, whole_max)
}

async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
    let port = url.port_or_known_default().ok_or(FetchError::Url)?;
    let host = url.host_str().ok_or(FetchError::Url)?;
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = match literal.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|_| FetchError::Unreachable("its name is not known"))?
            .take(ADDRESSES_MAX)
            .collect(),
    };
    if found.is_empty() {
        return Err(FetchError::Unreachable("its name has no address"));
    }
    Ok(found)
}

fn client(url: &Url, addresses: &[SocketAddr], whole_max: Duration) -> Result<Client, FetchError> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // It fails only if there is one by now, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
    }
    let mut client = Client::builder()
        .connect_timeout(CONNECT_MAX)
        .timeout(whole_max)
        .redirect(redirect::Policy::none())
        .no_proxy();
    if let Some(name) = url.domain() {
        client = client.resolve_to_addrs(name, addresses);
    }
    client
        .build()
        .map_err(|_| FetchError::Unreachable("no TLS is to be had here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_http_is_for_the_owners_network_only() {
        let reach = async |url: &str, local| {
            let url: Url = url.parse().expect("a URL");
            client_to(&url, local, CONNECT_MAX).await.map(|_| ())
        };
        assert_eq!(reach("http://192.168.1.2:11435/", true).await, Ok(()));
        assert_eq!(reach("https://127.0.0.1/", true).await, Ok(()));
        for (url, local, refused) in [
            ("http://192.168.1.2/", false, FetchError::Url),
            ("http://1.1.1.1/", true, FetchError::Url),
            ("https://192.168.1.2/", false, FetchError::Address),
            ("https://[::1]/", false, FetchError::Address),
            ("ftp://127.0.0.1/", true, FetchError::Url),
        ] {
            assert_eq!(reach(url, local).await, Err(refused), "{url}");
        }
    }
}
