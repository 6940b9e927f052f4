//! Chaos among so many nodes, for each seed from one to another:
//! `cargo run --release -p kwaainet-sim --example chaos -- 1000 0 1`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::time::Duration;

use kwaainet_sim::{Chaos, run};

/// In simulated time.
const RAGE: Duration = Duration::from_secs(20);
const CALM: Duration = Duration::from_secs(7);
/// Something breaks or is mended in each node so often, on average.
const EACH_NODE: Duration = Duration::from_secs(3);

fn main() {
    let arguments: Vec<u64> = (std::env::args().skip(1))
        .filter_map(|number| number.parse().ok())
        .collect();
    let [nodes, from, to] = arguments[..] else {
        println!("three numbers: of nodes, the first seed, the one after the last");
        return;
    };
    let apart_ms = (2 * EACH_NODE.as_millis() as u64 / nodes.max(1)).max(1);
    for seed in from..to {
        let (messages, _) = run(seed, async |seed| {
            let mut chaos = Chaos::begin(seed, nodes as usize).await;
            chaos.rage(RAGE, apart_ms).await;
            chaos.mend_all();
            tokio::time::sleep(CALM).await;
            chaos.check();
            chaos.world.net.sent()
        });
        println!("seed {seed}: {nodes} nodes, {messages} messages, nothing was broken");
    }
}
