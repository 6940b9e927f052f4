use kwaainet_core::{BackendError, Prompt};
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use crate::harness::{MODEL, TestNode};

const PATH: &str = "/v1/completions";

#[tokio::test]
async fn one_prompt_gives_one_text_of_sixteen_tokens_at_most() {
    let node = TestNode::new().await;
    node.script.set(Script::words(50));
    let body = json!({"model": MODEL, "prompt": "a b", "temperature": 0});
    let answer = node.post(PATH, body).await.json();
    assert!(answer["id"].as_str().expect("an id").starts_with("cmpl-"));
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 16);
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    node.settled().await;
}

#[tokio::test]
async fn several_prompts_and_choices_are_numbered_and_counted() {
    let node = TestNode::new().await;
    let body = json!({
        "model": MODEL, "prompt": ["a", "b c", "d e f"], "n": 2, "temperature": 0, "max_tokens": 3,
    });
    let answer = node.post(PATH, body.clone()).await.json();
    let choices = answer["choices"].as_array().expect("a list");
    let indices: Vec<_> = choices
        .iter()
        .map(|c| c["index"].as_u64().expect("a number"))
        .collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
    assert_eq!(answer["usage"]["prompt_tokens"], 6);
    assert_eq!(answer["usage"]["completion_tokens"], 18);

    let mut streamed = body;
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({"include_usage": true});
    let chunks = node.post(PATH, streamed).await.chunks();
    let mut texts = vec![String::new(); 6];
    let mut finished = [0; 6];
    let (last, rest) = chunks.split_last().expect("there are chunks");
    for chunk in rest {
        let choice = &chunk["choices"][0];
        let index = choice["index"].as_u64().expect("a number") as usize;
        texts[index] += choice["text"].as_str().expect("a text");
        finished[index] += u32::from(!choice["finish_reason"].is_null());
    }
    assert_eq!(texts, ["w0 w1 w2"; 6]);
    assert_eq!(finished, [1; 6]);
    assert_eq!(last["usage"]["total_tokens"], 24);
    assert_eq!(node.settled().await, [2, 0, 0]);
}

#[tokio::test]
async fn token_ids_are_passed_as_they_are() {
    let node = TestNode::new().await;
    let body = json!({"model": MODEL, "prompt": [0, 1], "max_tokens": 1});
    assert_eq!(node.post(PATH, body).await.status, 200);
    let asked = node.script.last_generate().expect("it was asked");
    assert_eq!(asked.prompt, Prompt::Tokens(vec![0, 1]));
    node.settled().await;
}

#[tokio::test]
async fn logprobs_are_four_lists_of_one_length() {
    let node = TestNode::new().await;
    let body = json!({"model": MODEL, "prompt": "a", "logprobs": 2, "temperature": 0});
    let answer = node.post(PATH, body.clone()).await.json();
    let logprobs = &answer["choices"][0]["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["w0", " w1", " w2", " w3"]));
    assert_eq!(logprobs["text_offset"], json!([0, 2, 5, 8]));
    assert_eq!(
        logprobs["token_logprobs"].as_array().expect("a list").len(),
        4
    );
    assert_eq!(
        logprobs["top_logprobs"][0]
            .as_object()
            .expect("a map")
            .len(),
        2
    );

    let mut streamed = body;
    streamed["stream"] = json!(true);
    let chunks = node.post(PATH, streamed).await.chunks();
    let offsets: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["logprobs"]["text_offset"][0].as_u64())
        .collect();
    assert_eq!(offsets, [0, 2, 5, 8]);
    node.settled().await;
}

#[tokio::test]
async fn a_stop_text_never_shows() {
    let node = TestNode::new().await;
    for stream in [false, true] {
        let body = json!({
            "model": MODEL, "prompt": "a", "stop": "1 w2", "temperature": 0, "stream": stream,
        });
        let answer = node.post(PATH, body).await;
        let text: String = if stream {
            let texts = answer.chunks();
            let text =
                |chunk: &serde_json::Value| chunk["choices"][0]["text"].as_str().map(str::to_owned);
            texts.iter().filter_map(text).collect()
        } else {
            answer.json()["choices"][0]["text"]
                .as_str()
                .expect("a text")
                .to_owned()
        };
        assert_eq!(text, "w0 w");
    }
    node.settled().await;
}

#[tokio::test]
async fn n26_echo_says_the_prompt_first_and_does_not_count_it() {
    let node = TestNode::new().await;
    let body = json!({
        "model": MODEL, "prompt": "one two", "echo": true, "logprobs": 2, "temperature": 0,
        "max_tokens": 2,
    });
    let answer = node.post(PATH, body.clone()).await.json();
    let choice = &answer["choices"][0];
    assert_eq!(choice["text"], "one twow0 w1");
    let logprobs = &choice["logprobs"];
    assert_eq!(logprobs["tokens"], json!(["one", " two", "w0", " w1"]));
    assert_eq!(logprobs["text_offset"], json!([0, 3, 7, 9]));
    assert_eq!(logprobs["token_logprobs"][0], Value::Null);
    assert_eq!(logprobs["top_logprobs"][0], Value::Null);
    for later in 1..4 {
        assert!(logprobs["token_logprobs"][later].is_number());
        assert!(logprobs["top_logprobs"][later].is_object());
    }
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    assert_eq!(answer["usage"]["completion_tokens"], 2);

    let mut streamed = body.clone();
    streamed["stream"] = json!(true);
    let chunks = node.post(PATH, streamed).await.chunks();
    let list = |field: &str| -> Vec<Value> {
        let path = format!("/choices/0/logprobs/{field}");
        let lists = chunks.iter().filter_map(|chunk| chunk.pointer(&path));
        let items = lists.flat_map(|list| list.as_array().expect("a list").clone());
        items.collect()
    };
    for field in ["tokens", "text_offset", "token_logprobs", "top_logprobs"] {
        assert_eq!(json!(list(field)), logprobs[field], "{field}");
    }

    // What scores a text asks for nothing else.
    let mut scored = body;
    scored["max_tokens"] = json!(0);
    scored["prompt"] = json!([0, 1]);
    let answer = node.post(PATH, scored).await.json();
    assert_eq!(answer["choices"][0]["text"], "w0 w1");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 0);
    node.settled().await;
}

#[tokio::test]
async fn n26_a_suffix_makes_a_gap_to_be_filled() {
    let node = TestNode::new().await;
    let body = json!({"model": MODEL, "prompt": ["a b", "c"], "suffix": "d", "max_tokens": 1});
    let answer = node.post(PATH, body).await.json();
    assert_eq!(answer["choices"].as_array().expect("a list").len(), 2);
    let asked = node.script.last_generate().expect("it was asked");
    let expected = Prompt::Infill {
        prefix: "c".into(),
        suffix: "d".into(),
    };
    assert_eq!(asked.prompt, expected);

    let none = json!({"model": MODEL, "prompt": "a", "suffix": "", "max_tokens": 1});
    assert_eq!(node.post(PATH, none).await.status, 200);
    let asked = node.script.last_generate().expect("it was asked");
    assert_eq!(asked.prompt, Prompt::Text("a".into()));

    node.script
        .set(Script::failing(Fault::Refuse(BackendError::Unsupported {
            param: "suffix",
            reason: "the model has no fill-in tokens".into(),
        })));
    let body = json!({"model": MODEL, "prompt": "a", "suffix": "d"});
    let (status, _, code, param) = node.post(PATH, body).await.error();
    assert_eq!(
        (status, code.as_deref()),
        (400, Some("unsupported_parameter"))
    );
    assert_eq!(param.as_deref(), Some("suffix"));
    node.settled().await;
}

#[tokio::test]
async fn n26_best_of_makes_more_than_it_gives_and_counts_all() {
    let node = TestNode::new().await;
    let body = json!({
        "model": MODEL, "prompt": ["a", "b"], "n": 2, "best_of": 5, "max_tokens": 3,
    });
    let answer = node.post(PATH, body).await.json();
    let choices = answer["choices"].as_array().expect("a list");
    let indices: Vec<_> = choices.iter().map(|c| &c["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert!(choices.iter().all(|c| c["logprobs"].is_null()));
    assert_eq!(answer["usage"]["completion_tokens"], 2 * 5 * 3);
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    let asked = node.script.last_generate().expect("it was asked");
    assert_eq!(asked.params.n, 5);
    assert_eq!(asked.params.logprobs, Some(0));
    node.settled().await;
}
