//! Bytes that somebody changed, everywhere where bytes come in: no panic, no hang, nothing kept. Each failure
//! prints the seed that makes it again.

use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{Backend, EmbedInput, EmbedRequest, Tier, Tokenized};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::wire::asks::{Ask, ask};
use super::super::wire::refusal::{self, Refusal};
use super::super::wire::says::{self, Say, say};
use super::super::wire::{error, event, list, request};
use super::harness::{
    Asker, CONTEXT, EMBEDDER, MODEL, Pipes, SOON, Server, link, request as asked,
};
use super::samples::{self, Dice};

/// Changes a few bytes, cuts, doubles or adds some.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() as u64 + 1) as usize;
        match dice.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, dice.number() as u8),
            2 => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece.into_iter().take(64));
            }
            _ if bytes.is_empty() => {}
            _ => {
                let at = at.min(bytes.len() - 1);
                bytes[at] ^= 1 << dice.below(8);
            }
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

fn any_say(dice: &mut Dice) -> say::Kind {
    let usage = says::Usage {
        prompt_tokens: 4,
        cached_tokens: 0,
        completion_tokens: dice.below(3) as u32,
    };
    match dice.below(9) {
        0 => say::Kind::Accept(says::Accept::default()),
        1 => say::Kind::Reject(refusal::write(Refusal::Draining, None)),
        2 => say::Kind::Progress(says::Progress::default()),
        3 | 4 => {
            let made: Vec<_> = (0..dice.below(4)).map(|_| dice.event()).collect();
            let said = made.into_iter().map(|e| event::write(e).expect("no end"));
            say::Kind::Events(says::Events {
                seq: dice.below(2),
                events: list::write(said),
            })
        }
        5 => say::Kind::Vectors(says::Vectors {
            seq: dice.below(2),
            dimensions: 2,
            values: vec![0; 8],
        }),
        6 => say::Kind::Tokens(says::Tokens {
            seq: dice.below(2),
            context: 9,
            ids: vec![1, 2],
        }),
        7 => say::Kind::End(says::End {
            usage: Some(usage),
            receipt: vec![1],
            cut: dice.coin(),
        }),
        _ => say::Kind::Failed(says::Failed {
            error: Some(error::write(kwaainet_core::BackendError::Internal(
                "x".into(),
            ))),
            receipt: vec![1],
        }),
    }
}

#[test]
fn changed_messages_are_read_or_refused() {
    let mut read = 0_u32;
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let open = request::write(dice.request());
        let mut bytes = Ask::from(ask::Kind::Open(open.into())).encode_to_vec();
        mutate(&mut dice, &mut bytes);
        if let Ok(Ask {
            kind: Some(ask::Kind::Open(open)),
        }) = Ask::decode(bytes.as_slice())
            && let Ok(request) = request::read(*open)
        {
            // Whatever was let in can be written and is let in again.
            let again = request::read(request::write(request));
            assert!(again.is_ok(), "seed {seed}: {again:?}");
            read += 1;
        }
        let mut bytes = Say::from(any_say(&mut dice)).encode_to_vec();
        mutate(&mut dice, &mut bytes);
        match Say::decode(bytes.as_slice()).map(|say| say.kind) {
            Ok(Some(say::Kind::Events(events))) => {
                let events = list::read::<says::Event>(&events.events, 1_024, "events");
                for said in events.into_iter().flatten() {
                    let _known = event::read(said);
                }
            }
            Ok(Some(say::Kind::Reject(reject))) => {
                let _known = refusal::read(reject, &[]);
            }
            Ok(Some(say::Kind::Failed(failed))) => {
                let _known = failed.error.map(|failed| error::read(failed, &[]));
            }
            _ => {}
        }
    }
    assert!(
        read > 500,
        "{read}: the changes are too rough to test anything"
    );
}

#[tokio::test]
async fn a_server_outlives_changed_openings() {
    let mut server = Server::new(CONTEXT);
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut wanted = match dice.coin() {
            true => samples::generation(),
            false => dice.request(),
        };
        wanted.digest = None;
        wanted.numerics = None;
        let open = request::write(wanted);
        let mut bytes = framed(&Ask::from(ask::Kind::Open(open.into())).encode_to_vec());
        mutate(&mut dice, &mut bytes);
        let (mut near, far) = link(1 << 16);
        server.take(far, Tier::T3);
        near.writer.write_all(&bytes).await.expect("there is room");
        // The server sees the end and has nobody to wait for.
        drop(near.writer);
        let mut said = Vec::new();
        let reading = near.reader.read_to_end(&mut said);
        let read = tokio::time::timeout(SOON, reading).await;
        assert!(read.is_ok(), "seed {seed}: it hangs");
    }
    server.rests().await;
}

#[tokio::test(start_paused = true)]
async fn an_asker_outlives_changed_answers() {
    for seed in 0..1_000 {
        let mut dice = Dice(seed);
        let (pipes, mut calls) = Pipes::new(1 << 20);
        let asker = Asker::new(pipes, Vec::new(), seed % 2 == 0);
        let mut bytes = framed(&Say::from(say::Kind::Accept(Default::default())).encode_to_vec());
        for _ in 0..=dice.below(5) {
            let mut frame = framed(&Say::from(any_say(&mut dice)).encode_to_vec());
            if dice.coin() {
                mutate(&mut dice, &mut frame);
            }
            bytes.extend(frame);
        }
        let answering = async {
            let mut link = calls.recv().await.expect("it is called");
            link.writer.write_all(&bytes).await.expect("there is room");
            link
        };
        let asking = async {
            match seed % 4 {
                0 => {
                    let text = EmbedInput::Text("x".into());
                    let embedding = asker.backend.embed(EmbedRequest {
                        model: EMBEDDER.into(),
                        inputs: vec![text],
                        dimensions: None,
                    });
                    let _answer = embedding.await;
                }
                1 => {
                    let text = Tokenized::Text {
                        text: "x".into(),
                        add_special: false,
                        parse_special: false,
                    };
                    let _answer = asker.backend.tokenize(MODEL.into(), text).await;
                }
                _ => {
                    if let Ok(events) = asker.backend.generate(asked(None)).await {
                        let _all: Vec<_> = events.collect().await;
                    }
                }
            }
        };
        // Silence after the last frame ends it at the latest.
        let both = async { tokio::join!(asking, answering) };
        let ended = tokio::time::timeout(Duration::from_secs(5), both).await;
        assert!(ended.is_ok(), "seed {seed}: it hangs");
    }
}
