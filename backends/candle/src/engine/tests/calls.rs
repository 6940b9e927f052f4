//! Calls on their way from drawn tokens to events.

use kwaainet_core::{CallDelta, Conversation, Grammar, GrammarKind, Tool, ToolChoice, ToolMode};
use serde_json::{Value, json};

use super::bench::{bench, heard};
use super::speculation::{events, with_guesses};
use super::*;
use crate::grammar::Grammars;
use crate::tools::Plan;

fn tools() -> Vec<Tool> {
    let tool = |name: &str, parameters| Tool {
        name: name.into(),
        description: None,
        parameters,
        strict: false,
    };
    let weather = json!({
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}, "days": {"type": "integer", "minimum": 1,
            "maximum": 9}},
        "required": ["city", "days"], "additionalProperties": false,
    });
    vec![tool("weather", Some(weather)), tool("now", None)]
}

/// A request of the tiny model, which writes calls in the generic way: one, or many in a text of this
/// kind.
fn calling(seed: u64, choice: ToolChoice, grammar: Option<GrammarKind>) -> Request {
    let chat = Conversation {
        tools: tools(),
        tool_choice: choice,
        // Noise that may go on goes on.
        parallel_calls: grammar.is_some(),
        ..Conversation::default()
    };
    let text = Tiny::new("llama").text();
    let plan = Plan::new(&chat, None, &text).expect("it goes together");
    let own = grammar.map(|kind| Grammar {
        kind,
        param: "tools",
    });
    let grammar = own.or(plan.grammars.into_iter().next());
    let compiled = grammar.map(|grammar| {
        let grammars = Grammars::new(text);
        let compiled = grammars.compile(&grammar, &PrincipalId::operator());
        compiled.expect("it can be enforced")
    });
    let mut request = request(seed, 600);
    request.prompt.truncate(20);
    request.grammar = compiled;
    request.calls = plan.format;
    request
}

/// Name and arguments of each call, in order, and the text before and between them.
fn read(events: Vec<Event>) -> (Vec<(String, String)>, String, Option<FinishReason>) {
    let (mut calls, mut text, mut end) = (Vec::new(), String::new(), None);
    for event in events {
        match event {
            Event::Call(CallDelta {
                index,
                start,
                arguments,
                ..
            }) => {
                calls.extend(start.map(|start| (start.name, String::new())));
                let call = calls.last_mut().expect("a call begins with its name");
                call.1 += &arguments;
                assert_eq!(index as usize + 1, calls.len());
            }
            Event::Delta(delta) => text += &delta.text,
            Event::Finished { reason, .. } => end = Some(reason),
            _ => {}
        }
    }
    (calls, text, end)
}

fn check((name, arguments): &(String, String)) {
    let arguments: Value = serde_json::from_str(arguments).expect(arguments);
    match name.as_str() {
        "weather" => {
            assert!(arguments["city"] == "Rome" || arguments["city"] == "Oslo");
            assert!(
                arguments["days"]
                    .as_u64()
                    .is_some_and(|days| (1..10).contains(&days))
            );
            assert_eq!(arguments.as_object().map(serde_json::Map::len), Some(2));
        }
        "now" => assert_eq!(arguments, json!({})),
        other => panic!("nobody offered {other}"),
    }
}

#[tokio::test]
async fn n04_noise_that_has_to_call_calls_what_is_offered() {
    let model = Tiny::new("llama").context(1_024).load();
    let engine = Engine::start("tiny", model, 1_024, &EngineLimits::default());
    let engine = engine.expect("there is a thread");
    let required = ToolChoice {
        mode: ToolMode::Required,
        only: None,
    };
    let named = ToolChoice {
        mode: ToolMode::Required,
        only: Some(vec!["weather".into()]),
    };
    for seed in 0..8 {
        let request = calling(seed, required.clone(), None);
        let (calls, text, end) = read(events(&engine, request).await);
        assert_eq!((text.as_str(), end), ("", Some(FinishReason::ToolCalls)));
        assert_eq!(calls.len(), 1);
        calls.iter().for_each(check);

        let (calls, _, _) = read(events(&engine, calling(seed, named.clone(), None)).await);
        let [call] = calls.as_slice() else {
            panic!("one call: {calls:?}");
        };
        assert_eq!(call.0, "weather");
        check(call);
    }
}

#[tokio::test]
async fn guesses_change_no_call() {
    let (on, off) = (with_guesses(true), with_guesses(false));
    for seed in 0..6 {
        let request = || {
            let mode = ToolMode::Required;
            let mut request = calling(seed, ToolChoice { mode, only: None }, None);
            request.max_tokens = 200;
            request.logprobs = Some(1);
            request
        };
        assert!(
            events(&on, request()).await == events(&off, request()).await,
            "{seed}"
        );
    }
    assert!(on.stats().accepted > 0);
}

/// A stop text that does not come after all holds back calls until its last letter, and then they all
/// come at once, to a reader who has left hardly any room.
#[test]
fn many_calls_of_one_token_all_arrive_behind_its_text() {
    let call = "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>";
    let many = call.repeat(30);
    let exact = GrammarKind::Choice(vec![format!("So: {many}!")]);
    let mut request = calling(1, ToolChoice::default(), Some(exact));
    request.stop = vec![format!("o: {many}?")];
    request.max_tokens = 1_900;
    let mut bench = bench(16, 1 << 30, true);
    let mut reader = bench.submit_to(job::said_max(1), request);
    let mut all = Vec::new();
    while !reader.is_closed() || !reader.is_empty() {
        // Reads only when nothing else can go on, and then as little as possible.
        if !bench.scheduler.step()
            && let Ok(said) = reader.try_recv()
        {
            let crate::engine::stream::Said::Events(events) = said.expect("it goes well") else {
                panic!("the prompt was not to be said");
            };
            all.extend(events);
        }
    }
    assert!(heard(&mut reader).is_empty());
    let (calls, text, end) = read(all);
    assert_eq!(calls.len(), 30);
    calls.iter().for_each(check);
    assert_eq!(
        (text.as_str(), end),
        ("So:!", Some(FinishReason::ToolCalls))
    );
}
