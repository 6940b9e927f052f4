//! Tokens that hand on a part of what somebody may do, and that whoever has one can make weaker without asking anybody
//! (biscuits, version 3). Their root is made of the node's key, so that they hold as long as the node is the same.
//!
//! A token says who made it; what it allows is never more than what he may do at the time it is shown.

use std::time::Duration;

use biscuit_auth::builder::{Term, date, fact, string};
use biscuit_auth::{Algorithm, AuthorizerBuilder, AuthorizerLimits, Biscuit, KeyPair, PrivateKey};
use kwaainet_core::{KeyId, Scope, Scopes, SessionId};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::key::NodeKey;

/// How a token begins where it could be taken for something else.
pub const CAPABILITY_PREFIX: &str = "biscuit:";
/// Characters of a token at most: headers have their bound, too.
const TOKEN_MAX: usize = 8_192;
/// Blocks of a token at most.
const BLOCKS_MAX: usize = 16;
/// Paths that a token names at most.
pub const PATHS_MAX: usize = 16;

/// Who made a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Minter {
    /// The owner at a node without keys.
    Owner,
    /// Whoever has this key.
    Key(KeyId),
    /// Whoever signed in with this session.
    Session(SessionId),
}

/// What a new token allows at most.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// In which parts of the API.
    pub scopes: Scopes,
    /// Below which paths; none for all.
    pub paths: Vec<String>,
    /// Until when: milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// What somebody wants to do with a token.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which part of the API it belongs to.
    pub scope: Scope,
    /// The request's method.
    pub method: &'a str,
    /// And path.
    pub path: &'a str,
    /// Milliseconds since 1970.
    pub now_ms: i64,
}

/// A text that is no token of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no capability of this node")]
pub struct BadCapability;

/// Makes and opens this node's tokens.
pub struct Capabilities {
    root: KeyPair,
}

/// A token whose signatures are good.
pub struct Capability {
    biscuit: Biscuit,
    /// Who made it.
    pub minter: Minter,
}

impl Capabilities {
    /// Those of the node with this key.
    pub fn new(key: &NodeKey) -> Self {
        // A key of its own, so that no token's block is ever a signature of the node's.
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(
            Sha256::new()
                .chain_update(b"kwaainet capability root 1\0")
                .chain_update(*key.seed())
                .finalize()
                .into(),
        );
        let root = PrivateKey::from_bytes(&*seed, Algorithm::Ed25519);
        Self {
            root: KeyPair::from(&root.expect("32 bytes are an Ed25519 key")),
        }
    }

    /// The key that the tokens are checked with: 64 hexadecimal digits.
    pub fn root(&self) -> String {
        self.root.public().to_bytes_hex()
    }

    /// A new token, with its prefix.
    pub fn mint(&self, minter: &Minter, allowance: &Allowance) -> String {
        let (kind, id) = match minter {
            Minter::Owner => ("owner", ""),
            Minter::Key(id) => ("key", id.as_str()),
            Minter::Session(id) => ("session", id.as_str()),
        };
        let ends = Duration::from_millis(u64::try_from(allowance.expires_at_ms).unwrap_or(0));
        let ends = date(&(std::time::UNIX_EPOCH + ends));
        let scopes: Vec<_> = allowance
            .scopes
            .iter()
            .map(|scope| format!("{:?}", scope.to_string()))
            .collect();
        let scopes = format!("check if scope($s), {{{}}}.contains($s)", scopes.join(", "));
        let paths: Vec<_> = allowance
            .paths
            .iter()
            .map(|path| {
                let root = path.trim_end_matches('/');
                let below = format!("{root}/");
                format!("path({root:?}) or path($p), $p.starts_with({below:?})")
            })
            .collect();
        let mut builder = Biscuit::builder()
            .fact(fact("minter", &[string(kind), string(id)]))
            .and_then(|builder| builder.check(scopes.as_str()))
            .and_then(|builder| {
                let until = [("ends".to_owned(), ends)].into_iter().collect();
                let code = "check if time($t), $t < {ends}";
                builder.code_with_params(code, until, Default::default())
            });
        if !paths.is_empty() {
            let check = format!("check if {}", paths.join(" or "));
            builder = builder.and_then(|builder| builder.check(check.as_str()));
        }
        let token = builder
            .and_then(|builder| builder.build(&self.root))
            .and_then(|biscuit| biscuit.to_base64())
            .expect("what is written here is Datalog");
        format!("{CAPABILITY_PREFIX}{token}")
    }

    /// Opens a token, with its prefix.
    ///
    /// # Errors
    /// When it is none, or none of this node.
    pub fn open(&self, token: &str) -> Result<Capability, BadCapability> {
        let text = token.strip_prefix(CAPABILITY_PREFIX).ok_or(BadCapability)?;
        if text.len() > TOKEN_MAX {
            return Err(BadCapability);
        }
        let biscuit = Biscuit::from_base64(text, self.root.public()).map_err(|_| BadCapability)?;
        if biscuit.block_count() > BLOCKS_MAX {
            return Err(BadCapability);
        }
        let mut authorizer = AuthorizerBuilder::new()
            .set_limits(limits())
            .build(&biscuit)
            .map_err(|_| BadCapability)?;
        // Sees the first block only, which nobody but this node can have signed.
        let rule = "data($kind, $id) <- minter($kind, $id)";
        let (kind, id): (String, String) = authorizer
            .query_exactly_one(rule)
            .map_err(|_| BadCapability)?;
        let minter = match kind.as_str() {
            "owner" => Minter::Owner,
            "key" => Minter::Key(KeyId::new(id)),
            "session" => Minter::Session(SessionId::new(id)),
            _ => return Err(BadCapability),
        };
        Ok(Capability { biscuit, minter })
    }
}

impl Capability {
    /// Names what has to be revoked to revoke it: itself, and each token that it was made of.
    pub fn revocation_ids(&self) -> Vec<Vec<u8>> {
        self.biscuit.revocation_identifiers()
    }

    /// Whether it allows this, by every check in it.
    pub fn allows(&self, wanted: &Wanted<'_>) -> bool {
        let facts = [
            fact("scope", &[string(&wanted.scope.to_string())]),
            fact("method", &[string(wanted.method)]),
            fact("path", &[string(wanted.path)]),
            fact("time", &[Term::Date((wanted.now_ms / 1_000).max(0) as u64)]),
        ];
        let authorizer = facts
            .into_iter()
            .try_fold(AuthorizerBuilder::new(), AuthorizerBuilder::fact)
            .and_then(|builder| builder.policy("allow if minter($kind, $id)"))
            .and_then(|builder| builder.set_limits(limits()).build(&self.biscuit));
        authorizer
            .and_then(|mut authorizer| authorizer.authorize())
            .is_ok()
    }
}

/// What a token may make us compute.
fn limits() -> AuthorizerLimits {
    AuthorizerLimits {
        max_facts: 256,
        max_iterations: 64,
        // Wide, for a machine that is busy with other things; the other bounds come first.
        max_time: Duration::from_millis(250),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use biscuit_auth::UnverifiedBiscuit;
    use biscuit_auth::builder::BlockBuilder;

    const NOW: i64 = 1_700_000_000_000;

    fn allowance(paths: &[&str]) -> Allowance {
        Allowance {
            scopes: [Scope::Inference, Scope::Storage].into_iter().collect(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            expires_at_ms: NOW + 60_000,
        }
    }

    fn wanted(scope: Scope, path: &str) -> Wanted<'_> {
        Wanted {
            scope,
            method: "POST",
            path,
            now_ms: NOW,
        }
    }

    /// Made weaker by somebody who has nothing but the token.
    fn attenuated(token: &str, check: &str) -> String {
        let text = token.strip_prefix(CAPABILITY_PREFIX).expect("the prefix");
        let biscuit = UnverifiedBiscuit::from_base64(text).expect("a biscuit");
        let block = BlockBuilder::new().code(check).expect("Datalog");
        let weaker = biscuit.append(block).expect("it takes a block");
        format!("{CAPABILITY_PREFIX}{}", weaker.to_base64().expect("text"))
    }

    #[test]
    fn a_token_allows_what_it_says_and_nothing_else() {
        let capabilities = Capabilities::new(&NodeKey::generate());
        let minter = Minter::Key(KeyId::new("abc"));
        let paths = ["/v1/chat", "/v1/storage/databases/\"x\""];
        let token = capabilities.mint(&minter, &allowance(&paths));
        let opened = capabilities.open(&token).expect("it is ours");
        assert_eq!(opened.minter, minter);
        let chat = "/v1/chat/completions";
        assert!(opened.allows(&wanted(Scope::Inference, chat)));
        assert!(opened.allows(&wanted(Scope::Storage, paths[1])));
        assert!(opened.allows(&wanted(Scope::Inference, "/v1/chat")));
        for beside in ["/v1/chats", "/v1/chat2/completions", "/v1", ""] {
            assert!(
                !opened.allows(&wanted(Scope::Inference, beside)),
                "{beside}"
            );
        }
        for (root, inside) in [("/", "/v1/models"), ("/v1/", "/v1"), ("/v1/", "/v1/models")] {
            let token = capabilities.mint(&minter, &allowance(&[root]));
            let opened = capabilities.open(&token).expect("it is ours");
            assert!(opened.allows(&wanted(Scope::Inference, inside)), "{root}");
        }
        assert!(!opened.allows(&wanted(Scope::Models, chat)), "scope");
        assert!(
            !opened.allows(&wanted(Scope::Inference, "/v1/embeddings")),
            "path"
        );
        let mut late = wanted(Scope::Inference, chat);
        late.now_ms += 60_000;
        assert!(!opened.allows(&late), "time");
        let everywhere = capabilities.mint(&Minter::Owner, &allowance(&[]));
        let everywhere = capabilities.open(&everywhere).expect("it is ours");
        assert!(everywhere.allows(&wanted(Scope::Inference, "/v1/embeddings")));
    }

    #[test]
    fn a_token_becomes_weaker_and_never_stronger() {
        let capabilities = Capabilities::new(&NodeKey::generate());
        let minter = Minter::Session(SessionId::new("s"));
        let token = capabilities.mint(&minter, &allowance(&[]));
        let chat = wanted(Scope::Inference, "/v1/chat/completions");
        let storage = wanted(Scope::Storage, "/v1/storage/x");
        let weaker = attenuated(&token, "check if scope(\"inference\")");
        let weaker = capabilities.open(&weaker).expect("it is ours");
        assert!(weaker.allows(&chat) && !weaker.allows(&storage));
        for stronger in [
            "scope(\"models\")",
            "minter(\"owner\", \"\")",
            "time(1970-01-01T00:00:00Z)",
            "scope(\"models\") <- minter($k, $i)",
        ] {
            let token = attenuated(&token, stronger);
            let opened = capabilities.open(&token).expect("it is ours");
            assert_eq!(opened.minter, minter, "{stronger}");
            assert!(
                !opened.allows(&wanted(Scope::Models, "/api/pull")),
                "{stronger}"
            );
            let mut late = chat;
            late.now_ms += 60_000;
            assert!(!opened.allows(&late), "{stronger}");
        }
        let first = capabilities.open(&token).expect("it is ours");
        let ids = weaker.revocation_ids();
        assert_eq!(ids.len(), 2);
        assert_eq!(ids[..1], first.revocation_ids()[..], "what it was made of");
    }

    #[test]
    fn what_another_node_made_or_somebody_changed_is_no_token() {
        let capabilities = Capabilities::new(&NodeKey::generate());
        let other = Capabilities::new(&NodeKey::generate());
        let token = other.mint(&Minter::Owner, &allowance(&[]));
        assert!(capabilities.open(&token).is_err());
        let token = capabilities.mint(&Minter::Owner, &allowance(&[]));
        let ids = capabilities
            .open(&token)
            .expect("it is ours")
            .revocation_ids();
        assert!(
            capabilities
                .open(&token[CAPABILITY_PREFIX.len()..])
                .is_err()
        );
        for at in CAPABILITY_PREFIX.len()..token.len() {
            let mut bad = token.clone().into_bytes();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            let bad = String::from_utf8(bad).expect("ASCII");
            // The format has places that mean nothing, and what is written there changes nothing.
            if let Ok(same) = capabilities.open(&bad) {
                assert_eq!(same.revocation_ids(), ids, "letter {at}");
                assert_eq!(same.minter, Minter::Owner);
                assert!(!same.allows(&wanted(Scope::Models, "/")), "letter {at}");
            }
        }
        let mut long = token.clone();
        for _ in 0..BLOCKS_MAX {
            long = attenuated(&long, "check if true");
        }
        assert!(capabilities.open(&long).is_err(), "too many blocks");
        for bad in ["", "biscuit:", "biscuit:AAAA"] {
            assert!(capabilities.open(bad).is_err(), "{bad}");
        }
    }
}
