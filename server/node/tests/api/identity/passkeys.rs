//! Registering a passkey names a key and proves nothing of it: nobody comes in under the name of another's.

use sha2::{Digest, Sha256};

use super::*;

/// An authenticator that nobody asked whether he has the key that it names: the answer to a registration without
/// attestation (W3C Web Authentication, level 3, section 8.7) for the public key of somebody.
fn claimed(begun: &Value, id: u8, of: &Person) -> Value {
    let Person::Key(key) = of else {
        unreachable!("passkeys have no wallets");
    };
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(32);
    // A COSE key (RFC 9053, section 7.1): EC2, ES256, P-256.
    let cose = [
        &[0xA5, 1, 2, 3, 0x26, 0x20, 1, 0x21, 0x58, 32][..],
        x,
        &[0x22, 0x58, 32],
        y,
    ]
    .concat();
    // The user is there and was verified, and a key follows: the name of its place, flags, counter, make, id.
    let place: [u8; 32] = Sha256::digest("localhost").into();
    let data = [
        &place[..],
        &[0x45, 0, 0, 0, 0],
        &[0; 16],
        &[0, 16],
        &[id; 16],
        &cose,
    ]
    .concat();
    let length = u8::try_from(data.len()).expect("it is short");
    let attestation = [
        b"\xA3\x63fmt\x64none\x67attStmt\xA0\x68authData\x58",
        &[length][..],
        &data,
    ]
    .concat();
    let said = json!({
        "type": "webauthn.create",
        "challenge": begun["publicKey"]["challenge"],
        "origin": "http://localhost:11435",
    });
    let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    json!({
        "ceremony": begun["ceremony"],
        "credential": {
            "id": text(&[id; 16]),
            "rawId": text(&[id; 16]),
            "type": "public-key",
            "response": {
                "clientDataJSON": text(said.to_string().as_bytes()),
                "attestationObject": text(&attestation),
            },
        },
    })
}

async fn register(node: &TestNode, id: u8, of: &Person, token: Option<&str>) -> Answer {
    let begin = "/v1/auth/passkey/register/begin";
    let begun = ask(node, "POST", begin, token, Some(json!({}))).await;
    assert_eq!(begun.status, 200, "{}", begun.text);
    let complete = "/v1/auth/passkey/register/complete";
    let answer = claimed(&begun.json(), id, of);
    ask(node, "POST", complete, token, Some(answer)).await
}

async fn passkeys(node: &TestNode, account: &Person) -> u32 {
    let found = node.store.account(&account.did(), 1).await;
    found
        .expect("it answers")
        .map_or(0, |account| account.passkeys)
}

#[tokio::test]
async fn who_names_anothers_key_does_not_come_in_as_him() {
    let node = TestNode::new().await;
    let keys = key(&node, "inference identity").await.reveal();
    let victim = Person::with_key(3);
    assert_eq!(sign_in(&node, &victim, Some(&keys)).await.status, 200);

    let refused = register(&node, 1, &victim, None).await;
    assert_eq!(refused.error().0, 403, "nobody let him in");
    let other = register(&node, 2, &victim, Some(&keys)).await;
    assert_eq!(other.status, 200, "{}", other.text);
    let other = other.json()["subject"].as_str().map(str::to_owned);
    assert_ne!(other, Some(victim.did()));
    assert_eq!(passkeys(&node, &victim).await, 0);
}

#[tokio::test]
async fn a_passkey_is_one_accounts_and_an_account_has_so_many() {
    let node = TestNode::new().await;
    let keys = key(&node, "inference identity").await.reveal();
    let (ada, bob) = (Person::with_key(3), Person::with_key(4));
    let ada_token = token(&sign_in(&node, &ada, Some(&keys)).await);
    let bob_token = token(&sign_in(&node, &bob, Some(&keys)).await);
    for id in 0..16 {
        let kept = register(&node, id, &ada, Some(&ada_token)).await;
        assert_eq!(kept.status, 200, "{}", kept.text);
    }
    let begin = "/v1/auth/passkey/register/begin";
    let full = ask(&node, "POST", begin, Some(&ada_token), Some(json!({}))).await;
    assert_eq!(full.error().2.as_deref(), Some("too_many_passkeys"));
    let taken = register(&node, 7, &bob, Some(&bob_token)).await;
    assert_eq!(taken.error().2.as_deref(), Some("invalid_passkey"));
    assert_eq!(
        (passkeys(&node, &ada).await, passkeys(&node, &bob).await),
        (16, 0)
    );
}
