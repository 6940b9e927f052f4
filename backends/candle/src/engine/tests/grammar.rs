//! Texts that belong to a language, whatever the model wanted.

use kwaainet_core::{Grammar, GrammarKind};
use serde_json::{Value, json};

use super::speculation::{events, with_guesses};
use super::*;
use crate::grammar::Grammars;
use kwaainet_kernels::Kernel;

fn compiled(kind: GrammarKind) -> Option<Compiled> {
    let grammar = Grammar {
        kind,
        param: "response_format",
    };
    let grammars = Grammars::new(Tiny::new("llama").text());
    let compiled = grammars.compile(&grammar, &PrincipalId::operator());
    Some(compiled.expect("it can be enforced"))
}

fn schema() -> GrammarKind {
    GrammarKind::JsonSchema(json!({"type": "object", "properties": {
        "name": {"type": "string", "maxLength": 8},
        "kind": {"enum": ["wide", "low"]},
        "sizes": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99},
            "minItems": 1, "maxItems": 3},
    }, "required": ["name", "kind", "sizes"], "additionalProperties": false}))
}

/// A request whose text has to follow a schema.
pub(super) fn bound_by_schema(seed: u64) -> Request {
    bound(seed, schema())
}

fn bound(seed: u64, kind: GrammarKind) -> Request {
    let mut request = request(seed, 150);
    request.grammar = compiled(kind);
    request
}

/// As the schema says.
fn check(text: &str) {
    let value: Value = serde_json::from_str(text).expect(text);
    let fields = value.as_object().expect("an object");
    assert_eq!(fields.len(), 3, "{text}");
    let name = fields["name"].as_str().expect("a text");
    assert!(name.chars().count() <= 8, "{text}");
    assert!(
        fields["kind"] == "wide" || fields["kind"] == "low",
        "{text}"
    );
    let sizes = fields["sizes"].as_array().expect("a list");
    assert!((1..=3).contains(&sizes.len()), "{text}");
    assert!(
        sizes
            .iter()
            .all(|size| size.as_u64().is_some_and(|size| size < 100)),
        "{text}"
    );
}

#[tokio::test]
async fn a_model_of_noise_writes_what_validates() {
    let engine = engine(EngineLimits::default());
    for seed in 0..20 {
        let mut request = bound(seed, schema());
        if seed % 4 == 0 {
            request.sampling.temperature = 0.0;
        } else if seed % 4 == 1 {
            request.sampling.top_k = 3;
            request.sampling.top_p = 0.7;
            request.sampling.frequency_penalty = 1.5;
        } else if seed % 4 == 2 {
            request.sampling.temperature = 2.0;
            request
                .sampling
                .logit_bias
                .push((3 + u32::from(b'{'), f32::NEG_INFINITY));
        }
        let said = say(&engine, request).await;
        assert_eq!(said.reasons, [Some(FinishReason::Stop)], "{:?}", said.texts);
        check(&said.texts[0]);
    }
    settles(&engine, "idle", is_idle).await;
}

#[tokio::test]
async fn n20_white_space_cannot_go_on_for_ever() {
    let engine = engine(EngineLimits::default());
    for temperature in [0.0, 1.0] {
        let mut request = bound(3, schema());
        request.sampling.temperature = temperature;
        let white = b" \n\t\r".map(|byte| (3 + u32::from(byte), 80.0));
        request.sampling.logit_bias.extend(white);
        let said = say(&engine, request).await;
        assert_eq!(said.reasons, [Some(FinishReason::Stop)], "{:?}", said.texts);
        check(&said.texts[0]);
        assert!(
            !said.texts[0].contains(['\n', '\t', '\r']),
            "{:?}",
            said.texts
        );
    }
}

#[tokio::test]
async fn a_text_that_is_cut_says_so() {
    let engine = engine(EngineLimits::default());
    let mut cut = bound(1, schema());
    cut.max_tokens = 12;
    let said = say(&engine, cut).await;
    assert_eq!(said.reasons, [Some(FinishReason::Length)]);
    let mut exact = bound(1, GrammarKind::Choice(vec!["abcd".into()]));
    exact.max_tokens = 4;
    let said = say(&engine, exact).await;
    assert_eq!(
        (said.texts[0].as_str(), said.reasons[0]),
        ("abcd", Some(FinishReason::Stop))
    );
}

#[tokio::test]
async fn a_stop_text_still_stops() {
    let engine = engine(EngineLimits::default());
    let mut stopped = bound(1, schema());
    stopped.stop = vec!["\"kind".into()];
    let said = say(&engine, stopped).await;
    assert_eq!(said.reasons, [Some(FinishReason::Stop)]);
    assert!(said.texts[0].ends_with(", "), "{}", said.texts[0]);
}

#[tokio::test]
async fn log_probabilities_are_the_models_own() {
    let engine = engine(EngineLimits::default());
    let mut request = bound(1, GrammarKind::Choice(vec!["ab".into(), "b".into()]));
    request.logprobs = Some(3);
    for event in events(&engine, request).await {
        let Event::Delta(delta) = event else {
            continue;
        };
        for logprob in delta.logprobs {
            // Noise would not have said this by itself.
            assert!(logprob.chosen.logprob < -0.5);
            assert_eq!(logprob.top.len(), 3);
        }
    }
}

/// Requests of all kinds, with and without a grammar.
fn mixed(seed: u64) -> Request {
    let mut request = match seed % 4 {
        0 => request(seed, 100),
        1 => bound(seed, GrammarKind::JsonObject),
        2 => bound(seed, GrammarKind::Regex("(ab?c)*d{3}".into())),
        _ => bound(seed, schema()),
    };
    request.logprobs = seed.is_multiple_of(3).then_some(1);
    request.sampling.temperature = [0.0, 0.8, 1.5][seed as usize % 3];
    request
}

#[tokio::test]
async fn grammars_beside_each_other_change_nothing() {
    let engine = engine(EngineLimits::default());
    let mut alone = Vec::new();
    for seed in 0..12 {
        alone.push(say(&engine, mixed(seed)).await);
    }
    let together = join_all((0..12).map(|seed| say(&engine, mixed(seed)))).await;
    assert_eq!(together, alone);
    // Short of memory, sequences are taken out and computed again: their grammars go on.
    let scarce = super::engine(EngineLimits {
        kv_bytes: one_context(),
        ..EngineLimits::default()
    });
    let together = join_all((0..12).map(|seed| say(&scarce, mixed(seed)))).await;
    assert_eq!(together, alone);
}

#[tokio::test]
async fn guesses_change_nothing_within_a_grammar() {
    let (on, off) = (with_guesses(true), with_guesses(false));
    for seed in 0..12 {
        let with = events(&on, mixed(seed)).await;
        assert!(with == events(&off, mixed(seed)).await, "{seed}");
    }
    assert!(
        on.stats().accepted > 20,
        "what is certain is guessed: {:?}",
        on.stats()
    );
}

#[tokio::test]
async fn every_kernel_writes_the_same() {
    let mut said = Vec::new();
    for kernel in Kernel::all() {
        let engine = engine(EngineLimits {
            kernel: Some(kernel),
            ..EngineLimits::default()
        });
        said.push(join_all((0..6).map(|seed| say(&engine, mixed(seed)))).await);
    }
    assert!(said.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn each_choice_has_its_own_place_in_the_grammar() {
    let engine = engine(EngineLimits::default());
    let mut several = bound(5, schema());
    several.n = 4;
    let said = say(&engine, several).await;
    said.texts.iter().for_each(|text| check(text));
    assert!(said.texts.iter().any(|text| *text != said.texts[0]));
}

#[tokio::test]
async fn a_grammar_that_leads_nowhere_ends_with_an_error_and_others_go_on() {
    let engine = engine(EngineLimits::default());
    // Behind the name a character is wanted that is never written in JSON.
    let pattern = json!({"type": "object", "required": ["a"],
        "properties": {"a": {"type": "string", "pattern": "^\\cC$"}}});
    let mut dead = bound(1, GrammarKind::JsonSchema(pattern));
    dead.n = 2;
    let events: Vec<_> = engine.submit(dead).expect("there is room").collect().await;
    let Some(Err(BackendError::Invalid { param, .. })) = events.last() else {
        panic!("{:?}", events.last());
    };
    assert_eq!(*param, "response_format");
    assert_eq!(say(&engine, request(2, 20)).await.tokens, [20]);
    settles(&engine, "idle", is_idle).await;
}
