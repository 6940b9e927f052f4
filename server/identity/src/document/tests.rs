use super::*;

fn document(did: &str) -> DidDocument {
    DidDocument::of(&did.parse().expect("a DID")).expect("it says all of itself")
}

/// The pairs of keys in the method's test vectors (github.com/w3c-ccg/did-method-key,
/// test-vectors/ed25519-x25519.json, W3C Software and Document License).
#[test]
fn an_ed25519_key_agrees_on_keys_with_the_key_of_the_vectors() {
    for (key, agreement) in [
        (
            "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
            "z6LShs9GGnqk85isEBzzshkuVWrVKsRp24GnDuHk8QWkARMW",
        ),
        (
            "z6MkjchhfUsD6mmvni8mCdXHw216Xrm9bQe2mBH1P5RDjVJG",
            "z6LSrHyXiPBhUbvPUtyUCdf32sniiMGPTAesgHrtEa4FePtr",
        ),
        (
            "z6MkwW6aqMnjgrhJXFUko3NnZPGzVpkNzhYK7yEhnsibmLwL",
            "z6LSrGb3qm4xMCEBjvwkLb2WEcXfTM94Tu1RyGCbT5wbg8i9",
        ),
    ] {
        let did = format!("did:key:{key}");
        let document = document(&did);
        assert_eq!(
            document.0["keyAgreement"],
            json!([format!("{did}#{agreement}")])
        );
        assert_eq!(
            document.0["verificationMethod"][1]["publicKeyMultibase"],
            agreement
        );
        let own = format!("{did}#{key}");
        for purpose in [Purpose::Assertion, Purpose::Authentication] {
            assert_eq!(document.key(&own, purpose), key.parse().ok());
        }
        let other = format!("{did}#{agreement}");
        assert_eq!(document.key(&other, Purpose::Assertion), None);
    }
}

/// The method's own vectors, whole (github.com/w3c-ccg/did-pkh, test-vectors).
#[test]
fn accounts_have_the_documents_of_the_vectors() {
    let ethereum = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a";
    let method = format!("{ethereum}#blockchainAccountId");
    let expected = json!({
        "@context": [
            "https://www.w3.org/ns/did/v1",
            {
                "blockchainAccountId": "https://w3id.org/security#blockchainAccountId",
                "EcdsaSecp256k1RecoveryMethod2020": "https://identity.foundation/\
                    EcdsaSecp256k1RecoverySignature2020#EcdsaSecp256k1RecoveryMethod2020"
            }
        ],
        "id": ethereum,
        "verificationMethod": [{
            "id": method,
            "type": "EcdsaSecp256k1RecoveryMethod2020",
            "controller": ethereum,
            "blockchainAccountId": "eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a"
        }],
        "authentication": [method],
        "assertionMethod": [method],
        "capabilityDelegation": [method],
        "capabilityInvocation": [method]
    });
    assert_eq!(Value::Object(document(ethereum).0), expected);

    let solana = "did:pkh:solana:4sGjMW1sUnHzSxGspuhpqLDx6wiyjNtZ:\
                  CKg5d12Jhpej1JqtmxLJgaFqqeYjxgPqToJ4LBdvG9Ev";
    let made = document(solana);
    let methods = made.0["verificationMethod"].as_array().expect("two");
    let x = "qDkywhH-S6nNxQhA6SHKsoFW7A2gX-X0b3TtwVBMHm8";
    assert_eq!(methods[0]["type"], "Ed25519VerificationKey2018");
    assert_eq!(methods[0]["id"], format!("{solana}#controller"));
    assert_eq!(methods[1]["type"], "SolanaMethod2021");
    for method in methods {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        assert_eq!(method["publicKeyJwk"], jwk);
    }
    assert_eq!(made.0["assertionMethod"].as_array().map(Vec::len), Some(2));
    let key = made.key(&format!("{solana}#controller"), Purpose::Assertion);
    assert!(matches!(key, Some(PublicKey::Ed25519(_))), "{key:?}");
}

/// What a place on the web may say, and what is not believed.
#[test]
fn only_methods_that_the_subject_controls_and_lists_are_used() {
    let did: Did = "did:web:example.com".parse().expect("a DID");
    let key = "z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp";
    let multikey = |id: &str, controller: &str| json!({"id": id, "type": "Multikey", "controller": controller, "publicKeyMultibase": key});
    let mut revoked = multikey("#revoked", "did:web:example.com");
    revoked["revoked"] = json!("2020-01-01T00:00:00Z");
    let text = json!({
        "id": "did:web:example.com",
        "verificationMethod": [
            multikey("#listed", "did:web:example.com"),
            multikey("did:web:example.com#whole", "did:web:example.com"),
            multikey("#unlisted", "did:web:example.com"),
            multikey("#anothers", "did:web:another.example"),
            revoked,
            {
                "id": "#jwk", "type": "JsonWebKey", "controller": "did:web:example.com",
                "publicKeyJwk": {
                    "kty": "EC", "crv": "P-256",
                    "x": "igrFmi0whuihKnj9R3Om1SoMph72wUGeFaBbzG2vzns",
                    "y": "efsX5b10x8yjyrj4ny3pGfLcY7Xby1KzgqOdqnsrJIM"
                }
            }
        ],
        "assertionMethod": [
            "#listed", "#whole", "#anothers", "#revoked", "#jwk", "#nowhere",
            multikey("#inside", "did:web:example.com"), 7
        ]
    });
    let read = |value: &Value| DidDocument::read(&did, value.as_object().cloned()?);
    let document = read(&text).expect("it is about the name");
    let key_of = |name: &str| {
        let method = format!("did:web:example.com#{name}");
        document.key(&method, Purpose::Assertion)
    };
    for name in ["listed", "whole", "inside"] {
        assert_eq!(key_of(name), key.parse().ok(), "{name}");
    }
    assert!(matches!(key_of("jwk"), Some(PublicKey::P256(_))));
    for name in ["unlisted", "anothers", "revoked", "nowhere", ""] {
        assert_eq!(key_of(name), None, "{name}");
    }
    let listed = "did:web:example.com#listed";
    assert_eq!(document.key(listed, Purpose::Authentication), None);
    let mut other = text;
    other["id"] = json!("did:web:other.example");
    assert_eq!(read(&other), None);
}
