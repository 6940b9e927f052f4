//! `/v1/rerank` and its other paths.

use serde_json::{Value, json};

use crate::harness::{CONTEXT, EMBEDDER, MODEL, TestNode};

const PATH: &str = "/v1/rerank";

#[tokio::test]
async fn the_same_text_comes_first_on_every_path() {
    let node = TestNode::new().await;
    for path in [PATH, "/v2/rerank", "/rerank"] {
        let body = json!({
            "model": EMBEDDER, "query": "blue sky",
            "documents": ["a stone", {"text": "blue sky"}, "another stone"],
            "return_documents": true,
        });
        let answer = node.post(path, body).await.json();
        assert_eq!(answer["object"], "list");
        assert_eq!(answer["model"], EMBEDDER);
        assert_eq!(
            answer["usage"],
            json!({"prompt_tokens": 8, "total_tokens": 8})
        );
        assert_eq!(answer["meta"]["tokens"]["input_tokens"], 8);
        assert!(
            answer["id"]
                .as_str()
                .is_some_and(|id| id.starts_with("rerank-"))
        );
        let results = answer["results"].as_array().expect("a list");
        assert_eq!(results.len(), 3);
        assert_eq!(results[0]["index"], 1);
        assert_eq!(results[0]["document"], json!({"text": "blue sky"}));
        let scores: Vec<f64> = results
            .iter()
            .map(|result| result["relevance_score"].as_f64().expect("a score"))
            .collect();
        assert!((scores[0] - 1.0).abs() < 1e-6);
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)));
    }
    assert_eq!(node.settled().await, [3, 0, 0]);
}

#[tokio::test]
async fn the_best_few_without_their_texts() {
    let node = TestNode::new().await;
    let body = json!({"model": EMBEDDER, "query": "x", "documents": ["a", "b", "x"], "top_n": 1});
    let answer = node.post(PATH, body).await.json();
    let results = answer["results"].as_array().expect("a list");
    assert_eq!(results.len(), 1);
    assert_eq!(results[0]["index"], 2);
    assert_eq!(results[0].get("document"), None);
    let body = json!({"model": EMBEDDER, "query": "x", "documents": ["a"], "top_n": 9});
    let answer = node.post(PATH, body).await.json();
    assert_eq!(answer["results"].as_array().map(Vec::len), Some(1));
    node.settled().await;
}

#[tokio::test]
async fn bad_rankings_are_named() {
    let node = TestNode::new().await;
    let long = vec!["word"; CONTEXT as usize + 1].join(" ");
    for (field, value, code, param) in [
        ("query", Value::Null, "missing_required_parameter", "query"),
        ("query", json!(" "), "invalid_value", "query"),
        ("query", json!(["a"]), "invalid_type", "query"),
        (
            "documents",
            Value::Null,
            "missing_required_parameter",
            "documents",
        ),
        ("documents", json!([]), "empty_array", "documents"),
        (
            "documents",
            json!(["a", ""]),
            "invalid_value",
            "documents[1]",
        ),
        ("documents", json!(["a", 7]), "invalid_type", "documents[1]"),
        (
            "documents",
            json!([{"title": "a"}]),
            "invalid_type",
            "documents[0]",
        ),
        (
            "documents",
            json!(vec!["a"; 1_001]),
            "array_above_max_length",
            "documents",
        ),
        (
            "documents",
            json!([long]),
            "context_length_exceeded",
            "documents",
        ),
        ("top_n", json!(0), "integer_below_min_value", "top_n"),
        ("model", json!(MODEL), "unsupported_value", "model"),
        (
            "max_tokens_per_doc",
            json!(9),
            "unsupported_parameter",
            "max_tokens_per_doc",
        ),
    ] {
        let mut body = json!({"model": EMBEDDER, "query": "a", "documents": ["a"]});
        body[field] = value;
        let (status, _, got, at) = node.post(PATH, body).await.error();
        assert_eq!(
            (status, got.as_deref(), at.as_deref()),
            (400, Some(code), Some(param))
        );
    }
    let body = json!({"model": "nobody", "query": "a", "documents": ["a"]});
    assert_eq!(node.post(PATH, body).await.error().0, 404);
    node.settled().await;
}
