use kwaainet_core::Tier;

use super::*;
use crate::PeerAddress;

const SMALL: NodeId = NodeId([1; 32]);
const LARGE: NodeId = NodeId([2; 32]);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn peer(node: NodeId) -> Peer {
    Peer::new(Member {
        node,
        tier: Tier::T1,
        address: PeerAddress::default(),
        invitation: None,
        introduced_by: None,
    })
}

fn described(incarnation: u64) -> Described {
    Described {
        incarnation,
        serves: true,
        ..Described::default()
    }
}

/// Offers a stream, and says what was made of it.
fn offer(peer: &mut Peer, here: NodeId, id: u64, dialed: bool, now: Duration) -> Second {
    let second = peer.second(here, dialed, 5, now).expect("not outdated");
    if second == Second::Use {
        peer.greeted(described(5), Live::new(id, dialed, now));
    }
    second
}

fn used(peer: &Peer) -> Option<u64> {
    peer.live.as_ref().map(|live| live.id)
}

#[test]
fn both_sides_use_the_same_of_two_streams() {
    // Stream 1 is dialed by the smaller id, stream 2 by the larger.
    for at_small in [[1, 2], [2, 1]] {
        for at_large in [[1, 2], [2, 1]] {
            let (mut large, mut small) = (peer(LARGE), peer(SMALL));
            for (n, (a, b)) in at_small.into_iter().zip(at_large).enumerate() {
                let now = ms(n as u64);
                offer(&mut large, SMALL, a, a == 1, now);
                offer(&mut small, LARGE, b, b == 2, now);
            }
            assert_eq!((used(&large), used(&small)), (Some(1), Some(1)));
        }
    }
}

#[test]
fn a_stream_that_fell_silent_is_given_up_for_another() {
    let mut large = peer(LARGE);
    assert_eq!(offer(&mut large, SMALL, 1, true, ms(0)), Second::Use);
    assert_eq!(offer(&mut large, SMALL, 2, false, ms(400)), Second::Leave);
    large.heard(None, false, ms(600));
    assert_eq!(offer(&mut large, SMALL, 3, false, ms(900)), Second::Leave);
    assert_eq!(offer(&mut large, SMALL, 4, false, ms(1200)), Second::Use);
    assert_eq!(used(&large), Some(4));
    // Whoever dials again has lost what it dialed before.
    assert_eq!(offer(&mut large, SMALL, 5, false, ms(1201)), Second::Use);
}

#[test]
fn an_earlier_run_is_refused_and_a_later_one_ends_everything() {
    let mut large = peer(LARGE);
    offer(&mut large, SMALL, 1, true, ms(0));
    let known = 5;
    assert_eq!(
        large.second(SMALL, false, 4, ms(1)),
        Err(Outdated { known })
    );
    let later = large.second(SMALL, false, 6, ms(1));
    assert_eq!(later, Ok(Second::Restarted));
    large.lost("it was started anew");
    assert_eq!(large.second(SMALL, false, 6, ms(1)), Ok(Second::Use));
}

#[test]
fn whoever_hears_nothing_is_as_good_as_gone() {
    let mut large = peer(LARGE);
    offer(&mut large, SMALL, 1, true, ms(0));
    for n in 1..=4 {
        large.heard(Some(ms(1)), false, ms(n * 250));
        assert!(!large.judge(ms(n * 250)));
    }
    // From then on it sends, and does not hear.
    let states: Vec<_> = (5..12)
        .map(|n| {
            large.heard(None, false, ms(n * 250));
            (large.judge(ms(n * 250)), large.state())
        })
        .collect();
    let (fine, late) = ((false, PeerState::Alive), (false, PeerState::Suspect));
    assert_eq!(states[..4], [fine, fine, fine, late]);
    assert!(states[4..].iter().all(|(gone, _)| *gone), "{states:?}");
    // What hears again is fine again.
    large.heard(Some(ms(1)), false, ms(3000));
    assert_eq!(large.state(), PeerState::Alive);
}

#[test]
fn what_others_say_counts_only_of_a_peer_that_is_silent() {
    let mut large = peer(LARGE);
    offer(&mut large, SMALL, 1, true, ms(0));
    large.heard(None, false, ms(250));
    large.rumoured_lost(5, ms(500));
    assert_eq!(large.state(), PeerState::Alive);
    large.rumoured_lost(4, ms(800));
    assert_eq!(
        large.state(),
        PeerState::Alive,
        "it is about an earlier run"
    );
    large.rumoured_lost(5, ms(800));
    assert_eq!(large.state(), PeerState::Suspect);
    large.judge(ms(810));
    assert_eq!(
        large.state(),
        PeerState::Suspect,
        "time does not make it good"
    );
    large.heard(None, false, ms(820));
    assert_eq!(large.state(), PeerState::Alive);
}

#[test]
fn a_peer_that_is_gone_offers_nothing() {
    let mut large = peer(LARGE);
    offer(&mut large, SMALL, 1, true, ms(0));
    let models = vec![crate::control::wire::Model {
        id: "m".into(),
        ..Default::default()
    }];
    let report = Report {
        models,
        ..Report::default()
    };
    assert_eq!(large.reported(report.clone(), ms(1)), Told::Models);
    assert_eq!(large.reported(report, ms(2)), Told::Nothing);
    assert_eq!(large.view().models.len(), 1);
    assert!(large.lost("it left").is_some());
    let view = large.view();
    assert_eq!((view.state, view.models), (PeerState::Down, Arc::default()));
    assert_eq!(view.reason.as_deref(), Some("it left"));
}

#[test]
fn the_round_trip_is_smooth_and_told_only_when_it_matters() {
    let mut rtt = Rtt::default();
    assert!(rtt.measured(ms(80)));
    assert!((0..100).all(|_| !rtt.measured(ms(85))));
    assert_eq!(rtt.told, ms(80));
    let moved = (0..100).filter(|_| rtt.measured(ms(160))).count();
    assert!((1..10).contains(&moved), "{moved}");
    assert!(rtt.told > ms(140));
}
