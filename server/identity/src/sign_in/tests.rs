use k256::ecdsa::SigningKey;
use sha3::{Digest, Keccak256};

use super::*;
use crate::{NodeKey, parse_timestamp};

const ORIGIN: &str = "https://node.example:8443";
const NONCE: &str = "abcdefgh12345678";
const NOW: &str = "2026-11-23T00:00:00Z";

fn now() -> i64 {
    parse_timestamp(NOW).expect("a time")
}

/// Somebody with the key of each kind, who signs as its wallets do.
/// Signs a text.
type Sign = Box<dyn Fn(&str) -> String>;

fn signers() -> Vec<(Signer, Sign)> {
    let hex = |bytes: &[u8]| format!("0x{}", data_encoding::HEXLOWER.encode(bytes));
    let ethereum = SigningKey::from_slice(&[3; 32]).expect("a scalar");
    let point = ethereum.verifying_key().to_sec1_point(false);
    let hash: [u8; 32] = Keccak256::digest(&point.as_bytes()[1..]).into();
    let account = Account::Eip155 {
        chain: 1,
        address: hash[12..].try_into().expect("20 bytes"),
    };
    let personal = move |text: &str| {
        let prefixed = format!("\x19Ethereum Signed Message:\n{}{text}", text.len());
        let prehash = Keccak256::digest(prefixed.as_bytes());
        let (signature, id) = ethereum.sign_prehash_recoverable(&prehash);
        hex(&[&signature.to_bytes()[..], &[27 + id.to_byte()]].concat())
    };
    let (solana, node) = (NodeKey::generate(), NodeKey::generate());
    let of_solana = Account::Solana {
        network: crate::account::SOLANA_MAINNET.to_owned(),
        key: solana.id().0,
    };
    let raw = |key: NodeKey| {
        move |text: &str| crate::public_key::multibase(&key.sign(text.as_bytes()).to_bytes())
    };
    let key = PublicKey::Ed25519(node.id().0);
    vec![
        (Signer::Account(account), Box::new(personal)),
        (Signer::Account(of_solana), Box::new(raw(solana))),
        (Signer::Key(key), Box::new(raw(node))),
    ]
}

fn expected<'a>(signer: &'a Signer, statement: Option<&'a str>) -> Expected<'a> {
    Expected {
        signer,
        origin: ORIGIN,
        nonce: NONCE,
        given_at_ms: now() - 1_000,
        statement,
        now_ms: now(),
    }
}

fn text(signer: &Signer) -> SignInText {
    SignInText::new(signer, "node.example:8443", ORIGIN, NONCE, NOW)
}

fn full(signer: &Signer) -> SignInText {
    SignInText {
        scheme: Some("https".into()),
        statement: Some("I agree: https://node.example/terms?".into()),
        uri: format!("{ORIGIN}/v1/auth"),
        expiration_time: Some("2026-11-23T00:05:00.000Z".into()),
        not_before: Some(NOW.into()),
        request_id: Some(String::new()),
        resources: vec!["https://example.com/a".into(), "urn:x:y".into()],
        ..text(signer)
    }
}

#[test]
fn a_text_is_read_as_it_was_written() {
    for (signer, _) in signers() {
        for text in [text(&signer), full(&signer)] {
            let read: SignInText = text.to_string().parse().expect("the grammar allows it");
            assert_eq!(read, text);
            assert_eq!(expected(&signer, None).check(&read), Ok(()));
        }
    }
}

/// The example of EIP-4361, section "Examples" (CC0).
#[test]
fn the_eips_own_example_is_read() {
    let text = "example.com wants you to sign in with your Ethereum account:\n\
                0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2\n\n\
                I accept the ExampleOrg Terms of Service: https://example.com/tos\n\n\
                URI: https://example.com/login\nVersion: 1\nChain ID: 1\nNonce: 32891756\n\
                Issued At: 2021-09-30T16:25:24Z\nResources:\n\
                - ipfs://bafybeiemxf5abjwjbikoz4mc3a3dla6ual3jsgpdr4cjr3oz3evfyavhwq/\n\
                - https://example.com/my-web2-claim.json";
    let read: SignInText = text.parse().expect("it is the standard's");
    assert_eq!(read.nonce, "32891756");
    assert_eq!(read.resources.len(), 2);
    assert_eq!(read.to_string(), text);
}

#[test]
fn what_the_grammar_does_not_allow_is_refused() {
    let (signer, _) = signers().swap_remove(0);
    let good = full(&signer).to_string();
    for (from, to) in [
        (" wants you", " want you"),
        ("Ethereum account:", "Bitcoin account:"),
        (
            "https://node.example:8443 wants",
            "https://a@node.example:8443 wants",
        ),
        ("node.example:8443 wants", " wants"),
        ("I agree: ", "I \u{200b}agree: "),
        ("I agree: ", "I agree\nURI: "),
        (
            "I agree: https://node.example/terms?\n\n",
            "I agree: https://node.example/terms?\n",
        ),
        ("URI: https:", "URI: https://a b:"),
        ("Version: 1", "Version: 2"),
        ("Version: 1\n", ""),
        ("Chain ID: 1\n", ""),
        ("Chain ID: 1\n", "Chain ID: one\n"),
        ("Chain ID: 1\n", "Chain ID: 1\nChain ID: 2\n"),
        ("Nonce: abcdefgh12345678", "Nonce: abcdefg"),
        ("Nonce: abcdefgh12345678", "Nonce: abcdefgh-12345678"),
        ("Nonce: ", "nonce: "),
        ("Issued At: 2026-11-23T00:00:00Z", "Issued At: 2026-11-23"),
        ("Request ID: ", "Request ID: #"),
        ("Resources:\n- ", "Resources:\n* "),
        ("- urn:x:y", "- urn"),
        ("- urn:x:y", "- urn:x:y\n"),
        ("\nVersion", "\r\nVersion"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from:?} is in it");
        assert!(bad.parse::<SignInText>().is_err(), "{from:?} -> {to:?}");
    }
    let (key, _) = signers().swap_remove(2);
    let with_chain = text(&key)
        .to_string()
        .replace("\nNonce", "\nChain ID: 1\nNonce");
    assert!(
        with_chain.parse::<SignInText>().is_err(),
        "a key is on no chain"
    );
    assert!("x".repeat(10_000).parse::<SignInText>().is_err());
}

#[test]
fn a_text_for_another_place_account_or_time_is_refused() {
    for (signer, _) in signers() {
        let expected = expected(&signer, Some("I agree: https://node.example/terms?"));
        let refused = |change: &dyn Fn(&mut SignInText)| {
            let mut text = full(&signer);
            change(&mut text);
            expected.check(&text).expect_err("it differs")
        };
        let other = |what| Refusal::Other(what);
        assert_eq!(
            refused(&|t| t.domain = "evil.example".into()),
            other("domain")
        );
        assert_eq!(
            refused(&|t| t.domain = "node.example".into()),
            other("domain")
        );
        assert_eq!(
            refused(&|t| t.scheme = Some("http".into())),
            other("scheme")
        );
        assert_eq!(
            refused(&|t| t.uri = "https://evil.example/".into()),
            other("URI")
        );
        assert_eq!(
            refused(&|t| t.uri = format!("{ORIGIN}.evil/")),
            other("URI")
        );
        assert_eq!(
            refused(&|t| t.nonce = "abcdefgh12345679".into()),
            other("nonce")
        );
        assert_eq!(refused(&|t| t.statement = None), other("statement"));
        assert_eq!(refused(&|t| t.address = "0x".into()), other("account"));
        assert_eq!(refused(&|t| t.kind = "Other".into()), other("account"));
        if !matches!(signer, Signer::Key(_)) {
            assert_eq!(
                refused(&|t| t.chain_id = Some("5".into())),
                other("account")
            );
        }
        {
            let (early, late) = ("2026-11-22T23:00:00Z", "2026-11-23T01:00:00Z");
            assert_eq!(refused(&|t| t.issued_at = early.into()), Refusal::Time);
            assert_eq!(refused(&|t| t.issued_at = late.into()), Refusal::Time);
            assert_eq!(
                refused(&|t| t.expiration_time = Some(early.into())),
                Refusal::Time
            );
            assert_eq!(
                refused(&|t| t.not_before = Some(late.into())),
                Refusal::Time
            );
        }
    }
}

#[test]
fn only_the_accounts_owner_signs_for_it() {
    let all = signers();
    for (at, (signer, sign)) in all.iter().enumerate() {
        let text = full(signer).to_string();
        let signature = sign(&text);
        assert_eq!(check_signature(signer, &text, &signature), Ok(()));
        let changed = text.replace("I agree", "I agrea");
        let refused = check_signature(signer, &changed, &signature);
        assert_eq!(refused, Err(Refusal::Signature));
        for (other_at, (_, other)) in all.iter().enumerate() {
            let good = check_signature(signer, &text, &other(&text)).is_ok();
            assert_eq!(good, at == other_at);
        }
        for bad in ["", "z", "u", "0x", "0xzz", "é", "zO0l", "u+/"] {
            assert!(check_signature(signer, &text, bad).is_err(), "{bad}");
        }
    }
    let (ethereum, _) = &all[0];
    let contracts = format!("0x{}", "ab".repeat(97));
    let refused = check_signature(ethereum, "text", &contracts);
    assert_eq!(refused, Err(Refusal::Unverifiable));
}
