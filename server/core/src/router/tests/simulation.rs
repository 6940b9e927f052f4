//! Whether shares follow speeds: machines that divide their time among their sequences, nodes that ask them by
//! what they heard some time ago, and an oracle that hears and foresees everything.

use std::collections::BinaryHeap;

use super::properties::Random;
use super::*;

/// Milliseconds of one step.
const STEP: u64 = 5;
/// Between two reports of a machine's load.
const REPORT: u64 = 500;
const PROMPT_TOKENS: f64 = 50.0;
const ANSWER_TOKENS: f64 = 100.0;
const READS_FASTER: f64 = 20.0;

/// A machine of so many tokens a second for one sequence. Several share that, and what is won by computing
/// them together.
struct Machine {
    speed: f64,
    /// How much each further sequence adds to the speed, as a part of it; up to eight of them.
    gain: f64,
    /// Tokens that each sequence still needs, a token of the prompt counting less, and which job it is.
    work: Vec<(f64, usize)>,
    reported: Load,
    /// Of each asker, at the time of the report.
    ours: Vec<u32>,
}

impl Machine {
    fn new(speed: f64, gain: f64, askers: usize) -> Self {
        let reported = Load {
            prefill_rate: (speed * READS_FASTER) as f32,
            decode_rate: speed as f32,
            ..Load::default()
        };
        Self {
            speed,
            gain,
            work: Vec::new(),
            reported,
            ours: vec![0; askers],
        }
    }

    /// Tokens a second of each sequence if there are so many.
    fn share(&self, sequences: usize) -> f64 {
        let n = sequences.max(1) as f64;
        self.speed * (1.0 + self.gain * (n.min(8.0) - 1.0)) / n
    }

    /// Computes for one step; gives the jobs that are done.
    fn step(&mut self) -> Vec<usize> {
        let share = self.share(self.work.len()) * STEP as f64 / 1e3;
        self.work.iter_mut().for_each(|(left, _)| *left -= share);
        let done = self.work.iter().filter(|(left, _)| *left <= 0.0);
        let done = done.map(|(_, job)| *job).collect();
        self.work.retain(|(left, _)| *left > 0.0);
        done
    }

    fn report(&mut self, asker_of: &[usize]) {
        self.reported.running = self.work.len() as u32;
        if !self.work.is_empty() {
            self.reported.decode_rate = self.share(self.work.len()) as f32;
        }
        for (asker, ours) in self.ours.iter_mut().enumerate() {
            let is_his = |(_, job): &&(f64, usize)| asker_of[*job] == asker;
            *ours = self.work.iter().filter(is_his).count() as u32;
        }
    }

    fn candidate(&self, number: usize, asker: usize) -> Candidate {
        but(peer(number as u8, 1.0), |facts| {
            facts.load = self.reported;
            facts.ours = self.ours[asker];
            facts.rtt = Duration::from_millis(2);
        })
    }
}

fn cost() -> f64 {
    PROMPT_TOKENS / READS_FASTER + ANSWER_TOKENS
}

/// Machines that gain so much by computing together.
struct World<'a> {
    speeds: &'a [f64],
    gain: f64,
}

/// What became of a run.
struct Outcome {
    /// Jobs of each machine.
    shares: Vec<usize>,
    /// Seconds from coming to done, over all jobs.
    mean: f64,
    /// Until the last was done.
    makespan: f64,
}

/// Jobs that come at these milliseconds, each from one of several askers who know nothing of each other.
fn run(world: &World, askers: usize, comings: &[u64], seed: u64) -> Outcome {
    let (speeds, gain) = (world.speeds, world.gain);
    let new = |speed: &f64| Machine::new(*speed, gain, askers);
    let mut machines: Vec<_> = speeds.iter().map(new).collect();
    let in_hand: Vec<_> = (0..askers).map(|_| InHand::default()).collect();
    let asker_of: Vec<_> = (0..comings.len()).map(|job| job % askers).collect();
    let mut shares = vec![0; speeds.len()];
    let mut under_way: Vec<Option<Given>> = comings.iter().map(|_| None).collect();
    let (mut next, mut done, mut total, mut now) = (0, 0, 0.0, 0);
    while done < comings.len() {
        if now % REPORT == 0 {
            machines
                .iter_mut()
                .for_each(|machine| machine.report(&asker_of));
        }
        while next < comings.len() && comings[next] <= now {
            let asker = asker_of[next];
            let all = machines.iter().enumerate();
            let snapshot = among(all.map(|(n, m)| m.candidate(n, asker)).collect());
            let job = job(seed, next);
            let own = Own {
                given: in_hand[asker].now(),
                ..Own::default()
            };
            let route = plan(&job, &snapshot, &own).expect("all of them may serve");
            let first = &route.candidates[0];
            under_way[next] = Some(in_hand[asker].give(&first.backend, &first.place, &job));
            let number = snapshot
                .candidates
                .iter()
                .position(|c| c.backend == first.backend);
            let number = number.expect("it is one of them");
            shares[number] += 1;
            machines[number].work.push((cost(), next));
            next += 1;
        }
        now += STEP;
        for job in machines.iter_mut().flat_map(Machine::step) {
            under_way[job] = None;
            total += (now - comings[job]) as f64 / 1e3;
            done += 1;
        }
    }
    Outcome {
        shares,
        mean: total / comings.len() as f64,
        makespan: now as f64 / 1e3,
    }
}

fn job(seed: u64, number: usize) -> Job {
    let mut job = asks(Constraints::default());
    job.id = JobId::new(format!("{seed}-{number}"));
    job.work = Work::Generate {
        prompts: vec![Prompt::Tokens(vec![1; PROMPT_TOKENS as usize])],
        params: GenerateParams {
            max_tokens: Some(ANSWER_TOKENS as u32),
            ..GenerateParams::default()
        },
    };
    job
}

/// The shortest time in which machines that share their time can be done with so many equal jobs that are all
/// there: each next one goes where it ends first.
fn oracle_makespan(speeds: &[f64], jobs: usize) -> f64 {
    let mut ends: BinaryHeap<_> = (0..speeds.len())
        .map(|n| (std::cmp::Reverse(ordered(cost() / speeds[n])), n, 1))
        .collect();
    let mut last: f64 = 0.0;
    for _ in 0..jobs {
        let (std::cmp::Reverse(end), n, count) = ends.pop().expect("there are machines");
        last = last.max(end as f64 / 1e9);
        let next = ordered(cost() / speeds[n] * f64::from(count + 1));
        ends.push((std::cmp::Reverse(next), n, count + 1));
    }
    last
}

fn ordered(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[test]
fn shares_of_a_burst_follow_the_speeds() {
    let speeds = [40.0, 20.0, 10.0];
    for askers in [1, 2, 4] {
        for seed in 0..20 {
            let world = World {
                speeds: &speeds,
                gain: 0.0,
            };
            let outcome = run(&world, askers, &[0; 32], seed);
            for (share, speed) in outcome.shares.iter().zip(speeds) {
                let fair = 32.0 * speed / 70.0;
                let off = (*share as f64 - fair).abs();
                // Askers who know nothing of each other each round for themselves.
                assert!(
                    off <= 1.5 + askers as f64,
                    "seed {seed}, {askers} askers: {:?}",
                    outcome.shares
                );
            }
            let best = oracle_makespan(&speeds, 32);
            let ratio = outcome.makespan / best;
            assert!(
                ratio < 1.15,
                "seed {seed}, {askers} askers: {ratio:.2} of the oracle's"
            );
        }
    }
}

#[test]
fn a_steady_flow_is_served_nearly_as_soon_as_by_one_who_knows_all() {
    let speeds = [60.0, 40.0, 20.0, 10.0, 10.0];
    for (askers, gain) in [(1, 0.0), (3, 0.0), (16, 0.0), (3, 0.3), (1, 0.9), (16, 0.9)] {
        let world = World {
            speeds: &speeds,
            gain,
        };
        let (mut ours, mut best) = (0.0, 0.0);
        for seed in 0..5 {
            let random = &mut Random(seed);
            let mut now = 0;
            // Two thirds of what the machines can do without a gain: 140 tokens a second.
            let comings: Vec<u64> = (0..200)
                .map(|_| {
                    now += random.below(2 * 1_100);
                    now
                })
                .collect();
            ours += run(&world, askers, &comings, seed).mean;
            best += oracle_mean(&world, &comings);
        }
        let ratio = ours / best;
        assert!(
            ratio < 1.5,
            "{askers} askers, gain {gain}: {ratio:.2} of the oracle's"
        );
    }
}

/// The mean time with an oracle that sees every machine as it is and puts each job where it would be done first
/// if nothing else came.
fn oracle_mean(world: &World, comings: &[u64]) -> f64 {
    let new = |speed: &f64| Machine::new(*speed, world.gain, 1);
    let mut machines: Vec<_> = world.speeds.iter().map(new).collect();
    let (mut next, mut done, mut total, mut now) = (0, 0, 0.0, 0);
    while done < comings.len() {
        while next < comings.len() && comings[next] <= now {
            let best = machines.iter_mut().min_by_key(|m| ordered(finish(m)));
            best.expect("there are machines").work.push((cost(), next));
            next += 1;
        }
        now += STEP;
        for job in machines.iter_mut().flat_map(Machine::step) {
            total += (now - comings[job]) as f64 / 1e3;
            done += 1;
        }
    }
    total / comings.len() as f64
}

/// Until a further job would be done on this machine if no other came.
fn finish(machine: &Machine) -> f64 {
    let mut left: Vec<f64> = machine
        .work
        .iter()
        .map(|(left, _)| left.min(cost()))
        .collect();
    left.push(cost());
    left.sort_by(f64::total_cmp);
    let (mut seconds, mut done) = (0.0, 0.0);
    for (over, until) in left.iter().enumerate() {
        seconds += (until - done) / machine.share(left.len() - over);
        done = *until;
    }
    seconds
}
