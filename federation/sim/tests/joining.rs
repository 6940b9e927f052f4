//! Who is let in, who is not, and what happens when the network or a clock fails.

use std::time::Duration;

use kwaainet_core::{NodeId, Tier};
use kwaainet_federation::{PeerState, PeerTransport, Plane};
use kwaainet_sim::{Net, Weather, World, node_id, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const RETURN: Duration = Duration::from_secs(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn down(world: &World, of: NodeId, by: NodeId) -> bool {
    world
        .view(of, by)
        .is_none_or(|view| view.state == PeerState::Down)
}

#[test]
fn an_invitation_lets_one_node_in() {
    run(1, async |seed| {
        let mut world = World::new(seed, Weather::LAN);
        let [host, guest, other] = [0, 1, 2].map(node_id);
        world.invite(guest, host, b"come in");
        world.invite(other, host, b"come in");
        world.start(host);
        world.start(guest);
        let is_in = |world: &World| world.is_whole();
        world.until("the guest is in", ms(60), is_in).await;
        assert_eq!(world.node(host).federation.tier_of(guest), Some(Tier::T1));
        assert_eq!(world.book(guest).met_nodes(), [host]);
        assert_eq!(world.book(host).met_nodes(), [guest], "its address is kept");

        world.start(other);
        tokio::time::sleep(ms(20_000)).await;
        let refused = world.view(host, other).expect("it is in the book");
        assert_eq!(refused.state, PeerState::Down);
        let reason = refused.reason.expect("a reason");
        assert!(
            reason.contains("does not accept the invitation"),
            "{reason}"
        );
        assert_eq!(world.view(other, host), None);
        let away = world.node(host).federation.turned_away().control;
        assert!((3..9).contains(&away), "it asks now and then: {away} times");
        // The guest does not need its invitation again.
        world.crash(guest);
        world.start(guest);
        let is_back = |world: &World| {
            world
                .view(guest, host)
                .is_some_and(|view| view.state.is_routable())
        };
        world.until("the guest is back", RETURN, is_back).await;
    });
}

#[test]
fn whoever_is_struck_out_is_cut_off() {
    run(2, async |seed| {
        let mut world = World::of(3, seed, Weather::LAN);
        let [host, guest, _] = [0, 1, 2].map(node_id);
        world.until("all know all", RETURN, World::is_whole).await;
        let transport = world.node(guest).transport.clone();
        let asks = transport.dial(host, Plane::Inference).await;
        let mut link = asks.expect("a stream");
        link.writer.write_all(b"hello").await.expect("written");
        let taken = world.node(host).requests.recv().await.expect("a request");
        assert_eq!(taken.principal.as_peer(), Some((guest, Tier::T1)));
        assert_eq!(taken.node, guest);

        world.book(host).remove(guest);
        let forgotten = |world: &World| world.view(guest, host).is_none();
        world
            .until("the host forgets it", ms(1100), forgotten)
            .await;
        assert!(link.reader.read_u8().await.is_err(), "its stream is cut");
        let knows = |world: &World| down(world, host, guest);
        world.until("it knows", ms(100), knows).await;
        let asks = transport.dial(host, Plane::Inference).await;
        let mut link = asks.expect("a stream");
        link.writer.write_all(b"hello").await.expect("written");
        assert!(link.reader.read_u8().await.is_err(), "nobody answers it");
        let host = &mut world.node(host);
        assert_eq!(host.federation.turned_away().strangers, 1);
        assert!(host.requests.try_recv().is_err());
        assert_eq!(host.federation.tier_of(guest), None);
    });
}

#[test]
fn a_stranger_is_refused_until_it_is_known() {
    run(3, async |seed| {
        let mut world = World::new(seed, Weather::LAN);
        let [host, stranger] = [0, 1].map(node_id);
        world.acquaint(stranger, host);
        world.start(host);
        world.start(stranger);
        tokio::time::sleep(ms(7000)).await;
        let view = world.view(host, stranger).expect("it is in the book");
        let reason = view.reason.expect("a reason");
        assert!(reason.contains("has to be invited"), "{reason}");
        assert_eq!(world.view(stranger, host), None);
        world.acquaint(host, stranger);
        world.until("it is in", ms(1100), World::is_whole).await;
    });
}

#[test]
fn absent_members_do_not_delay_the_others() {
    run(4, async |seed| {
        let mut world = World::new(seed, Weather::LAN);
        let here = node_id(0);
        let present = [50, 60].map(node_id);
        for n in 1..=62 {
            world.acquaint(here, node_id(n));
        }
        for node in present {
            world.acquaint(node, here);
            world.start(node);
        }
        tokio::time::sleep(ms(60_000)).await;
        world.start(here);
        let found = |world: &World| {
            present.iter().all(|node| {
                let views = [world.view(*node, here), world.view(here, *node)];
                views
                    .iter()
                    .flatten()
                    .filter(|v| v.state.is_routable())
                    .count()
                    == 2
            })
        };
        world
            .until("those that are there are found", RETURN, found)
            .await;
    });
}

#[test]
fn a_cut_network_grows_together_again() {
    for (seed, one_way) in [(1, false), (2, true), (3, false), (4, true)] {
        run(seed, async |seed| {
            let world = World::of(6, seed, Weather::LOSSY);
            world.until("all know all", RETURN, World::is_whole).await;
            tokio::time::sleep(ms(3000)).await;
            let (these, those) = ([0, 1].map(node_id), [2, 3, 4, 5].map(node_id));
            let cut = |cut| {
                if one_way {
                    let ways = these.iter().flat_map(|a| those.iter().map(move |b| (a, b)));
                    ways.for_each(|(a, b)| world.net.cut(*a, *b, cut));
                } else {
                    world.net.part(&these, &those, cut);
                }
            };
            cut(true);
            let parted = |world: &World| {
                these.iter().all(|a| {
                    those.iter().all(|b| {
                        let views = [world.view(*a, *b), world.view(*b, *a)];
                        views.iter().flatten().all(|view| !view.state.is_routable())
                    })
                })
            };
            world.until("both sides know", ms(1750), parted).await;
            let within = |world: &World, side: &[NodeId]| {
                side.iter().all(|a| {
                    let mut others = side.iter().filter(|b| *b != a);
                    others.all(|b| world.view(*a, *b).is_some_and(|v| v.state.is_routable()))
                })
            };
            let stays =
                |world: &World| parted(world) && within(world, &these) && within(world, &those);
            world
                .throughout("each side goes on", ms(30_000), stays)
                .await;
            cut(false);
            world
                .until("all know all again", ms(6000), World::is_whole)
                .await;
        });
    }
}

#[test]
fn whoever_stands_still_for_a_moment_is_not_lost() {
    run(5, async |seed| {
        let world = World::of(4, seed, Weather::LAN);
        world.until("all know all", RETURN, World::is_whole).await;
        tokio::time::sleep(ms(3000)).await;
        let still = node_id(1);
        let streams = world.net.open_streams();
        world.net.freeze(still, true);
        tokio::time::sleep(ms(400)).await;
        world.net.freeze(still, false);
        world
            .throughout("nothing is noticed", ms(2000), World::is_whole)
            .await;
        world.net.freeze(still, true);
        tokio::time::sleep(ms(700)).await;
        assert!(world.states_of(still).contains(&PeerState::Suspect));
        world.net.freeze(still, false);
        world
            .until("it is asked again", ms(50), World::is_whole)
            .await;
        assert_eq!(world.net.open_streams(), streams, "nothing was broken off");
        world.net.freeze(still, true);
        let lost = |world: &World| {
            let states = world.states_of(still);
            states.iter().all(|state| *state == PeerState::Down)
        };
        world.until("it is lost", ms(1500), lost).await;
        tokio::time::sleep(ms(10_000)).await;
        world.net.freeze(still, false);
        world
            .until("it is asked again", RETURN, World::is_whole)
            .await;
    });
}

#[test]
fn a_clock_that_was_set_back_keeps_nobody_out() {
    // By a day, and by more than can be made good in one step.
    for days in [1, 20_000] {
        run(6, async |seed| {
            let mut world = World::of(4, seed, Weather::LAN);
            world.until("all know all", RETURN, World::is_whole).await;
            let back = node_id(2);
            let first = world.view(back, node_id(1)).expect("a view").incarnation;
            world.crash(back);
            tokio::time::sleep(ms(3000)).await;
            world.start_set_back(back, Duration::from_secs(days * 86_400));
            world
                .until("it is asked again", RETURN, World::is_whole)
                .await;
            let then = world.view(back, node_id(1)).expect("a view").incarnation;
            assert!(then > first, "{then} after {first}");
        });
    }
}

#[test]
fn of_too_many_members_the_first_are_kept() {
    run(7, async |seed| {
        let count = 75;
        let world = World::of(count, seed, Weather::LAN);
        tokio::time::sleep(ms(5000)).await;
        let routable = |world: &World| {
            let running = world.running();
            let of = |by: NodeId| {
                let views = running.iter().filter_map(|of| world.view(*of, by));
                views.filter(|view| view.state.is_routable()).count()
            };
            running.iter().map(|by| of(*by)).collect::<Vec<_>>()
        };
        let each = routable(&world);
        assert!(
            each.iter().all(|peers| (50..=64).contains(peers)),
            "{each:?}"
        );
        // And each gossips with five others, on two streams at most.
        assert!(world.net.open_streams() <= count * 64 / 2 + count + count * 5 * 2 / 2);
        tokio::time::sleep(ms(3000)).await;
        assert_eq!(routable(&world), each, "it stays so");
    });
}

#[test]
fn a_member_that_moved_is_found_again() {
    run(8, async |seed| {
        let mut world = World::of(2, seed, Weather::LAN);
        let [here, moves] = [0, 1].map(node_id);
        world.until("all know all", RETURN, World::is_whole).await;
        world.crash(moves);
        tokio::time::sleep(ms(5000)).await;
        world.net.move_to(moves, node_id(77));
        world.start(moves);
        world
            .until("it is asked again", RETURN, World::is_whole)
            .await;
        tokio::time::sleep(ms(100)).await;
        let known = world.book(here).address_of(moves);
        assert_eq!(known, Some(Net::address_of(node_id(77))));
    });
}
