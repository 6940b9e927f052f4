//! What holds of every plan, shown on many that are made at random. A failure prints its seed.

use super::*;
use crate::router::tests::{among, asks, but, here, peer, upstream};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (!self.one_in(4)).then(|| make(self))
    }

    /// A number as another node may say it: mostly sane.
    fn said(&mut self, max: f32) -> f32 {
        match self.below(12) {
            0 => 0.0,
            1 => f32::NAN,
            2 => f32::INFINITY,
            3 => -1.0,
            _ => max * (1 + self.below(1_000)) as f32 / 1_000.0,
        }
    }
}

fn load(random: &mut Random) -> Load {
    Load {
        running: random.below(8) as u32,
        queued: random.below(4) as u32,
        queued_prefill_tokens: random.below(20_000),
        free_pages: random.below(1_000),
        prefill_rate: random.said(2_000.0),
        decode_rate: random.said(80.0),
        tokens_out: random.next(),
        epoch: 1,
    }
}

fn candidate(random: &mut Random, number: u8) -> Candidate {
    let mut candidate = match random.below(8) {
        0 => Candidate {
            load: random.some(load),
            ..here(&format!("here:{number}"))
        },
        1 => upstream(&format!("up:{number}")),
        _ => but(peer(number, 1.0), |facts| {
            facts.tier = Tier::of_number(random.below(4) as u8).expect("there are four");
            let regions = ["eu", "eu-west", "us"];
            facts.region = random.some(|r| regions[r.below(3) as usize].into());
            facts.price = random.some(|r| r.below(20));
            facts.watts = random.some(|r| r.said(200.0));
            facts.rtt = Duration::from_millis(random.below(200));
            facts.load = load(random);
            facts.ours = random.below(3) as u32;
        }),
    };
    candidate.model.loaded = !random.one_in(4);
    candidate.model.context = random.some(|r| r.below(4_000) as u32);
    if random.one_in(6) {
        candidate.unavailable = Some("it rests".into());
    }
    candidate
}

fn constraints(random: &mut Random) -> Constraints {
    let rarely = |random: &mut Random| random.one_in(4);
    Constraints {
        prefer: [Prefer::Local, Prefer::Fast, Prefer::Green, Prefer::Cheap]
            [random.below(4) as usize],
        tier_min: rarely(random)
            .then(|| Tier::of_number(random.below(4) as u8))
            .flatten(),
        regions: if rarely(random) {
            vec!["eu".into()]
        } else {
            Vec::new()
        },
        max_gco2_per_1k: rarely(random).then(|| random.below(100) as f64),
        max_price: rarely(random).then(|| random.below(20)),
        data_class: match rarely(random) {
            true => DataClass::Confidential,
            false => DataClass::Normal,
        },
        max_ttft_ms: rarely(random).then(|| random.below(20_000)),
        peers: rarely(random).then(|| vec![NodeId([1; 32]), NodeId([2; 32])]),
        bits: None,
        inexact: false,
    }
}

struct Case {
    job: Job,
    snapshot: Snapshot,
    own: Own,
}

fn case(seed: u64) -> Case {
    let random = &mut Random(seed);
    let candidates = (0..1 + random.below(8)).map(|n| candidate(random, n as u8));
    let mut snapshot = among(candidates.collect());
    snapshot.here.region = random.some(|_| "eu".into());
    let mut job = asks(constraints(random));
    job.id = JobId::new(format!("job{seed}"));
    let in_hand = InHand::default();
    let mut under_way = Vec::new();
    let mut own = Own::default();
    for candidate in &snapshot.candidates {
        for _ in 0..random.below(6) {
            under_way.push(in_hand.give(&candidate.backend, &candidate.place, &job));
        }
        let share = random.below(100) as f64 / 100.0;
        own.cached.insert(candidate.backend.clone(), share);
    }
    own.given = in_hand.now();
    if random.one_in(8) {
        job.origin = Origin::Peer(NodeId([9; 32]));
    }
    Case { job, snapshot, own }
}

fn planned(case: &Case) -> Option<Route> {
    plan(&case.job, &case.snapshot, &case.own).ok()
}

const SEEDS: u64 = 20_000;

#[test]
fn who_is_chosen_is_not_dropped_and_fulfils_every_demand() {
    let mut routes = 0;
    for seed in 0..SEEDS {
        let case = case(seed);
        let Some(route) = planned(&case) else {
            continue;
        };
        routes += 1;
        let again = planned(&case).expect("there was one");
        assert_eq!(
            names(&again),
            names(&route),
            "seed {seed}: it is a function"
        );
        assert!(!route.candidates.is_empty(), "seed {seed}");
        let is_client = case.job.origin == Origin::Client;
        let all = case.snapshot.candidates.iter();
        let all = all.filter(|c| is_client || c.place == Place::Here).count();
        let told = route.candidates.len() + route.dropped.len();
        assert_eq!(told, all, "seed {seed}: each is told of once");
        for chosen in &route.candidates {
            let is_dropped = route.dropped.iter().any(|d| d.backend == chosen.backend);
            assert!(!is_dropped, "seed {seed}");
            check(&case, chosen, seed);
        }
    }
    assert!(routes > SEEDS / 4, "{routes}");
}

/// The demands, said once more in other words.
fn check(case: &Case, chosen: &Chosen, seed: u64) {
    let wanted = &case.job.constraints;
    let mut all = case.snapshot.candidates.iter();
    let candidate = all
        .find(|c| c.backend == chosen.backend)
        .expect("it is one of them");
    assert_eq!(candidate.unavailable, None, "seed {seed}");
    let is_strict = wanted.tier_min.is_some()
        || wanted.data_class == DataClass::Confidential
        || !wanted.regions.is_empty()
        || wanted.max_price.is_some()
        || wanted.max_gco2_per_1k.is_some()
        || wanted.max_ttft_ms.is_some()
        || wanted.peers.is_some();
    match &candidate.place {
        Place::Here => assert!(wanted.peers.is_none(), "seed {seed}: it has no name"),
        Place::Upstream => assert!(!is_strict, "seed {seed}"),
        Place::Peer(facts) => {
            assert_eq!(case.job.origin, Origin::Client, "seed {seed}");
            assert!(
                wanted.tier_min.is_none_or(|least| facts.tier <= least),
                "seed {seed}"
            );
            let is_secret = wanted.data_class == DataClass::Confidential;
            assert!(!is_secret || facts.tier <= Tier::T1, "seed {seed}");
            let is_in_eu = facts.region.as_deref().is_some_and(|r| r.starts_with("eu"));
            assert!(wanted.regions.is_empty() || is_in_eu, "seed {seed}");
            let price = facts.price.unwrap_or(u64::MAX);
            assert!(
                wanted.max_price.is_none_or(|most| price <= most),
                "seed {seed}"
            );
        }
    }
    let grams = chosen.gco2_per_1k.unwrap_or(f64::INFINITY);
    assert!(
        wanted.max_gco2_per_1k.is_none_or(|most| grams <= most),
        "seed {seed}"
    );
    assert!(!grams.is_nan() && grams >= 0.0, "seed {seed}");
}

#[test]
fn more_load_never_brings_a_candidate_forward() {
    for seed in 0..SEEDS {
        let before = case(seed);
        let Some(route) = planned(&before) else {
            continue;
        };
        let random = &mut Random(seed ^ 0xABCD);
        let backend = route.candidates[random.below(route.candidates.len() as u64) as usize]
            .backend
            .clone();
        let mut after = case(seed);
        let candidates = after.snapshot.candidates.iter_mut();
        let loaded = candidates.filter(|c| c.backend == backend);
        // What is under way here is this node's own, so its numbers do not change alone.
        let change = random.below(5);
        let loaded = loaded.filter(|c| c.place != Place::Here || matches!(change, 0 | 2 | 3));
        loaded.for_each(|candidate| burden(candidate, change));
        let place = |route: &Option<Route>| {
            let route = route.as_ref()?;
            route.candidates.iter().position(|c| c.backend == backend)
        };
        let (then, now) = (place(&Some(route)), place(&planned(&after)));
        // Dropped is behind all others.
        assert!(
            now.is_none() || now >= then,
            "seed {seed}: {then:?} to {now:?} by {change}"
        );
    }
}

/// Gives a candidate more to do, or makes it slower.
fn burden(candidate: &mut Candidate, change: u64) {
    let heavier = |mut load: Load| {
        match change {
            0 => load.queued_prefill_tokens += 5_000,
            1 => load.queued += 3,
            2 => load.prefill_rate /= 2.0,
            3 => load.decode_rate /= 2.0,
            // One more beside the others makes each of them slower.
            _ => {
                load.decode_rate *= load.running.max(1) as f32 / (load.running + 1) as f32;
                load.running += 1;
            }
        }
        load
    };
    candidate.load = candidate.load.map(heavier);
    *candidate = but(candidate.clone(), |facts| facts.load = heavier(facts.load));
}
