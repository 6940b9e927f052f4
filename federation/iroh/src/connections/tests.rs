//! The table of peers, without a network.

use super::*;

fn node(number: usize) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    NodeId(bytes)
}

fn at(port: u16) -> PeerAddress {
    PeerAddress {
        direct: vec![([10, 0, 0, 1], port).into()],
        relay: None,
    }
}

fn known(connections: &Connections, of: NodeId) -> PeerAddress {
    let seen = connections.seen().into_iter().find(|seen| seen.node == of);
    seen.expect("it is known").address
}

#[test]
fn the_newest_addresses_are_kept() {
    let connections = Connections::default();
    for port in 1..=40 {
        connections.learn(node(1), &at(port));
    }
    connections.learn(node(1), &at(30));
    let bad = PeerAddress {
        direct: vec![([224, 0, 0, 1], 9).into(), ([10, 0, 0, 1], 0).into()],
        relay: Some("x".repeat(URL_MAX + 1)),
    };
    connections.learn(node(1), &bad);
    let known = known(&connections, node(1));
    let ports: Vec<_> = known.direct.iter().map(|address| address.port()).collect();
    let newest = [
        30, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 29, 28, 27, 26, 25,
    ];
    assert_eq!(ports, newest);
    assert_eq!(known.relay, None);
}

#[test]
fn peers_that_are_idle_make_room() {
    let connections = Connections::default();
    for number in 0..PEERS_MAX {
        connections.learn(node(number), &at(1));
    }
    connections.learn(node(0), &at(2));
    for number in 0..10 {
        connections.learn(node(PEERS_MAX + number), &at(1));
    }
    let seen = connections.seen();
    assert_eq!(seen.len(), PEERS_MAX);
    assert_eq!(known(&connections, node(0)).direct.len(), 2);
    assert!(seen.iter().all(|seen| seen.node != node(1)), "the oldest");
}

#[test]
fn a_call_that_nobody_wants_any_more_is_told() {
    let connections = Connections::default();
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let start = |number, _| {
            numbers.push(number);
            let never = std::future::pending::<Result<Connection, DialError>>();
            futures_util::FutureExt::shared(Box::pin(never) as BoxFuture<'static, _>)
        };
        let dialed = connections.dialed(node(1), Plane::Control, start);
        assert!(matches!(dialed, Dialed::Calling(_)));
        let start = |_, _| panic!("one call is on its way");
        let dialed = connections.dialed(node(1), Plane::Control, start);
        assert!(matches!(dialed, Dialed::Calling(_)));
        connections.drop_peer(node(1));
    }
    let failed = Err(DialError::Timeout(node(1)));
    for number in numbers {
        assert!(!connections.called(node(1), Plane::Control, number, &failed));
    }
    connections.close();
    let start = |_, _| panic!("nothing is called any more");
    let dialed = connections.dialed(node(1), Plane::Control, start);
    assert!(matches!(dialed, Dialed::Full));
}
