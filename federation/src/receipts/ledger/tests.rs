use super::*;
use crate::receipts::tests::{place, service};

struct Node {
    ledger: Ledger,
    entries: mpsc::Receiver<Entry>,
}

impl Node {
    fn new() -> Self {
        Self::of(NodeKey::generate(), 1_000, Vec::new())
    }

    fn of(key: NodeKey, chain: u64, last: Vec<SignedReceipt>) -> Self {
        let (sender, entries) = mpsc::channel(4_096);
        let ledger = Ledger::new(key, chain, last, sender);
        Self { ledger, entries }
    }

    /// The receipt of a stream that was never checkpointed.
    fn serves(&self, asker: NodeId, service: Service) -> Vec<u8> {
        self.ledger.served(asker, self.turn(asker), service)
    }

    fn turn(&self, asker: NodeId) -> Turn {
        let stream = self.ledger.begin(asker);
        Turn {
            stream,
            revision: 1,
        }
    }

    fn id(&self) -> NodeId {
        self.ledger.key.id()
    }

    fn written(&mut self) -> Vec<Entry> {
        std::iter::from_fn(|| self.entries.try_recv().ok()).collect()
    }

    fn kept(&mut self) -> Vec<KeptReceipt> {
        let kept = |entry| match entry {
            Entry::Receipt(kept) => Some(*kept),
            Entry::Counter { .. } | Entry::Claim(_) => None,
        };
        self.written().into_iter().filter_map(kept).collect()
    }
}

fn open(bytes: &[u8]) -> SignedReceipt {
    SignedReceipt::open(bytes).expect("it is good")
}

#[test]
fn both_sides_keep_the_same_once() {
    let (mut server, mut asker) = (Node::new(), Node::new());
    for request in 0..5 {
        let receipt = server.serves(asker.id(), service(request));
        let mut seen = service(request);
        // What an asker cannot know.
        seen.energy_mj = 0;
        seen.energy_method = "none";
        (seen.began_ms, seen.duration_ms) = (7, 7);
        let counter = asker.ledger.received(server.id(), &receipt, &seen);
        let counter = counter.expect("it is right");
        let again = asker.ledger.received(server.id(), &receipt, &seen);
        assert_eq!(again.as_ref(), Ok(&counter));
        let back = server.ledger.countersigned(asker.id(), &receipt, &counter);
        assert_eq!(back, Ok(()));
    }
    let kept = asker.kept();
    let of_server = server.written();
    assert_eq!((kept.len(), of_server.len()), (5, 10));
    let mut previous = [0; 32];
    for (number, kept) in (1..).zip(&kept) {
        assert_eq!(kept.receipt.place.link(), Some((number, previous)));
        previous = kept.receipt.hash();
        let own = KeptReceipt {
            counter: None,
            ..kept.clone()
        };
        assert!(of_server.contains(&Entry::Receipt(Box::new(own))));
        assert!(of_server.contains(&Entry::Counter {
            hash: previous,
            counter: kept.counter.clone().expect("countersigned"),
        }));
    }
}

#[test]
fn what_the_asker_did_not_see_is_not_countersigned() {
    let (server, mut asker) = (Node::new(), Node::new());
    let receipt = server.serves(asker.id(), service(1));
    type Change = fn(&mut Service);
    let changes: [(&str, Change); 8] = [
        ("request", |s| s.request[0] += 1),
        ("question", |s| s.request_hash[0] += 1),
        ("model", |s| s.model = None),
        ("prompt", |s| s.usage.prompt_tokens += 1),
        ("cached", |s| s.usage.cached_tokens += 1),
        ("answer", |s| s.usage.completion_tokens -= 1),
        ("answer", |s| s.transcript_hash[0] += 1),
        ("end", |s| s.complete = false),
    ];
    for (word, change) in changes {
        let mut seen = service(1);
        change(&mut seen);
        let error = asker.ledger.received(server.id(), &receipt, &seen);
        let error = error.expect_err("it differs").to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(asker.kept().is_empty());
}

#[test]
fn nobody_signs_for_another() {
    let (server, asker, third) = (Node::new(), Node::new(), Node::new());
    let receipt = server.serves(asker.id(), service(1));
    let seen = service(1);
    assert!(asker.ledger.received(third.id(), &receipt, &seen).is_err());
    assert!(third.ledger.received(server.id(), &receipt, &seen).is_err());
    let counter = asker.ledger.received(server.id(), &receipt, &seen);
    let counter = counter.expect("it is right");
    let (a, t) = (asker.id(), third.id());
    assert!(server.ledger.countersigned(t, &receipt, &counter).is_err());
    assert!(third.ledger.countersigned(a, &receipt, &counter).is_err());
    assert!(server.ledger.countersigned(a, &receipt, &receipt).is_err());
}

#[test]
fn receipts_may_come_in_any_order_and_with_gaps() {
    let (server, mut asker) = (Node::new(), Node::new());
    let receipts: Vec<_> = (0..6)
        .map(|request| server.serves(asker.id(), service(request)))
        .collect();
    for at in [5, 0, 3, 2, 1] {
        let seen = service(at as u8);
        let taken = asker.ledger.received(server.id(), &receipts[at], &seen);
        taken.expect("it is right");
    }
    assert_eq!(asker.kept().len(), 5);
}

#[test]
fn a_chain_has_one_receipt_for_a_number_and_no_forks() {
    let key = NodeKey::generate();
    let mut asker = Node::new();
    let sign = |number, previous, request: u8| {
        let mut place = place(1, number, previous);
        place.stream = request.into();
        SignedReceipt::sign(&key, asker.ledger.key.id(), place, service(request))
    };
    let first = sign(1, [0; 32], 1);
    let second = sign(2, first.hash(), 2);
    let fork = sign(2, first.hash(), 3);
    let loose = sign(3, fork.hash(), 4);
    let before = sign(1, [9; 32], 5);
    let take = |receipt: &SignedReceipt| {
        let request = receipt.service.request[0];
        asker
            .ledger
            .received(key.id(), receipt.as_bytes(), &service(request))
    };
    take(&second).expect("it is right");
    assert!(take(&fork).expect_err("a fork").0.contains("same number"));
    assert!(take(&loose).expect_err("a fork").0.contains("before"));
    assert!(take(&before).expect_err("a fork").0.contains("after"));
    take(&first).expect("it is right");
    assert_eq!(asker.kept().len(), 2);
}

#[test]
fn after_a_restart_a_new_chain_goes_on_from_the_last_one_kept() {
    let mut server = Node::new();
    let mut asker = Node::new();
    let known = open(&server.serves(asker.id(), service(1)));
    let unwritten = server.serves(asker.id(), service(2));
    let took = asker.ledger.received(server.id(), &unwritten, &service(2));
    took.expect("it is right");
    server = Node::of(server.ledger.key.clone(), 1_001, vec![known.clone()]);
    let next = server.serves(asker.id(), service(3));
    let took = asker.ledger.received(server.id(), &next, &service(3));
    took.expect("it is right");
    let place = open(&next).place;
    assert!(place.chain > known.place.chain);
    assert_eq!(place.link(), Some((1, known.hash())));

    // The asker remembers over its own restart, too.
    let last = asker.kept().pop().expect("it was kept").receipt;
    asker = Node::of(asker.ledger.key.clone(), 10, vec![last]);
    let took = asker.ledger.received(server.id(), &next, &service(3));
    took.expect("it is right");
    assert!(asker.kept().is_empty());
}

#[test]
fn what_is_remembered_is_bounded() {
    let (server, mut asker) = (Node::new(), Node::new());
    let receipt = |_| server.serves(asker.ledger.key.id(), service(1));
    let receipts: Vec<_> = (0..=REMEMBERED).map(receipt).collect();
    let take = |receipt: &Vec<u8>| {
        let taken = asker.ledger.received(server.id(), receipt, &service(1));
        taken.expect("it is right");
    };
    receipts.iter().for_each(take);
    // The last one is known, the first one is forgotten.
    take(&receipts[REMEMBERED]);
    take(&receipts[0]);
    assert_eq!(asker.kept().len(), REMEMBERED + 2);
}

#[test]
fn a_full_channel_is_counted_and_holds_nobody_up() {
    let (sender, _entries) = mpsc::channel(1);
    let ledger = Ledger::new(NodeKey::generate(), 1, Vec::new(), sender);
    let asker = NodeKey::generate().id();
    let turn = |stream| Turn {
        stream,
        revision: 1,
    };
    let receipts: Vec<_> = (0..3)
        .map(|n| ledger.served(asker, turn(n.into()), service(n)))
        .collect();
    assert_eq!(ledger.lost(), 2);
    let link = open(&receipts[2]).place.link();
    assert_eq!(link.map(|(number, _)| number), Some(3));
}

#[test]
fn checkpoints_of_a_stream_come_before_its_end_and_are_in_no_chain() {
    let (mut server, mut asker) = (Node::new(), Node::new());
    let other = server.turn(asker.id());
    let turn = server.turn(asker.id());
    assert_ne!(turn.stream, other.stream);
    let mut seen = service(1);
    seen.complete = false;
    let mut said = Vec::new();
    for revision in 1..=3 {
        seen.usage.completion_tokens += 5;
        let checkpoint =
            server
                .ledger
                .checkpoint(asker.id(), Turn { revision, ..turn }, seen.clone());
        let counter = asker.ledger.checkpointed(server.id(), &checkpoint, &seen);
        let counter = counter.expect("it is right");
        let back = server
            .ledger
            .countersigned(asker.id(), &checkpoint, &counter);
        assert_eq!(back, Ok(()));
        assert!(
            asker
                .ledger
                .received(server.id(), &checkpoint, &seen)
                .is_err()
        );
        said.push(open(&checkpoint));
    }
    let revision = 4;
    let last = server
        .ledger
        .served(asker.id(), Turn { revision, ..turn }, service(1));
    assert!(
        asker
            .ledger
            .checkpointed(server.id(), &last, &service(1))
            .is_err()
    );
    let counter = asker.ledger.received(server.id(), &last, &service(1));
    counter.expect("it is right");
    let kept = asker.kept();
    let revisions: Vec<_> = kept.iter().map(|k| k.receipt.place.revision).collect();
    assert_eq!(revisions, [1, 2, 3, 4]);
    assert!(kept.iter().all(|kept| kept.counter.is_some()));
    assert_eq!(open(&last).place.link(), Some((1, [0; 32])));
    assert!(said.iter().all(|said| said.place.link().is_none()));

    // A server that goes on after its end, or ends twice.
    let late = Place {
        revision: 5,
        ..said[0].place
    };
    let key = &server.ledger.key;
    let late = SignedReceipt::sign(key, asker.id(), late, seen.clone());
    let late = asker
        .ledger
        .checkpointed(server.id(), late.as_bytes(), &seen);
    assert!(late.expect_err("it is over").0.contains("end"));
    let mut twice = place(1_000, 2, open(&last).hash());
    twice.stream = turn.stream;
    let twice = SignedReceipt::sign(key, asker.id(), twice, service(1));
    let twice = asker
        .ledger
        .received(server.id(), twice.as_bytes(), &service(1));
    assert!(twice.expect_err("it is over").0.contains("end"));
    assert_eq!(server.written().len(), 7);
}
