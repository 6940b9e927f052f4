//! A generation that goes on says what it would have said.

use kwaainet_core::{Event, TokenLogprob};

use super::grammar::bound_by_schema;
use super::speculation::repetitive;
use super::*;

/// What one choice said, token by token, with the tokens.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    deltas: Vec<(Vec<u32>, String, Vec<TokenLogprob>)>,
    reason: Option<FinishReason>,
}

async fn told(engine: &Engine, request: Request) -> (Vec<Told>, u32) {
    let mut choices = vec![Told::default(); request.n as usize];
    let mut events = engine.submit(request).expect("there is room");
    let mut completion_tokens = 0;
    while let Some(event) = events.next().await {
        match event.expect("the stream goes well") {
            Event::Delta(delta) => {
                let choice = &mut choices[delta.choice as usize];
                choice.deltas.push((delta.ids, delta.text, delta.logprobs));
            }
            Event::Finished { choice, reason } => choices[choice as usize].reason = Some(reason),
            Event::Done(usage) => completion_tokens = usage.completion_tokens,
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => assert!(cached_tokens <= prompt_tokens),
            Event::Call(_) => {}
        }
    }
    (choices, completion_tokens)
}

fn ids(told: &Told) -> Vec<u32> {
    told.deltas
        .iter()
        .flat_map(|(ids, ..)| ids.clone())
        .collect()
}

/// From every token on.
async fn goes_on(request: Request) {
    let first = engine(EngineLimits::default());
    let (whole, completion_tokens) = told(&first, request.clone()).await;
    let longest = whole.iter().map(|told| ids(told).len()).max().unwrap_or(0);
    assert!(longest > 10, "there is something to resume");
    let is_clean = |told: &Told, from: usize| {
        let said = told.deltas.iter().take(from);
        let logprobs: usize = said.map(|(.., logprobs)| logprobs.len()).sum();
        request.logprobs.is_none() || logprobs == from.min(ids(told).len())
    };
    let clean: Vec<usize> = (0..=longest)
        .filter(|from| whole.iter().all(|told| is_clean(told, *from)))
        .collect();
    assert!(clean.len() > 4, "{clean:?}");
    for from in clean {
        let second = engine(EngineLimits::default());
        let begun: Vec<Vec<u32>> = whole
            .iter()
            .map(|told| ids(told).into_iter().take(from).collect())
            .collect();
        let rest = Request {
            begun: begun.clone(),
            ..request.clone()
        };
        // In an engine that never saw the beginning, and in one that has all of it in its cache.
        for engine in [&second, &first] {
            let (rest, tokens) = told(engine, rest.clone()).await;
            assert_eq!(tokens, completion_tokens, "from {from}");
            for ((rest, whole), begun) in rest.iter().zip(&whole).zip(&begun) {
                assert_eq!(rest.reason, whole.reason);
                assert_eq!(rest.deltas, whole.deltas[begun.len()..], "from {from}");
            }
        }
    }
}

#[tokio::test]
async fn from_any_token_on() {
    goes_on(request(1, 24)).await;
    let with_logprobs = Request {
        logprobs: Some(2),
        n: 3,
        ..request(2, 16)
    };
    goes_on(with_logprobs).await;
}

#[tokio::test]
async fn through_guesses_and_penalties() {
    let mut penalized = repetitive(3);
    penalized.max_tokens = 24;
    penalized.sampling.frequency_penalty = 0.7;
    penalized.sampling.repetition_penalty = 1.1;
    goes_on(penalized).await;
}

#[tokio::test]
async fn within_a_grammar() {
    goes_on(bound_by_schema(4)).await;
}

#[tokio::test]
async fn what_a_stop_text_held_back_comes() {
    let free = engine(EngineLimits::default());
    let (whole, _) = told(&free, request(5, 24)).await;
    let text: String = whole[0]
        .deltas
        .iter()
        .map(|(_, text, _)| text.as_str())
        .collect();
    // Its beginning is in the text, and it never comes whole.
    let mut held = request(5, 24);
    let start: String = text.chars().skip(4).take(6).collect();
    held.stop = vec![format!("{start}\u{1F600}never")];
    goes_on(held).await;
}
