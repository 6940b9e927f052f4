//! Everything at once: what must hold after every step.

use super::bench::{Bench, Events, asked, bench, said};
use super::*;

/// Requests of several owners and both priorities, some of them cancelled, some not read for a while,
/// with too little memory for all.
#[test]
fn memory_is_never_exceeded_and_comes_home() {
    for seed in 0..4 {
        let pages_max = 20;
        let mut bench = bench(6, pages_max as u64 * page_bytes(), true);
        rage(&mut bench, seed, pages_max);
    }
}

/// Lets many come and go, with so many pages for each model, until nobody is left.
pub(super) fn rage(bench: &mut Bench, seed: u64, pages_max: usize) {
    let mut noise = Noise(seed);
    let mut open: Vec<Events> = Vec::new();
    for round in 0..400 {
        if round < 300 && open.len() < 40 && noise.next().is_multiple_of(3) {
            let owner = ["ann", "bob", "eve"][noise.next() as usize % 3];
            let prompt = 1 + noise.next() as u32 % 300;
            let mut request = asked(owner, prompt, 1 + noise.next() as usize % 100);
            if noise.next().is_multiple_of(2) {
                // What many begin with.
                request.prompt = (0..prompt).map(|i| 3 + i % 40).collect();
            }
            if noise.next().is_multiple_of(3) {
                request.priority = Priority::Batch;
            }
            request.n = 1 + noise.next() as u32 % 3;
            open.push(bench.submit(request));
        }
        bench.scheduler.step();
        let drafter = bench.scheduler.drafter.as_ref().map(|d| &d.memory);
        for memory in drafter.into_iter().chain([&bench.scheduler.memory]) {
            let live = memory.maker().live();
            assert!(
                live <= pages_max,
                "seed {seed}, round {round}: {live} pages"
            );
        }
        if !open.is_empty() && noise.next().is_multiple_of(9) {
            open.swap_remove(noise.next() as usize % open.len());
        }
        if open.last_mut().is_some_and(|events| said(events).1) {
            open.pop();
        }
    }
    // Everybody reads to the end.
    let mut steps = 0;
    while !open.is_empty() {
        open.retain_mut(|events| !said(events).1);
        bench.scheduler.step();
        steps += 1;
        assert!(steps < 20_000, "seed {seed}: somebody never ends");
    }
    bench.scheduler.step();
    let stats = bench.stats();
    assert_eq!((stats.running, stats.queued, stats.kv_tokens), (0, 0, 0));
    let live = bench.scheduler.memory.maker().live();
    assert_eq!(
        live, stats.cached_pages,
        "seed {seed}: only the cache holds any"
    );
    assert_eq!(bench.free_places(), 64);
}
