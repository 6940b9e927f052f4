//! `/v1/vector_stores`: files go in, are read in the background, and are found.

use std::time::Duration;

use kwaainet::config::Config;
use kwaainet_testkit::{Fault, Script};
use serde_json::{Value, json};

use crate::files::{delete, fill, form, key, upload, with_key};
use crate::harness::{EMBEDDER, SOON, TestNode, get, post};

const PATH: &str = "/v1/vector_stores";

pub(crate) async fn create(node: &TestNode, body: Value) -> String {
    let answer = node.post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Waits until no file is waiting.
pub(crate) async fn read(node: &TestNode, store: &str) -> Value {
    let done = async {
        loop {
            let shown = node.get(&format!("{PATH}/{store}")).await.json();
            if shown["status"] != "in_progress" {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, done)
        .await
        .expect("files are read")
}

async fn search(node: &TestNode, store: &str, body: Value) -> Vec<Value> {
    let answer = node.post(&format!("{PATH}/{store}/search"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let page = answer.json();
    assert_eq!(page["object"], "vector_store.search_results.page");
    assert_eq!(
        (&page["has_more"], &page["next_page"]),
        (&json!(false), &Value::Null)
    );
    page["data"].as_array().expect("a list").clone()
}

fn names(found: &[Value]) -> Vec<&str> {
    let name = |found: &Value| found["filename"].as_str().map(|name| name.len());
    assert!(found.iter().all(|found| name(found).is_some()));
    found
        .iter()
        .filter_map(|found| found["filename"].as_str())
        .collect()
}

#[tokio::test]
async fn what_was_put_in_is_found() {
    let node = TestNode::new().await;
    let sky = upload(&node, "assistants", "sky.txt", b"the sky is blue").await;
    let page = b"<p>grass &amp; <b>moss</b></p><script>var x</script>";
    let grass = upload(&node, "assistants", "grass.html", page).await;
    let body = json!({
        "name": "colours", "file_ids": [sky], "metadata": {"a": "b"}, "description": "of things",
        "expires_after": {"anchor": "last_active_at", "days": 2},
    });
    let store = create(&node, body).await;
    let added = json!({"file_id": grass, "attributes": {"kind": "plant", "year": 2020}});
    let added = node
        .post(&format!("{PATH}/{store}/files"), added)
        .await
        .json();
    assert_eq!(added["object"], "vector_store.file");
    assert_eq!(added["status"], "in_progress");
    assert_eq!(added["vector_store_id"], json!(store));
    let fixed = json!({"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50});
    let strategy = json!({"type": "static", "static": fixed});
    assert_eq!(added["chunking_strategy"], strategy, "what the model takes");

    let shown = read(&node, &store).await;
    let counts = json!({
        "in_progress": 0, "completed": 2, "failed": 0, "cancelled": 0, "total": 2,
    });
    assert_eq!(shown["file_counts"], counts);
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["name"], "colours");
    assert_eq!(shown["description"], "of things");
    assert_eq!(shown["metadata"], json!({"a": "b"}));
    assert_eq!(shown["model"], EMBEDDER);
    let active = shown["last_active_at"].as_i64().expect("a time");
    assert_eq!(shown["expires_at"], json!(active + 2 * 86_400));
    assert_eq!(shown["usage_bytes"], json!(15 + 32 + 12 + 32));

    let found = search(&node, &store, json!({"query": "the sky is blue"})).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["file_id"], json!(sky));
    assert_eq!(
        found[0]["content"],
        json!([{"type": "text", "text": "the sky is blue"}])
    );
    assert!(
        found[0]["score"]
            .as_f64()
            .is_some_and(|score| (score - 1.0).abs() < 1e-6)
    );
    assert_eq!(found[0]["attributes"], Value::Null);
    let both = json!({"query": ["grass & moss", "the sky is blue"], "ranking_options": {"score_threshold": 0.999}});
    let found = search(&node, &store, both).await;
    assert_eq!(found.len(), 2, "each is near one of them");
    let one = json!({"query": "grass & moss", "max_num_results": 1});
    let found = search(&node, &store, one).await;
    assert_eq!(names(&found), ["grass.html"]);
    assert_eq!(found[0]["content"][0]["text"], "grass & moss");
    for (filter, expected) in [
        (json!({"type": "eq", "key": "kind", "value": "plant"}), 1),
        (json!({"type": "ne", "key": "kind", "value": "plant"}), 1),
        (json!({"type": "gt", "key": "year", "value": 2020}), 0),
    ] {
        let found = search(&node, &store, json!({"query": "x", "filters": filter})).await;
        assert_eq!(found.len(), expected);
    }
    let content = node
        .get(&format!("{PATH}/{store}/files/{grass}/content"))
        .await
        .json();
    assert_eq!(
        content["data"],
        json!([{"type": "text", "text": "grass & moss"}])
    );
    node.settled().await;
}

#[tokio::test]
async fn stores_and_their_files_are_changed_listed_and_deleted() {
    let node = TestNode::new().await;
    let first = upload(&node, "assistants", "a.md", b"one").await;
    let second = upload(&node, "user_data", "b.json", b"{\"two\": 2}").await;
    let one = create(&node, json!({})).await;
    let two = create(&node, json!({"file_ids": [first, second]})).await;
    read(&node, &two).await;
    let listed = node.get(&format!("{PATH}?limit=1")).await.json();
    assert_eq!(
        (&listed["first_id"], &listed["has_more"]),
        (&json!(two), &json!(true))
    );
    let listed = node
        .get(&format!("{PATH}?order=asc&before={two}"))
        .await
        .json();
    assert_eq!(
        (&listed["first_id"], &listed["has_more"]),
        (&json!(one), &json!(false))
    );

    let change = json!({"name": "new", "metadata": {"k": "v"}});
    let changed = node.post(&format!("{PATH}/{one}"), change).await.json();
    assert_eq!(
        (&changed["name"], &changed["metadata"]["k"]),
        (&json!("new"), &json!("v"))
    );
    let changed = node
        .post(&format!("{PATH}/{one}"), json!({"metadata": null}))
        .await
        .json();
    assert_eq!(
        (&changed["name"], &changed["metadata"]),
        (&json!("new"), &Value::Null)
    );

    let files = format!("{PATH}/{two}/files");
    let listed = node
        .get(&format!("{files}?filter=completed&limit=1"))
        .await
        .json();
    assert_eq!(
        (&listed["first_id"], &listed["has_more"]),
        (&json!(second), &json!(true))
    );
    assert_eq!(
        node.get(&format!("{files}?filter=failed")).await.json()["data"],
        json!([])
    );
    let update = json!({"attributes": {"x": true}});
    let updated = node.post(&format!("{files}/{first}"), update).await.json();
    assert_eq!(updated["attributes"], json!({"x": true}));
    let shown = node.get(&format!("{files}/{first}")).await.json();
    assert_eq!(shown["attributes"], json!({"x": true}));
    let gone = delete(&node, &format!("{files}/{first}")).await.json();
    let expected = json!({"id": first, "object": "vector_store.file.deleted", "deleted": true});
    assert_eq!(gone, expected);
    assert_eq!(node.get(&format!("{files}/{first}")).await.error().0, 404);
    assert_eq!(
        node.get(&format!("/v1/files/{first}")).await.status,
        200,
        "the file stays"
    );
    assert_eq!(
        delete(&node, &format!("/v1/files/{second}")).await.status,
        200
    );
    let shown = node.get(&format!("{PATH}/{two}")).await.json();
    assert_eq!(
        shown["file_counts"]["total"], 0,
        "a deleted file is in no store"
    );
    let gone = delete(&node, &format!("{PATH}/{two}")).await.json();
    assert_eq!(gone["object"], "vector_store.deleted");
    assert_eq!(node.get(&format!("{PATH}/{two}")).await.error().0, 404);
    node.settled().await;
}

#[tokio::test]
async fn long_files_are_cut_and_others_refused() {
    let node = TestNode::new().await;
    let long: Vec<String> = (0..1_000).map(|i| format!("w{i}")).collect();
    let long = upload(&node, "assistants", "long.TXT", long.join(" ").as_bytes()).await;
    let image = upload(&node, "assistants", "x.png", b"x").await;
    let broken = upload(&node, "assistants", "x.txt", &[0xff, 0xfe]).await;
    let empty = upload(&node, "assistants", "y.txt", b" \n").await;
    let strategy = json!({
        "type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0},
    });
    let ids = json!([long, image, broken, empty]);
    let body = json!({"file_ids": ids, "chunking_strategy": strategy});
    let store = create(&node, body).await;
    let shown = read(&node, &store).await;
    assert_eq!(shown["file_counts"]["completed"], 1);
    assert_eq!(shown["file_counts"]["failed"], 3);
    for (file, code) in [
        (&image, "unsupported_file"),
        (&broken, "invalid_file"),
        (&empty, "invalid_file"),
    ] {
        let shown = node
            .get(&format!("{PATH}/{store}/files/{file}"))
            .await
            .json();
        assert_eq!(shown["status"], "failed");
        assert_eq!(shown["last_error"]["code"], code);
    }
    let found = search(&node, &store, json!({"query": "x", "max_num_results": 50})).await;
    let mut words: Vec<u32> = Vec::new();
    for piece in &found {
        let text = piece["content"][0]["text"].as_str().expect("a text");
        let piece: Vec<u32> = text
            .split(' ')
            .map(|word| word[1..].parse().expect("a number"))
            .collect();
        assert!(piece.len() <= 100);
        words.extend(piece);
    }
    words.sort_unstable();
    let all: Vec<u32> = (0..1_000).collect();
    assert_eq!(words, all, "every word is in one piece");
    node.settled().await;
}

#[tokio::test]
async fn files_can_be_put_in_together_and_called_off() {
    let node = TestNode::new().await;
    let store = create(&node, json!({})).await;
    let mut ids = Vec::new();
    for name in ["a.txt", "b.txt"] {
        ids.push(upload(&node, "assistants", name, b"word").await);
    }
    let batches = format!("{PATH}/{store}/file_batches");
    let made = node.post(&batches, json!({"file_ids": ids})).await.json();
    assert_eq!(made["object"], "vector_store.files_batch");
    let batch = made["id"].as_str().expect("an id");
    read(&node, &store).await;
    let shown = node.get(&format!("{batches}/{batch}")).await.json();
    assert_eq!(
        (&shown["status"], &shown["file_counts"]["completed"]),
        (&json!("completed"), &json!(2))
    );
    let listed = node
        .get(&format!("{batches}/{batch}/files?order=asc"))
        .await
        .json();
    assert_eq!(
        (&listed["first_id"], &listed["last_id"]),
        (&json!(ids[0]), &json!(ids[1]))
    );

    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let files = json!([{"file_id": ids[0], "attributes": {"n": 1}}, {"file_id": ids[1]}]);
    let made = node.post(&batches, json!({"files": files})).await.json();
    let batch = made["id"].as_str().expect("an id").to_owned();
    let answer = node
        .post(&format!("{batches}/{batch}/cancel"), json!({}))
        .await
        .json();
    assert_eq!(
        (&answer["status"], &answer["file_counts"]["cancelled"]),
        (&json!("cancelled"), &json!(2))
    );
    for (body, param) in [
        (json!({}), "file_ids"),
        (json!({"file_ids": []}), "file_ids"),
        (json!({"file_ids": ["file-none"]}), "file_ids[0]"),
        (
            json!({"files": [{"file_id": "file-none"}]}),
            "files[0].file_id",
        ),
        (json!({"file_ids": ids, "files": []}), "files"),
    ] {
        let (status, _, _, at) = node.post(&batches, body).await.error();
        assert!(matches!(status, 400 | 404));
        assert_eq!(at.as_deref(), Some(param));
    }
    let none = format!("{batches}/vsfb_none");
    assert_eq!(node.get(&none).await.error().0, 404);
    // What hangs is dropped with the node.
    let node = node.restarted().await;
    read(&node, &store).await;
    node.comes_to_rest().await;
}

#[tokio::test]
async fn a_file_that_was_begun_before_a_restart_is_read_after_it() {
    let node = TestNode::new().await;
    node.script
        .set(Script::failing(Fault::HangAfter { tokens: 0 }));
    let file = upload(&node, "assistants", "a.txt", b"word").await;
    let store = create(&node, json!({"file_ids": [file]})).await;
    let begun = async {
        while node.script.counts().alive == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, begun)
        .await
        .expect("it is begun");
    let node = node.restarted().await;
    let shown = read(&node, &store).await;
    assert_eq!(shown["file_counts"]["completed"], 1);
    let found = search(&node, &store, json!({"query": "word"})).await;
    assert_eq!(found.len(), 1, "once");
    node.comes_to_rest().await;
}

#[tokio::test]
async fn bad_requests_are_named() {
    let node = TestNode::new().await;
    let file = upload(&node, "assistants", "a.txt", b"word").await;
    let store = create(&node, json!({})).await;
    let fixed = |tokens: i64, shared: i64| json!({"type": "static", "static": {"max_chunk_size_tokens": tokens, "chunk_overlap_tokens": shared}});
    let size = "chunking_strategy.static.max_chunk_size_tokens";
    let shared = "chunking_strategy.static.chunk_overlap_tokens";
    let deep: Value = (0..9).fold(
        json!({"type": "x"}),
        |filter, _| json!({"type": "and", "filters": [filter]}),
    );
    let (search, files) = (
        format!("{PATH}/{store}/search"),
        format!("{PATH}/{store}/files"),
    );
    for (path, body, param) in [
        (PATH, json!({"name": "x".repeat(513)}), "name"),
        (PATH, json!({"metadata": {"k": 1}}), "metadata.k"),
        (PATH, json!({"file_ids": ["file-none"]}), "file_ids[0]"),
        (
            PATH,
            json!({"expires_after": {"anchor": "created_at", "days": 1}}),
            "expires_after.anchor",
        ),
        (
            PATH,
            json!({"expires_after": {"anchor": "last_active_at", "days": 0}}),
            "expires_after.days",
        ),
        (
            PATH,
            json!({"chunking_strategy": {"type": "magic"}}),
            "chunking_strategy",
        ),
        (PATH, json!({"chunking_strategy": fixed(99, 0)}), size),
        (PATH, json!({"chunking_strategy": fixed(101, 0)}), size),
        (PATH, json!({"chunking_strategy": fixed(100, 51)}), shared),
        (&files, json!({}), "file_id"),
        (&files, json!({"file_id": "file-none"}), "file_id"),
        (
            &files,
            json!({"file_id": file, "attributes": []}),
            "attributes",
        ),
        (
            &files,
            json!({"file_id": file, "attributes": {"k": []}}),
            "attributes",
        ),
        (&search, json!({}), "query"),
        (&search, json!({"query": ""}), "query"),
        (&search, json!({"query": []}), "query"),
        (&search, json!({"query": 7}), "query"),
        (
            &search,
            json!({"query": "x", "max_num_results": 51}),
            "max_num_results",
        ),
        (
            &search,
            json!({"query": "x", "rewrite_query": true}),
            "rewrite_query",
        ),
        (
            &search,
            json!({"query": "x", "filters": {"type": "eq"}}),
            "filters.key",
        ),
        (
            &search,
            json!({"query": "x", "ranking_options": {"ranker": "default-2024-11-15"}}),
            "ranking_options.ranker",
        ),
        (
            &search,
            json!({"query": "x", "ranking_options": {"score_threshold": 2}}),
            "ranking_options.score_threshold",
        ),
    ] {
        let answer = node.post(path, body.clone()).await;
        assert!(
            matches!(answer.status.as_u16(), 400 | 404),
            "{body}: {}",
            answer.text
        );
        assert_eq!(answer.error().3.as_deref(), Some(param), "{body}");
    }
    assert_eq!(
        node.post(&search, json!({"query": "x", "filters": deep}))
            .await
            .error()
            .0,
        400
    );
    let missing = format!("{PATH}/vs_none");
    for path in [
        missing.clone(),
        format!("{missing}/files"),
        format!("{PATH}/{store}/files/{file}"),
    ] {
        assert_eq!(node.get(&path).await.error().0, 404);
    }
    let listed = node.get(&format!("{PATH}/{store}/files?filter=lost")).await;
    assert_eq!(listed.error().3.as_deref(), Some("filter"));
    node.settled().await;
}

#[tokio::test]
async fn another_keys_stores_are_not_there() {
    let node = TestNode::new().await;
    let (one, two) = (key(&node).await, key(&node).await);
    let request = form(&[("purpose", "assistants")], Some(("a.txt", b"word")));
    let file = node.ask(with_key(request, &one)).await.json()["id"].clone();
    let made = with_key(post(PATH, json!({"file_ids": [file]}).to_string()), &one);
    let store = node.ask(made).await.json()["id"].clone();
    let store = store.as_str().expect("an id");
    let path = format!("{PATH}/{store}");
    let refused = async |path: &str, body: Option<Value>| {
        let request = match body {
            Some(body) => post(path, body.to_string()),
            None => get(path),
        };
        node.ask(with_key(request, &two)).await.error().0
    };
    assert_eq!(refused(&path, None).await, 404);
    assert_eq!(refused(&path, Some(json!({"name": "mine"}))).await, 404);
    assert_eq!(refused(&format!("{path}/files"), None).await, 404);
    assert_eq!(
        refused(&format!("{path}/files"), Some(json!({"file_id": file}))).await,
        404
    );
    assert_eq!(
        refused(&format!("{path}/search"), Some(json!({"query": "word"}))).await,
        404
    );
    assert_eq!(refused(PATH, Some(json!({"file_ids": [file]}))).await, 404);
    let mine = with_key(post(PATH, "{}"), &two);
    let mine = node.ask(mine).await.json()["id"].clone();
    let mine = format!("{PATH}/{}/files", mine.as_str().expect("an id"));
    assert_eq!(refused(&mine, Some(json!({"file_id": file}))).await, 404);
    let listed = node.ask(with_key(get(PATH), &two)).await.json();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));

    let done = async {
        loop {
            let shown = node.ask(with_key(get(&path), &one)).await.json();
            if shown["status"] == "completed" {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let shown = tokio::time::timeout(SOON, done).await.expect("it is read");
    assert_eq!(shown["file_counts"]["completed"], 1);
    node.settled().await;
}

#[tokio::test]
async fn what_is_in_stores_counts_as_files_do() {
    let mut config = Config::default();
    config.files.key_mib = 1;
    let node = TestNode::with(config).await;
    let text = upload(&node, "assistants", "a.txt", b"the sky is blue").await;
    fill(&node, 478).await;
    let store = create(&node, json!({})).await;
    let path = format!("{PATH}/{store}/files");
    let body = json!({"file_id": text});
    // Its row has room, and then its words; the row of the next one has none.
    assert_eq!(node.post(&path, body.clone()).await.status, 200);
    read(&node, &store).await;
    let file = node.get(&format!("{path}/{text}")).await.json();
    assert_eq!(file["status"], "completed", "{file}");
    let more = upload(&node, "assistants", "b.txt", &[b'x'; 60]).await;
    let second = create(&node, json!({})).await;
    let path = format!("{PATH}/{second}/files");
    assert_eq!(node.post(&path, body.clone()).await.status, 200);
    read(&node, &second).await;
    let file = node.get(&format!("{path}/{text}")).await.json();
    assert_eq!(file["status"], "failed", "{file}");
    let refused = node.post(&path, json!({"file_id": more})).await.error();
    let expected = Some("storage_limit_exceeded");
    assert_eq!((refused.0, refused.2.as_deref()), (400, expected));
    assert_eq!(refused.3.as_deref(), Some("file_id"));
    let (status, _, code, _) = node
        .ask(form(&[("purpose", "user_data")], Some(("c", b"x"))))
        .await
        .error();
    assert_eq!((status, code.as_deref()), (400, expected));
    node.settled().await;
}
