use super::*;
use kwaainet_core::Tier;

const OWN: NodeId = NodeId([1; 32]);
const PEER: NodeId = NodeId([2; 32]);
const OTHER: NodeId = NodeId([3; 32]);

/// The last word on the stream of this number, which is its number in the chain too.
fn service(server: NodeId, asker: NodeId, chain: i64, number: i64) -> ServiceRecord {
    let place = ServicePlace {
        server,
        asker,
        chain,
        stream: number,
        revision: 9,
    };
    ServiceRecord {
        hash: hash(&place),
        place,
        number,
        previous: match number {
            1 => [0; 32],
            _ => hash(&ServicePlace {
                stream: number - 1,
                ..place
            }),
        },
        request: [number as u8; 16],
        receipt: vec![number as u8],
        counter: None,
        returned: false,
    }
}

fn hash(place: &ServicePlace) -> [u8; 32] {
    let parts = [place.chain, place.stream, place.revision].map(|part| part as u8);
    let bytes = [&[place.server.0[0], place.asker.0[0]][..], &parts].concat();
    let mut hash = [0; 32];
    hash[..5].copy_from_slice(&bytes);
    hash
}

/// A statement about the first stream of the first chain that this node served.
fn said(revision: i64, is_last: bool, signed: bool) -> ServiceRecord {
    let mut record = service(OWN, PEER, 1, 1);
    record.place.revision = revision;
    record.hash = hash(&record.place);
    record.number = i64::from(is_last);
    record.counter = signed.then(|| b"signed".to_vec());
    record
}

async fn empty() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&dir.path().join("node.db")).await;
    (dir, store.expect("it opens"))
}

async fn record_all(store: &Store, services: &[ServiceRecord]) {
    let entries: Vec<_> = services
        .iter()
        .cloned()
        .map(ServiceEntry::Receipt)
        .collect();
    let kept = store.record_services(&entries, 5).await;
    kept.expect("they are written");
}

async fn store_with(services: &[ServiceRecord]) -> (tempfile::TempDir, Store) {
    let (dir, store) = empty().await;
    // Twice, as after a failure that was none.
    for _ in 0..2 {
        record_all(&store, services).await;
    }
    (dir, store)
}

async fn all(store: &Store) -> Vec<ServiceRecord> {
    let all = store.services(None, None, 1_000).await;
    all.expect("it answers")
}

#[tokio::test]
async fn receipts_are_kept_once_and_countersigned_once() {
    let first = service(OWN, PEER, 1, 1);
    let mut fork = first.clone();
    fork.hash = [9; 32];
    let (_dir, store) = store_with(&[first.clone(), fork]).await;
    for counter in [b"first", b"other"] {
        let entry = ServiceEntry::Counter {
            hash: first.hash,
            counter: counter.to_vec(),
        };
        let kept = store.record_services(&[entry], 6).await;
        kept.expect("it is written");
    }
    let counter = Some(b"first".to_vec());
    assert_eq!(all(&store).await, [ServiceRecord { counter, ..first }]);
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let mut services: Vec<_> = (1..=5).map(|n| service(OWN, PEER, 1, n)).collect();
    services.insert(2, service(OTHER, OWN, 1, 1));
    let (_dir, store) = store_with(&services).await;
    services.sort_by_key(|service| service.place);
    let mut found: Vec<ServiceRecord> = Vec::new();
    loop {
        let after = found.last().map(|last| last.place);
        let page = store.services(None, after, 2).await.expect("it answers");
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, services);
    let of_other = store.services(Some(OTHER), None, 10).await;
    assert_eq!(of_other.expect("it answers"), services[5..]);
}

#[tokio::test]
async fn the_last_ones_are_found_by_chain_and_number_even_of_removed_members() {
    let mut running = said(3, false, true);
    running.place.chain = 4;
    running.hash = hash(&running.place);
    let services = [
        service(OWN, PEER, 2, 1),
        service(OWN, PEER, 1, 9),
        service(PEER, OWN, 1, 1),
        service(PEER, OWN, 1, 2),
        service(OWN, OTHER, 7, 7),
        running,
    ];
    let (_dir, store) = store_with(&services).await;
    assert!(store.last_services(OWN).await.expect("none").is_empty());
    for node in [PEER, OTHER] {
        let joined = store.join_member(node, Tier::T1, b"", b"", 1).await;
        joined.expect("it is written");
    }
    assert!(store.remove_member(OTHER, 2).await.expect("it answers"));
    let mut last = store.last_services(OWN).await.expect("it answers");
    last.sort_by_key(|service| service.receipt.clone());
    let expected = [&services[0], &services[3], &services[4]];
    assert_eq!(last.iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_chain_is_begun_once_whatever_the_clock_says() {
    let (dir, store) = empty().await;
    assert_eq!(store.next_chain(100).await.expect("it answers"), 100);
    assert_eq!(store.next_chain(100).await.expect("it answers"), 101);
    store.close().await;
    let store = Store::open(&dir.path().join("node.db")).await;
    let store = store.expect("it opens");
    assert_eq!(store.next_chain(7).await.expect("it answers"), 102);
    assert_eq!(store.next_chain(500).await.expect("it answers"), 500);
}

/// All orders of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..count {
        let longer = |order: &Vec<usize>| {
            let rest = (0..count).filter(|n| !order.contains(n));
            rest.map(|n| [&order[..], &[n]].concat()).collect()
        };
        orders = orders
            .iter()
            .flat_map::<Vec<Vec<usize>>, _>(longer)
            .collect();
    }
    orders
}

#[tokio::test]
async fn the_highest_and_the_highest_signed_are_left_in_whatever_order_they_came() {
    let (_dir, store) = empty().await;
    let cases = [
        (
            vec![
                said(1, false, true),
                said(2, false, true),
                said(3, false, false),
            ],
            vec![said(2, false, true), said(3, false, false)],
        ),
        (
            vec![
                said(1, false, true),
                said(2, false, false),
                said(4, true, false),
            ],
            vec![said(1, false, true), said(4, true, false)],
        ),
        (
            vec![
                said(1, false, true),
                said(2, false, false),
                said(4, true, true),
            ],
            vec![said(4, true, true)],
        ),
        (
            vec![
                said(1, false, false),
                said(2, false, false),
                said(3, false, false),
            ],
            vec![said(3, false, false)],
        ),
    ];
    let mut chain = 1;
    for (came, left) in cases {
        for order in orders(came.len()) {
            chain += 1;
            let placed = |record: &ServiceRecord| {
                let mut record = record.clone();
                record.place.chain = chain;
                record.hash = hash(&record.place);
                record.hash[31] = (chain >> 8) as u8;
                record
            };
            for at in &order {
                record_all(&store, &[placed(&came[*at])]).await;
            }
            let mut kept = all(&store).await;
            kept.retain(|kept| kept.place.chain == chain);
            let left: Vec<_> = left.iter().map(placed).collect();
            assert_eq!(kept, left, "{order:?}");
        }
    }
}

#[tokio::test]
async fn what_contradicts_is_left_out() {
    let first = service(OWN, PEER, 1, 1);
    let second = service(OWN, PEER, 1, 2);
    let mut same_number = service(OWN, PEER, 1, 3);
    same_number.number = 2;
    let mut no_neighbour = service(OWN, PEER, 1, 3);
    no_neighbour.previous = [7; 32];
    let mut before = service(OWN, PEER, 1, 4);
    before.number = 1;
    let mut second_end = service(OWN, PEER, 1, 3);
    second_end.place.stream = 2;
    second_end.place.revision = 10;
    let mut after_the_end = second_end.clone();
    after_the_end.number = 0;
    let mut late_checkpoint = said(10, false, true);
    late_checkpoint.hash = [8; 32];
    let (_dir, store) = store_with(&[first.clone(), second.clone()]).await;
    let bad = [
        same_number,
        no_neighbour,
        before,
        second_end,
        after_the_end,
        late_checkpoint,
    ];
    for (n, mut bad) in (0..).zip(bad) {
        bad.hash = [100 + n; 32];
        record_all(&store, &[bad]).await;
        assert_eq!(all(&store).await, [first.clone(), second.clone()], "{n}");
    }
}

fn claim_on(server: NodeId, request: u8) -> ClaimRecord {
    ClaimRecord {
        server,
        request: [request; 16],
        request_hash: [2; 32],
        model: (request > 1).then_some([3; 32]),
        prompt_tokens: 1,
        cached_tokens: 2,
        completion_tokens: 3,
        began_ms: 4,
        duration_ms: 5,
        transcript_hash: [6; 32],
    }
}

#[tokio::test]
async fn a_claim_stands_until_the_receipt_is_signed() {
    let (_dir, store) = empty().await;
    let claims = [claim_on(PEER, 1), claim_on(PEER, 2), claim_on(OTHER, 1)];
    for _ in 0..2 {
        let entries = claims.clone().map(ServiceEntry::Claim);
        let kept = store.record_services(&entries, 5).await;
        kept.expect("they are written");
    }
    let listed = async || store.claims(None, 10).await.expect("it answers");
    assert_eq!(listed().await, claims);
    let after = Some((PEER, [1; 16]));
    let rest = store.claims(after, 10).await.expect("it answers");
    assert_eq!(rest, claims[1..]);
    let found = store.claims_on(PEER, &[[1; 16], [9; 16]]).await;
    assert_eq!(found.expect("it answers"), claims[..1]);

    let mut receipt = service(PEER, OWN, 1, 1);
    record_all(&store, std::slice::from_ref(&receipt)).await;
    assert_eq!(listed().await, claims);
    receipt.counter = Some(b"signed".to_vec());
    record_all(&store, &[receipt]).await;
    assert_eq!(listed().await, claims[1..]);
}

#[tokio::test]
async fn changes_are_told_once_and_again_when_something_changed() {
    let services = [
        service(OWN, PEER, 1, 1),
        service(OTHER, OWN, 1, 1),
        service(PEER, OWN, 1, 1),
        service(OWN, PEER, 1, 2),
    ];
    let (_dir, store) = store_with(&services).await;
    let changed = async |after, limit| {
        let changes = store.changed_services(PEER, after, limit).await;
        changes.expect("it answers")
    };
    let page = changed(0, 2).await;
    let numbers = |page: &ServiceChanges| -> Vec<_> {
        let of = |(number, record): &(i64, ServiceRecord)| (*number, record.hash);
        page.changed.iter().map(of).collect()
    };
    assert_eq!(
        numbers(&page),
        [(1, services[0].hash), (3, services[2].hash)]
    );
    assert_eq!(page.last, 4);
    let rest = changed(3, 2).await;
    assert_eq!(numbers(&rest), [(4, services[3].hash)]);
    assert_eq!(rest.book, page.book);
    assert_eq!(changed(4, 2).await.changed, []);

    let counter = ServiceEntry::Counter {
        hash: services[0].hash,
        counter: b"signed".to_vec(),
    };
    let kept = store.record_services(&[counter], 6).await;
    kept.expect("it is written");
    assert_eq!(numbers(&changed(4, 2).await), [(5, services[0].hash)]);

    let places: Vec<_> = [(9, false), (9, true), (8, true), (10, false)]
        .map(|(revision, signed)| {
            let place = ServicePlace {
                revision,
                ..services[0].place
            };
            (place, signed)
        })
        .into();
    let has = store.has_services(&places).await.expect("it answers");
    assert_eq!(has, [true, true, true, false]);
    let unsigned = [(services[3].place, true), (services[3].place, false)];
    let has = store.has_services(&unsigned).await.expect("it answers");
    assert_eq!(has, [false, true]);

    let hashes = [services[1].hash, services[2].hash, [99; 32]];
    let found = store.services_by_hash(PEER, &hashes).await;
    assert_eq!(found.expect("it answers"), services[2..3]);
}

#[tokio::test]
async fn what_is_handed_over_is_marked_bounded_and_taken_with_its_cursor() {
    let (_dir, store) = empty().await;
    let cursor = |seen| ServiceCursor {
        book: [5; 16],
        seen,
    };
    assert_eq!(store.service_cursor(PEER).await.expect("none"), None);
    let of_peer = |n| ServiceRecord {
        returned: true,
        ..service(PEER, OWN, 1, n)
    };
    let own = ServiceRecord {
        returned: true,
        ..service(OWN, PEER, 1, 1)
    };
    let signed = ServiceRecord {
        counter: Some(b"signed".to_vec()),
        ..of_peer(4)
    };
    let given = [
        of_peer(1),
        of_peer(2),
        of_peer(3),
        signed.clone(),
        own.clone(),
    ];
    for (seen, taken) in [(7, 4), (8, 0)] {
        let took = store.take_services(PEER, &given, cursor(seen), 2, 5).await;
        assert_eq!(took.expect("it is written"), taken);
        let read = store.service_cursor(PEER).await.expect("it answers");
        assert_eq!(read, Some(cursor(seen)));
    }
    let expected = [own.clone(), of_peer(1), of_peer(2), signed];
    assert_eq!(all(&store).await, expected);
    // It was written here all the same, only later.
    let written = ServiceRecord {
        returned: false,
        ..own
    };
    record_all(&store, std::slice::from_ref(&written)).await;
    assert_eq!(all(&store).await[0], written);
}
