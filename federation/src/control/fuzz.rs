//! What is read of the control plane's bytes, for [`Family`](crate::fuzz::Family).

use prost::Message;

use super::described::{About, Described};
use super::refusal::Refusal;
use super::wire::{
    Answer, AnswerKind, Card, Frame, FrameKind, Hello, Kind, Leaving, Lost, Model, Ping, Pong,
    Power, Reason, Refused, Report, Welcome, WireIntroduced, WireLoad,
};
use crate::{PeerAddress, Seeded, Ticket};

/// The first message of whoever dials.
pub(crate) fn read_hello(bytes: &[u8]) {
    let Ok(hello) = Hello::decode(bytes) else {
        return;
    };
    let _spoken = hello.protocol();
    describe(hello.card.unwrap_or_default());
    if let Some(invitation) = hello.invitation {
        let _good = Ticket::open(&invitation);
    }
}

pub(crate) fn sample_hello(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let invitation = (random.below(2) == 0).then(|| vec![7; random.below(400) as usize]);
    let words = vec![vec![7; random.below(400) as usize]; random.below(3) as usize];
    Hello::of(card(&mut random), invitation, words).encode_to_vec()
}

/// What that is answered with.
pub(crate) fn read_answer(bytes: &[u8]) {
    match Answer::decode(bytes).map(|answer| answer.kind) {
        Ok(Some(AnswerKind::Welcome(welcome))) => describe(welcome.card.unwrap_or_default()),
        Ok(Some(AnswerKind::Refused(refused))) => {
            let reason = Reason::try_from(refused.reason).unwrap_or(Reason::Unknown);
            let words = Refusal::from(reason).words();
            assert_eq!(Refusal::of_words(words), Some(reason.into()));
        }
        _ => {}
    }
}

pub(crate) fn sample_answer(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let kind = Some(match random.below(3) {
        0 => AnswerKind::Refused(Refused {
            reason: random.below(10) as i32,
            known: random.draw(),
            instead: vec![WireIntroduced::default(); random.below(3) as usize],
        }),
        _ => AnswerKind::Welcome(Welcome {
            protocol: 1,
            card: Some(card(&mut random)),
        }),
    });
    Answer { kind }.encode_to_vec()
}

/// Everything after that.
pub(crate) fn read_frame(bytes: &[u8]) {
    match Frame::decode(bytes).map(|frame| frame.kind) {
        Ok(Some(FrameKind::Report(report))) => {
            let _still = report.still();
            let (load, models) = report.read();
            assert!(load.prefill_rate >= 0.0 && load.decode_rate >= 0.0);
            assert!(models.iter().all(|model| !model.id.as_str().is_empty()));
        }
        Ok(Some(FrameKind::Lost(lost))) => {
            let _which = lost.node();
        }
        _ => {}
    }
}

pub(crate) fn sample_frame(seed: u64) -> Vec<u8> {
    let mut random = Seeded::new(seed);
    let kind = match random.below(5) {
        0 => FrameKind::Ping(Ping {
            nonce: random.draw(),
            answer: Some(Pong {
                nonce: random.draw(),
                held_us: random.below(1_000),
            }),
        }),
        1 => FrameKind::Leaving(Leaving {
            gone: random.below(2) == 0,
        }),
        2 => FrameKind::Lost(Lost {
            node: vec![random.draw() as u8; 32],
            incarnation: random.draw(),
        }),
        _ => FrameKind::Report(report(&mut random)),
    };
    Frame::from(kind).encode_to_vec()
}

fn report(random: &mut Seeded) -> Report {
    let count = random.below(4);
    Report {
        load: Some(WireLoad {
            running: random.below(9) as u32,
            queued: random.draw() as u32,
            queued_prefill_tokens: random.draw(),
            free_pages: random.below(9),
            prefill_rate: f32::from_bits(random.draw() as u32),
            decode_rate: 40.0,
            tokens_out: random.draw(),
            epoch: 1,
            still_ms: random.below(2_000),
        }),
        models: (0..count)
            .map(|number| Model {
                id: format!("model-{number}"),
                kind: Kind::Generate.into(),
                context: Some(random.draw() as u32),
                created: random.draw() as i64,
                loaded: true,
                numerics: Some("kwaai-canonical/1".to_owned()),
                digest: Some(vec![3; 32]),
            })
            .collect(),
        power: (random.below(2) == 0).then(|| Power {
            grid: None,
            watts: Some(f32::from_bits(random.draw() as u32)),
        }),
    }
}

fn card(random: &mut Seeded) -> Card {
    let about = About {
        version: "1.2.3".to_owned(),
        region: Some("eu-west".to_owned()),
        price: Some(random.draw()),
        grid: None,
        watts: Some(f32::from_bits(random.draw() as u32)),
    };
    let address = PeerAddress {
        direct: vec![([10, 0, 0, random.draw() as u8], 4_433).into()],
        relay: Some("https://relay.example/".to_owned()),
    };
    Card::of(&about, random.draw(), &address)
}

/// Whatever a node says of itself is bounded, and can be said again.
fn describe(card: Card) {
    let described = Described::from(card);
    let about = &described.about;
    assert!(about.version.len() <= 64 && described.address.direct.len() <= 32);
    assert!(about.watts.is_none_or(f32::is_finite));
    let again = Card::of(about, described.incarnation, &described.address);
    let again = Described::from(again);
    assert_eq!((&again.about, &again.address), (about, &described.address));
}
