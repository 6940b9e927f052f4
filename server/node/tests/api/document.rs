use serde_json::Value;

use crate::harness::TestNode;

const CHECKED_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../openapi/openapi.json");

#[tokio::test]
async fn the_document_is_the_one_that_is_checked_in() {
    let node = TestNode::new().await;
    let served = node.get("/openapi.json").await.json();
    let checked_in = std::fs::read_to_string(CHECKED_IN).expect("openapi/openapi.json is there");
    let checked_in: Value = serde_json::from_str(&checked_in).expect("it is JSON");
    // Both are far too long to be shown.
    let same = served == checked_in;
    assert!(same, "run `make openapi` and look at the difference");
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let node = TestNode::new().await;
    let document = node.get("/openapi.json").await.json();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("it is local");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                references.push(reference.clone());
            }
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let node = TestNode::new().await;
    let page = node.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        page.headers["content-type"]
            .to_str()
            .expect("text")
            .starts_with("text/html")
    );
    assert!(!page.text.contains("https://"), "{}", page.text);
    assert_eq!(node.get("/docs/swagger-ui-bundle.js").await.status, 200);
}
