//! Responses that are kept: shown, told again, followed on, erased.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use kwaainet_core::{ApiKey, KeyRecord, ManualClock, Message, Prompt, Role, Scopes};
use kwaainet_testkit::{Answer as Says, Script, ScriptedCall};
use serde_json::{Value, json};

use crate::harness::{Answer, TestNode, delete, get, parts, post};
use crate::responses::{PATH, ask, events};

pub(crate) fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

pub(crate) fn prompt(node: &TestNode) -> Vec<Message> {
    match node.script.last_generate().expect("it was asked").prompt {
        Prompt::Chat(chat) => chat.messages,
        other => panic!("a conversation stays one: {other:?}"),
    }
}

fn said(node: &TestNode) -> Vec<(Role, String)> {
    let messages = prompt(node).into_iter();
    messages
        .map(|message| (message.role, message.content))
        .collect()
}

pub(crate) async fn key(node: &TestNode) -> ApiKey {
    let key = ApiKey::generate();
    let record = KeyRecord {
        id: key.id().clone(),
        name: "test".into(),
        hash: key.hash(),
        scopes: Scopes::ALL,
        created_at_ms: 1,
        expires_at_ms: None,
        revoked_at_ms: None,
        last_used_at_ms: None,
    };
    node.store.insert_key(&record).await.expect("it is stored");
    key
}

pub(crate) async fn as_(node: &TestNode, key: &ApiKey, mut request: Request<Body>) -> Answer {
    let value = format!("Bearer {}", key.reveal());
    let value = value.parse().expect("a header");
    request.headers_mut().insert("authorization", value);
    node.ask(request).await
}

fn gone(param: &str, code: &str) -> (u16, String, Option<String>, Option<String>) {
    let (kind, code, param) = ("invalid_request_error", code.to_owned(), param.to_owned());
    (404, kind.to_owned(), Some(code), Some(param))
}

#[tokio::test]
async fn a_response_is_kept_told_again_and_erased() {
    let node = TestNode::new().await;
    let stream = node.post(PATH, ask(json!({"stream": true}))).await;
    let told = events(&stream);
    let last = &told.last().expect("events")["response"];
    let path = format!("{PATH}/{}", last["id"].as_str().expect("an id"));
    let kept = node.get(&path).await;
    assert_eq!(kept.json(), *last);
    let kept = node.get(&format!("{path}?stream=false&include=x")).await;
    assert_eq!(kept.json(), *last);

    let again = node.get(&format!("{path}?stream=true")).await;
    assert_eq!(events(&again), told, "word for word");
    let tail = node
        .get(&format!("{path}?stream=true&starting_after=4"))
        .await;
    assert_eq!(events(&tail), told[5..]);
    let nothing = node
        .get(&format!("{path}?stream=true&starting_after=99"))
        .await;
    assert_eq!((nothing.status.as_u16(), nothing.text.as_str()), (200, ""));

    for (query, param) in [
        ("starting_after=1", "starting_after"),
        ("stream=true&starting_after=-1", "starting_after"),
        ("stream=maybe", "stream"),
        (
            "stream=true&include_obfuscation=true",
            "include_obfuscation",
        ),
    ] {
        let (status, _, code, named) = node.get(&format!("{path}?{query}")).await.error();
        assert_eq!((status, code.as_deref()), (400, Some("invalid_value")));
        assert_eq!(named.as_deref(), Some(param));
    }

    let cancelled = node.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!(cancelled.error().0, 400, "it was no background response");
    let erased = node.delete(&path).await.json();
    let expected = json!({"id": last["id"], "object": "response", "deleted": true});
    assert_eq!(erased, expected);
    let missing = gone("response_id", "response_not_found");
    assert_eq!(node.get(&path).await.error(), missing);
    assert_eq!(
        node.get(&format!("{path}?stream=true")).await.error(),
        missing
    );
    assert_eq!(node.delete(&path).await.error(), missing);
    assert_eq!(
        node.get(&format!("{path}/input_items")).await.error(),
        missing
    );
    assert_eq!(
        node.post(&format!("{path}/cancel"), json!({}))
            .await
            .error(),
        missing
    );
    node.settled().await;
}

#[tokio::test]
async fn a_call_is_told_again_in_the_same_pieces() {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Says::Calls(vec![
            ScriptedCall::new("f", &["{\"a\"", ":1", "}"]),
            ScriptedCall::new("f", &[]),
        ]),
        ..Script::default()
    });
    let more = json!({"stream": true, "tools": [{"type": "function", "name": "f"}]});
    let told = events(&node.post(PATH, ask(more)).await);
    let id = told[0]["response"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let again = node.get(&format!("{PATH}/{id}?stream=true")).await;
    assert_eq!(events(&again), told);
    node.settled().await;
}

#[tokio::test]
async fn nothing_of_a_response_that_is_not_stored_is_left() {
    let node = TestNode::new().await;
    let more =
        json!({"store": false, "input": "Kanarienvogel", "metadata": {"k": "Wellensittich"}});
    let answer = node.post(PATH, ask(more)).await;
    let id = id_of(&answer);
    assert_eq!(answer.json()["store"], false);
    let missing = gone("response_id", "response_not_found");
    assert_eq!(node.get(&format!("{PATH}/{id}")).await.error(), missing);
    let next = ask(json!({"previous_response_id": id}));
    assert_eq!(
        node.post(PATH, next).await.error(),
        gone("previous_response_id", "previous_response_not_found")
    );
    node.settled().await;
    for file in std::fs::read_dir(node.folder()).expect("it can be read") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("it can be read");
        for word in [&b"Kanarienvogel"[..], b"Wellensittich", b"w0 w1"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word));
        }
    }
}

#[tokio::test]
async fn what_is_too_long_to_be_kept_is_refused_unless_it_is_not_kept() {
    let node = TestNode::new().await;
    let long = "x".repeat(4 << 20);
    for field in ["input", "instructions"] {
        let (status, _, code, param) = node.post(PATH, ask(json!({field: long}))).await.error();
        assert_eq!((status, param.as_deref()), (400, Some("input")));
        assert_eq!(code.as_deref(), Some("string_above_max_length"));
        let answer = node
            .post(PATH, ask(json!({field: long, "store": false})))
            .await;
        assert_eq!(answer.status, 200);
    }
    node.settled().await;
}

#[tokio::test]
async fn a_response_follows_on_another_but_not_on_its_instructions() {
    let node = TestNode::new().await;
    let first = ask(json!({"input": "one", "instructions": "be brief"}));
    let first = id_of(&node.post(PATH, first).await);
    let second = ask(json!({"input": "two", "previous_response_id": first}));
    let second = node.post(PATH, second).await;
    assert_eq!(second.json()["previous_response_id"], first.as_str());
    let second = id_of(&second);
    let third = ask(json!({"input": "three", "previous_response_id": second,
        "instructions": "be kind"}));
    let third = id_of(&node.post(PATH, third).await);
    let answer = "w0 w1 w2 w3";
    let expected = [
        (Role::System, "be kind"),
        (Role::User, "one"),
        (Role::Assistant, answer),
        (Role::User, "two"),
        (Role::Assistant, answer),
        (Role::User, "three"),
    ];
    let expected = expected.map(|(role, text)| (role, text.to_owned()));
    assert_eq!(said(&node), expected);
    // A branch knows nothing of what else followed.
    let branch = ask(json!({"input": "other", "previous_response_id": first}));
    id_of(&node.post(PATH, branch).await);
    assert_eq!(said(&node).len(), 3);
    // What was erased is not used any more, not even from afar.
    node.delete(&format!("{PATH}/{first}")).await;
    let late = ask(json!({"previous_response_id": third}));
    let (status, _, code, param) = node.post(PATH, late).await.error();
    assert_eq!(
        (status, param.as_deref()),
        (404, Some("previous_response_id"))
    );
    assert_eq!(code.as_deref(), Some("previous_response_not_found"));
    node.settled().await;
}

#[tokio::test]
async fn a_calls_output_follows_on_the_response_that_made_the_call() {
    let node = TestNode::new().await;
    node.script.set(Script {
        answer: Says::Calls(vec![ScriptedCall::new("f", &["{}"])]),
        ..Script::default()
    });
    let tools = json!([{"type": "function", "name": "f"}]);
    let first = node.post(PATH, ask(json!({"tools": tools}))).await;
    let call_id = first.json()["output"][0]["call_id"].clone();
    node.script.set(Script::words(2));
    let output = json!([{"type": "function_call_output", "call_id": call_id, "output": "rain"}]);
    let more = json!({"input": output, "previous_response_id": id_of(&first)});
    id_of(&node.post(PATH, ask(more)).await);
    let messages = prompt(&node);
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[1].tool_calls[0].name, "f");
    assert_eq!(messages[2].role, Role::Tool);
    assert_eq!(messages[2].tool_call_id.as_deref(), call_id.as_str());
    node.settled().await;
}

#[tokio::test]
async fn a_kept_item_can_be_referred_to() {
    let node = TestNode::new().await;
    let first = node.post(PATH, ask(json!({}))).await.json();
    let item = &first["output"][0]["id"];
    let input = json!([
        {"role": "user", "content": "one"},
        {"type": "item_reference", "id": item},
        {"id": item},
        {"role": "user", "content": "two"},
    ]);
    let second = node.post(PATH, ask(json!({"input": input}))).await;
    assert_eq!(second.status, 200, "{}", second.text);
    let texts: Vec<_> = said(&node).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["one", "w0 w1 w2 w3", "w0 w1 w2 w3", "two"]);
    let nobody = json!({"input": [{"type": "item_reference", "id": "msg_nobody"}]});
    let missing = gone("input[0].id", "item_not_found");
    assert_eq!(node.post(PATH, ask(nobody)).await.error(), missing);
    node.settled().await;
}

#[tokio::test]
async fn input_items_come_in_pages() {
    let node = TestNode::new().await;
    let input: Vec<Value> = (0..5)
        .map(|i| json!({"role": "user", "content": format!("m{i}")}))
        .collect();
    let id = id_of(&node.post(PATH, ask(json!({"input": input}))).await);
    let path = format!("{PATH}/{id}/input_items");
    let texts = |page: &Value| {
        let items = page["data"].as_array().expect("a list").iter();
        let text = |item: &Value| item["content"][0]["text"].as_str().map(str::to_owned);
        items.filter_map(text).collect::<Vec<_>>()
    };
    let all = node.get(&path).await.json();
    assert_eq!(
        texts(&all),
        ["m4", "m3", "m2", "m1", "m0"],
        "the newest first"
    );
    assert_eq!(
        (&all["object"], &all["has_more"]),
        (&json!("list"), &json!(false))
    );
    assert_eq!(all["first_id"], all["data"][0]["id"]);
    assert_eq!(all["last_id"], all["data"][4]["id"]);

    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = node
            .get(&format!("{path}?order=asc&limit=2{after}"))
            .await
            .json();
        seen.extend(texts(&page));
        if page["has_more"] == false {
            break;
        }
        assert_eq!(texts(&page).len(), 2);
        after = format!("&after={}", page["last_id"].as_str().expect("an id"));
    }
    assert_eq!(seen, ["m0", "m1", "m2", "m3", "m4"]);
    let last = all["last_id"].as_str().expect("an id");
    let empty = node.get(&format!("{path}?after={last}")).await.json();
    assert_eq!(
        (&empty["data"], &empty["first_id"]),
        (&json!([]), &Value::Null)
    );
    for (query, param) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=msg_nobody", "after"),
    ] {
        let (status, _, code, named) = node.get(&format!("{path}?{query}")).await.error();
        assert_eq!((status, code.as_deref()), (400, Some("invalid_value")));
        assert_eq!(named.as_deref(), Some(param), "{query}");
    }
    node.settled().await;
}

#[tokio::test]
async fn to_another_key_nothing_is_there() {
    let node = TestNode::new().await;
    let (mine, theirs) = (key(&node).await, key(&node).await);
    let answer = as_(&node, &mine, post(PATH, ask(json!({})).to_string())).await;
    let id = id_of(&answer);
    let item = answer.json()["output"][0]["id"].clone();
    let path = format!("{PATH}/{id}");
    let missing = gone("response_id", "response_not_found");
    for request in [
        get(&path),
        get(&format!("{path}?stream=true")),
        get(&format!("{path}/input_items")),
        post(&format!("{path}/cancel"), ""),
        delete(&path),
    ] {
        assert_eq!(as_(&node, &theirs, request).await.error(), missing);
    }
    let next = ask(json!({"previous_response_id": id})).to_string();
    let refused = as_(&node, &theirs, post(PATH, next)).await;
    let expected = gone("previous_response_id", "previous_response_not_found");
    assert_eq!(refused.error(), expected);
    let input = json!([{"type": "item_reference", "id": item}]);
    let next = ask(json!({"input": input})).to_string();
    let refused = as_(&node, &theirs, post(PATH, next)).await;
    assert_eq!(refused.error(), gone("input[0].id", "item_not_found"));
    assert_eq!(as_(&node, &mine, get(&path)).await.status, 200);
    node.settled().await;
}

#[tokio::test]
async fn a_response_expires_30_days_after_it_was_last_followed_on() {
    let clock = Arc::new(ManualClock::default());
    let days = |count: u64| Duration::from_secs(count * 86_400);
    let node = TestNode::at(Arc::clone(&clock)).await;
    let first = id_of(&node.post(PATH, ask(json!({}))).await);
    let alone = id_of(&node.post(PATH, ask(json!({}))).await);
    clock.advance(days(29));
    let next = ask(json!({"previous_response_id": first}));
    let second = id_of(&node.post(PATH, next).await);
    clock.advance(days(2));
    let missing = gone("response_id", "response_not_found");
    assert_eq!(node.get(&format!("{PATH}/{alone}")).await.error(), missing);
    assert_eq!(node.get(&format!("{PATH}/{first}")).await.status, 200);
    clock.advance(days(29));
    assert_eq!(node.get(&format!("{PATH}/{second}")).await.error(), missing);
    let limits = kwaainet_store::KeepLimits {
        now_ms: kwaainet_core::Clock::unix_ms(clock.as_ref()),
        bytes_max: i64::MAX,
    };
    let swept = node.store.sweep_kept(limits).await.expect("it answers");
    assert_eq!(swept, 3);
    node.settled().await;
}

#[tokio::test]
async fn what_a_killed_node_left_unfinished_has_failed() {
    let (first, script, dir) = parts(kwaainet::config::Config::default()).await;
    script.set(Script {
        fault: Some(kwaainet_testkit::Fault::HangAfter { tokens: 2 }),
        ..Script::default()
    });
    let database = first.config.database();
    let config = first.config.clone();
    let first = kwaainet::node::Assembled::new(first).await;
    let request = post(PATH, ask(json!({"background": true})).to_string());
    let answer = tower::ServiceExt::oneshot(first.router.clone(), request).await;
    let answer = crate::harness::read(answer.expect("the router never fails")).await;
    assert_eq!(answer.json()["status"], "queued");
    let id = id_of(&answer);
    // The second node finds what the first one, which is still at it, has not ended.
    let (mut second, ..) = parts(kwaainet::config::Config::default()).await;
    second.store = kwaainet_store::Store::open(&database)
        .await
        .expect("it opens");
    second.config = config;
    let second = kwaainet::node::Assembled::new(second).await;
    second.work_alone().await;
    let found = tower::ServiceExt::oneshot(second.router.clone(), get(&format!("{PATH}/{id}")));
    let found = crate::harness::read(found.await.expect("the router never fails")).await;
    let found = found.json();
    assert_eq!(found["status"], "failed");
    assert_eq!(found["error"]["code"], "server_error");
    let path = format!("{PATH}/{id}?stream=true");
    let again = tower::ServiceExt::oneshot(second.router.clone(), get(&path)).await;
    let again = crate::harness::read(again.expect("the router never fails")).await;
    let kinds: Vec<_> = events(&again)
        .iter()
        .map(|event| event["type"].as_str().expect("a type").to_owned())
        .collect();
    let expected = ["created", "queued", "in_progress", "failed"];
    assert_eq!(kinds, expected.map(|kind| format!("response.{kind}")));
    first.app.cut.cancel();
    first
        .app
        .background
        .drain(Duration::ZERO, &first.app.cut)
        .await;
    drop(dir);
}
