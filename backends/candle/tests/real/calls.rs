//! Calls that a real model has to make.

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, Conversation, Event, FinishReason, GenerateParams, GenerateRequest, Message,
    PrincipalId, Prompt, Role, Sampling, Tool, ToolChoice, ToolMode,
};
use serde_json::{Value, json};

use crate::models;

fn tools(strict: bool) -> Vec<Tool> {
    let tool = |name: &str, description: &str, parameters| Tool {
        name: name.into(),
        description: Some(description.into()),
        parameters: Some(parameters),
        strict,
    };
    let weather = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 7},
        },
        "required": ["city", "unit", "days"],
        "additionalProperties": false,
    });
    let stop = json!({
        "type": "object",
        "properties": {"alarms": {"type": "array", "items": {"type": "boolean"}, "minItems": 1,
            "maxItems": 3}},
        "required": ["alarms"],
        "additionalProperties": false,
    });
    vec![
        tool("weather", "The weather of the next days.", weather),
        tool("stop", "Stops alarms.", stop),
    ]
}

/// A call that validates.
fn check(name: &str, arguments: &str) {
    let value: Value = serde_json::from_str(arguments).expect(arguments);
    let keys: Vec<&String> = value.as_object().expect("an object").keys().collect();
    match name {
        "weather" => {
            assert_eq!(keys, ["city", "unit", "days"]);
            let city = value["city"].as_str().expect("a text");
            assert!(city.chars().count() <= 20, "{arguments}");
            assert!(value["unit"] == "celsius" || value["unit"] == "fahrenheit");
            let days = value["days"].as_u64();
            assert!(
                days.is_some_and(|days| (1..=7).contains(&days)),
                "{arguments}"
            );
        }
        "stop" => {
            assert_eq!(keys, ["alarms"]);
            let alarms = value["alarms"].as_array().expect("a list");
            assert!((1..=3).contains(&alarms.len()) && alarms.iter().all(Value::is_boolean));
        }
        other => panic!("nobody offered {other}"),
    }
}

/// An answer: calls by name with their arguments, text, and why it ended.
#[derive(Default)]
struct Answer {
    calls: Vec<(String, String)>,
    text: String,
    reason: Option<FinishReason>,
}

async fn ask(backend: &impl Backend, seed: u64, tools: Vec<Tool>, choice: ToolChoice) -> Answer {
    let question = "Will I need an umbrella in Oslo this week? Use a tool.";
    let request = GenerateRequest {
        model: models::SMOLLM2.into(),
        prompt: Prompt::Chat(Conversation {
            messages: vec![Message::new(Role::User, question)],
            tools,
            tool_choice: choice,
            parallel_calls: false,
        }),
        params: GenerateParams {
            max_tokens: Some(200),
            sampling: Sampling {
                temperature: if seed == 0 { 0.0 } else { 1.0 },
                seed: Some(seed),
                ..Sampling::default()
            },
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    };
    let mut answer = Answer::default();
    let mut events = backend.generate(request).await.expect("it can be enforced");
    while let Some(event) = events.next().await {
        match event.expect("it goes well") {
            Event::Delta(delta) => answer.text += &delta.text,
            Event::Call(call) => {
                let begins = call.start.map(|start| (start.name, String::new()));
                answer.calls.extend(begins);
                let last = answer
                    .calls
                    .last_mut()
                    .expect("a call begins with its name");
                last.1 += &call.arguments;
            }
            Event::Finished { reason, .. } => answer.reason = Some(reason),
            _ => {}
        }
    }
    answer
}

fn choice(mode: ToolMode, only: Option<&str>) -> ToolChoice {
    ToolChoice {
        mode,
        only: only.map(|name| vec![name.into()]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n04_a_small_model_makes_the_call_that_it_has_to() {
    let backend = models::backend(&[models::SMOLLM2]);
    for (only, strict) in [
        (None, false),
        (Some("weather"), false),
        (Some("stop"), true),
    ] {
        for seed in 0..5 {
            let choice = choice(ToolMode::Required, only);
            let answer = ask(&*backend, seed, tools(strict), choice).await;
            let [(name, arguments)] = answer.calls.as_slice() else {
                panic!("{only:?}, seed {seed}: {} calls", answer.calls.len());
            };
            assert!(only.is_none_or(|only| only == name));
            check(name, arguments);
            assert_eq!(answer.text, "", "a call is all there is");
            assert_eq!(answer.reason, Some(FinishReason::ToolCalls));
        }
    }
}

/// Where it may choose, it may talk; but if it calls, it does so by the book.
#[tokio::test(flavor = "multi_thread")]
async fn a_strict_call_that_a_small_model_makes_by_itself_validates() {
    let backend = models::backend(&[models::SMOLLM2]);
    for seed in 0..5 {
        let answer = ask(&*backend, seed, tools(true), choice(ToolMode::Auto, None)).await;
        let cut = answer.reason == Some(FinishReason::Length);
        let whole = answer.calls.len() - usize::from(cut && !answer.calls.is_empty());
        let (calls, _) = answer.calls.split_at(whole);
        calls
            .iter()
            .for_each(|(name, arguments)| check(name, arguments));
        assert!(!answer.text.is_empty() || !answer.calls.is_empty());
        assert!(!answer.text.contains("<tool_call>"), "{}", answer.text);
    }
}
