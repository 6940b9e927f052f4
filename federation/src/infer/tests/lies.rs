//! The asking end against a server that lies: each lie is an error that says so, what came before it stands, and
//! nothing comes after it.

use kwaainet_core::{
    Backend, BackendError, Delta, EmbedRequest, Event, FinishReason, Tokenized, Usage,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::Link;

use super::super::wire::asks::Ask;
use super::super::wire::says::{
    Accept, Detokenized, End, Events, Reject, Say, Tokens, Vectors, say,
};
use super::super::wire::{event, list};
use super::harness::{Asker, EMBEDDER, MODEL, Pipes, Raw, collect, request};

fn events(seq: u64, events: Vec<Event>) -> say::Kind {
    let said = events
        .into_iter()
        .map(|e| event::write(e).expect("not the end"));
    say::Kind::Events(Events {
        seq,
        events: list::write(said),
    })
}

fn started() -> Event {
    Event::Started {
        prompt_tokens: 4,
        cached_tokens: 0,
    }
}

fn delta(choice: u32) -> Event {
    Event::Delta(Delta {
        choice,
        tokens: 1,
        text: "x".into(),
        ..Delta::default()
    })
}

fn finished() -> Event {
    Event::Finished {
        choice: 0,
        reason: FinishReason::Stop,
    }
}

fn end(completion_tokens: u32, cut: bool) -> say::Kind {
    say::Kind::End(End {
        usage: Some(event::write_usage(Usage {
            prompt_tokens: 4,
            cached_tokens: 0,
            completion_tokens,
        })),
        receipt: Vec::new(),
        cut,
    })
}

fn accept() -> say::Kind {
    say::Kind::Accept(Accept::default())
}

/// Says these frames to the next stream, whatever is asked.
async fn speak(calls: &mut mpsc::Receiver<Link>, frames: Vec<say::Kind>) -> Raw {
    let mut raw = Raw::from(calls.recv().await.expect("it is called"));
    raw.reader.next::<Ask>().await.expect("whole");
    for frame in frames {
        // A lie may end the stream before the next one is told.
        let _sent = raw.writer.send(&Say::from(frame)).await;
    }
    raw
}

#[tokio::test]
async fn a_lie_about_a_generation_ends_it_and_takes_nothing_back() {
    let good = || vec![accept(), events(0, vec![started(), delta(0)])];
    let with = |lie: Vec<say::Kind>| good().into_iter().chain(lie).collect::<Vec<_>>();
    let lies = [
        ("a frame twice", with(vec![events(0, vec![delta(0)])])),
        ("a frame left out", with(vec![events(2, vec![delta(0)])])),
        ("a second start", with(vec![events(1, vec![started()])])),
        (
            "a choice that is not there",
            with(vec![events(1, vec![delta(1)])]),
        ),
        (
            "more after the end of a choice",
            with(vec![events(1, vec![finished(), delta(0)])]),
        ),
        ("an end without the choice's", with(vec![end(1, false)])),
        (
            "a token too many",
            with(vec![events(1, vec![finished()]), end(2, false)]),
        ),
        (
            "a token too few",
            with(vec![events(1, vec![finished()]), end(0, false)]),
        ),
        ("a cut that nobody asked for", with(vec![end(1, true)])),
        (
            "an end without counts",
            with(vec![say::Kind::End(End::default())]),
        ),
        ("a second accept", with(vec![accept()])),
        (
            "a late refusal",
            with(vec![say::Kind::Reject(Reject::default())]),
        ),
        (
            "vectors",
            with(vec![say::Kind::Vectors(Vectors::default())]),
        ),
        (
            "no list of events",
            with(vec![say::Kind::Events(Events {
                seq: 1,
                events: vec![0xFF; 9],
            })]),
        ),
        (
            "too many events",
            with(vec![say::Kind::Events(Events {
                seq: 1,
                events: vec![0; 5_000],
            })]),
        ),
        (
            "a frame that is too long",
            with(vec![events(
                1,
                vec![Event::Delta(Delta {
                    text: "x".repeat(2 << 20),
                    ..Delta::default()
                })],
            )]),
        ),
    ];
    for (lie, frames) in lies {
        let (pipes, mut calls) = Pipes::new(4 << 20);
        let asker = Asker::new(pipes, Vec::new(), false);
        let (stream, raw) = tokio::join!(asker.start(request(None)), speak(&mut calls, frames));
        let all = collect(stream).await;
        let [Ok(first), Ok(second), rest @ .., Err(error)] = all.as_slice() else {
            panic!("{lie}: {all:?}");
        };
        let is_finish = |event| matches!(event, &Ok(Event::Finished { .. }));
        assert!(
            rest.len() <= 1 && rest.iter().all(is_finish),
            "{lie}: {all:?}"
        );
        assert_eq!((first, second), (&started(), &delta(0)), "{lie}");
        let BackendError::Upstream { reason } = error else {
            panic!("{lie}: {error:?}");
        };
        assert!(
            reason.starts_with("the peer 0202020202 "),
            "{lie}: {reason}"
        );
        drop(raw);
    }
}

#[tokio::test]
async fn nothing_comes_after_the_end() {
    let frames = vec![
        accept(),
        events(0, vec![started(), delta(0), finished()]),
        end(1, false),
        events(1, vec![delta(0)]),
        end(2, false),
    ];
    let (pipes, mut calls) = Pipes::new(1 << 16);
    let asker = Asker::new(pipes, Vec::new(), false);
    let (stream, _raw) = tokio::join!(asker.start(request(None)), speak(&mut calls, frames));
    let all = collect(stream).await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(matches!(all.last(), Some(Ok(Event::Done(usage))) if usage.completion_tokens == 1));
}

#[tokio::test]
async fn an_answer_that_is_none_is_a_refusal() {
    let answers = [
        vec![events(0, vec![started()])],
        vec![end(0, false)],
        vec![say::Kind::Reject(Reject::default())],
        vec![say::Kind::Reject(Reject {
            kind: 1,
            ..Reject::default()
        })],
    ];
    for frames in answers {
        let (pipes, mut calls) = Pipes::new(1 << 16);
        let asker = Asker::new(pipes, Vec::new(), false);
        let (refused, _raw) = tokio::join!(asker.refused(request(None)), speak(&mut calls, frames));
        assert!(refused.is_retryable(), "{refused}");
    }
    for bytes in [&[0, 0x20, 0, 0, 1][..], &[0, 0, 0, 2, 0xFF, 0xFF]] {
        let (pipes, mut calls) = Pipes::new(1 << 16);
        let asker = Asker::new(pipes, Vec::new(), false);
        let garbage = async {
            let mut link = calls.recv().await.expect("it is called");
            link.writer.write_all(bytes).await.expect("written");
            link
        };
        let (refused, _link) = tokio::join!(asker.refused(request(None)), garbage);
        assert!(
            matches!(refused, BackendError::Upstream { .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_lie_about_a_whole_answer_is_an_error() {
    let vectors = |seq, dimensions, values: usize| {
        say::Kind::Vectors(Vectors {
            seq,
            dimensions,
            values: vec![0; values],
        })
    };
    let usage = || end(0, false);
    let lies = [
        vec![accept(), vectors(1, 2, 16), usage()],
        vec![accept(), vectors(0, 2, 15), usage()],
        vec![accept(), vectors(0, 2, 8), usage()],
        vec![accept(), vectors(0, 2, 24), usage()],
        vec![accept(), vectors(0, 2, 8), vectors(1, 1, 8), usage()],
        vec![accept(), vectors(0, 0, 0), usage()],
        vec![accept(), vectors(0, 1 << 30, 16), usage()],
        vec![accept(), usage()],
        vec![accept(), vectors(0, 2, 16), end(0, true)],
        vec![accept(), vectors(0, 2, 16), accept()],
    ];
    for frames in lies {
        let (pipes, mut calls) = Pipes::new(1 << 16);
        let asker = Asker::new(pipes, Vec::new(), false);
        let two = ["a", "b"].map(|text| kwaainet_core::EmbedInput::Text(text.into()));
        let asked = asker.backend.embed(EmbedRequest {
            model: EMBEDDER.into(),
            inputs: two.to_vec(),
            dimensions: None,
        });
        let label = format!("{frames:?}");
        let (answer, _raw) = tokio::join!(asked, speak(&mut calls, frames));
        assert!(
            matches!(answer, Err(BackendError::Upstream { .. })),
            "{label}"
        );
    }
    let (pipes, mut calls) = Pipes::new(1 << 16);
    let asker = Asker::new(pipes, Vec::new(), false);
    let text = Tokenized::Text {
        text: "a".into(),
        add_special: true,
        parse_special: true,
    };
    let asked = asker.backend.tokenize(MODEL.into(), text);
    let wrong = say::Kind::Tokens(Tokens {
        seq: 3,
        ..Tokens::default()
    });
    let (answer, _raw) = tokio::join!(asked, speak(&mut calls, vec![accept(), wrong]));
    assert!(matches!(answer, Err(BackendError::Upstream { .. })));
    let asked = asker.backend.detokenize(MODEL.into(), vec![1]);
    let wrong = say::Kind::Detokenized(Detokenized {
        seq: 1,
        ..Detokenized::default()
    });
    let (answer, _raw) = tokio::join!(asked, speak(&mut calls, vec![accept(), wrong]));
    assert!(matches!(answer, Err(BackendError::Upstream { .. })));
}
