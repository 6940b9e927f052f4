//! Bytes that somebody changed, at both ends of a stream: no panic, no hang, nothing kept. Each failure prints the
//! seed that makes it again. That every message is read or refused, [`Family`](crate::fuzz::Family) sees to.

use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{Backend, EmbedInput, EmbedRequest, Tier, Tokenized};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::wire::asks::{Ask, ask};
use super::super::wire::request;
use super::super::wire::says::{Say, say};
use super::harness::{
    Asker, CONTEXT, EMBEDDER, MODEL, Pipes, SOON, Server, link, request as asked,
};
use super::samples::{self, Dice};
use crate::fuzz::mutate;

fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend(message);
    frame
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
        mutate(&mut || dice.number(), &mut bytes);
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
            let mut frame = framed(&Say::from(dice.say()).encode_to_vec());
            if dice.coin() {
                mutate(&mut || dice.number(), &mut frame);
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
