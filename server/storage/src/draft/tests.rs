use serde_json::json;

use super::*;
use crate::{BadName, Digest};

const LIMITS: Limits = Limits {
    document_bytes: 1_000,
    attachment_bytes: 10,
    attachments: 2,
};

fn parse(document: Value) -> Result<Draft, BadDocument> {
    Draft::parse(document, &LIMITS)
}

#[test]
fn a_document_is_taken_apart() {
    let draft = parse(json!({
        "_id": "a", "_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]},
        "_conflicts": ["2-a"], "name": "x", "list": [1, 2.5, null],
        "_attachments": {"t": {"content_type": "text/plain", "data": "YWJj"}, "s": {"stub": true}},
    }));
    let draft = draft.expect("it is sound");
    assert_eq!(draft.id, "a");
    let history: Vec<_> = draft.history.iter().flatten().map(Rev::to_string).collect();
    assert_eq!(history, ["2-b", "1-a"]);
    let body: Value = serde_json::from_str(&draft.body).expect("it is JSON");
    assert_eq!(body, json!({"name": "x", "list": [1, 2.5, null]}));
    assert_eq!(draft.bytes(), Draft::OVERHEAD + draft.body.len() as u64 + 3);
    let attachments: std::collections::BTreeMap<_, _> = draft.attachments.into_iter().collect();
    let data = AttachmentDraft::data("text/plain".into(), b"abc".to_vec(), None);
    assert_eq!(attachments["t"], data);
    assert_eq!(attachments["s"], AttachmentDraft::Stub);
}

#[test]
fn what_is_no_document_is_refused() {
    let refused = |document| parse(document).expect_err("it is wrong");
    assert_eq!(refused(json!([])), BadDocument::NoObject);
    assert_eq!(refused(json!({"_id": 7})), BadDocument::Member("_id"));
    assert_eq!(
        refused(json!({"_id": "_x"})),
        BadDocument::Id(BadName::Reserved)
    );
    assert_eq!(refused(json!({"_rev": "x"})), BadDocument::Member("_rev"));
    let special = BadDocument::Special("_mine".into());
    assert_eq!(refused(json!({"_mine": 1})), special);
    for revisions in [
        json!({"start": 1, "ids": ["a", "b"]}),
        json!({"start": 1, "ids": []}),
        json!({"start": 1, "ids": [3]}),
        json!({"ids": ["a"]}),
        json!({"start": 9, "ids": ["a"]}),
    ] {
        let document = json!({"_rev": "1-a", "_revisions": revisions});
        assert_eq!(refused(document), BadDocument::Member("_revisions"));
    }
    let long = json!({"x": "y".repeat(1_000)});
    assert!(matches!(refused(long), BadDocument::TooLarge(_)));
    for attachment in [
        json!(1),
        json!({}),
        json!({"data": "%"}),
        json!({"data": "YWJjYWJjYWJjYWJj"}),
        json!({"content_type": "a\nb", "stub": true}),
    ] {
        refused(json!({"_attachments": {"a": attachment}}));
    }
}

#[test]
fn the_order_of_members_does_not_matter_and_all_else_does() {
    let content = |text: &str| {
        let document = serde_json::from_str(text).expect("it is JSON");
        parse(document).expect("it is sound").content
    };
    assert_eq!(
        content(r#"{"a":1,"b":{"c":2,"d":3}}"#),
        content(r#"{"b":{"d":3,"c":2},"a":1}"#)
    );
    let different = [
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"a":[1]}"#,
        r#"{"a":{"1":null}}"#,
        r#"{"a":null}"#,
        r#"{"a":[1,23]}"#,
        r#"{"a":[12,3]}"#,
        r#"{"a":["1","2"]}"#,
        r#"{"a":["12"]}"#,
        "{}",
    ];
    let mut seen: Vec<_> = different.iter().map(|text| content(text)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), different.len());
}

#[test]
fn what_follows_is_taken_from_the_other_parts() {
    let document = json!({"_attachments": {
        "a": {"follows": true, "content_type": "text/plain", "length": 3, "digest": Digest::of(b"abc")},
        "b": {"follows": true},
    }});
    let message = b"--x\r\n\r\nabc\r\n--x\r\n\r\n\r\n--x--";
    let draft = parse(document).expect("it is sound");
    let attach = |message: &[u8]| {
        let mut draft = draft.clone();
        let mut parts = Multipart::new(message, "x");
        draft.attach(&mut parts, &LIMITS).map(|()| draft.bytes())
    };
    assert_eq!(attach(message), Ok(Draft::OVERHEAD + 2 + 3));
    let large = b"--x\r\n\r\nabc\r\n--x\r\n\r\n0123456789a\r\n--x--";
    let refused = Err(BadDocument::TooLarge("An attachment"));
    assert_eq!(attach(large), refused);
    let other = b"--x\r\n\r\nabd\r\n--x\r\n\r\n\r\n--x--";
    assert!(attach(other).is_err(), "another digest");
    assert!(
        attach(b"--x\r\n\r\nabc\r\n--x--").is_err(),
        "one is missing"
    );
    assert!(attach(b"--x\r\n\r\nab\r\n--x\r\n\r\n\r\n--x--").is_err());
}
