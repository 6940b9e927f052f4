//! Passkeys (W3C Web Authentication, level 3), as webauthn-rs checks them. What is kept of one is text, which only
//! this module reads.
//!
//! A registration without attestation, as all of ours are, names a public key and does not prove that anybody has the
//! other half of it. So nothing may be concluded from the key but that who signs with it later is the same.

use serde_json::Value;
use webauthn_rs::prelude::{
    Passkey, PasskeyAuthentication, PasskeyRegistration, Url, Uuid, Webauthn, WebauthnBuilder,
};

/// Passkeys of one account at most.
pub const PASSKEYS_MAX: usize = 16;

/// Why there is no passkey, or it does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasskeyError {
    /// Browsers have passkeys for names only.
    #[error(
        "passkeys need an origin with a name, over https or on localhost; this one is an address"
    )]
    Origin,
    /// What came is no answer to the question.
    #[error("the passkey's answer is malformed")]
    Malformed,
    /// Its answer is not good.
    #[error("the passkey's answer is not good")]
    Refused,
    /// What was kept of it is broken.
    #[error("a kept passkey is malformed")]
    Kept,
}

/// A registration that waits for its answer.
pub struct Registering(PasskeyRegistration);

/// A login that waits for its answer.
pub struct LoggingIn {
    state: PasskeyAuthentication,
    passkeys: Vec<Passkey>,
}

/// A passkey as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPasskey {
    /// Its own name.
    pub id: Vec<u8>,
    /// The rest.
    pub record: String,
}

/// The places that passkeys are for.
pub struct PasskeyDoor(Webauthn);

impl PasskeyDoor {
    /// For one origin, like `https://node.example` or `http://localhost:11435`.
    ///
    /// # Errors
    /// When passkeys cannot be had there.
    pub fn at(origin: &str) -> Result<Self, PasskeyError> {
        let url: Url = origin.parse().map_err(|_| PasskeyError::Origin)?;
        let name = url.domain().ok_or(PasskeyError::Origin)?.to_owned();
        let secure = url.scheme() == "https" || name == "localhost";
        let door = WebauthnBuilder::new(&name, &url)
            .map(|builder| builder.rp_name("KwaaiNet"))
            .and_then(WebauthnBuilder::build);
        match door {
            Ok(door) if secure => Ok(Self(door)),
            _ => Err(PasskeyError::Origin),
        }
    }

    /// Begins a registration: what the browser is to be asked, and what has to be kept until it answers.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn begin_registration(
        &self,
        user: [u8; 16],
        name: &str,
        known: &[KeptPasskey],
    ) -> Result<(Value, Registering), PasskeyError> {
        let known = known.iter().map(|known| known.id.clone()).collect();
        let user = Uuid::from_bytes(user);
        let begun = self
            .0
            .start_passkey_registration(user, name, name, Some(known));
        let (asked, state) = begun.map_err(|_| PasskeyError::Refused)?;
        let asked = serde_json::to_value(asked).map_err(|_| PasskeyError::Refused)?;
        Ok((asked, Registering(state)))
    }

    /// The new passkey.
    ///
    /// # Errors
    /// When the answer is none, or not good.
    pub fn complete_registration(
        &self,
        begun: &Registering,
        answer: Value,
    ) -> Result<KeptPasskey, PasskeyError> {
        let answer = serde_json::from_value(answer).map_err(|_| PasskeyError::Malformed)?;
        let done = self.0.finish_passkey_registration(&answer, &begun.0);
        kept(&done.map_err(|_| PasskeyError::Refused)?)
    }

    /// Begins a login with one of these.
    ///
    /// # Errors
    /// When one of them is broken.
    pub fn begin_login(&self, known: &[KeptPasskey]) -> Result<(Value, LoggingIn), PasskeyError> {
        let passkeys: Result<Vec<Passkey>, _> = known
            .iter()
            .map(|kept| serde_json::from_str(&kept.record))
            .collect();
        let passkeys = passkeys.map_err(|_| PasskeyError::Kept)?;
        let begun = self.0.start_passkey_authentication(&passkeys);
        let (asked, state) = begun.map_err(|_| PasskeyError::Refused)?;
        let asked = serde_json::to_value(asked).map_err(|_| PasskeyError::Refused)?;
        Ok((asked, LoggingIn { state, passkeys }))
    }

    /// The passkey that answered, as it is kept from now on.
    ///
    /// # Errors
    /// When the answer is none, or not good.
    pub fn complete_login(
        &self,
        begun: LoggingIn,
        answer: Value,
    ) -> Result<KeptPasskey, PasskeyError> {
        let answer = serde_json::from_value(answer).map_err(|_| PasskeyError::Malformed)?;
        let done = self.0.finish_passkey_authentication(&answer, &begun.state);
        let done = done.map_err(|_| PasskeyError::Refused)?;
        let mut passkeys = begun.passkeys.into_iter();
        let mut passkey = passkeys
            .find(|passkey| passkey.cred_id() == done.cred_id())
            .ok_or(PasskeyError::Refused)?;
        passkey.update_credential(&done);
        kept(&passkey)
    }
}

fn kept(passkey: &Passkey) -> Result<KeptPasskey, PasskeyError> {
    Ok(KeptPasskey {
        id: passkey.cred_id().to_vec(),
        record: serde_json::to_string(passkey).map_err(|_| PasskeyError::Kept)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passkeys_are_for_places_with_a_name() {
        for good in ["https://node.example", "http://localhost:11435"] {
            assert!(PasskeyDoor::at(good).is_ok(), "{good}");
        }
        for bad in [
            "http://127.0.0.1:1",
            "https://[::1]",
            "http://node.example",
            "x",
            "",
        ] {
            assert_eq!(
                PasskeyDoor::at(bad).err(),
                Some(PasskeyError::Origin),
                "{bad}"
            );
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let door = PasskeyDoor::at("http://localhost:1").expect("it has a name");
        let (asked, begun) = door.begin_registration([1; 16], "me", &[]).expect("begun");
        assert_eq!(asked["publicKey"]["rp"]["id"], "localhost");
        for bad in [
            Value::Null,
            serde_json::json!({}),
            serde_json::json!({"id": "x"}),
        ] {
            let refused = door.complete_registration(&begun, bad);
            assert_eq!(refused.err(), Some(PasskeyError::Malformed));
        }
        let broken = KeptPasskey {
            id: vec![1],
            record: "{}".into(),
        };
        assert_eq!(door.begin_login(&[broken]).err(), Some(PasskeyError::Kept));
    }
}
