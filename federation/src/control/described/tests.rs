use prost::Message;

use super::*;
use crate::Seeded;
use crate::control::wire::{Answer, Frame, FrameKind, Hello};

fn about() -> About {
    About {
        version: "0.1.0".into(),
        region: Some("eu-west".into()),
        price: Some(12),
        grid: Some(GridIntensity {
            g_per_kwh: 381.5,
            evidence: GridEvidence::Yearly,
        }),
        watts: Some(65.0),
    }
}

fn candidate(model: &str, place: Place) -> Candidate {
    Candidate {
        backend: "local".into(),
        model: ModelFacts {
            id: model.into(),
            kind: ModelKind::Generate,
            context: Some(4096),
            created: 17,
            loaded: true,
            numerics: Some(Numerics::of("kwaai-canonical/1")),
            digest: Some(ModelDigest([7; 32])),
        },
        unavailable: None,
        place,
        load: Some(Load {
            running: 3,
            queued: 2,
            queued_prefill_tokens: 900,
            free_pages: 77,
            prefill_rate: 812.5,
            decode_rate: 21.25,
            tokens_out: 123_456,
            epoch: 42,
        }),
    }
}

fn snapshot(candidates: Vec<Candidate>) -> Snapshot {
    Snapshot {
        candidates,
        ..Snapshot::default()
    }
}

#[test]
fn what_a_node_says_of_itself_arrives() {
    let address = PeerAddress {
        direct: vec![
            "10.0.0.1:7".parse().expect("an address"),
            "[fd00::1]:8".parse().expect("an address"),
        ],
        relay: Some("https://relay.example/".into()),
    };
    let card = Card::of(&about(), 99, &address);
    let read = Card::decode(card.encode_to_vec().as_slice()).expect("a card");
    let described = Described {
        about: about(),
        incarnation: 99,
        serves: true,
        address,
    };
    assert_eq!(Described::from(read), described);
}

#[test]
fn only_what_is_computed_here_is_offered() {
    let mut full = candidate("full", Place::Here);
    full.unavailable = Some("it burns".into());
    let own = snapshot(vec![
        candidate("mine", Place::Here),
        candidate("mine", Place::Here),
        candidate("bought", Place::Upstream),
        full,
    ]);
    let report = Report::of(&own);
    let read = Report::decode(report.encode_to_vec().as_slice()).expect("a report");
    let (load, models) = read.read();
    assert_eq!(models, [candidate("mine", Place::Here).model]);
    assert_eq!(Some(load), candidate("mine", Place::Here).load);
    assert_eq!(Report::of(&Snapshot::default()), Report::default());
}

#[test]
fn a_node_that_withholds_itself_offers_nothing() {
    let mut own = snapshot(vec![candidate("mine", Place::Here)]);
    own.here.withholds = Some("it runs on battery");
    let report = Report::of(&own);
    assert_eq!(report.models, []);
    assert!(report.load.is_some(), "it is there all the same");
}

#[test]
fn what_power_costs_is_as_new_as_the_report() {
    let mut own = snapshot(Vec::new());
    own.here.grid = Some(GridIntensity {
        g_per_kwh: 41.5,
        evidence: GridEvidence::Live,
    });
    let report = Report::of(&own);
    let read = Report::decode(report.encode_to_vec().as_slice()).expect("a report");
    let mut known = about();
    known.told(read.power);
    let expected = About {
        grid: own.here.grid,
        ..about()
    };
    assert_eq!(known, expected, "the watts stay what they were");
    known.told(None);
    assert_eq!(known, expected);
    known.told(Some(Power {
        grid: Some(Grid {
            g_per_kwh: f32::INFINITY,
            evidence: 3,
        }),
        watts: Some(-1.0),
    }));
    assert_eq!(known, expected, "odd values count as unsaid");
}

#[test]
fn several_backends_are_added_up() {
    let mut other = candidate("other", Place::Here);
    other.backend = "second".into();
    let own = snapshot(vec![candidate("mine", Place::Here), other]);
    let (load, models) = Report::of(&own).read();
    assert_eq!(
        (load.running, load.queued, load.tokens_out),
        (6, 4, 246_912)
    );
    assert_eq!(models.len(), 2);
}

#[test]
fn a_report_of_very_many_models_fits_its_frame() {
    let name = |n: usize| format!("{n:0>200}");
    let mut candidates: Vec<_> = (0..500).map(|n| candidate(&name(n), Place::Here)).collect();
    candidates.push(candidate(&"x".repeat(201), Place::Here));
    let report = Report::of(&snapshot(candidates));
    assert_eq!(report.models.len(), MODELS_MAX);
    let frame = Frame::from(FrameKind::Report(report));
    assert!(frame.encoded_len() < crate::control::session::FRAME_MAX);
}

#[test]
fn odd_values_count_as_unsaid() {
    let odd = Card {
        incarnation: 1,
        version: "x".repeat(65),
        capabilities: vec!["dance/1".into()],
        region: Some("a b".into()),
        price: Some(1),
        grid: Some(Grid {
            g_per_kwh: f32::NAN,
            evidence: 1,
        }),
        watts: Some(-1.0),
        direct: vec!["nowhere".into(), "10.0.0.1:7".into()],
        relay: Some("a\nb".into()),
    };
    let described = Described::from(odd);
    assert_eq!(
        described.about,
        About {
            price: Some(1),
            ..About::default()
        }
    );
    assert!(!described.serves);
    assert_eq!(described.address.direct.len(), 1);
    assert_eq!(described.address.relay, None);
    let grid = Some(Grid {
        g_per_kwh: 1.0,
        evidence: 77,
    });
    let later = Card {
        grid,
        ..Card::default()
    };
    assert_eq!(Described::from(later).about.grid, None);
}

/// Everything that a peer can say becomes something bounded that makes sense.
fn check(card: Card, report: Report) {
    let described = Described::from(card);
    let about = &described.about;
    assert!(about.version.len() <= WORD_MAX);
    assert!(about.region.iter().all(|region| region.len() <= WORD_MAX));
    assert!(
        about
            .watts
            .iter()
            .all(|watts| watts.is_finite() && *watts >= 0.0)
    );
    let grid = about.grid.map(|grid| grid.g_per_kwh);
    assert!(grid.iter().all(|grams| grams.is_finite() && *grams >= 0.0));
    assert!(described.address.direct.len() <= ADDRESSES_MAX);
    let (load, models) = report.read();
    assert!(models.len() <= MODELS_MAX);
    for model in models {
        assert!((1..=NAME_MAX).contains(&model.id.as_str().len()));
        assert!(model.numerics.iter().all(|n| n.0.len() <= WORD_MAX));
    }
    for rate in [load.prefill_rate, load.decode_rate] {
        assert!(rate.is_finite() && rate >= 0.0);
    }
    let sums = [load.queued_prefill_tokens, load.free_pages]
        .iter()
        .sum::<u64>();
    assert!(sums <= 1 << 41);
}

fn specimens() -> Vec<Vec<u8>> {
    use crate::control::wire::{AnswerKind, Leaving, Ping, Pong, Reason, Refused, Welcome};
    let card = Card::of(&about(), 99, &PeerAddress::default());
    let report = Report::of(&snapshot(vec![
        candidate("mine", Place::Here),
        candidate("other", Place::Here),
    ]));
    let welcome = AnswerKind::Welcome(Welcome {
        protocol: 1,
        card: Some(card.clone()),
    });
    let refused = AnswerKind::Refused(Refused::because(Reason::Full));
    let answer = |kind| Answer { kind: Some(kind) }.encode_to_vec();
    let frames = [
        FrameKind::Ping(Ping {
            nonce: 7,
            answer: Some(Pong {
                nonce: 8,
                held_us: 9,
            }),
        }),
        FrameKind::Report(report),
        FrameKind::Leaving(Leaving { gone: true }),
        FrameKind::Lost(Lost::of(NodeId([3; 32]), 9)),
    ];
    let frames = frames.map(|kind| Frame::from(kind).encode_to_vec());
    let hello = Hello::of(card, Some(vec![1; 50]), Vec::new()).encode_to_vec();
    [
        vec![hello, answer(welcome), answer(refused)],
        frames.to_vec(),
    ]
    .concat()
}

/// Some bytes changed, left out, doubled or added.
fn mutated(bytes: &[u8], random: &mut Seeded) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let byte = random.draw() as u8;
        match random.below(5) {
            0 => bytes.insert(at, byte),
            1 => bytes.truncate(at),
            2 => bytes.extend_from_within(at..),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = byte,
            _ => {}
        }
    }
    bytes
}

#[test]
fn no_change_of_a_message_does_harm() {
    let specimens = specimens();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..40_000 {
        let mut random = Seeded::new(seed);
        let specimen = &specimens[random.below(specimens.len() as u64) as usize];
        let bytes = mutated(specimen, &mut random);
        let outcome = std::panic::catch_unwind(|| {
            let mut good = 0;
            // Whatever it was, it may be taken for anything.
            if let Ok(hello) = Hello::decode(bytes.as_slice()) {
                good += 1;
                assert!(hello.protocol().is_none_or(|protocol| protocol == 1));
                check(hello.card.unwrap_or_default(), Report::default());
            }
            if let Ok(answer) = Answer::decode(bytes.as_slice()) {
                good += 1;
                drop(format!("{answer:?}"));
            }
            if let Ok(frame) = Frame::decode(bytes.as_slice()) {
                good += 1;
                match frame.kind {
                    Some(FrameKind::Report(report)) => check(Card::default(), report),
                    Some(FrameKind::Lost(lost)) => drop(lost.node()),
                    _ => {}
                }
            }
            good
        });
        let good = outcome.unwrap_or_else(|_| panic!("the seed is {seed}"));
        read += good;
        refused += 3 - good;
    }
    assert!(
        read > 5_000 && refused > 5_000,
        "{read} read, {refused} refused"
    );
}
