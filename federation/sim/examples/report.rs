//! What becomes of a federation as it grows: how soon all know what happens to one, how well requests are routed
//! against an oracle that knows every load, and what it costs each node:
//! `cargo run --release -p kwaainet-sim --example report -- 10 50 200 1000`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{
    BackendId, Candidate, GenerateParams, Job, JobId, Load, ModelFacts, ModelId, NodeId, Own,
    PeerFacts, Place, Prompt, Route, Snapshot, Work, plan,
};
use kwaainet_federation::{PeerView, Seeded};
use kwaainet_sim::{Engine, Weather, World, node_id, run};
use tokio::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Until all know of each other, news that all hand on included.
const ACQUAINTED: Duration = Duration::from_secs(30);
/// Until all know what changed in one of them.
const SETTLED: Duration = Duration::from_secs(15);
/// Who has not noticed by then never will.
const NEVER: Duration = Duration::from_secs(60);
/// Nodes to which each thing happens, at the same time.
const VICTIMS: usize = 3;
/// All loads change for so long before routing and its cost are measured, and then for so long while they are.
const BUSY: Duration = Duration::from_secs(20);
/// Models, each served by one node in so many.
const MODELS: usize = 5;
/// A request is routed every so often.
const REQUEST_EVERY: Duration = Duration::from_millis(50);
/// In each such time one node of so many gets other work.
const CHANGES_ONE_OF: usize = 40;
/// Tokens a second of the fastest node, and of the slowest.
const FASTEST: f32 = 80.0;
const SLOWEST: f32 = 5.0;
/// What a call to a node takes with which there is no stream, there and back.
const CALL: Duration = Duration::from_millis(150);

fn main() {
    let sizes: Vec<usize> = (std::env::args().skip(1))
        .filter_map(|n| n.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![10, 50]
    } else {
        sizes
    };
    println!("Times in milliseconds until half of and all who would ask the node know.");
    println!(
        "Routing: the chosen node's true estimate over the best one's, and who is within a tenth of it."
    );
    println!("Cost: what a node sends in a second meanwhile. All loads change.");
    println!(
        "nodes streams known |    crash     |    wedge     |    return    | mean ratio within 10 % unserved | messages   bytes"
    );
    for size in sizes {
        run(1, async |seed| measure(size, seed).await);
    }
}

async fn measure(size: usize, seed: u64) {
    let mut world = World::of(size, seed, Weather::LOSSY);
    let mut random = Seeded::new(seed);
    for n in 0..size {
        let engine = &world.node(node_id(n)).engine;
        engine.set_models(&[&model(n)]);
        engine.set_load(load(&mut random, None));
    }
    tokio::time::sleep(ACQUAINTED).await;
    let count = |holds: fn(&PeerView) -> bool| {
        let all = (0..size).map(|n| world.views(node_id(n)));
        all.map(|views| views.iter().filter(|view| holds(view)).count())
            .sum::<usize>()
            / size
    };
    let streams = count(|view| view.state.is_routable());
    let known = count(|view| view.state.is_askable());
    let (routing, messages, bytes) = busy(&mut world, size, &mut random).await;
    let [crash, wedge, back] = detection(&mut world, size).await.map(spread);
    println!(
        "{size:5} {streams:7} {known:5} | {crash} | {wedge} | {back} | {routing} | {messages:8.1} {bytes:7.0}"
    );
}

fn model(n: usize) -> String {
    format!("model-{}", n % MODELS)
}

/// Other work for a node, at its own speed.
fn load(random: &mut Seeded, before: Option<Load>) -> Load {
    let speed = SLOWEST + random.below((FASTEST - SLOWEST) as u64) as f32;
    let decode_rate = before.map_or(speed, |load| load.decode_rate);
    let running = random.below(8) as u32;
    let is_full = running >= 5;
    Load {
        running,
        queued: if is_full { random.below(6) as u32 } else { 0 },
        queued_prefill_tokens: if is_full { random.below(4000) } else { 0 },
        ..at_speed(decode_rate)
    }
}

/// Of a node that has nothing to do.
fn at_speed(decode_rate: f32) -> Load {
    Load {
        free_pages: 1000,
        prefill_rate: decode_rate * 20.0,
        decode_rate,
        ..Load::default()
    }
}

/// Gives one node of so many other work, on average.
fn change_some(world: &mut World, size: usize, random: &mut Seeded) {
    let (all, rest) = (size / CHANGES_ONE_OF, size % CHANGES_ONE_OF);
    let one_more = rest > 0 && random.below(CHANGES_ONE_OF as u64) < rest as u64;
    for _ in 0..all + usize::from(one_more) {
        let node = node_id(random.below(size as u64) as usize);
        let engine = &world.node(node).engine;
        engine.set_load(load(random, Some(engine.load())));
    }
}

/// How good the choices are while all loads change, and how many messages and bytes each node sends in a second.
async fn busy(world: &mut World, size: usize, random: &mut Seeded) -> (String, f64, f64) {
    let begin = Instant::now();
    while begin.elapsed() < BUSY {
        tokio::time::sleep(REQUEST_EVERY).await;
        change_some(world, size, random);
    }
    let mut quality = Quality::default();
    let (before, begin) = (world.net.sent(), Instant::now());
    while begin.elapsed() < BUSY {
        tokio::time::sleep(REQUEST_EVERY).await;
        change_some(world, size, random);
        quality.request(world, size, random);
    }
    let after = world.net.sent();
    let each = |n: u64| n as f64 / BUSY.as_secs_f64() / size as f64;
    (
        quality.to_string(),
        each(after.0 - before.0),
        each(after.1 - before.1),
    )
}

/// Of the choices.
#[derive(Default)]
struct Quality {
    ratios: Vec<f64>,
    unserved: usize,
}

impl Quality {
    /// Routes one request of some node, and compares.
    fn request(&mut self, world: &mut World, size: usize, random: &mut Seeded) {
        let asker = node_id(random.below(size as u64) as usize);
        let wanted = model(random.below(MODELS as u64) as usize);
        let job = Job::new(JobId::random(), ModelId::new(wanted.as_str()), work());
        let views = world.views(asker);
        let as_known = snapshot(views.iter().filter(|view| view.state.is_askable()).cloned());
        let truth = truth(world, size, asker, &wanted);
        let Ok(best) = plan(&job, &truth, &Own::default()) else {
            return;
        };
        match plan(&job, &as_known, &Own::default()) {
            Ok(chosen) => self.ratios.extend(ratio(&chosen, &best)),
            Err(_) => self.unserved += 1,
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.ratios.len().max(1) as f64;
        let within = self.ratios.iter().filter(|ratio| **ratio <= 1.1).count();
        let mean = self.ratios.iter().sum::<f64>() / count;
        let share = 100.0 * within as f64 / count;
        write!(f, "{mean:10.3} {share:9.1} % {:8}", self.unserved)
    }
}

fn work() -> Work {
    Work::Generate {
        prompts: vec![Prompt::Text("word ".repeat(400))],
        params: GenerateParams {
            max_tokens: Some(200),
            ..GenerateParams::default()
        },
    }
}

/// How many times longer the chosen one truly takes than the best.
fn ratio(chosen: &Route, truth: &Route) -> Option<f64> {
    let chosen = &chosen.candidates[0].backend;
    let finish = |backend: Option<&BackendId>| {
        let all = truth.candidates.iter();
        let all = all.filter(|one| backend.is_none_or(|backend| one.backend == *backend));
        let times = all.filter_map(|one| one.estimate.map(|e| e.finish().as_secs_f64()));
        times.min_by(f64::total_cmp)
    };
    Some(finish(Some(chosen))? / finish(None)?)
}

/// What a node knows.
fn snapshot(views: impl Iterator<Item = PeerView>) -> Snapshot {
    let candidates = views.flat_map(|view| {
        let facts = Arc::new(view.facts);
        let models: Vec<ModelFacts> = view.models.to_vec();
        models.into_iter().map(move |model| Candidate {
            backend: BackendId::new(facts.node.to_string()),
            model,
            unavailable: None,
            place: Place::Peer(Arc::clone(&facts)),
            load: Some(facts.load),
        })
    });
    Snapshot {
        candidates: candidates.collect(),
        ..Snapshot::default()
    }
}

/// What there is: every node that serves the model with its load of now.
fn truth(world: &mut World, size: usize, asker: NodeId, wanted: &str) -> Snapshot {
    let serves = (0..size).filter(|n| model(*n) == wanted).map(node_id);
    let others: Vec<NodeId> = serves.filter(|node| *node != asker).collect();
    let views = others.into_iter().filter_map(|node| {
        let seen = world.view(node, asker)?;
        let engine = &world.node(node).engine;
        let own = engine.snapshots().borrow().clone();
        let rtt = match seen.state.is_routable() {
            true => seen.facts.rtt,
            false => CALL,
        };
        Some(PeerView {
            facts: PeerFacts {
                load: engine.load(),
                rtt,
                ..seen.facts.clone()
            },
            models: own.candidates.iter().map(|c| c.model.clone()).collect(),
            ..seen
        })
    });
    let views: Vec<PeerView> = views.collect();
    snapshot(views.into_iter())
}

/// After how many milliseconds others know of a crash, a wedge and a return.
async fn detection(world: &mut World, size: usize) -> [Vec<u128>; 3] {
    let victims: Vec<NodeId> = (0..VICTIMS).map(|n| node_id(n * size / VICTIMS)).collect();
    let engines: Vec<Engine> = (victims.iter())
        .map(|victim| world.node(*victim).engine.clone())
        .collect();
    for engine in &engines {
        engine.set_load(Load {
            running: 1,
            ..at_speed(FASTEST)
        });
    }
    tokio::time::sleep(SETTLED).await;
    let knew = asking(world, &victims);
    for engine in &engines {
        engine.set_stuck(true);
    }
    let wedge = times(world, &victims, &knew, false).await;
    for engine in &engines {
        engine.set_stuck(false);
        engine.set_running(0);
    }
    tokio::time::sleep(SETTLED).await;
    let knew = asking(world, &victims);
    for victim in &victims {
        world.crash(*victim);
    }
    let crash = times(world, &victims, &knew, false).await;
    tokio::time::sleep(SETTLED).await;
    for victim in &victims {
        world.start(*victim);
    }
    let back = times(world, &victims, &knew, true).await;
    [crash, wedge, back]
}

/// Who would ask which of these nodes, except that they do not ask each other.
fn asking(world: &World, nodes: &[NodeId]) -> BTreeSet<(NodeId, NodeId)> {
    let others = (world.running().into_iter()).filter(|by| !nodes.contains(by));
    let pairs = others.flat_map(|by| nodes.iter().map(move |node| (by, *node)));
    let asks = |(by, node): &(NodeId, NodeId)| {
        let view = world.view(*node, *by);
        view.is_some_and(|view| view.state.is_askable() && !view.models.is_empty())
    };
    pairs.filter(asks).collect()
}

/// After how many milliseconds each of those would ask the node, or would not any more.
async fn times(
    world: &World,
    nodes: &[NodeId],
    knew: &BTreeSet<(NodeId, NodeId)>,
    asks: bool,
) -> Vec<u128> {
    let begin = Instant::now();
    let (mut left, mut times) = (knew.clone(), Vec::new());
    while !left.is_empty() && begin.elapsed() < NEVER {
        tokio::time::sleep(LOOK).await;
        let now = asking(world, nodes);
        left.retain(|pair| {
            let done = now.contains(pair) == asks;
            if done {
                times.push(begin.elapsed().as_millis());
            }
            !done
        });
    }
    times.extend(left.iter().map(|_| u128::MAX));
    times
}

fn spread(mut times: Vec<u128>) -> String {
    times.sort_unstable();
    let at = |part: usize| match times.get(times.len().saturating_sub(1) * part / 2) {
        Some(&u128::MAX) | None => "never".to_owned(),
        Some(time) => time.to_string(),
    };
    format!("{:>6} {:>5}", at(1), at(2))
}
