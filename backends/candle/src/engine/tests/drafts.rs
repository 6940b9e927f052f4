//! A draft model changes nothing but the number of steps, and rests where it does not pay.

use kwaainet_core::{Clock, Grammar, GrammarKind, ManualClock};

use super::bench::{Bench, asked, bench_of, said};
use super::speculation::{events, kinds, repetitive};
use super::*;
use crate::grammar::Grammars;

/// Time that goes on by a millisecond with each look at it.
struct Ticking(ManualClock);

impl Clock for Ticking {
    fn unix_ms(&self) -> i64 {
        self.0.unix_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.advance(Duration::from_millis(1));
        self.0.monotonic()
    }
}

/// The tiny model, for which one with these weights guesses; the tiny model's own are of seed 1.
fn drafted(seed: u64, context: u32, clock: Arc<dyn Clock>) -> Model {
    let model = |seed| Tiny::new("llama").context(context).seed(seed).load();
    let draft = Draft {
        decoder: model(seed).decoder,
        clock,
    };
    Model {
        draft: Some(draft),
        ..model(1)
    }
}

/// Steps take no time by its clock, so that whatever is right pays.
fn drafting(seed: u64, limits: EngineLimits) -> Engine {
    let model = drafted(seed, CONTEXT, Arc::new(ManualClock::default()));
    Engine::start("tiny", model, CONTEXT as usize, &limits).expect("there is a thread")
}

fn plain() -> Engine {
    engine(EngineLimits {
        speculate: false,
        ..EngineLimits::default()
    })
}

/// What nothing is found in that was said before.
fn fresh(seed: u64) -> Request {
    let mut request = request(seed, 100);
    request.logprobs = Some(2);
    request
}

/// The tiny model itself, and another one, which is hardly ever right.
const ITSELF: u64 = 1;
const ANOTHER: u64 = 2;

#[tokio::test]
async fn a_model_that_guesses_for_itself_is_right() {
    let (on, off) = (drafting(ITSELF, EngineLimits::default()), plain());
    for seed in 0..4 {
        let mut greedy = fresh(seed);
        greedy.sampling.temperature = 0.0;
        for request in [fresh(seed), greedy] {
            let without = events(&off, request.clone()).await;
            assert!(events(&on, request).await == without, "{seed}");
        }
    }
    let stats = on.stats();
    assert!(stats.drafted > 8 * 50, "{stats:?}");
    assert!(stats.accepted * 20 > stats.drafted * 19, "{stats:?}");
}

#[tokio::test]
async fn drafts_change_no_event() {
    let off = plain();
    for seed in [ITSELF, ANOTHER] {
        let on = drafting(seed, EngineLimits::default());
        let mut all = kinds();
        all.extend((0..4).map(|seed| ("fresh", fresh(seed))));
        let mut penalties = fresh(9);
        penalties.sampling.frequency_penalty = 0.5;
        penalties.sampling.repetition_penalty = 1.2;
        penalties.sampling.logit_bias.push((77, 3.0));
        penalties.n = 3;
        all.push(("penalties and choices", penalties));
        let mut ends = fresh(10);
        ends.sampling.logit_bias = vec![(END, 3.0)];
        all.push(("an end by itself", ends));
        for (name, request) in all {
            let without = by_choice(events(&off, request.clone()).await);
            let with = by_choice(events(&on, request.clone()).await);
            assert!(with == without, "{name}, draft {seed}");
            let again = by_choice(events(&on, request).await);
            assert!(again == without, "{name}, draft {seed}, from the cache");
        }
        assert!(on.stats().drafted > on.stats().accepted);
    }
}

/// Choices may overtake one another; each is as it was.
fn by_choice(mut events: Vec<Event>) -> Vec<Event> {
    events.sort_by_key(|event| match event {
        Event::Delta(delta) => delta.choice,
        Event::Finished { choice, .. } => *choice,
        _ => u32::MAX,
    });
    events
}

#[tokio::test]
async fn within_a_grammar_a_model_that_guesses_for_itself_is_right_too() {
    let (on, off) = (drafting(ITSELF, EngineLimits::default()), plain());
    let grammars = Grammars::new(Tiny::new("llama").text());
    let grammar = Grammar {
        kind: GrammarKind::Regex("[a-z0-9]{90}".into()),
        param: "response_format",
    };
    let compiled = grammars.compile(&grammar, &PrincipalId::operator());
    let compiled = compiled.expect("it can be enforced");
    for seed in 0..4 {
        let mut request = fresh(seed);
        request.grammar = Some(compiled.clone());
        let without = events(&off, request.clone()).await;
        assert!(events(&on, request).await == without, "{seed}");
    }
    // Freely it would hardly ever say letters.
    let stats = on.stats();
    assert!(stats.drafted > 4 * 50, "{stats:?}");
    assert!(stats.accepted * 10 > stats.drafted * 9, "{stats:?}");
}

#[tokio::test]
async fn drafts_live_with_company_short_memory_and_slow_readers() {
    let off = plain();
    for seed in [ITSELF, ANOTHER] {
        // Both models together need twice the pages of one; there are enough for one sequence.
        let scarce = drafting(
            seed,
            EngineLimits {
                kv_bytes: 2 * one_context(),
                ..EngineLimits::default()
            },
        );
        assert_eq!(scarce.context(), CONTEXT as usize);
        let all = |engine| {
            join_all((0..6).map(move |seed| {
                let repeats = seed % 2 == 0;
                events(
                    engine,
                    if repeats {
                        repetitive(seed)
                    } else {
                        fresh(seed)
                    },
                )
            }))
        };
        assert!(all(&scarce).await == all(&off).await, "draft {seed}");
        assert!(scarce.stats().accepted > 0);

        let slow = scarce.submit(fresh(1)).expect("there is room");
        settles(&scarce, "parked", |stats| stats.parked == 1).await;
        let gone = scarce.submit(fresh(2)).expect("there is room");
        drop(gone);
        assert_eq!(read(slow, 1).await, say(&off, fresh(1)).await);
        settles(&scarce, "idle", is_idle).await;
    }
}

/// Steps until all is said.
fn finish(bench: &mut Bench, request: Request) -> usize {
    let mut events = bench.submit(request);
    for steps in 1..5_000 {
        bench.step();
        if said(&mut events).1 {
            return steps;
        }
    }
    panic!("it never ends");
}

fn drafting_bench(seed: u64, kv_bytes: u64, clock: Arc<dyn Clock>) -> Bench {
    bench_of(drafted(seed, 2_048, clock), 16, kv_bytes, true)
}

#[test]
fn a_good_draft_model_saves_steps() {
    let mut bench = drafting_bench(ITSELF, 1 << 30, Arc::new(ManualClock::default()));
    let steps = finish(&mut bench, asked("ann", 20, 400));
    assert!(steps < 100, "{steps} steps for 400 tokens");
    let stats = bench.stats();
    assert!(stats.accepted > 300, "{stats:?}");
}

#[test]
fn a_long_prompt_is_read_piece_by_piece() {
    let mut bench = drafting_bench(ITSELF, 1 << 30, Arc::new(ManualClock::default()));
    let mut events = bench.submit(asked("ann", 1_000, 60));
    // Two steps read the prompt, three are measured, and seven pieces of 128 tokens are not all of it.
    for _ in 0..2 + 3 + 7 {
        bench.step();
    }
    assert_eq!((said(&mut events).0, bench.stats().drafted), (11, 0));
    bench.step();
    bench.step();
    assert!(bench.stats().drafted > 0);
    while !said(&mut events).1 {
        bench.step();
    }
    let drafted = bench.stats().drafted;
    // What was read lies in the draft model's cache as in the other one's.
    let mut events = bench.submit(asked("ann", 1_000, 60));
    bench.step();
    bench.step();
    assert!(bench.stats().drafted > drafted);
    while !said(&mut events).1 {
        bench.step();
    }
}

#[test]
fn a_draft_model_that_does_not_pay_rests() {
    let clock = || Arc::new(Ticking(ManualClock::default()));
    // Drafting for a step takes as long as the step.
    let mut bench = drafting_bench(ANOTHER, 1 << 30, clock());
    finish(&mut bench, asked("ann", 20, 1_500));
    let before = bench.stats();
    assert!(before.drafted > 0, "it was tried");
    finish(&mut bench, asked("bob", 30, 1_000));
    let after = bench.stats();
    assert!(after.drafted - before.drafted < 100, "{before:?} {after:?}");

    let mut bench = drafting_bench(ITSELF, 1 << 30, clock());
    finish(&mut bench, asked("ann", 20, 1_500));
    let stats = bench.stats();
    assert!(stats.accepted > 1_000, "what pays goes on: {stats:?}");
}

/// How many drafts were right in an answer of a hundred tokens. Lookup finds hardly any.
fn accepted(bench: &mut Bench, prompt: u32) -> u64 {
    let before = bench.stats().accepted;
    finish(bench, asked("ann", prompt, 100));
    bench.stats().accepted - before
}

#[test]
fn what_is_longer_than_the_draft_models_context_is_not_drafted() {
    let mut model = drafted(ITSELF, 2_048, Arc::new(ManualClock::default()));
    let short = Tiny::new("llama").context(64).seed(ITSELF).load();
    if let Some(draft) = &mut model.draft {
        draft.decoder = short.decoder;
    }
    let mut bench = bench_of(model, 16, 1 << 30, true);
    assert!(accepted(&mut bench, 100) < 10);
    assert!(
        (20..60).contains(&accepted(&mut bench, 20)),
        "up to its end"
    );
}

#[test]
fn without_memory_for_it_a_sequence_is_not_drafted() {
    let mut bench = drafting_bench(ITSELF, 1 << 30, Arc::new(ManualClock::default()));
    let drafter = bench.scheduler.drafter.as_mut().expect("it has one");
    let shape = *drafter.memory.maker().shape();
    drafter.memory = Memory::new(shape, 2, |sequence| sequence.draft.as_ref());
    assert!(accepted(&mut bench, 100) < 10);
    assert!(
        (20..60).contains(&accepted(&mut bench, 20)),
        "as far as it goes"
    );
}

#[test]
fn pages_of_both_models_come_home() {
    for seed in 0..2 {
        let pages_max = 20;
        let clock = Arc::new(ManualClock::default());
        let mut bench = drafting_bench(ITSELF, pages_max * 2 * page_bytes(), clock);
        super::chaos::rage(&mut bench, seed, pages_max as usize);
        let drafter = bench.scheduler.drafter.as_ref().expect("it has one");
        let memory = &drafter.memory;
        assert_eq!(memory.maker().live(), memory.cached_pages());
        assert!(memory.cached_pages() > 0, "it did something");
        assert!(bench.stats().accepted > 0);
    }
}
