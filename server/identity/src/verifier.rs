//! Whether a credential, or a presentation of some, can be believed: who says so, whether he signed it, whether it is
//! good now, and whether he has taken it back. Whatever cannot be told counts against it.

use std::time::Duration;

use kwaainet_core::BoxFuture;
use serde_json::{Map, Value};

use crate::credential::{Credential, PARTS_MAX, Presentation, Problem, StatusEntry, one_or_more};
use crate::did::Did;
use crate::document::{DidDocument, Purpose};
use crate::proof::Proof;
use crate::resolve::Resolver;
use crate::status::StatusList;

/// How long all lists and documents together may take that have to be fetched for one question: a few dozen may be
/// named, and few are fetched at once for everybody.
const FETCHING_MAX: Duration = Duration::from_secs(20);

/// Lists of states that this node itself keeps.
pub trait OwnLists: Send + Sync {
    /// The list of this URL, if the issuer is this node, now or with an earlier key; none if it is another's.
    fn list<'a>(&'a self, issuer: &'a str, url: &'a str) -> BoxFuture<'a, Option<StatusList>>;
}

/// Checks what others show.
pub struct Verifier<'a> {
    resolver: &'a Resolver,
    lists: &'a dyn OwnLists,
    now_ms: i64,
}

/// Whom a presentation must be made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audience<'a> {
    /// What was given to whoever shows it.
    pub challenge: Option<&'a str>,
    /// Who asks.
    pub domain: Option<&'a str>,
}

impl<'a> Verifier<'a> {
    /// At this time, in milliseconds since 1970.
    pub fn new(resolver: &'a Resolver, lists: &'a dyn OwnLists, now_ms: i64) -> Self {
        Self {
            resolver,
            lists,
            now_ms,
        }
    }

    /// What a credential says, if it can be believed.
    ///
    /// # Errors
    /// The first reason against it.
    pub async fn credential(&self, text: &Map<String, Value>) -> Result<Credential, Problem> {
        in_time(self.one(text)).await
    }

    async fn one(&self, text: &Map<String, Value>) -> Result<Credential, Problem> {
        let credential = self.signed_credential(text).await?;
        for entry in &credential.statuses {
            self.status(&credential, entry).await?;
        }
        Ok(credential)
    }

    /// What a presentation shows, if it and all that it shows can be believed.
    ///
    /// # Errors
    /// The first reason against it.
    pub async fn presentation(
        &self,
        text: &Map<String, Value>,
        audience: Audience<'_>,
    ) -> Result<Vec<Credential>, Problem> {
        in_time(self.all(text, audience)).await
    }

    async fn all(
        &self,
        text: &Map<String, Value>,
        audience: Audience<'_>,
    ) -> Result<Vec<Credential>, Problem> {
        let presentation = Presentation::read(text)?;
        let holder = presentation.holder.as_deref();
        self.proofs(text, Purpose::Authentication, holder, audience)
            .await?;
        let mut credentials = Vec::with_capacity(presentation.credentials.len());
        for credential in presentation.credentials {
            credentials.push(self.one(credential).await?);
        }
        Ok(credentials)
    }

    /// All of it but its state.
    async fn signed_credential(&self, text: &Map<String, Value>) -> Result<Credential, Problem> {
        let credential = Credential::read(text)?;
        let issuer = Some(credential.issuer.as_str());
        self.proofs(text, Purpose::Assertion, issuer, Audience::default())
            .await?;
        credential.is_valid_at(self.now_ms)?;
        Ok(credential)
    }

    /// Checks all proofs; there must be one, and each must be by the signer if he is named.
    async fn proofs(
        &self,
        text: &Map<String, Value>,
        purpose: Purpose,
        signer: Option<&str>,
        audience: Audience<'_>,
    ) -> Result<(), Problem> {
        let proofs = one_or_more(text, "proof")?;
        if proofs.is_empty() {
            return Err(Problem::Proof("there is no proof".into()));
        }
        debug_assert!(proofs.len() <= PARTS_MAX, "as it was read");
        for proof in proofs {
            let value = Value::Object(proof.clone());
            let failed = |error: crate::ProofError| Problem::Proof(error.to_string());
            let proof = Proof::read(&value, purpose, self.now_ms).map_err(failed)?;
            proof
                .is_for(audience.challenge, audience.domain)
                .map_err(failed)?;
            let (controller, document) = self.controller(proof.method).await?;
            if signer.is_some_and(|signer| signer != controller) {
                return Err(Problem::Proof("somebody else signed it".into()));
            }
            let key = document.key(proof.method, purpose);
            let key = key.ok_or_else(|| failed(crate::ProofError::Method))?;
            proof.verify(text, &key).map_err(failed)?;
        }
        Ok(())
    }

    /// Whose key a method is.
    async fn controller(&self, method: &str) -> Result<(String, DidDocument), Problem> {
        let (did, _) = method
            .split_once('#')
            .ok_or_else(|| Problem::Proof("its verificationMethod is no DID URL".into()))?;
        let failed = |error: String| Problem::Proof(format!("its signer is not known: {error}"));
        let parsed: Did = did
            .parse()
            .map_err(|error: crate::BadDid| failed(error.to_string()))?;
        let document = self.resolver.resolve(&parsed).await;
        let document = document.map_err(|error| failed(error.to_string()))?;
        Ok((did.to_owned(), document))
    }

    async fn status(&self, credential: &Credential, entry: &StatusEntry) -> Result<(), Problem> {
        let unknown = |reason: String| Problem::StatusUnknown(reason);
        let set = match self.lists.list(&credential.issuer, &entry.list).await {
            Some(own) if entry.purpose == "revocation" => own.get(entry.place),
            Some(_) => None,
            None => self.foreign_state(credential, entry).await?,
        };
        match set {
            Some(false) => Ok(()),
            Some(true) => Err(Problem::Status(match entry.purpose.as_str() {
                "suspension" => "suspended".into(),
                _ => "revoked".into(),
            })),
            None => Err(unknown("the list has no such place or purpose".into())),
        }
    }

    /// What a list says that has to be fetched, and that the same issuer must have signed.
    async fn foreign_state(
        &self,
        credential: &Credential,
        entry: &StatusEntry,
    ) -> Result<Option<bool>, Problem> {
        let unknown = |reason: String| Problem::StatusUnknown(reason);
        let list = self.resolver.fetch().object(&entry.list).await;
        let list = list.map_err(|error| unknown(error.to_string()))?;
        let signed = self.signed_credential(&list).await;
        let signed = signed.map_err(|problem| unknown(format!("of the list, {problem}")))?;
        if signed.issuer != credential.issuer {
            return Err(unknown("another issuer signed the list".into()));
        }
        if signed.id.as_deref() != Some(entry.list.as_str()) {
            return Err(unknown("the list is another one".into()));
        }
        if !signed
            .types
            .iter()
            .any(|word| word == "BitstringStatusListCredential")
        {
            return Err(unknown("the list is none".into()));
        }
        Ok(is_set(&list, entry))
    }
}

async fn in_time<T>(checking: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let checked = tokio::time::timeout(FETCHING_MAX, checking).await;
    checked.unwrap_or_else(|_| Err(Problem::StatusUnknown("it does not come in time".into())))
}

/// Whether the list has the place set; none where it cannot say.
fn is_set(list: &Map<String, Value>, entry: &StatusEntry) -> Option<bool> {
    let subject = list.get("credentialSubject")?;
    if subject.get("type")?.as_str()? != "BitstringStatusList" {
        return None;
    }
    let purposes = subject.get("statusPurpose")?;
    let is_for = match purposes.as_array() {
        Some(several) => several.iter().any(|purpose| *purpose == entry.purpose),
        None => *purposes == entry.purpose,
    };
    let bits = StatusList::decode(subject.get("encodedList")?.as_str()?).ok()?;
    is_for.then(|| bits.get(entry.place))?
}

#[cfg(test)]
mod tests;
