//! How soon everybody knows of a crash, a wedge, a farewell and a return.

use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::PeerState;
use kwaainet_sim::{Weather, World, node_id, run};

const CRASH: Duration = Duration::from_millis(1500);
const WEDGE: Duration = Duration::from_secs(2);
const RETURN: Duration = Duration::from_secs(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A world that has come together and run for a while, another while for each seed.
async fn world(count: usize, seed: u64, weather: Weather) -> (World, NodeId) {
    let world = World::of(count, seed, weather);
    world.until("all know all", RETURN, World::is_whole).await;
    tokio::time::sleep(ms(2000 + seed * 97 % 1000)).await;
    (world, node_id(seed as usize % count))
}

#[test]
fn a_crash_is_noticed_by_all() {
    for (seed, count) in [(1, 3), (2, 5), (3, 20), (4, 20), (5, 3)] {
        for weather in [Weather::LAN, Weather::LOSSY] {
            run(seed, async |seed| {
                let (mut world, gone) = world(count, seed, weather).await;
                world.crash(gone);
                let unasked = |world: &World| world.all_route_to(gone, false);
                let first = world.until("nobody asks it", CRASH, unasked).await;
                let down =
                    |world: &World| world.states_of(gone).iter().all(|s| *s == PeerState::Down);
                world.until("all see it down", CRASH - first, down).await;
                world.throughout("it stays so", ms(20_000), unasked).await;
                assert!(world.is_whole(), "the others did not notice");
            });
        }
    }
}

#[test]
fn a_wedge_is_noticed_by_all_and_its_end_too() {
    for seed in 0..6 {
        run(seed, async |seed| {
            let (mut world, stuck) = world(5, seed, Weather::LOSSY).await;
            world.node(stuck).engine.set_running(2);
            world
                .throughout("it works", ms(5000), World::is_whole)
                .await;
            world.node(stuck).engine.set_stuck(true);
            let unasked = |world: &World| world.all_route_to(stuck, false);
            world.until("nobody asks it", WEDGE, unasked).await;
            assert!(world.states_of(stuck).contains(&PeerState::Wedged));
            world.throughout("it stays so", ms(5000), unasked).await;
            world.node(stuck).engine.set_stuck(false);
            world
                .until("it is asked again", ms(500), World::is_whole)
                .await;
        });
    }
}

#[test]
fn whoever_leaves_is_gone_at_once() {
    for seed in 0..4 {
        run(seed, async |seed| {
            let (mut world, leaves) = world(5, seed, Weather::LAN).await;
            world.node(leaves).drain.cancel();
            let draining = |world: &World| {
                world
                    .states_of(leaves)
                    .iter()
                    .all(|s| *s == PeerState::Draining)
            };
            world.until("it takes no more work", ms(20), draining).await;
            world.throughout("it stays so", ms(3000), draining).await;
            let began = tokio::time::Instant::now();
            world.stop(leaves).await;
            assert!(began.elapsed() < ms(600), "{:?}", began.elapsed());
            let down = |world: &World| {
                world
                    .states_of(leaves)
                    .iter()
                    .all(|s| *s == PeerState::Down)
            };
            assert!(down(&world), "{:?}", world.states_of(leaves));
        });
    }
}

#[test]
fn whoever_returns_is_asked_again() {
    // Back before it was missed, just when it is, soon after, and long after.
    for (seed, away) in [(1, 100), (2, 1200), (3, 1600), (4, 4000), (5, 60_000)] {
        run(seed, async |seed| {
            let (mut world, back) = world(6, seed, Weather::LOSSY).await;
            let before = world.view(back, node_id(seed as usize % 6 + 1).min(node_id(9)));
            world.crash(back);
            tokio::time::sleep(ms(away)).await;
            world.start(back);
            let is_back = |world: &World| {
                let others = world.running().into_iter().filter(|by| *by != back);
                let mut views = others.filter_map(|by| world.view(back, by));
                world.is_whole()
                    && views.all(|view| {
                        before
                            .as_ref()
                            .is_none_or(|b| view.incarnation > b.incarnation)
                    })
            };
            world.until("it is asked again", RETURN, is_back).await;
            world.throughout("it stays so", ms(10_000), is_back).await;
        });
    }
}

#[test]
fn nothing_happens_for_a_long_time() {
    for (seed, weather) in [(1, Weather::LAN), (2, Weather::LOSSY), (3, Weather::WAN)] {
        run(seed, async |seed| {
            let (world, _) = world(8, seed, weather).await;
            let streams = world.net.open_streams();
            assert_eq!(streams, 8 * 7 / 2, "one for each pair");
            let down = |world: &World| {
                world.running().iter().all(|n| {
                    world
                        .states_of(*n)
                        .iter()
                        .all(|s| matches!(s, PeerState::Alive | PeerState::Suspect))
                })
            };
            world.throughout("nobody is lost", ms(60_000), down).await;
            assert_eq!(world.net.open_streams(), streams);
        });
    }
}
