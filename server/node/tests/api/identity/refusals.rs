//! What is refused, and how; and that nothing is changed by it.

use super::*;

/// Every operation that changes something or tells something of somebody.
const GUARDED: [(&str, &str); 15] = [
    (
        "GET",
        "/v1/identity/resolve/did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    ),
    ("GET", "/v1/identity/me"),
    ("POST", "/v1/identity/credentials"),
    ("POST", "/v1/identity/prepare"),
    ("GET", "/v1/identity/links"),
    ("POST", "/v1/identity/links"),
    ("DELETE", "/v1/identity/links/did:key:z"),
    ("POST", "/v1/identity/succeed"),
    ("GET", "/v1/auth/sessions"),
    ("DELETE", "/v1/auth/sessions/current"),
    ("POST", "/v1/auth/capabilities"),
    ("POST", "/v1/credentials/issue"),
    ("POST", "/v1/credentials/verify"),
    ("POST", "/v1/credentials/present"),
    ("POST", "/v1/credentials/status"),
];

#[tokio::test]
async fn nobody_and_whoever_lacks_the_scope_get_nothing() {
    let node = TestNode::new().await;
    let other = key(&node, "inference storage").await;
    for (method, path) in GUARDED {
        let body = (method == "POST").then(|| json!({}));
        let nobody = ask(&node, method, path, None, body.clone()).await;
        assert_eq!(
            (nobody.error().0, nobody.error().2.as_deref()),
            (401, Some("invalid_api_key")),
            "{path}"
        );
        let wrong = ask(&node, method, path, Some(&other.reveal()), body).await;
        assert_eq!(
            (wrong.error().0, wrong.error().2.as_deref()),
            (403, Some("insufficient_permissions")),
            "{path}"
        );
    }
    let bad = ask(
        &node,
        "POST",
        "/v1/auth/challenge",
        Some("kw_bad"),
        Some(json!({})),
    )
    .await;
    assert_eq!(bad.error().0, 401, "what is shown must be good");
}

#[tokio::test]
async fn what_is_malformed_or_too_large_is_refused_by_name() {
    let mut config = kwaainet::config::Config::default();
    config.limits.body_bytes = 4_096;
    let node = TestNode::with(config).await;
    let session = token(&sign_in(&node, &Person::with_key(3), None).await);
    let large = json!({"message": "x".repeat(5_000)});
    for (method, path) in GUARDED.into_iter().filter(|(method, _)| *method == "POST") {
        let answer = ask(&node, method, path, Some(&session), Some(large.clone())).await;
        assert_eq!(answer.error().0, 413, "{path}");
        let answer = ask(&node, method, path, Some(&session), Some(json!([]))).await;
        assert_eq!(answer.error().0, 400, "{path}");
    }
    for (path, body, param) in [
        ("/v1/auth/challenge", json!({}), "account"),
        ("/v1/auth/challenge", json!({"account": 7}), "account"),
        (
            "/v1/auth/challenge",
            json!({"account": "did:key:z"}),
            "account",
        ),
        (
            "/v1/auth/challenge",
            json!({"account": "did:web:example.com"}),
            "account",
        ),
        (
            "/v1/auth/challenge",
            json!({"account": Person::with_key(3).did(), "purpose": "x"}),
            "purpose",
        ),
        (
            "/v1/auth/challenge",
            json!({"account": Person::with_key(3).did(), "scopes": ["x"]}),
            "scopes",
        ),
        ("/v1/auth/verify", json!({}), "message"),
        ("/v1/auth/verify", json!({"message": "x"}), "signature"),
        (
            "/v1/auth/verify",
            json!({"message": "x", "signature": "0x"}),
            "message",
        ),
        ("/v1/auth/capabilities", json!({"scopes": []}), "scopes"),
        ("/v1/auth/passkey/login/begin", json!({}), "account"),
        ("/v1/auth/passkey/login/complete", json!({}), "ceremony"),
        ("/v1/credentials/verify", json!({}), "verifiableCredential"),
        (
            "/v1/identity/prepare",
            json!({"next_key_sha256": "x"}),
            "next_key_sha256",
        ),
        (
            "/v1/identity/credentials",
            json!({"verifiableCredential": {}}),
            "verifiableCredential",
        ),
    ] {
        let token = (!path.starts_with("/v1/auth/c")).then_some(session.as_str());
        let answer = ask(&node, "POST", path, token, Some(body.clone())).await;
        let (status, _, _, found) = answer.error();
        assert_eq!(
            (status, found.as_deref()),
            (400, Some(param)),
            "{path} {body}"
        );
    }
    let twice = r#"{"verifiableCredential": {"id": "urn:a:b", "id": "urn:a:c"}}"#;
    let request = Request::post("/v1/credentials/verify")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Body::from(twice))
        .expect("it is a request");
    assert_eq!(node.ask(request).await.error().0, 400, "a name twice");
}

#[tokio::test]
async fn a_signed_text_opens_once_and_only_unchanged() {
    let node = TestNode::new().await;
    for person in [Person::with_key(3), Person::with_wallet(4)] {
        let asked = json!({"account": person.did()});
        let challenge = async || {
            let answer = ask(
                &node,
                "POST",
                "/v1/auth/challenge",
                None,
                Some(asked.clone()),
            )
            .await;
            answer.json()["message"]
                .as_str()
                .expect("a text")
                .to_owned()
        };
        let verify = async |message: &str, signature: &str| {
            let signed = json!({"message": message, "signature": signature});
            ask(&node, "POST", "/v1/auth/verify", None, Some(signed)).await
        };
        for (from, to, code) in [
            (
                "localhost:11435 wants",
                "evil.example wants",
                "message_mismatch",
            ),
            (
                "URI: http://localhost",
                "URI: http://evil.example",
                "message_mismatch",
            ),
            ("Issued At: 20", "Issued At: 19", "message_expired"),
            (
                "Expiration Time: 20",
                "Expiration Time: 19",
                "message_expired",
            ),
            ("Nonce: ", "Nonce: a", "invalid_nonce"),
            ("\nNonce: ", "\nNonce: ", "invalid_signature"),
        ] {
            let message = challenge().await;
            let changed = message.replacen(from, to, 1);
            // The first ones are signed as they are, and say something else; the last one is signed as it was not.
            let signature = match code {
                "invalid_signature" => person.sign(&format!("{message} ")),
                _ => person.sign(&changed),
            };
            let refused = verify(&changed, &signature).await;
            let (status, _, found, _) = refused.error();
            assert_eq!((status, found.as_deref()), (401, Some(code)), "{from}");
            let again = verify(&message, &person.sign(&message)).await;
            // Its nonce is gone with the first try, unless that named another.
            assert_eq!(again.status == 200, code == "invalid_nonce", "{from}");
        }
        let message = challenge().await;
        let signature = person.sign(&message);
        assert_eq!(verify(&message, &signature).await.status, 200);
        let replayed = verify(&message, &signature).await;
        assert_eq!(replayed.error().2.as_deref(), Some("invalid_nonce"));
    }
    let wallet = Person::with_wallet(4);
    let asked = json!({"account": wallet.did()});
    let challenge = ask(&node, "POST", "/v1/auth/challenge", None, Some(asked)).await;
    let contract = json!({"message": challenge.json()["message"], "signature": format!("0x{}", "12".repeat(97))});
    let refused = ask(&node, "POST", "/v1/auth/verify", None, Some(contract)).await;
    assert_eq!(refused.error().2.as_deref(), Some("unverifiable"));
}

#[tokio::test]
async fn a_text_for_one_errand_is_not_taken_for_another() {
    let node = TestNode::new().await;
    let (person, wallet) = (Person::with_key(3), Person::with_wallet(4));
    let session = token(&sign_in(&node, &person, None).await);
    for (purpose, path) in [
        ("link", "/v1/auth/verify"),
        ("link", "/v1/identity/succeed"),
        ("succeed", "/v1/identity/links"),
        ("sign_in", "/v1/identity/links"),
        ("sign_in", "/v1/identity/succeed"),
    ] {
        let refused = errand(&node, &session, purpose, &wallet, path).await;
        assert_eq!(
            refused.error().2.as_deref(),
            Some("message_mismatch"),
            "{purpose} {path}"
        );
    }
    let me = ask(&node, "GET", "/v1/identity/me", Some(&session), None).await;
    assert_eq!(me.json()["links"], 0);
    let asked = json!({"account": wallet.did(), "purpose": "link"});
    let nobody = ask(&node, "POST", "/v1/auth/challenge", None, Some(asked)).await;
    assert_eq!(nobody.error().0, 403, "nobody has signed in");
}

#[tokio::test]
async fn a_name_that_the_owner_has_not_given_the_node_is_not_signed_in_to() {
    let mut config = kwaainet::config::Config::default();
    config.identity.origins = vec!["https://node.example".into()];
    let node = TestNode::with(config).await;
    let key = key(&node, "inference identity").await;
    let challenge = async |host: &str| {
        let body = json!({"account": Person::with_key(3).did()}).to_string();
        let request = Request::post("/v1/auth/challenge")
            .header("host", host)
            .header("authorization", format!("Bearer {}", key.reveal()))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .expect("it is a request");
        node.ask(request).await
    };
    let good = challenge("node.example").await.json();
    assert_eq!(good["uri"], "https://node.example");
    assert_eq!(
        challenge("127.0.0.1:1").await.json()["uri"],
        "http://127.0.0.1:1"
    );
    for evil in ["evil.example", "node.example.evil", "node.example:81", ""] {
        let refused = challenge(evil).await;
        assert_eq!(
            refused.error().2.as_deref(),
            Some("unknown_origin"),
            "{evil}"
        );
    }
}
