use serde_json::{Value, json};

use crate::harness::{CONTEXT, EMBEDDER, MODEL, TestNode};

const PATH: &str = "/v1/embeddings";

fn floats(value: &Value) -> Vec<f32> {
    let numbers = value.as_array().expect("a list").iter();
    numbers
        .map(|n| n.as_f64().expect("a number") as f32)
        .collect()
}

#[tokio::test]
async fn n15_vectors_come_as_numbers_or_as_base64_of_the_same() {
    let node = TestNode::new().await;
    let body = json!({"model": EMBEDDER, "input": ["one", "two words"]});
    let answer = node.post(PATH, body.clone()).await.json();
    assert_eq!(answer["object"], "list");
    assert_eq!(
        answer["usage"]["prompt_tokens"],
        answer["usage"]["total_tokens"]
    );
    assert_eq!(answer["data"][1]["index"], 1);
    let vector = floats(&answer["data"][1]["embedding"]);
    assert_eq!(vector.len(), 8);

    let mut coded = body;
    coded["encoding_format"] = json!("base64");
    let answer = node.post(PATH, coded).await.json();
    let text = answer["data"][1]["embedding"].as_str().expect("a text");
    let bytes = data_encoding::BASE64
        .decode(text.as_bytes())
        .expect("it is base64");
    let decoded: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    assert_eq!(decoded, vector);

    let alone = json!({"model": EMBEDDER, "input": "two words", "dimensions": 4});
    let answer = node.post(PATH, alone).await.json();
    let short = floats(&answer["data"][0]["embedding"]);
    assert_eq!(short.len(), 4);
    let length: f32 = short.iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);
    assert_eq!(node.settled().await, [3, 0, 0]);
}

#[tokio::test]
async fn bad_inputs_are_named() {
    let node = TestNode::new().await;
    let long = vec!["word"; CONTEXT as usize + 1].join(" ");
    for (more, code, param) in [
        (json!({}), "missing_required_parameter", "input"),
        (json!({"input": []}), "empty_array", "input"),
        (json!({"input": ""}), "invalid_value", "input"),
        (json!({"input": ["a", ""]}), "invalid_value", "input[1]"),
        (json!({"input": {"a": 1}}), "invalid_type", "input"),
        (json!({"input": [-1]}), "invalid_type", "input"),
        (
            json!({"input": vec!["a"; 2049]}),
            "array_above_max_length",
            "input",
        ),
        (json!({"input": long}), "context_length_exceeded", "input"),
        (
            json!({"input": "a", "dimensions": 0}),
            "integer_below_min_value",
            "dimensions",
        ),
        (
            json!({"input": "a", "encoding_format": "hex"}),
            "invalid_value",
            "encoding_format",
        ),
    ] {
        let mut body = json!({"model": EMBEDDER});
        body.as_object_mut()
            .expect("a map")
            .extend(more.as_object().expect("a map").clone());
        let answer = node.post(PATH, body).await;
        let (status, _, got, at) = answer.error();
        assert_eq!(
            (status, got.as_deref(), at.as_deref()),
            (400, Some(code), Some(param)),
            "{more}"
        );
    }
    let wrong = json!({"model": MODEL, "input": "a"});
    assert_eq!(
        node.post(PATH, wrong).await.error().3.as_deref(),
        Some("model")
    );
    node.settled().await;
}
