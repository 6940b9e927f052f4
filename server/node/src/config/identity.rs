//! The section `identity`.

use kwaainet_core::{Scope, Scopes};
use kwaainet_identity::Did;
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Signing in, and credentials.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Under which origins people reach this node besides this machine's own, like `https://node.example`; the first
    /// of them with https is its name on the web.
    pub origins: Vec<String>,
    /// What somebody may do who signs in and whom nobody let in with a key: scopes. None: he may not sign in.
    pub strangers: Vec<String>,
    /// DIDs of those whose credentials count, besides this node's own.
    pub issuers: Vec<String>,
    /// Hours that a session lasts.
    pub session_hours: u32,
    /// Whether documents are also fetched from the local network, and from this machine without TLS. For trying
    /// things out: whoever may resolve names can then look around there.
    pub local_web: bool,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            strangers: Vec::new(),
            issuers: Vec::new(),
            session_hours: 12,
            local_web: false,
        }
    }
}

impl Identity {
    /// The same as scopes.
    pub fn stranger_scopes(&self) -> Scopes {
        self.strangers
            .iter()
            .filter_map(|name| name.parse::<Scope>().ok())
            .collect()
    }

    /// Checks what the types cannot say.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |reason: String| Err(ConfigError::Value(reason));
        for origin in &self.origins {
            let authority = origin
                .strip_prefix("https://")
                .or_else(|| origin.strip_prefix("http://"));
            let named = authority.and_then(Did::web);
            if named.is_none() || authority.is_some_and(|name| name.contains('/')) {
                return wrong(format!(
                    "identity.origins: '{origin}' is no origin, like https://node.example"
                ));
            }
        }
        for name in &self.strangers {
            if let Err(error) = name.parse::<Scope>() {
                return wrong(format!("identity.strangers: {error}"));
            }
        }
        for issuer in &self.issuers {
            if let Err(error) = issuer.parse::<Did>() {
                return wrong(format!("identity.issuers: '{issuer}': {error}"));
            }
        }
        if !(1..=24 * 365).contains(&self.session_hours) {
            return wrong("identity.session_hours must be from 1 to 8760".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_refused() {
        let good = Identity {
            origins: vec![
                "https://node.example".into(),
                "http://node.local:8080".into(),
            ],
            strangers: vec!["inference".into()],
            issuers: vec!["did:web:issuer.example".into()],
            ..Identity::default()
        };
        assert!(good.check().is_ok());
        let scopes: Scopes = [Scope::Inference].into_iter().collect();
        assert_eq!(good.stranger_scopes(), scopes);
        let with = |change: &dyn Fn(&mut Identity)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.check()
        };
        for origin in [
            "node.example",
            "https://",
            "https://node.example/",
            "ftp://x.y",
            "https://1.2.3.4",
        ] {
            assert!(
                with(&|bad| bad.origins = vec![origin.into()]).is_err(),
                "{origin}"
            );
        }
        assert!(with(&|bad| bad.strangers = vec!["everything".into()]).is_err());
        assert!(with(&|bad| bad.issuers = vec!["somebody".into()]).is_err());
        assert!(with(&|bad| bad.session_hours = 0).is_err());
    }
}
