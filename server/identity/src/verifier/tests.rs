use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::status::{CONTEXT, entry, list_credential};
use crate::{Fetch, FetchError, NodeKey, ProofOptions, did_key, sign_document};

const NOW: &str = "2026-11-23T00:00:00Z";
const LIST: &str = "https://issuer.example/status/1";

/// Whatever is on the web.
#[derive(Default)]
struct Web(HashMap<String, Map<String, Value>>);

impl Fetch for Web {
    fn object<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Map<String, Value>, FetchError>> {
        let found = self.0.get(url).cloned().ok_or(FetchError::NotFound);
        Box::pin(async move { found })
    }
}

struct NoLists;

impl OwnLists for NoLists {
    fn list<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Option<StatusList>> {
        Box::pin(async { None })
    }
}

fn method(key: &NodeKey) -> (String, String) {
    let did = did_key(key.id());
    let fragment = did.trim_start_matches("did:key:").to_owned();
    let method = format!("{did}#{fragment}");
    (did, method)
}

fn signed(key: &NodeKey, document: Value, purpose: Purpose) -> Map<String, Value> {
    let (_, method) = method(key);
    let options = ProofOptions {
        method: &method,
        purpose,
        created: Some(NOW),
        challenge: Some("c"),
        domain: None,
    };
    let document = document.as_object().cloned().expect("an object");
    sign_document(key, document, &options)
}

fn credential(key: &NodeKey) -> Value {
    json!({
        "@context": [CONTEXT],
        "type": ["VerifiableCredential"],
        "issuer": method(key).0,
        "credentialSubject": {"id": "did:example:subject", "member": true},
        "credentialStatus": entry(LIST, 7),
    })
}

fn list(key: &NodeKey, revoked: &[u32]) -> Map<String, Value> {
    let list = StatusList::of(revoked.iter().copied());
    let list = list_credential(LIST, &method(key).0, NOW, &list);
    signed(key, Value::Object(list), Purpose::Assertion)
}

async fn verify(
    text: &Map<String, Value>,
    web: impl IntoIterator<Item = (&str, Map<String, Value>)>,
) -> Result<Credential, Problem> {
    let web = web.into_iter().map(|(url, text)| (url.to_owned(), text));
    let resolver = Resolver::new(Arc::new(Web(web.collect())), None);
    let now = crate::parse_timestamp(NOW).expect("a time");
    Verifier::new(&resolver, &NoLists, now)
        .credential(text)
        .await
}

#[tokio::test]
async fn what_was_signed_and_not_revoked_is_believed() {
    let key = NodeKey::generate();
    let good = signed(&key, credential(&key), Purpose::Assertion);
    let verified = verify(&good, [(LIST, list(&key, &[6, 8]))]).await;
    assert_eq!(
        verified.expect("it is good").subjects,
        ["did:example:subject"]
    );
    let revoked = verify(&good, [(LIST, list(&key, &[7]))]).await;
    assert_eq!(revoked.err(), Some(Problem::Status("revoked".into())));
}

#[tokio::test]
async fn a_state_that_cannot_be_told_is_none() {
    let key = NodeKey::generate();
    let good = signed(&key, credential(&key), Purpose::Assertion);
    let mut unsigned = list(&key, &[]);
    unsigned.remove("proof");
    let mut changed = list(&key, &[7]);
    changed["credentialSubject"]["encodedList"] = json!(StatusList::of([]).encode());
    let mut elsewhere = list_credential(
        "https://issuer.example/2",
        &method(&key).0,
        NOW,
        &StatusList::of([]),
    );
    elsewhere = signed(&key, Value::Object(elsewhere), Purpose::Assertion);
    let mut suspensions = Value::Object(list(&key, &[]));
    suspensions["credentialSubject"]["statusPurpose"] = json!("suspension");
    let suspensions = signed(&key, suspensions, Purpose::Assertion);
    let no_list = signed(&key, credential(&key), Purpose::Assertion);
    for web in [
        vec![],
        vec![(LIST, unsigned)],
        vec![(LIST, changed)],
        vec![(LIST, elsewhere)],
        vec![(LIST, suspensions)],
        vec![(LIST, no_list)],
        vec![(LIST, list(&NodeKey::generate(), &[]))],
    ] {
        let refused = verify(&good, web).await;
        assert!(
            matches!(refused, Err(Problem::StatusUnknown(_))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_the_issuer_did_not_sign_is_not_believed() {
    let (key, other) = (NodeKey::generate(), NodeKey::generate());
    let lists = || [(LIST, list(&key, &[]))];
    let forged = signed(&other, credential(&key), Purpose::Assertion);
    let wrong_purpose = signed(&key, credential(&key), Purpose::Authentication);
    let mut unsigned = signed(&key, credential(&key), Purpose::Assertion);
    unsigned.remove("proof");
    let mut both = signed(&key, credential(&key), Purpose::Assertion);
    let mut second = both["proof"].clone();
    second["proofValue"] = json!("z".to_owned() + &"1".repeat(64));
    both["proof"] = json!([both["proof"], second]);
    for bad in [forged, wrong_purpose, unsigned, both] {
        let refused = verify(&bad, lists()).await;
        assert!(matches!(refused, Err(Problem::Proof(_))), "{refused:?}");
    }
    let mut late = credential(&key);
    late["validUntil"] = json!(NOW);
    let late = signed(&key, late, Purpose::Assertion);
    assert!(matches!(
        verify(&late, lists()).await,
        Err(Problem::Time(_))
    ));
}

#[tokio::test]
async fn an_issuer_may_have_a_place_on_the_web() {
    let key = NodeKey::generate();
    let did: Did = "did:web:issuer.example".parse().expect("a DID");
    let public = crate::PublicKey::Ed25519(key.id().0);
    let document = DidDocument::of_node(&did, &public);
    let method = format!("{did}#{public}");
    let options = ProofOptions {
        method: &method,
        purpose: Purpose::Assertion,
        created: None,
        challenge: None,
        domain: None,
    };
    let mut text = credential(&key);
    text["issuer"] = json!(did.to_string());
    text.as_object_mut()
        .expect("an object")
        .remove("credentialStatus");
    let text = text.as_object().cloned().expect("an object");
    let text = sign_document(&key, text, &options);
    let place = "https://issuer.example/.well-known/did.json";
    let verified = verify(&text, [(place, document.clone().into_map())]).await;
    assert!(verified.is_ok(), "{verified:?}");
    let mut foreign = document.into_map();
    foreign["id"] = json!("did:web:other.example");
    for web in [vec![], vec![(place, foreign)]] {
        assert!(matches!(verify(&text, web).await, Err(Problem::Proof(_))));
    }
}

#[tokio::test]
async fn a_presentation_is_for_whom_it_was_made() {
    let key = NodeKey::generate();
    let mut inner = credential(&key);
    inner
        .as_object_mut()
        .expect("an object")
        .remove("credentialStatus");
    let inner = signed(&key, inner, Purpose::Assertion);
    let holder = method(&key).0;
    let presentation = json!({
        "@context": [CONTEXT],
        "type": "VerifiablePresentation",
        "holder": holder,
        "verifiableCredential": [inner],
    });
    let good = signed(&key, presentation.clone(), Purpose::Authentication);
    let resolver = Resolver::new(Arc::new(Web::default()), None);
    let now = crate::parse_timestamp(NOW).expect("a time");
    let verifier = Verifier::new(&resolver, &NoLists, now);
    let asked = |challenge| Audience {
        challenge: Some(challenge),
        domain: None,
    };
    let shown = verifier.presentation(&good, asked("c")).await;
    assert_eq!(shown.expect("it is good").len(), 1);
    let replayed = verifier.presentation(&good, asked("d")).await;
    assert!(matches!(replayed, Err(Problem::Proof(_))), "{replayed:?}");
    let mut anothers = presentation.clone();
    anothers["holder"] = json!("did:example:other");
    let anothers = signed(&key, anothers, Purpose::Authentication);
    assert!(verifier.presentation(&anothers, asked("c")).await.is_err());
    let mut changed = presentation;
    changed["verifiableCredential"][0]["credentialSubject"]["member"] = json!(false);
    let changed = signed(&key, changed, Purpose::Authentication);
    assert!(verifier.presentation(&changed, asked("c")).await.is_err());
}

/// Each place takes as long as one may.
struct Slow(Map<String, Value>);

impl Fetch for Slow {
    fn object<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Map<String, Value>, FetchError>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            Ok(self.0.clone())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_names_many_slow_places_does_not_take_for_ever() {
    let key = NodeKey::generate();
    let resolver = Resolver::new(Arc::new(Slow(list(&key, &[]))), None);
    let now = crate::parse_timestamp(NOW).expect("a time");
    let verifier = Verifier::new(&resolver, &NoLists, now);
    let verified = async |states: usize| {
        let mut many = credential(&key);
        many["credentialStatus"] = json!(vec![entry(LIST, 7); states]);
        let many = signed(&key, many, Purpose::Assertion);
        let credential = verifier.credential(&many).await.map(|_| ());
        let presentation = json!({
            "@context": [CONTEXT],
            "type": ["VerifiablePresentation"],
            "verifiableCredential": many,
        });
        let presentation = signed(&key, presentation, Purpose::Authentication);
        let shown = verifier.presentation(&presentation, Audience::default());
        (credential, shown.await.map(|_| ()))
    };
    assert_eq!(verified(2).await, (Ok(()), Ok(())));
    let late = || Err(Problem::StatusUnknown("it does not come in time".into()));
    let before = tokio::time::Instant::now();
    assert_eq!(verified(16).await, (late(), late()));
    assert_eq!(before.elapsed().as_secs(), 2 * FETCHING_MAX.as_secs());
}
