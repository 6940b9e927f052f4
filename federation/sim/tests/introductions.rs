//! Members of one node learn of each other through it, and of nobody else.

use std::time::Duration;

use kwaainet_core::{NodeId, Tier};
use kwaainet_federation::{Member, PeerState, PeerTransport, Plane};
use kwaainet_sim::{Net, Weather, World, node_id, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A host that has invited all others, who know nobody but it.
fn star(seed: u64, guests: usize, introductions: bool) -> (World, NodeId, Vec<NodeId>) {
    let mut world = World::new(seed, Weather::LAN);
    world.set_introductions(introductions);
    let host = node_id(0);
    let guests: Vec<NodeId> = (1..=guests).map(node_id).collect();
    for (n, guest) in guests.iter().enumerate() {
        world.invite(*guest, host, format!("come in {n}").as_bytes());
    }
    world.start(host);
    guests.iter().for_each(|guest| world.start(*guest));
    (world, host, guests)
}

/// Whether each of them gives work to each other.
fn all_know_all(world: &World, nodes: &[NodeId]) -> bool {
    nodes.iter().all(|by| {
        let mut others = nodes.iter().filter(|of| *of != by);
        others.all(|of| {
            world
                .view(*of, *by)
                .is_some_and(|view| view.state.is_routable())
        })
    })
}

#[test]
fn guests_of_one_host_learn_of_each_other() {
    for seed in 0..4 {
        run(seed, async |seed| {
            let (mut world, host, guests) = star(seed, 5, true);
            let met = |world: &World| all_know_all(world, &guests) && world.is_whole();
            world.until("all know all", ms(4000), met).await;
            let view = world.view(guests[0], guests[1]).expect("it is known");
            assert_eq!(view.introduced_by, Some(host));
            assert_eq!(view.facts.tier, Tier::T1);
            let direct = world.view(host, guests[1]).expect("it is known");
            assert_eq!(direct.introduced_by, None);
            // The host away, they still know each other, also those that were started anew.
            world.crash(host);
            world.crash(guests[2]);
            tokio::time::sleep(ms(3000)).await;
            world.start(guests[2]);
            let back = |world: &World| all_know_all(world, &guests);
            world.until("they find each other", ms(3000), back).await;
            let words = world.book(guests[2]).words();
            assert_eq!(
                words.len(),
                6,
                "four others, itself, and its own about the host"
            );
        });
    }
}

#[test]
fn whoever_is_removed_is_removed_everywhere() {
    for seed in 0..4 {
        run(seed, async |seed| {
            let (mut world, host, guests) = star(seed, 4, true);
            let met = |world: &World| all_know_all(world, &guests);
            world.until("all know all", ms(4000), met).await;
            let [removed, other, absent, _] = guests[..] else {
                unreachable!("there are four");
            };
            world.crash(absent);
            let transport = world.node(removed).transport.clone();
            let asks = transport.dial(other, Plane::Inference).await;
            let mut link = asks.expect("a stream");
            link.writer.write_all(b"hello").await.expect("written");
            world.node(other).requests.recv().await.expect("a request");
            world.book(host).remove(removed);
            let gone = |world: &World| {
                let by = world.running().into_iter().filter(|by| *by != removed);
                by.into_iter().all(|by| world.view(removed, by).is_none())
            };
            world.until("nobody knows it", ms(1200), gone).await;
            assert!(link.reader.read_u8().await.is_err(), "its streams are cut");
            // Whoever was away hears of it from the others: the host is away now.
            world.crash(host);
            world.start(absent);
            tokio::time::sleep(ms(2000)).await;
            world.throughout("it stays so", ms(20_000), gone).await;
            for other in guests[1..].iter().copied() {
                let view = world.view(other, removed).expect("it still knows them");
                assert_eq!(view.state, PeerState::Down, "{other:?}");
            }
            let back = |world: &World| all_know_all(world, &guests[1..]);
            world.until("the others go on", ms(10), back).await;
        });
    }
}

#[test]
fn an_introduction_goes_one_hop() {
    run(1, async |seed| {
        let (mut world, host, guests) = star(seed, 2, true);
        // A friend of a guest, whom the host has not invited.
        let friend = node_id(50);
        world.invite(friend, guests[0], b"a friend");
        world.start(friend);
        let nodes = [host, guests[0], friend];
        let met = |world: &World| all_know_all(world, &nodes) && all_know_all(world, &guests);
        world.until("the friend is in", ms(5000), met).await;
        let view = world.view(friend, host).expect("it is known");
        assert_eq!(view.introduced_by, Some(guests[0]), "a guest's guest");
        let strangers = |world: &World| {
            world.view(friend, guests[1]).is_none() && world.view(guests[1], friend).is_none()
        };
        world.throughout("that is all", ms(10_000), strangers).await;
    });
}

#[test]
fn whoever_does_not_want_introductions_meets_nobody() {
    run(1, async |seed| {
        let (mut world, host, guests) = star(seed, 3, true);
        world.set_introductions(false);
        let shy = node_id(60);
        world.invite(shy, host, b"shy");
        world.start(shy);
        let met = |world: &World| all_know_all(world, &guests) && all_know_all(world, &[host, shy]);
        world.until("the others meet", ms(5000), met).await;
        tokio::time::sleep(ms(5000)).await;
        assert_eq!(world.views(shy).len(), 1);
        for guest in &guests {
            let view = world.view(shy, *guest).expect("they heard of it");
            assert_eq!(view.state, PeerState::Down);
        }
        let (off, _, guests) = star(seed, 3, false);
        tokio::time::sleep(ms(5000)).await;
        assert!(guests.iter().all(|guest| off.views(*guest).len() == 1));
    });
}

#[test]
fn another_ones_word_lets_nobody_in() {
    run(1, async |seed| {
        let (mut world, host, guests) = star(seed, 2, true);
        // It knows where a guest is, and has words of a node that the guest does not trust.
        let [rogue, accomplice] = [70, 71].map(node_id);
        world.acquaint(rogue, guests[0]);
        world.acquaint(rogue, accomplice);
        world.acquaint(accomplice, rogue);
        world.start(accomplice);
        world.start(rogue);
        let met = |world: &World| all_know_all(world, &[rogue, accomplice]);
        world.until("the two meet", ms(4000), met).await;
        tokio::time::sleep(ms(10_000)).await;
        assert_eq!(world.view(rogue, guests[0]), None);
        let view = world.view(guests[0], rogue).expect("it is in its book");
        assert!(view.reason.expect("a reason").contains("has to be invited"));
        // Nor does a tier that is said in somebody's name make anybody more.
        world.book(host).add(Member {
            node: guests[0],
            tier: Tier::T0,
            address: Net::address_of(guests[0]),
            invitation: None,
            introduced_by: None,
        });
        tokio::time::sleep(ms(3000)).await;
        let view = world.view(guests[0], guests[1]).expect("it is known");
        assert_eq!(view.facts.tier, Tier::T1);
    });
}
