use kwaainet_core::Role;
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use crate::harness::{TestNode, delete, get, post};
use crate::responses::kept::{as_, id_of, key, prompt};
use crate::responses::{PATH as RESPONSES, ask, events};

const PATH: &str = "/v1/conversations";

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

async fn texts(node: &TestNode, id: &str) -> Vec<String> {
    let path = format!("{PATH}/{id}/items?order=asc&limit=100");
    let page = node.get(&path).await.json();
    let items = page["data"].as_array().expect("a list").iter();
    let text = |item: &Value| item["content"][0]["text"].as_str().map(str::to_owned);
    items.filter_map(text).collect()
}

#[tokio::test]
async fn a_conversation_is_made_shown_changed_and_erased() {
    let node = TestNode::new().await;
    let body = json!({"items": [user("one")], "metadata": {"a": "b"}});
    let made = node.post(PATH, body).await.json();
    let id = made["id"].as_str().expect("an id");
    assert!(id.starts_with("conv_"));
    let created_at = made["created_at"].as_i64().expect("a time");
    assert!(created_at > 1_700_000_000);
    let expected = json!({"id": id, "object": "conversation", "created_at": created_at,
        "metadata": {"a": "b"}});
    assert_eq!(made, expected);
    let path = format!("{PATH}/{id}");
    assert_eq!(node.get(&path).await.json(), expected);
    let changed = node
        .post(&path, json!({"metadata": {"c": "d"}}))
        .await
        .json();
    assert_eq!(changed["metadata"], json!({"c": "d"}));
    assert_eq!(node.get(&path).await.json(), changed);
    let nothing = node.post(&path, json!({})).await.error();
    assert_eq!(nothing.2.as_deref(), Some("missing_required_parameter"));
    let none = node.post(&path, json!({"metadata": null})).await.json();
    assert_eq!(none["metadata"], json!({}));
    let erased = node.delete(&path).await.json();
    let expected = json!({"id": id, "object": "conversation.deleted", "deleted": true});
    assert_eq!(erased, expected);
    for request in [
        get(&path),
        delete(&path),
        get(&format!("{path}/items")),
        post(&path, "{\"metadata\": {}}"),
        post(
            &format!("{path}/items"),
            json!({"items": [user("x")]}).to_string(),
        ),
    ] {
        let (status, _, code, param) = node.ask(request).await.error();
        assert_eq!(
            (status, code.as_deref()),
            (404, Some("conversation_not_found"))
        );
        assert_eq!(param.as_deref(), Some("conversation_id"));
    }
    assert_eq!(
        node.post(PATH, json!({})).await.status,
        200,
        "nothing is needed"
    );
}

#[tokio::test]
async fn items_are_added_listed_shown_and_erased() {
    let node = TestNode::new().await;
    let id = id_of(&node.post(PATH, json!({"items": [user("one")]})).await);
    let path = format!("{PATH}/{id}/items");
    let added = node
        .post(&path, json!({"items": [user("two"), user("three")]}))
        .await;
    let added = added.json();
    assert_eq!(added["object"], "list");
    assert_eq!(added["data"][0]["status"], "completed");
    assert_eq!(added["first_id"], added["data"][0]["id"]);
    assert_eq!(texts(&node, &id).await, ["one", "two", "three"]);
    let item = added["first_id"].as_str().expect("an id");
    let shown = node.get(&format!("{path}/{item}")).await.json();
    assert_eq!(shown, added["data"][0]);
    let left = node.delete(&format!("{path}/{item}")).await.json();
    assert_eq!(
        (&left["id"], &left["object"]),
        (&json!(id), &json!("conversation"))
    );
    assert_eq!(texts(&node, &id).await, ["one", "three"]);
    for request in [
        get(&format!("{path}/{item}")),
        delete(&format!("{path}/{item}")),
    ] {
        let (status, _, code, param) = node.ask(request).await.error();
        assert_eq!((status, code.as_deref()), (404, Some("item_not_found")));
        assert_eq!(param.as_deref(), Some("item_id"));
    }
}

#[tokio::test]
async fn bad_items_are_refused_by_name() {
    let node = TestNode::new().await;
    let id = id_of(&node.post(PATH, json!({})).await);
    let items = format!("{PATH}/{id}/items");
    let many: Vec<Value> = (0..21).map(|_| user("x")).collect();
    for (path, body, code, param) in [
        (
            PATH,
            json!({"items": many}),
            "array_above_max_length",
            "items",
        ),
        (
            PATH,
            json!({"items": [{"role": "user"}]}),
            "missing_required_parameter",
            "items[0].content",
        ),
        (
            PATH,
            json!({"metadata": {"k": 7}}),
            "invalid_type",
            "metadata.k",
        ),
        (PATH, json!({"items": 7}), "invalid_type", "items"),
        (&items, json!({}), "missing_required_parameter", "items"),
        (&items, json!({"items": []}), "empty_array", "items"),
        (
            &items,
            json!({"items": many}),
            "array_above_max_length",
            "items",
        ),
        (
            &items,
            json!({"items": [{"type": "item_reference", "id": "x"}]}),
            "item_not_found",
            "items[0].id",
        ),
    ] {
        let (_, _, got, named) = node.post(path, body.clone()).await.error();
        assert_eq!(got.as_deref(), Some(code), "{body}");
        assert_eq!(named.as_deref(), Some(param), "{body}");
    }
}

#[tokio::test]
async fn a_response_follows_on_a_conversation_and_becomes_part_of_it() {
    let node = TestNode::new().await;
    let id = id_of(&node.post(PATH, json!({"items": [user("one")]})).await);
    let answer = "w0 w1 w2 w3";
    let more = json!({"input": "two", "conversation": id});
    let first = node.post(RESPONSES, ask(more)).await;
    assert_eq!(first.json()["conversation"], json!({"id": id}));
    assert_eq!(texts(&node, &id).await, ["one", "two", answer]);
    // As an object, streamed, and with nothing new to say.
    let more = json!({"input": "three", "conversation": {"id": id}, "stream": true});
    events(&node.post(RESPONSES, ask(more)).await);
    assert_eq!(
        texts(&node, &id).await,
        ["one", "two", answer, "three", answer]
    );
    let said: Vec<_> = prompt(&node)
        .into_iter()
        .map(|m| (m.role, m.content))
        .collect();
    let expected = [
        (Role::User, "one"),
        (Role::User, "two"),
        (Role::Assistant, answer),
        (Role::User, "three"),
    ];
    assert_eq!(said, expected.map(|(role, text)| (role, text.to_owned())));
    let more = json!({"input": null, "conversation": id, "background": true});
    let response = id_of(&node.post(RESPONSES, ask(more)).await);
    node.settled().await;
    let waiting = async {
        while texts(&node, &id).await.len() < 6 {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(crate::harness::SOON, waiting)
        .await
        .expect("it comes");

    // Its past is in the conversation, so that is where it goes on.
    let next = ask(json!({"previous_response_id": response}));
    let (status, _, _, param) = node.post(RESPONSES, next).await.error();
    assert_eq!(
        (status, param.as_deref()),
        (400, Some("previous_response_id"))
    );
    // The response stays when the conversation goes.
    node.delete(&format!("{PATH}/{id}")).await;
    assert_eq!(
        node.get(&format!("{RESPONSES}/{response}")).await.status,
        200
    );
    let late = node.post(RESPONSES, ask(json!({"conversation": id}))).await;
    let (status, _, code, param) = late.error();
    assert_eq!(
        (status, code.as_deref()),
        (404, Some("conversation_not_found"))
    );
    assert_eq!(param.as_deref(), Some("conversation"));
    node.settled().await;
}

#[tokio::test]
async fn what_failed_does_not_become_part_of_a_conversation() {
    let node = TestNode::new().await;
    let id = id_of(&node.post(PATH, json!({"items": [user("one")]})).await);
    node.script.set(Script::failing(Fault::FailAfter {
        tokens: 1,
        error: kwaainet_core::BackendError::Internal("x".into()),
    }));
    let more = json!({"input": "two", "conversation": id, "stream": true});
    events(&node.post(RESPONSES, ask(more)).await);
    assert_eq!(texts(&node, &id).await, ["one"]);
    node.settled().await;
}

#[tokio::test]
async fn to_another_key_no_conversation_is_there() {
    let node = TestNode::new().await;
    let (mine, theirs) = (key(&node).await, key(&node).await);
    let body = json!({"items": [user("one")]}).to_string();
    let id = id_of(&as_(&node, &mine, post(PATH, body.clone())).await);
    let path = format!("{PATH}/{id}");
    let items = as_(&node, &mine, get(&format!("{path}/items")))
        .await
        .json();
    let item = format!(
        "{path}/items/{}",
        items["first_id"].as_str().expect("an id")
    );
    for request in [
        get(&path),
        post(&path, "{\"metadata\": {}}"),
        get(&format!("{path}/items")),
        post(&format!("{path}/items"), body),
        get(&item),
        delete(&item),
        delete(&path),
        post(RESPONSES, ask(json!({"conversation": id})).to_string()),
    ] {
        assert_eq!(as_(&node, &theirs, request).await.error().0, 404);
    }
    assert_eq!(as_(&node, &mine, get(&item)).await.status, 200);
}
