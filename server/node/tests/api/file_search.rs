//! `file_search` in the Responses API: the node searches by itself, and the model goes on.

use kwaainet_core::{GenerateRequest, Prompt, Role, ToolMode};
use kwaainet_testkit::{Answer as Says, Script, ScriptedCall};
use serde_json::{Value, json};

use crate::files::{key, upload, with_key};
use crate::harness::{TestNode, post};
use crate::responses::{PATH, ask, events};
use crate::vector_stores::{create, read};

const SKY: &str = "the sky is blue";

/// A store with two short files, and the first file's id.
async fn store(node: &TestNode) -> (String, String) {
    let sky = upload(node, "assistants", "sky.txt", SKY.as_bytes()).await;
    let grass = upload(node, "assistants", "grass.txt", b"grass is green").await;
    let store = create(node, json!({"file_ids": [sky, grass]})).await;
    read(node, &store).await;
    (store, sky)
}

fn tool(store: &str) -> Value {
    json!({"type": "file_search", "vector_store_ids": [store], "max_num_results": 1})
}

fn searches(query: &str) -> Script {
    let arguments = json!({"query": query}).to_string();
    calls(&[("file_search", &arguments)])
}

fn calls(calls: &[(&str, &str)]) -> Script {
    let call = |(name, arguments): &(&str, &str)| {
        let (start, end) = arguments.split_at(1);
        ScriptedCall::new(name, &[start, end])
    };
    Script {
        answer: Says::Calls(calls.iter().map(call).collect()),
        ..Script::default()
    }
}

fn last(node: &TestNode) -> (GenerateRequest, kwaainet_core::Conversation) {
    let request = node.script.last_generate().expect("it was asked");
    let Prompt::Chat(chat) = request.prompt.clone() else {
        panic!("a conversation stays one");
    };
    (request, chat)
}

fn kinds(told: &[Value]) -> Vec<&str> {
    let kind = |event: &Value| event["type"].as_str().map(str::len);
    assert!(told.iter().all(|event| kind(event).is_some()));
    let kinds = told.iter().filter_map(|event| event["type"].as_str());
    kinds
        .map(|kind| kind.trim_start_matches("response."))
        .collect()
}

#[tokio::test]
async fn n19_the_node_searches_and_the_model_answers() {
    let node = TestNode::new().await;
    let (store, sky) = store(&node).await;
    let told = {
        node.script.set_each([searches(SKY), Script::words(2)]);
        let more = json!({
            "stream": true, "tools": [tool(&store)], "include": ["file_search_call.results"],
        });
        events(&node.post(PATH, ask(more)).await)
    };
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&told), expected);
    let numbers = told.iter().map(|event| event["sequence_number"].as_u64());
    assert!(numbers.eq((0..).take(told.len()).map(Some)));
    assert_eq!(told[2]["item"]["status"], "in_progress");
    assert_eq!(told[3]["item_id"], told[2]["item"]["id"]);

    let whole = &told.last().expect("events")["response"];
    let search = &whole["output"][0];
    let id = search["id"].as_str().expect("an id");
    assert!(id.starts_with("fs_"), "{id}");
    let result = json!({"file_id": sky, "filename": "sky.txt", "score": 1.0, "attributes": null,
        "text": SKY});
    let expected = json!({"id": id, "type": "file_search_call", "status": "completed",
        "queries": [SKY], "results": [result]});
    assert_eq!(*search, expected);
    let citation = json!({"type": "file_citation", "file_id": sky, "filename": "sky.txt",
        "index": 5});
    let part = &whole["output"][1]["content"][0];
    assert_eq!(part["text"], "w0 w1");
    assert_eq!(part["annotations"], json!([citation]));
    assert_eq!(told[11]["annotation"], citation);
    let echo = json!({"type": "file_search", "vector_store_ids": [store], "max_num_results": 1,
        "filters": null, "ranking_options": {"ranker": "auto", "score_threshold": 0.0}});
    assert_eq!(whole["tools"], json!([echo]));

    let (_, chat) = last(&node);
    let roles: Vec<Role> = chat.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool]);
    assert_eq!(chat.messages[1].tool_calls[0].name, "file_search");
    assert_eq!(chat.messages[2].tool_call_id.as_deref(), Some(id));
    assert_eq!(chat.messages[2].content, format!("From sky.txt:\n{SKY}"));
    assert_eq!(chat.tools.len(), 1, "it may search again");

    // Kept and told again as it was, and shown to the model in the next response.
    let path = format!("{PATH}/{}", whole["id"].as_str().expect("an id"));
    assert_eq!(node.get(&path).await.json(), *whole);
    let again = node.get(&format!("{path}?stream=true")).await;
    assert_eq!(events(&again), told);
    let next = ask(json!({"previous_response_id": whole["id"]}));
    assert_eq!(node.post(PATH, next).await.status, 200);
    let (_, chat) = last(&node);
    assert_eq!(chat.messages[2].content, format!("From sky.txt:\n{SKY}"));
    // Two files were embedded, and the query; three generations.
    assert_eq!(node.settled().await, [6, 0, 0]);
}

#[tokio::test]
async fn a_search_that_is_asked_for_comes_first_and_shows_no_more_than_asked() {
    let node = TestNode::new().await;
    let (store, sky) = store(&node).await;
    for background in [false, true] {
        let started = node.script.counts().started;
        let more = json!({
            "input": SKY, "tools": [tool(&store)], "tool_choice": {"type": "file_search"},
            "background": background,
        });
        let mut whole = node.post(PATH, ask(more)).await.json();
        if background {
            assert_eq!(whole["status"], "queued");
            node.comes_to_rest().await;
            let path = format!("{PATH}/{}", whole["id"].as_str().expect("an id"));
            let told = events(&node.get(&format!("{path}?stream=true")).await);
            whole = told.last().expect("events")["response"].clone();
        }
        assert_eq!(whole["status"], "completed", "{whole}");
        assert_eq!(whole["tool_choice"], json!({"type": "file_search"}));
        assert_eq!(whole["output"][0]["queries"], json!([SKY]));
        assert_eq!(whole["output"][0]["results"], Value::Null);
        let annotation = &whole["output"][1]["content"][0]["annotations"][0];
        assert_eq!(annotation["file_id"], json!(sky));
        // An embedding and one generation.
        assert_eq!(node.script.counts().started - started, 2);
        let (_, chat) = last(&node);
        assert_eq!(chat.tool_choice.mode, ToolMode::Auto);
        assert_eq!(chat.messages[2].role, Role::Tool);
    }
    node.settled().await;
}

#[tokio::test]
async fn what_follows_knows_what_was_found_though_nobody_was_shown_it() {
    let node = TestNode::new().await;
    let (store, _) = store(&node).await;
    let conversation = node.post("/v1/conversations", json!({})).await.json();
    let found = format!("From sky.txt:\n{SKY}");
    for field in ["previous_response_id", "conversation"] {
        node.script.set_each([searches(SKY), Script::words(2)]);
        let mut more = json!({"tools": [tool(&store)]});
        if field == "conversation" {
            more[field] = conversation["id"].clone();
        }
        let whole = node.post(PATH, ask(more)).await.json();
        let search = &whole["output"][0];
        assert_eq!(search["results"], Value::Null);
        let path = format!("{PATH}/{}", whole["id"].as_str().expect("an id"));
        assert_eq!(node.get(&path).await.json(), whole);

        let followed = match field {
            "conversation" => conversation["id"].clone(),
            _ => whole["id"].clone(),
        };
        node.script.set(Script::words(1));
        let next = ask(json!({(field): followed}));
        assert_eq!(node.post(PATH, next).await.status, 200);
        let (_, chat) = last(&node);
        assert_eq!(chat.messages[1].tool_calls[0].name, "file_search");
        assert_eq!(chat.messages[2].content, found);
    }
    let id = conversation["id"].as_str().expect("an id");
    let items = node.get(&format!("/v1/conversations/{id}/items")).await;
    assert!(items.text.contains("file_search_call"), "{}", items.text);
    let items = items.json();
    let listed = items["data"].as_array().expect("a list").iter();
    let searches = listed.filter(|item| item["type"] == "file_search_call");
    let shown: Vec<_> = searches
        .map(|item| (&item["results"], item.get("given")))
        .collect();
    assert_eq!(shown, [(&Value::Null, None)]);
    node.settled().await;
}

#[tokio::test]
async fn searches_end_after_four_rounds_or_as_many_as_are_asked_for() {
    let node = TestNode::new().await;
    let (store, _) = store(&node).await;
    let script = || [searches("a"), searches("b"), searches("c"), searches("d")];
    for (more, count) in [
        (json!({}), 4),
        (json!({"max_tool_calls": 2}), 2),
        (json!({"tool_choice": "required"}), 4),
    ] {
        node.script
            .set_each(script().into_iter().take(count).chain([Script::words(1)]));
        let mut body = ask(json!({"tools": [tool(&store)]}));
        body.as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        let whole = node.post(PATH, body).await.json();
        assert_eq!(whole["status"], "completed", "{whole}");
        let output = whole["output"].as_array().expect("a list");
        assert_eq!(output.len(), count + 1);
        assert_eq!(output[count]["type"], "message");
        let (_, chat) = last(&node);
        assert!(chat.tools.is_empty(), "it is not offered any more");
        assert_eq!(chat.tool_choice.mode, ToolMode::Auto);
        assert_eq!(chat.messages.len(), 1 + 2 * count);
    }
    // A model that calls what is not there any more ends the response.
    node.script.set(searches("again"));
    let whole = node.post(PATH, ask(json!({"tools": [tool(&store)]}))).await;
    assert_eq!(whole.json()["output"].as_array().expect("a list").len(), 4);
    node.settled().await;
}

#[tokio::test]
async fn calls_of_the_clients_functions_end_the_response() {
    let node = TestNode::new().await;
    let (store, _) = store(&node).await;
    let arguments = json!({"query": SKY}).to_string();
    node.script
        .set(calls(&[("file_search", &arguments), ("time", "{}")]));
    let time = json!({"type": "function", "name": "time"});
    let more = json!({"tools": [time, tool(&store)]});
    let whole = node.post(PATH, ask(more)).await.json();
    let output = whole["output"].as_array().expect("a list");
    let types: Vec<_> = output.iter().map(|item| item["type"].as_str()).collect();
    assert_eq!(types, [Some("function_call"), Some("file_search_call")]);
    assert_eq!(output[0]["arguments"], "{}");
    assert_eq!(whole["status"], "completed");
    assert_eq!(
        whole["tools"][0],
        json!({"type": "function", "name": "time", "description": null,
        "parameters": null, "strict": false})
    );
    node.settled().await;
}

#[tokio::test]
async fn what_cannot_be_searched_for_is_told_to_the_model() {
    let node = TestNode::new().await;
    let (store, _) = store(&node).await;
    let too_long = vec!["word"; 101].join(" ");
    let long = json!({"query": too_long}).to_string();
    let bad = ["{\"q\":1}", "{}", "no JSON", "{\"query\":\" \"}", &long];
    for arguments in bad {
        let script = calls(&[("file_search", arguments)]);
        node.script.set_each([script, Script::words(1)]);
        let told = {
            let more = json!({"stream": true, "tools": [tool(&store)],
                "include": ["file_search_call.results"]});
            events(&node.post(PATH, ask(more)).await)
        };
        let whole = &told.last().expect("events")["response"];
        assert_eq!(whole["status"], "completed", "{whole}");
        assert_eq!(whole["output"][0]["status"], "failed");
        assert_eq!(whole["output"][0]["results"], Value::Null);
        assert_eq!(whole["output"][1]["content"][0]["annotations"], json!([]));
        assert!(!kinds(&told).contains(&"file_search_call.completed"));
        if arguments != long {
            let (_, chat) = last(&node);
            assert_eq!(chat.messages[2].content, "The search failed.");
        }
        let path = format!("{PATH}/{}", whole["id"].as_str().expect("an id"));
        let again = node.get(&format!("{path}?stream=true")).await;
        assert_eq!(events(&again), told);
    }
    node.settled().await;
}

#[tokio::test]
async fn n10_the_model_is_given_only_what_it_has_room_for() {
    let node = TestNode::new().await;
    let text = |word: &str| [vec![SKY], vec![word; 40]].concat().join(" ");
    let one = upload(&node, "assistants", "one.txt", text("x").as_bytes()).await;
    let two = upload(&node, "assistants", "two.txt", text("y").as_bytes()).await;
    let store = create(&node, json!({"file_ids": [one, two]})).await;
    read(&node, &store).await;
    let tool = json!({"type": "file_search", "vector_store_ids": [store]});
    // Both take 90 of 100 tokens; a quarter is for the answer.
    for (limit, count) in [(None, 1), (Some(9), 1), (Some(60), 0)] {
        node.script.set_each([searches("x"), Script::words(1)]);
        let more = json!({"tools": [tool], "include": ["file_search_call.results"],
            "max_output_tokens": limit});
        let whole = node.post(PATH, ask(more)).await.json();
        let results = whole["output"][0]["results"].as_array();
        let results = results.unwrap_or_else(|| panic!("{limit:?} {whole}"));
        assert_eq!(results.len(), count, "{limit:?} {whole}");
        let part = &whole["output"][1]["content"][0];
        assert_eq!(part["annotations"].as_array().expect("a list").len(), count);
    }
    // The limit of tokens holds over all generations.
    node.script.set_each([searches("x"), Script::words(9)]);
    let more = json!({"tools": [tool], "max_output_tokens": 5});
    let whole = node.post(PATH, ask(more)).await.json();
    assert_eq!(whole["status"], "incomplete", "{whole}");
    assert_eq!(whole["usage"]["output_tokens"], 5);
    let (request, _) = last(&node);
    assert_eq!(request.params.max_tokens, Some(2));
    node.settled().await;
}

#[tokio::test]
async fn wrong_searches_are_refused_before_anything_is_generated() {
    let node = TestNode::new().await;
    let (store, _) = store(&node).await;
    let started = node.script.counts().started;
    let with = |more: Value| {
        let mut tool = tool(&store);
        let fields = more.as_object().expect("an object").clone();
        tool.as_object_mut().expect("an object").extend(fields);
        json!({"tools": [tool]})
    };
    let missing = "missing_required_parameter";
    for (more, status, code, param) in [
        (
            with(json!({"vector_store_ids": ["vs_none"]})),
            404,
            "vector_store_not_found",
            "tools[0].vector_store_ids",
        ),
        (
            with(json!({"vector_store_ids": []})),
            400,
            "invalid_value",
            "tools[0].vector_store_ids",
        ),
        (
            with(json!({"vector_store_ids": null})),
            400,
            missing,
            "tools[0].vector_store_ids",
        ),
        (
            with(json!({"vector_store_ids": [7]})),
            400,
            "invalid_type",
            "tools[0].vector_store_ids[0]",
        ),
        (
            with(json!({"max_num_results": 51})),
            400,
            "integer_above_max_value",
            "tools[0].max_num_results",
        ),
        (
            with(json!({"filters": {"type": "eq"}})),
            400,
            "invalid_value",
            "tools[0].filters.key",
        ),
        (
            with(json!({"ranking_options": {"ranker": "best"}})),
            400,
            "unsupported_value",
            "tools[0].ranking_options.ranker",
        ),
        (
            with(json!({"ranking_options": {"score_threshold": 2}})),
            400,
            "decimal_above_max_value",
            "tools[0].ranking_options.score_threshold",
        ),
        (
            json!({"tools": [tool(&store), tool(&store)]}),
            400,
            "invalid_value",
            "tools[1]",
        ),
        (
            json!({"tools": [tool(&store), {"type": "function", "name": "file_search"}]}),
            400,
            "invalid_value",
            "tools[1].name",
        ),
        (
            json!({"tool_choice": {"type": "file_search"}}),
            400,
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"input": [{"role": "system", "content": "x"}], "tools": [tool(&store)],
                "tool_choice": {"type": "file_search"}}),
            400,
            "invalid_value",
            "input",
        ),
        (
            json!({"input": vec!["word"; 95].join(" "), "max_output_tokens": 1,
                "tools": [tool(&store)], "model": "nobody", "tool_choice": {"type": "file_search"}}),
            404,
            "model_not_found",
            "model",
        ),
    ] {
        let answer = node.post(PATH, ask(more.clone())).await;
        let (got, _, got_code, got_param) = answer.error();
        let got = (got, got_code, got_param);
        let expected = (status, Some(code.to_owned()), Some(param.to_owned()));
        assert_eq!(got, expected, "{more}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(
            param == "model" || message.contains(param) || status == 404,
            "{message}"
        );
    }
    // Somebody else's store is not there.
    let key = key(&node).await;
    let body = ask(with(json!({}))).to_string();
    let answer = node.ask(with_key(post(PATH, body), &key)).await;
    assert_eq!(answer.error().0, 404);
    assert_eq!(node.script.counts().started, started, "nothing ran");
    node.settled().await;
}
