//! Everything goes wrong at once, as the seed says, and what was promised holds all the time: nobody is given
//! work for longer than the bound after it can no longer do it, and in the end all find together again.
//! More of it: `cargo run --release -p kwaainet-sim --example chaos -- 1000 0 1`.

use std::time::Duration;

use kwaainet_sim::{Chaos, World, run};

#[test]
fn nothing_that_was_promised_is_broken() {
    for seed in 0..8 {
        run(seed, async |seed| {
            let mut chaos = Chaos::begin(seed, 12).await;
            chaos.rage(Duration::from_secs(40), 400).await;
            chaos.mend_all();
            let calm = Duration::from_secs(7);
            chaos
                .world
                .until("all know all", calm, World::is_whole)
                .await;
            // A call to a run that is over may still wait for its answer.
            tokio::time::sleep(Duration::from_secs(5)).await;
            chaos.check();
            assert!(chaos.world.is_whole());
            assert_eq!(
                chaos.world.net.open_streams(),
                12 * 11 / 2,
                "no stream is left"
            );
        });
    }
}

#[test]
fn nor_among_two_hundred() {
    run(200, async |seed| {
        let mut chaos = Chaos::begin(seed, 200).await;
        chaos.rage(Duration::from_secs(4), 20).await;
        chaos.mend_all();
        tokio::time::sleep(Duration::from_secs(5)).await;
        chaos.check();
        for by in chaos.world.running() {
            let views = chaos.world.views(by);
            let peers = views.iter().filter(|view| view.state.is_routable());
            let peers = peers.count();
            assert!((40..=64).contains(&peers), "{by:?} has {peers}");
        }
    });
}
