//! Structured output of a real model.

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, Event, FinishReason, GenerateParams, GenerateRequest, Grammar, GrammarKind, Message,
    PrincipalId, Prompt, Role, Sampling,
};
use serde_json::{Value, json};

use crate::models;

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 24},
            "kind": {"type": "string", "enum": ["bird", "fish", "mammal"]},
            "legs": {"type": "integer", "minimum": 0, "maximum": 8},
            "home": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}]},
            "food": {"type": "array", "items": {"type": "string", "maxLength": 12},
                "minItems": 1, "maxItems": 3},
        },
        "required": ["name", "kind", "legs", "home", "food"],
        "additionalProperties": false,
        "$defs": {"place": {
            "type": "object",
            "properties": {"land": {"type": "string", "maxLength": 16}, "wet": {"type": "boolean"}},
            "required": ["land", "wet"],
            "additionalProperties": false,
        }},
    })
}

fn check(text: &str) {
    let value: Value = serde_json::from_str(text).expect(text);
    let is_text = |value: &Value, most: usize| {
        value
            .as_str()
            .is_some_and(|text| text.chars().count() <= most)
    };
    let keys: Vec<&String> = value.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["name", "kind", "legs", "home", "food"]);
    assert!(is_text(&value["name"], 24), "{text}");
    assert!(["bird", "fish", "mammal"].contains(&value["kind"].as_str().expect("a kind")));
    assert!(
        value["legs"].as_u64().is_some_and(|legs| legs <= 8),
        "{text}"
    );
    let home = &value["home"];
    let is_place = home.as_object().is_some_and(|home| home.len() == 2)
        && is_text(&home["land"], 16)
        && home["wet"].is_boolean();
    assert!(home.is_null() || is_place, "{text}");
    let food = value["food"].as_array().expect("a list");
    assert!(
        (1..=3).contains(&food.len()) && food.iter().all(|f| is_text(f, 12)),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_model_writes_what_a_schema_asks() {
    let backend = models::backend(&[models::SMOLLM2]);
    let question = Message::new(Role::User, "Describe a penguin as JSON.");
    for seed in 0..20 {
        let request = GenerateRequest {
            model: models::SMOLLM2.into(),
            prompt: Prompt::Chat(vec![question.clone()].into()),
            params: GenerateParams {
                max_tokens: Some(300),
                sampling: Sampling {
                    temperature: if seed == 0 { 0.0 } else { 1.2 },
                    seed: Some(seed),
                    ..Sampling::default()
                },
                grammar: Some(Grammar {
                    kind: GrammarKind::JsonSchema(schema()),
                    param: "response_format",
                }),
                ..GenerateParams::default()
            },
            owner: PrincipalId::operator(),
            resume: None,
        };
        let mut events = backend.generate(request).await.expect("it can be enforced");
        let (mut text, mut reason) = (String::new(), None);
        while let Some(event) = events.next().await {
            match event.expect("it goes well") {
                Event::Delta(delta) => text += &delta.text,
                Event::Finished { reason: why, .. } => reason = Some(why),
                _ => {}
            }
        }
        assert_eq!(reason, Some(FinishReason::Stop), "{text}");
        check(&text);
    }
}
