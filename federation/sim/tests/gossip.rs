//! Federations that are too large for all to keep streams with all: what they know of each other all the same.

use std::time::Duration;

use kwaainet_core::NodeId;
use kwaainet_federation::{PeerState, PeerTransport, Plane};
use kwaainet_sim::{Weather, World, node_id, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// With how many each keeps streams here, so that a few are too many.
const STREAMS: usize = 8;
const MANY: usize = 32;
/// Nothing at all is heard before so long.
const NEWS: Duration = Duration::from_secs(15);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How often a node is seen in each state.
fn seen(world: &World, of: NodeId, state: PeerState) -> usize {
    let states = world.states_of(of);
    states.iter().filter(|seen| **seen == state).count()
}

/// Whether everybody knows of everybody what it serves, and may give it work.
fn all_may_ask_all(world: &World) -> bool {
    let running = world.running();
    running.iter().all(|by| {
        let views = world.views(*by);
        let askable = views.iter().filter(|view| view.state.is_askable());
        askable.filter(|view| view.models.len() == 1).count() + 1 == running.len()
    })
}

#[test]
fn those_that_keep_no_stream_know_of_each_other() {
    run(1, async |seed| {
        let mut world = World::of_with_streams(STREAMS, MANY, seed, Weather::LOSSY);
        world.until("all know of all", NEWS, all_may_ask_all).await;
        let far = |world: &World| seen(world, node_id(7), PeerState::Distant);
        assert!(far(&world) >= MANY - 1 - STREAMS, "{}", far(&world));
        world
            .throughout("it stays so", ms(20_000), all_may_ask_all)
            .await;

        // Its load is known, roughly and soon.
        let busy = node_id(7);
        world.node(busy).engine.set_running(3);
        let known = |world: &World| {
            let by = world.running().into_iter().filter(|by| *by != busy);
            let views = by.filter_map(|by| world.view(busy, by));
            let mut loads = views.map(|view| view.facts.load.running);
            loads.all(|running| running == 3)
        };
        world.until("all know its load", ms(6000), known).await;

        // It stands still.
        world.node(busy).engine.set_stuck(true);
        let unasked = |world: &World| {
            let states = world.states_of(busy);
            states.iter().all(|state| !state.is_askable())
        };
        world.until("nobody asks it", ms(3000), unasked).await;
        assert!(seen(&world, busy, PeerState::Wedged) == MANY - 1);
        world.node(busy).engine.set_stuck(false);
        world
            .until("all ask it again", ms(12_000), all_may_ask_all)
            .await;

        // It dies, and those who kept streams with it tell the others.
        world.crash(busy);
        world.until("nobody asks it", ms(2500), unasked).await;
        world.throughout("it stays so", ms(20_000), unasked).await;
        world.start(busy);
        let asked = |world: &World| {
            let states = world.states_of(busy);
            states.iter().all(|state| state.is_askable())
        };
        world.until("the others ask it", ms(3000), asked).await;
        world.until("all ask it again", NEWS, all_may_ask_all).await;

        // It leaves.
        world.node(busy).drain.cancel();
        world.until("nobody asks it", ms(2000), unasked).await;
        world.stop(busy).await;
        let down = |world: &World| seen(world, busy, PeerState::Down) == MANY - 1;
        world.until("it is gone", ms(2000), down).await;
    });
}

#[test]
fn guests_of_a_host_that_has_no_room_for_all_find_each_other() {
    run(2, async |seed| {
        let mut world = World::new(seed, Weather::LAN);
        world.set_introductions(true);
        world.set_streams_max(STREAMS);
        let host = node_id(0);
        let guests: Vec<NodeId> = (1..MANY).map(node_id).collect();
        for (n, guest) in guests.iter().enumerate() {
            world.invite(*guest, host, format!("come in {n}").as_bytes());
        }
        world.start(host);
        for guest in &guests {
            world.start(*guest);
            tokio::time::sleep(ms(20)).await;
        }
        world
            .until("all know of all", ms(60_000), all_may_ask_all)
            .await;
        let removed = guests[20];
        world.book(host).remove(removed);
        let gone = |world: &World| {
            let by = world.running().into_iter().filter(|by| *by != removed);
            by.into_iter().all(|by| world.view(removed, by).is_none())
        };
        world.until("nobody knows it", ms(30_000), gone).await;
        world.throughout("it stays so", ms(10_000), gone).await;
    });
}

#[test]
fn a_federation_that_was_cut_in_two_grows_together_again() {
    run(3, async |seed| {
        let world = World::of_with_streams(STREAMS, MANY, seed, Weather::LAN);
        world.until("all know of all", NEWS, all_may_ask_all).await;
        let ids: Vec<NodeId> = world.running();
        let (these, those) = ids.split_at(MANY / 2);
        world.net.part(these, those, true);
        tokio::time::sleep(ms(60_000)).await;
        world.net.part(these, those, false);
        world
            .until("all know of all", ms(90_000), all_may_ask_all)
            .await;
    });
}

#[test]
fn nobody_gossips_but_members_and_they_keep_to_the_protocol() {
    run(4, async |seed| {
        let mut world = World::of(3, seed, Weather::LAN);
        let (victim, hostile) = (node_id(0), node_id(99));
        world.until("all know all", ms(3000), World::is_whole).await;
        let transport = world.net.join(hostile);
        transport.learn(victim, &kwaainet_sim::Net::address_of(victim));
        for (is_member, message) in [(false, &b"\0\0\0\0"[..]), (true, b"\0\0\0\x04\x0a\x02no")] {
            if is_member {
                world.acquaint(victim, hostile);
                tokio::time::sleep(ms(1100)).await;
            }
            let link = transport.dial(victim, Plane::Gossip).await;
            let mut link = link.expect("a stream");
            link.writer.write_all(message).await.expect("written");
            let mut answer = Vec::new();
            let ends = link.reader.read_to_end(&mut answer);
            let ended = tokio::time::timeout(ms(1000), ends).await;
            assert!(ended.is_ok(), "it is not listened to any more");
            assert!(answer.is_empty());
        }
        let known = |world: &World| {
            let good = [0, 1, 2].map(node_id);
            good.iter().all(|node| world.all_route_to(*node, true))
        };
        world.throughout("nobody notices", ms(3000), known).await;
    });
}
