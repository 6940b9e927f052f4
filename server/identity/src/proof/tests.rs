//! The vectors of W3C Data Integrity EdDSA Cryptosuites 1.0, section B.3 ("Representation: eddsa-jcs-2022"), W3C
//! Software and Document License.

use super::*;
use crate::document::DidDocument;

const PUBLIC: &str = "z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2";
const SECRET: &str = "z3u2en7t5LR2WtQH5PfFqMqwVHBeXouLzo6haApm8XHqvjxq";
const CREATED: &str = "2023-02-24T23:36:38Z";
const CANONICAL_DOCUMENT: &str = r#"{"@context":["https://www.w3.org/ns/credentials/v2","https://www.w3.org/ns/credentials/examples/v2"],"credentialSubject":{"alumniOf":"The School of Examples","id":"did:example:abcdefgh"},"description":"A minimum viable example of an Alumni Credential.","id":"urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33","issuer":"https://vc.example/issuers/5678","name":"Alumni Credential","type":["VerifiableCredential","AlumniCredential"],"validFrom":"2023-01-01T00:00:00Z"}"#;
const CANONICAL_OPTIONS: &str = r#"{"@context":["https://www.w3.org/ns/credentials/v2","https://www.w3.org/ns/credentials/examples/v2"],"created":"2023-02-24T23:36:38Z","cryptosuite":"eddsa-jcs-2022","proofPurpose":"assertionMethod","type":"DataIntegrityProof","verificationMethod":"did:key:z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2#z6MkrJVnaZkeFzdQyMZu1cgjg7k1pZZ6pvBQ7XJPt4swbTQ2"}"#;
const HASHES: &str = "66ab154f5c2890a140cb8388a22a160454f80575f6eae09e5a097cabe539a1db\
                      59b7cb6251b8991add1ce0bc83107e3db9dbbab5bd2c28f687db1a03abc92f19";
const SIGNATURE: &str = "407cd12654b33d718ecbb99179a1506daaa849450bf3fc523cce3e1c96f8b803\
                         51da3f253d725c6f00b07c9e5448d50b3ef78012b9ab54255116d069c6dd2808";
const PROOF_VALUE: &str =
    "z2HnFSSPPBzR36zdDgK8PbEHeXbR56YF24jwMpt3R1eHXQzJDMWS93FCzpvJpwTWd3GAVFuUfjoJdcnTMuVor51aX";

fn key() -> NodeKey {
    let bytes = crate::base58::decode(&SECRET[1..]).expect("base58");
    // Behind the multicodec `ed25519-priv`, 0x1300.
    let seed: [u8; 32] = bytes[2..].try_into().expect("32 bytes");
    NodeKey::from_seed(&seed)
}

fn method() -> String {
    format!("did:key:{PUBLIC}#{PUBLIC}")
}

/// Not in canonical order, since it need not be.
fn document() -> Map<String, Value> {
    let document = json!({
        "validFrom": "2023-01-01T00:00:00Z",
        "@context": [
            "https://www.w3.org/ns/credentials/v2",
            "https://www.w3.org/ns/credentials/examples/v2"
        ],
        "id": "urn:uuid:58172aac-d8ba-11ed-83dd-0b3aef56cc33",
        "type": ["VerifiableCredential", "AlumniCredential"],
        "name": "Alumni Credential",
        "description": "A minimum viable example of an Alumni Credential.",
        "issuer": "https://vc.example/issuers/5678",
        "credentialSubject": {
            "id": "did:example:abcdefgh",
            "alumniOf": "The School of Examples"
        }
    });
    document.as_object().cloned().expect("an object")
}

fn signed() -> Map<String, Value> {
    let method = method();
    let options = ProofOptions {
        method: &method,
        purpose: Purpose::Assertion,
        created: Some(CREATED),
        challenge: None,
        domain: None,
    };
    sign(&key(), document(), &options)
}

fn verified(document: &Map<String, Value>) -> Result<(), ProofError> {
    let proof = Proof::read(&document["proof"], Purpose::Assertion, 0)?;
    let did = format!("did:key:{PUBLIC}");
    let controller = DidDocument::of(&did.parse().expect("a DID")).expect("it is a key");
    let key = controller.key(proof.method, Purpose::Assertion);
    proof.verify(document, &key.ok_or(ProofError::Method)?)
}

#[test]
fn signing_gives_the_vectors_byte_for_byte() {
    assert_eq!(PublicKey::Ed25519(key().id().0).to_string(), PUBLIC);
    assert_eq!(jcs::canonical(&document()), CANONICAL_DOCUMENT.as_bytes());
    let signed = signed();
    let proof = signed["proof"].as_object().expect("an object");
    assert_eq!(proof["proofValue"], PROOF_VALUE);
    let mut options = proof.clone();
    options.remove("proofValue");
    assert_eq!(jcs::canonical(&options), CANONICAL_OPTIONS.as_bytes());
    let hashes = hash_data(&document(), &options);
    assert_eq!(data_encoding::HEXLOWER.encode(&hashes), HASHES);
    let signature = key().sign(&hashes).to_bytes();
    assert_eq!(data_encoding::HEXLOWER.encode(&signature), SIGNATURE);
}

#[test]
fn the_vector_is_verified_and_nothing_changed_is() {
    let good = signed();
    assert_eq!(verified(&good), Ok(()));
    for (path, value) in [
        ("/name", json!("Alumni credential")),
        ("/credentialSubject/id", json!("did:example:abcdefgi")),
        ("/added", json!(1)),
        ("/@context/1", json!("https://example.com/v2")),
        ("/proof/created", json!("2023-02-24T23:36:39Z")),
        ("/proof/added", json!(1)),
        (
            "/proof/@context",
            json!(["https://www.w3.org/ns/credentials/v2"]),
        ),
    ] {
        let mut bad = Value::Object(good.clone());
        match bad.pointer_mut(path) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = path.rsplit_once('/').expect("a path");
                let parent = bad.pointer_mut(parent).expect("it is there");
                parent[name] = value;
            }
        }
        let bad = bad.as_object().expect("an object");
        assert_eq!(verified(bad), Err(ProofError::Signature), "{path}");
    }
    // What was added behind what was signed is not part of it (section 3.3.2, step 4).
    let mut longer = good.clone();
    let context = longer["@context"].as_array_mut().expect("an array");
    context.push(json!("https://example.com/more/v1"));
    assert_eq!(verified(&longer), Ok(()));
}

#[test]
fn a_proof_that_is_not_for_this_is_refused() {
    let good = signed();
    let with = |field: &str, value: Value| {
        let mut bad = good.clone();
        bad["proof"][field] = value;
        verified(&bad)
    };
    for (field, value) in [
        ("type", json!("Ed25519Signature2020")),
        ("cryptosuite", json!("eddsa-rdfc-2022")),
        ("proofPurpose", json!("authentication")),
        ("proofValue", json!("z2HnF")),
        ("proofValue", json!(7)),
        ("created", json!("yesterday")),
        ("previousProof", json!("urn:x")),
        ("verificationMethod", Value::Null),
    ] {
        let error = with(field, value);
        assert!(matches!(error, Err(ProofError::Malformed(_))), "{field}");
    }
    let other = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp#z6Mk";
    assert_eq!(
        with("verificationMethod", json!(other)),
        Err(ProofError::Method)
    );
    assert_eq!(
        with("expires", json!("1969-01-01T00:00:00Z")),
        Err(ProofError::Expired)
    );
}

#[test]
fn a_proof_for_somebody_is_for_nobody_else() {
    let method = method();
    let options = ProofOptions {
        method: &method,
        purpose: Purpose::Authentication,
        created: None,
        challenge: Some("c1"),
        domain: Some("example.com"),
    };
    let signed = sign(&key(), document(), &options);
    let proof = Proof::read(&signed["proof"], Purpose::Authentication, 0).expect("it reads");
    assert_eq!(proof.is_for(Some("c1"), Some("example.com")), Ok(()));
    assert_eq!(proof.is_for(None, None), Ok(()));
    assert_eq!(
        proof.is_for(Some("c2"), None),
        Err(ProofError::Audience("challenge"))
    );
    assert_eq!(
        proof.is_for(Some("c1"), Some("example.org")),
        Err(ProofError::Audience("domain"))
    );
}
