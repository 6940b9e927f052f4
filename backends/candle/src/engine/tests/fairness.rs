//! Whose turn it is.

use super::bench::{Events, asked, bench, heard, said};
use super::*;

#[test]
fn a_long_prompt_holds_up_nobody() {
    let mut bench = bench(16, 1 << 30, false);
    let mut long = bench.submit(asked("ann", 1_900, 50));
    let mut short = bench.submit(asked("ann", 5, 5));
    // Both are read in the first step; from the second on one generates, beside 128 tokens.
    for step in 0..5_u64 {
        bench.step();
        assert_eq!(said(&mut short), (1, step == 4), "step {step}");
        assert_eq!(bench.tokens_in(), 512 + step * 128);
    }
    assert_eq!(said(&mut long).0, 0, "it is still being read");
    bench.step();
    assert_eq!(bench.tokens_in(), 1_024 + 512, "alone it is read faster");
    bench.step();
    assert_eq!(said(&mut long).0, 1);
    assert_eq!(bench.tokens_in(), 1_905);
}

#[test]
fn owners_read_at_the_same_speed_whatever_they_ask() {
    let mut bench = bench(16, 1 << 30, false);
    let mut many: Vec<_> = (0..5)
        .map(|i| bench.submit(asked("ann", 1_000 + i, 9)))
        .collect();
    let mut one = bench.submit(asked("bob", 500, 9));
    // Half of each step's 512 tokens.
    bench.step();
    assert_eq!(said(&mut one).0, 0);
    bench.step();
    assert_eq!(said(&mut one).0, 1);
    assert!(many.iter_mut().all(|events| said(events).0 == 0));
}

#[test]
fn owners_take_turns_for_places() {
    let mut bench = bench(1, 1 << 30, false);
    let mut ann: Vec<_> = (0..3)
        .map(|i| bench.submit(asked("ann", 10 + i, 2)))
        .collect();
    let mut bob = bench.submit(asked("bob", 10, 2));
    let mut ended = Vec::new();
    for _ in 0..8 {
        bench.step();
        for (name, events) in ["a1", "a2", "a3"].into_iter().zip(&mut ann) {
            ended.extend(said(events).1.then_some(name));
        }
        ended.extend(said(&mut bob).1.then_some("b1"));
    }
    assert_eq!(ended, ["a1", "b1", "a2", "a3"]);
}

#[test]
fn batch_work_makes_room_for_who_waits_and_goes_on_where_it_was() {
    let batch = || {
        let mut batch = asked("ann", 100, 20);
        batch.priority = Priority::Batch;
        batch
    };
    let texts = |events: &mut Events| {
        let mut text = String::new();
        for event in heard(events) {
            if let Event::Delta(delta) = event {
                text += &delta.text;
            }
        }
        text
    };
    let mut alone = bench(1, 1 << 30, false);
    let mut expected = alone.submit(batch());
    while alone.scheduler.step() {}

    let mut bench = bench(1, 1 << 30, false);
    let mut batch = bench.submit(batch());
    for _ in 0..5 {
        bench.step();
    }
    let mut text = texts(&mut batch);
    let mut eager = bench.submit(asked("bob", 20, 5));
    for _ in 0..5 {
        bench.step();
        assert!(batch.is_empty(), "it has no place");
    }
    assert_eq!(said(&mut eager), (5, true));
    while bench.scheduler.step() {}
    text += &texts(&mut batch);
    assert_eq!(text, texts(&mut expected));
    assert_eq!(bench.tokens_in(), 120, "nothing was read twice");
}

#[test]
fn batch_work_gives_its_memory_first() {
    // Room for four hundred tokens.
    let mut bench = bench(16, 400 / PAGE as u64 * page_bytes(), false);
    let mut batch = asked("ann", 150, 200);
    batch.priority = Priority::Batch;
    let mut batch = bench.submit(batch);
    bench.step();
    let mut eager = bench.submit(asked("bob", 150, 200));
    while !said(&mut eager).1 {
        bench.step();
    }
    assert!(!said(&mut batch).1, "it was there first and is not done");
    while bench.scheduler.step() {}
    assert!(said(&mut batch).1);
}
