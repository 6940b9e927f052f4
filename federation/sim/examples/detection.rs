//! How soon all nodes of a federation know of what happens to one, and what that costs, as it grows:
//! `cargo run --release -p kwaainet-sim --example detection -- 10 100 1000`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::collections::BTreeSet;
use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_sim::{Weather, World, node_id, run};
use tokio::time::Instant;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Until everything has settled.
const SETTLED: Duration = Duration::from_secs(6);
/// Nodes to which each thing happens, one after the other.
const VICTIMS: usize = 3;

fn main() {
    let sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        vec![10, 50]
    } else {
        sizes
    };
    println!(
        "Milliseconds until the first, half of and all peers know; messages and bytes that a node sends."
    );
    println!(
        "nodes peers |      crash       |      wedge       |      return      | messages/s  bytes/s"
    );
    for size in sizes {
        run(1, async |seed| measure(size, seed).await);
    }
}

async fn measure(size: usize, seed: u64) {
    let mut world = World::of(size, seed, Weather::LOSSY);
    tokio::time::sleep(SETTLED).await;
    let peers = (0..size)
        .map(|n| routing_to(&world, node_id(n)).len())
        .sum::<usize>()
        / size;
    let (messages, bytes) = cost(&world, size).await;
    let (mut crash, mut wedge, mut back) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..VICTIMS {
        let victim = node_id(n * size / VICTIMS);
        world.node(victim).engine.set_running(1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let knew = routing_to(&world, victim);
        world.node(victim).engine.set_stuck(true);
        wedge.extend(times(&world, victim, &knew, false).await);
        world.node(victim).engine.set_stuck(false);
        world.node(victim).engine.set_running(0);
        tokio::time::sleep(SETTLED).await;
        let knew = routing_to(&world, victim);
        world.crash(victim);
        crash.extend(times(&world, victim, &knew, false).await);
        tokio::time::sleep(SETTLED).await;
        world.start(victim);
        back.extend(times(&world, victim, &knew, true).await);
        tokio::time::sleep(SETTLED).await;
    }
    let [crash, wedge, back] = [crash, wedge, back].map(spread);
    println!("{size:5} {peers:5} | {crash} | {wedge} | {back} | {messages:10.1} {bytes:8.0}");
}

/// Those that give work to a node.
fn routing_to(world: &World, node: NodeId) -> BTreeSet<NodeId> {
    let gives = |by: &NodeId| {
        world
            .view(node, *by)
            .is_some_and(|view| view.state.is_routable() && !view.models.is_empty())
    };
    world.running().into_iter().filter(gives).collect()
}

/// After how many milliseconds each of those gives work to the node, or gives it none.
async fn times(world: &World, node: NodeId, knew: &BTreeSet<NodeId>, gives: bool) -> Vec<u128> {
    let begin = Instant::now();
    let (mut left, mut times) = (knew.clone(), Vec::new());
    while !left.is_empty() && begin.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(LOOK).await;
        let now = routing_to(world, node);
        left.retain(|by| {
            let done = now.contains(by) == gives;
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
    let at = |part: usize| match times.get((times.len() - 1) * part / 2) {
        Some(&u128::MAX) | None => "never".to_owned(),
        Some(time) => time.to_string(),
    };
    format!("{:>4} {:>5} {:>5}", at(0), at(1), at(2))
}

/// What a node sends each second when nothing happens.
async fn cost(world: &World, size: usize) -> (f64, f64) {
    let before = world.net.sent();
    let time = Duration::from_secs(5);
    tokio::time::sleep(time).await;
    let after = world.net.sent();
    let each = |n: u64| n as f64 / time.as_secs_f64() / size as f64;
    (each(after.0 - before.0), each(after.1 - before.1))
}
