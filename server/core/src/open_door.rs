//! The door of a node without keys: open to its owner, because only he can reach it.

use std::net::IpAddr;

use crate::AuthError;

/// What a browser says of where a request comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Browser<'a> {
    /// The `Host` header.
    pub host: Option<&'a str>,
    /// The `Origin` header.
    pub origin: Option<&'a str>,
    /// The `Sec-Fetch-Site` header.
    pub fetch_site: Option<&'a str>,
}

/// Proof that a door without keys may be used: the node has never had a key, and the request
/// names this machine and comes from no foreign web page.
#[derive(Debug)]
pub struct OpenDoor(());

impl OpenDoor {
    /// Checks the headers that only a browser sets, against DNS rebinding and foreign pages.
    ///
    /// # Errors
    /// [`AuthError::MissingKey`] once keys exist, else what is foreign.
    pub fn check(keys_exist: bool, browser: Browser<'_>) -> Result<Self, AuthError> {
        if keys_exist {
            return Err(AuthError::MissingKey);
        }
        if !browser.host.is_some_and(is_loopback_authority) {
            return Err(AuthError::ForeignHost);
        }
        let foreign_origin = browser
            .origin
            .is_some_and(|origin| !is_loopback_origin(origin));
        // A page of this machine on another port is same-site to a browser, so it passes.
        let foreign_site = browser.fetch_site == Some("cross-site");
        if foreign_origin || foreign_site {
            return Err(AuthError::ForeignOrigin);
        }
        Ok(Self(()))
    }
}

/// Whether an `Origin` is a page that this machine itself serves.
pub fn is_loopback_origin(origin: &str) -> bool {
    let authority = origin.split_once("://");
    authority.is_some_and(|(_, authority)| is_loopback_authority(authority))
}

/// Whether `host` or `host:port` is a name of this machine's loopback.
pub fn is_loopback_authority(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority
            .split_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_door_is_for_this_machine_only() {
        let open = |host, origin, fetch_site| {
            let browser = Browser {
                host,
                origin,
                fetch_site,
            };
            OpenDoor::check(false, browser).map(|_| ())
        };
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:11435",
            "[::1]:80",
            "127.8.8.8",
        ] {
            assert_eq!(open(Some(host), None, None), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.1",
            "[::2]",
            "",
        ] {
            assert_eq!(
                open(Some(host), None, None),
                Err(AuthError::ForeignHost),
                "{host}"
            );
        }
        assert_eq!(open(None, None, None), Err(AuthError::ForeignHost));
        let here = Some("localhost:1");
        assert_eq!(
            open(here, Some("http://localhost:3000"), Some("same-site")),
            Ok(())
        );
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1.evil.example",
        ] {
            let refused = Err(AuthError::ForeignOrigin);
            assert_eq!(open(here, Some(origin), None), refused, "{origin}");
        }
        assert_eq!(
            open(here, None, Some("cross-site")),
            Err(AuthError::ForeignOrigin)
        );
        assert!(OpenDoor::check(true, Browser::default()).is_err());
    }
}
