//! DID documents, and credentials from being issued to being revoked.

use super::*;

async fn owner(node: &TestNode, method: &str, path: &str, body: Option<Value>) -> Answer {
    ask(node, method, path, None, body).await
}

async fn issue(node: &TestNode, subject: &str) -> Value {
    let credential = json!({"credentialSubject": {"id": subject, "member": true}});
    let asked = json!({"credential": credential});
    let issued = owner(node, "POST", "/v1/credentials/issue", Some(asked)).await;
    assert_eq!(issued.status, 201, "{}", issued.text);
    issued.json()["verifiableCredential"].clone()
}

async fn verify(node: &TestNode, credential: &Value) -> Value {
    let asked = json!({"verifiableCredential": credential});
    let verified = owner(node, "POST", "/v1/credentials/verify", Some(asked)).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    verified.json()
}

#[tokio::test]
async fn the_node_says_who_it_is_to_anybody() {
    let mut config = kwaainet::config::Config::default();
    config.identity.origins = vec!["https://node.example".into()];
    let node = TestNode::with(config).await;
    key(&node, "inference").await;
    let own = owner(&node, "GET", "/v1/identity/node", None).await.json();
    let did = own["id"].as_str().expect("a DID").to_owned();
    assert!(did.starts_with("did:key:z6Mk"), "{did}");
    assert_eq!(own["alsoKnownAs"], json!(["did:web:node.example"]));
    let web = owner(&node, "GET", "/.well-known/did.json", None)
        .await
        .json();
    assert_eq!(web["id"], "did:web:node.example");
    assert_eq!(web["alsoKnownAs"], json!([did]));
    let resolve = format!("/v1/identity/resolve/{did}");
    assert_eq!(owner(&node, "GET", &resolve, None).await.error().0, 401);
}

#[tokio::test]
async fn dids_are_resolved_and_nothing_private_is_asked() {
    let node = TestNode::new().await;
    let resolve = async |did: &str| {
        let path = format!("/v1/identity/resolve/{did}");
        owner(&node, "GET", &path, None).await
    };
    let did = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let found = resolve(did).await.json();
    assert_eq!(found["didDocument"]["id"], did);
    assert_eq!(
        found["didResolutionMetadata"]["contentType"],
        "application/did"
    );
    let pkh = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";
    assert_eq!(resolve(pkh).await.json()["didDocument"]["id"], pkh);
    for (did, code) in [
        ("did:web:localhost", "address_not_allowed"),
        ("did:web:127.0.0.1", "invalid_did"),
        ("did:ion:abc", "invalid_did"),
        ("nonsense", "invalid_did"),
    ] {
        let refused = resolve(did).await;
        let (status, _, found, param) = refused.error();
        assert_eq!(
            (status, found.as_deref(), param.as_deref()),
            (400, Some(code), Some("did")),
            "{did}"
        );
    }
}

#[tokio::test]
async fn what_is_issued_is_believed_until_it_is_revoked() {
    let node = TestNode::new().await;
    let credential = issue(&node, "did:example:subject").await;
    assert_eq!(credential["proof"]["cryptosuite"], "eddsa-jcs-2022");
    assert_eq!(verify(&node, &credential).await["verified"], true);
    let list = credential["credentialStatus"]["statusListCredential"]
        .as_str()
        .expect("a URL");
    let list = list
        .strip_prefix("http://localhost:11435")
        .expect("this node's");
    let list = owner(&node, "GET", list, None).await.json();
    assert_eq!(list["credentialSubject"]["type"], "BitstringStatusList");
    assert_eq!(verify(&node, &list).await["verified"], true);

    let mut changed = credential.clone();
    changed["credentialSubject"]["member"] = json!(false);
    let verdict = verify(&node, &changed).await;
    assert_eq!(verdict["verified"], false);
    let kind = verdict["errors"][0]["type"]
        .as_str()
        .expect("a kind")
        .to_owned();
    assert!(kind.ends_with("#CRYPTOGRAPHIC_SECURITY_ERROR"), "{kind}");

    let status =
        json!({"credentialId": credential["id"], "statusPurpose": "revocation", "status": true});
    for _ in 0..2 {
        let revoked = owner(
            &node,
            "POST",
            "/v1/credentials/status",
            Some(status.clone()),
        )
        .await;
        assert_eq!(revoked.status, 200, "{}", revoked.text);
    }
    let verdict = verify(&node, &credential).await;
    assert_eq!(verdict["verified"], false);
    assert_eq!(
        verdict["errors"][0]["title"],
        "the credential's state is 'revoked'"
    );
    let back = json!({"credentialId": credential["id"], "status": false});
    let refused = owner(&node, "POST", "/v1/credentials/status", Some(back)).await;
    assert_eq!(refused.error().3.as_deref(), Some("status"));
    let unknown = json!({"credentialId": "urn:x:y", "status": true});
    let refused = owner(&node, "POST", "/v1/credentials/status", Some(unknown)).await;
    assert_eq!(refused.error().0, 404);
}

#[tokio::test]
async fn only_the_owners_keys_speak_in_the_nodes_name() {
    let node = TestNode::new().await;
    let session = token(&sign_in(&node, &Person::with_key(3), None).await);
    let body = json!({"credential": {"credentialSubject": {"id": "did:example:me"}}});
    let refused = ask(
        &node,
        "POST",
        "/v1/credentials/issue",
        Some(&session),
        Some(body),
    )
    .await;
    assert_eq!(refused.error().0, 403);
    for credential in [
        json!({}),
        json!({"credentialSubject": {}}),
        json!({"credentialSubject": {"id": "did:example:me"}, "issuer": "did:example:other"}),
        json!({"credentialSubject": {"id": "did:example:me"}, "@context": ["https://example.com"]}),
        json!({"credentialSubject": {"id": "did:example:me"}, "proof": {}}),
    ] {
        let asked = json!({"credential": credential});
        let refused = owner(&node, "POST", "/v1/credentials/issue", Some(asked)).await;
        assert_eq!(refused.error().0, 400, "{credential}");
    }
    let twice =
        json!({"credential": {"id": "urn:x:1", "credentialSubject": {"id": "did:example:me"}}});
    let first = owner(&node, "POST", "/v1/credentials/issue", Some(twice.clone())).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let second = owner(&node, "POST", "/v1/credentials/issue", Some(twice)).await;
    assert_eq!(second.error().2.as_deref(), Some("duplicate_id"));
}

#[tokio::test]
async fn a_credential_that_is_shown_raises_its_subject_until_it_is_revoked() {
    let node = TestNode::new().await;
    let wallet = Person::with_wallet(5);
    let session = token(&sign_in(&node, &wallet, None).await);
    let show = async |credential: &Value| {
        let shown = json!({"verifiableCredential": credential});
        ask(
            &node,
            "POST",
            "/v1/identity/credentials",
            Some(&session),
            Some(shown),
        )
        .await
    };
    let others = issue(&node, &Person::with_key(3).did()).await;
    let refused = show(&others).await;
    assert_eq!(refused.error().2.as_deref(), Some("wrong_subject"));
    let own = issue(&node, &wallet.did()).await;
    let mut forged = own.clone();
    forged["validUntil"] = json!("2099-01-01T00:00:00Z");
    assert_eq!(
        show(&forged).await.error().2.as_deref(),
        Some("invalid_credential")
    );
    let shown = show(&own).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert_eq!(shown.json()["tier"], 3);
    let status = json!({"credentialId": own["id"], "status": true});
    owner(&node, "POST", "/v1/credentials/status", Some(status)).await;
    let me = ask(&node, "GET", "/v1/identity/me", Some(&session), None).await;
    assert_eq!(me.json()["tier"], 2);
    assert_eq!(
        show(&own).await.error().2.as_deref(),
        Some("invalid_credential")
    );
}

#[tokio::test]
async fn the_node_shows_credentials_to_whom_it_was_asked_to() {
    let node = TestNode::new().await;
    let credential = issue(&node, "did:example:subject").await;
    let asked = json!({
        "presentation": {"verifiableCredential": [credential]},
        "options": {"challenge": "c1", "domain": "https://asker.example"}
    });
    let made = owner(&node, "POST", "/v1/credentials/present", Some(asked)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let presentation = made.json()["verifiablePresentation"].clone();
    let verify = async |challenge: &str| {
        let asked =
            json!({"verifiablePresentation": presentation, "options": {"challenge": challenge}});
        let path = "/v1/credentials/presentations/verify";
        owner(&node, "POST", path, Some(asked)).await.json()["verified"].clone()
    };
    assert_eq!(verify("c1").await, true);
    assert_eq!(verify("c2").await, false, "replayed");
}
