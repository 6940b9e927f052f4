//! Prompts that are said first, with their log-probabilities.

use kwaainet_core::{TokenLogprob, Usage};

use super::bench::{Bench, Events, asked, bench, heard, said};
use super::*;

/// Asks for the scores of a request's prompt.
fn scored(mut request: Request) -> Request {
    request.echo = Some(Tiny::new("llama").text().spelled(&request.prompt));
    request.logprobs = Some(2);
    request
}

/// What a choice says of its prompt, and what after it.
#[derive(Clone, Debug, Default)]
struct Heard {
    prompt: String,
    scores: Vec<TokenLogprob>,
    answer: String,
    generated: Vec<TokenLogprob>,
}

impl Heard {
    fn add(&mut self, event: Event) {
        let Event::Delta(delta) = event else {
            return;
        };
        if self.generated.is_empty() && delta.tokens == 0 {
            self.prompt += &delta.text;
            self.scores.extend(delta.logprobs);
        } else {
            self.answer += &delta.text;
            self.generated.extend(delta.logprobs);
        }
    }
}

/// To the bit, also where it is not a number.
fn same(a: &[TokenLogprob], b: &[TokenLogprob]) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

async fn hear(engine: &Engine, request: Request) -> (Vec<Heard>, Usage) {
    let mut choices = vec![Heard::default(); request.n as usize];
    let mut events = engine.submit(request).expect("there is room");
    while let Some(event) = events.next().await {
        match event.expect("the stream goes well") {
            Event::Delta(delta) => choices[delta.choice as usize].add(Event::Delta(delta)),
            Event::Done(usage) => return (choices, usage),
            _ => {}
        }
    }
    panic!("the stream has an end");
}

/// Steps until all is said.
fn finish(bench: &mut Bench, events: &mut Events) -> Heard {
    let mut all = Heard::default();
    let mut steps = 0;
    loop {
        for event in heard(events) {
            if matches!(event, Event::Done(_)) {
                return all;
            }
            all.add(event);
        }
        bench.scheduler.step();
        steps += 1;
        assert!(steps < 20_000, "it never ends");
    }
}

fn alone(request: Request) -> Heard {
    let mut bench = bench(16, 1 << 30, true);
    let mut events = bench.submit(request);
    finish(&mut bench, &mut events)
}

/// A greedy request that says bytes only, each of which is one token.
fn in_bytes(max_tokens: usize) -> Request {
    let mut request = request(3, max_tokens);
    request.sampling.temperature = 0.0;
    request.logprobs = Some(2);
    let words = (3 + 256..3 + 256 + 12).map(|id| (id, f32::NEG_INFINITY));
    request.sampling.logit_bias.extend(words);
    request
}

#[tokio::test]
async fn a_token_of_the_prompt_is_scored_as_when_it_is_generated() {
    let engine = engine(EngineLimits::default());
    let (first, _) = hear(&engine, in_bytes(60)).await;
    let generated = &first[0].generated;
    assert!(
        generated.len() > 50,
        "the end of a character may be lacking"
    );
    let mut again = in_bytes(8);
    let start = again.prompt.len();
    let ids = generated
        .iter()
        .map(|token| 3 + u32::from(token.chosen.bytes[0]));
    again.prompt.extend(ids.take(50));
    let (second, usage) = hear(&engine, scored(again)).await;
    let scores = &second[0].scores;
    assert_eq!(scores.len(), start + 50);
    assert!(scores[0].chosen.logprob.is_nan() && scores[0].top.is_empty());
    assert!(
        scores[1..]
            .iter()
            .all(|score| score.chosen.logprob < 0.0 && score.top.len() == 2)
    );
    assert!(same(&scores[start..], &generated[..50]));
    assert!(same(&second[0].generated[..1], &generated[50..51]));
    assert_eq!((usage.cached_tokens, usage.completion_tokens), (0, 8));
}

#[test]
fn its_text_is_the_prompts_and_characters_come_whole() {
    let mut request = request(1, 3);
    let bytes = "x😀yé".as_bytes().iter().chain(b"\xE2\x82");
    request.prompt = bytes.map(|byte| 3 + u32::from(*byte)).collect();
    let mut bench = bench(16, 1 << 30, true);
    let mut events = bench.submit(scored(request.clone()));
    let all = finish(&mut bench, &mut events);
    assert_eq!(all.prompt, "x😀yé\u{FFFD}");
    assert_eq!(all.scores.len(), request.prompt.len());
    let bytes = all.scores.iter().flat_map(|score| &score.chosen.bytes);
    let ids: Vec<u32> = bytes.map(|byte| 3 + u32::from(*byte)).collect();
    assert_eq!(ids, request.prompt);
    assert_eq!(all.answer, alone(request).answer);
}

#[test]
fn a_score_does_not_depend_on_how_the_prompt_is_cut() {
    let long = || scored(asked("ann", 700, 4));
    let expected = alone(long());
    assert_eq!(expected.scores.len(), 700);
    let check = |heard: Heard, how: &str| {
        assert!(same(&heard.scores, &expected.scores), "{how}");
        assert!(same(&heard.generated, &expected.generated), "{how}");
        assert_eq!(heard.prompt, expected.prompt, "{how}");
    };
    // Beside one who generates, one who reads, and two more of its kind.
    let mut together = bench(16, 1 << 30, true);
    let mut speaker = together.submit(asked("bob", 20, 300));
    let mut others = [("bob", 333), ("ann", 77)].map(|(owner, len)| {
        let other = scored(asked(owner, len, 3));
        (together.submit(other.clone()), other)
    });
    let mut reader = together.submit(asked("eve", 1_000, 5));
    together.step();
    let mut events = together.submit(long());
    check(finish(&mut together, &mut events), "in company");
    for (events, other) in &mut others {
        let heard = finish(&mut together, events);
        assert!(same(&heard.scores, &alone(other.clone()).scores));
    }
    while !said(&mut speaker).1 || !said(&mut reader).1 {
        together.scheduler.step();
    }
    // Again, when all of it is cached.
    let mut events = together.submit(long());
    check(finish(&mut together, &mut events), "from the cache");
}

#[test]
fn who_loses_memory_on_the_way_says_nothing_twice() {
    let batch = || {
        let mut batch = scored(asked("ann", 300, 20));
        batch.priority = Priority::Batch;
        batch
    };
    let expected = alone(batch());
    let mut bench = bench(1, 1 << 30, false);
    let mut events = bench.submit(batch());
    let mut eager = Vec::new();
    let mut all = Heard::default();
    for round in 0..40_u32 {
        if round % 4 == 3 {
            eager.push(bench.submit(asked("bob", 20 + round, 2)));
        }
        bench.scheduler.step();
        heard(&mut events)
            .into_iter()
            .for_each(|event| all.add(event));
    }
    while bench.scheduler.step() {
        heard(&mut events)
            .into_iter()
            .for_each(|event| all.add(event));
    }
    assert!(same(&all.scores, &expected.scores));
    assert!(same(&all.generated, &expected.generated));
    let others = (0..40_u32).filter(|round| round % 4 == 3);
    let read = 300 + others.map(|round| u64::from(20 + round)).sum::<u64>();
    assert_eq!(bench.tokens_in(), read, "and reads nothing twice");
}

#[test]
fn a_step_scores_a_few_tokens_and_holds_up_nobody() {
    let mut bench = bench(16, 1 << 30, false);
    let mut long = bench.submit(scored(asked("ann", 900, 1)));
    let mut more = bench.submit(scored(asked("ann", 800, 1)));
    let mut short = bench.submit(scored(asked("bob", 18, 9)));
    let mut speaker = bench.submit(asked("eve", 5, 20));
    // Bob's share of what is scored is his own.
    bench.step();
    assert_eq!((said(&mut short).0, said(&mut speaker).0), (0, 1));
    for _ in 0..8 {
        let before = bench.tokens_in();
        bench.step();
        assert_eq!(said(&mut speaker).0, 1);
        assert!(bench.tokens_in() - before <= 33);
    }
    assert_eq!(said(&mut short).0, 8);
    while !said(&mut long).1 || !said(&mut more).1 {
        bench.step();
    }
}

#[test]
fn a_slow_reader_is_waited_for() {
    let request = || scored(asked("ann", 1_500, 5));
    let expected = alone(request());
    let mut bench = bench(16, 1 << 30, true);
    let mut events = bench.submit_to(job::said_max(1), request());
    let mut all = Heard::default();
    let mut waits = 0;
    while !events.is_closed() || !events.is_empty() {
        if bench.scheduler.step() {
            continue;
        }
        waits += 1;
        heard(&mut events)
            .into_iter()
            .for_each(|event| all.add(event));
    }
    assert!(waits > 1, "the channel was full");
    assert!(same(&all.scores, &expected.scores));
    assert!(same(&all.generated, &expected.generated));
}

#[tokio::test]
async fn every_choice_says_the_prompt_and_it_is_read_once() {
    let engine = engine(EngineLimits::default());
    let mut plain = request(4, 12);
    plain.n = 3;
    plain.logprobs = Some(2);
    let (without, _) = hear(&engine, plain.clone()).await;
    let before = engine.stats().tokens_in;
    let prompt = plain.prompt.len();
    let (choices, usage) = hear(&engine, scored(plain)).await;
    assert_eq!(
        (usage.prompt_tokens as usize, usage.completion_tokens),
        (prompt, 36)
    );
    for (choice, without) in choices.iter().zip(&without) {
        assert_eq!(choice.scores.len(), prompt);
        assert!(same(&choice.scores, &choices[0].scores));
        assert_eq!(choice.answer, without.answer);
        assert!(same(&choice.generated, &without.generated));
    }
    // The other two compute the last token again, as always.
    assert_eq!(engine.stats().tokens_in - before, prompt as u64 + 2);
    settles(&engine, "idle", is_idle).await;
}

#[tokio::test]
async fn who_wants_no_tokens_gets_the_scores_alone() {
    let engine = engine(EngineLimits::default());
    for (n, len) in [(1, 100), (3, 100), (2, 1), (1, 2)] {
        let mut request = asked("ann", len, 0);
        request.n = n;
        let expected = alone(scored(asked("ann", len, 1)));
        let drawn = engine.stats().tokens_out;
        let mut events = engine.submit(scored(request)).expect("there is room");
        let mut choices = vec![Heard::default(); n as usize];
        let mut ends = Vec::new();
        while let Some(event) = events.next().await {
            match event.expect("it goes well") {
                Event::Delta(delta) => choices[delta.choice as usize].add(Event::Delta(delta)),
                Event::Finished { choice, reason } => ends.push((choice, reason)),
                Event::Done(usage) => assert_eq!(usage.completion_tokens, 0),
                _ => {}
            }
        }
        let all = (0..n).map(|choice| (choice, FinishReason::Length));
        assert!(ends.into_iter().eq(all));
        for choice in choices {
            assert!(same(&choice.scores, &expected.scores));
            assert_eq!(choice.scores.len(), len as usize);
            assert!(choice.generated.is_empty());
        }
        assert_eq!(engine.stats().tokens_out, drawn);
        settles(&engine, "idle", is_idle).await;
    }
    assert!(engine.is_idle());
}

#[tokio::test]
async fn scored_prompts_live_with_short_memory_and_grammars() {
    let plenty = engine(EngineLimits::default());
    let scarce = engine(EngineLimits {
        kv_bytes: one_context(),
        ..EngineLimits::default()
    });
    let all = |engine| {
        join_all((0..6).map(move |seed| {
            let mut request = scored(request(seed, 120));
            request.n = 1 + seed as u32 % 3;
            hear(engine, request)
        }))
    };
    for ((plenty, _), (scarce, _)) in all(&plenty).await.iter().zip(&all(&scarce).await) {
        for (plenty, scarce) in plenty.iter().zip(scarce) {
            assert!(same(&plenty.scores, &scarce.scores));
            assert!(same(&plenty.generated, &scarce.generated));
        }
    }
    assert!(scarce.stats().tokens_in > plenty.stats().tokens_in);
}
