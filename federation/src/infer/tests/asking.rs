//! The asking end against a server that is slow, silent or gone.

use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{Backend, BackendError, Event, EventStream, Load, Place, Prompt};
use kwaainet_testkit::Script;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::{Link, PeerState};

use super::super::wire::asks::{Ask, ask};
use super::super::wire::says::{Accept, Progress, Say, say};
use super::harness::{Asker, Pipes, Raw, collect, pair, request};

/// An asker whose server is the test.
fn alone() -> (Asker, mpsc::Receiver<Link>) {
    let (pipes, calls) = Pipes::new(1 << 16);
    (Asker::new(pipes, Vec::new(), false), calls)
}

/// Takes the next stream and its opening.
async fn opened(calls: &mut mpsc::Receiver<Link>) -> Raw {
    let mut raw = Raw::from(calls.recv().await.expect("it is called"));
    let first = raw.reader.next::<Ask>().await.expect("whole");
    let kind = first.and_then(|ask| ask.kind);
    assert!(matches!(kind, Some(ask::Kind::Open(_))));
    raw
}

async fn say(raw: &mut Raw, kind: say::Kind) {
    raw.writer.send(&Say::from(kind)).await.expect("sent");
}

/// A stream that was accepted, and the server's end of it.
async fn accepted(asker: &Asker, calls: &mut mpsc::Receiver<Link>) -> (EventStream, Raw) {
    let serving = async {
        let mut raw = opened(calls).await;
        say(&mut raw, say::Kind::Accept(Accept::default())).await;
        raw
    };
    tokio::join!(asker.start(request(None)), serving)
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_after_a_second() {
    let (asker, mut calls) = alone();
    let began = Instant::now();
    let (refused, _raw) = tokio::join!(asker.refused(request(None)), opened(&mut calls));
    assert!(matches!(refused, BackendError::Timeout { .. }) && refused.is_retryable());
    assert!(began.elapsed() <= Duration::from_millis(1_200));

    let (mut events, _raw) = accepted(&asker, &mut calls).await;
    let began = Instant::now();
    let error = events.next().await.expect("an end");
    assert!(
        matches!(error, Err(BackendError::Timeout { .. })),
        "{error:?}"
    );
    assert!(began.elapsed() <= Duration::from_millis(1_200));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_long_request_gives_the_server_time_to_read_it_and_no_more() {
    let (pipes, mut calls) = Pipes::new(4 << 20);
    let asker = Asker::new(pipes, Vec::new(), false);
    let mut asked = request(None);
    asked.prompt = Prompt::Text("x".repeat(1 << 20));
    let serving = async {
        let mut raw = opened(&mut calls).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
        say(&mut raw, say::Kind::Accept(Accept::default())).await;
        raw
    };
    let (mut events, _raw) = tokio::join!(asker.start(asked), serving);
    let began = Instant::now();
    let error = events.next().await.expect("an end");
    assert!(matches!(error, Err(BackendError::Timeout { .. })));
    assert!(
        began.elapsed() <= Duration::from_millis(1_200),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_is_no_silence_but_a_frame_has_to_end() {
    for (pause, survives) in [(900, true), (1_100, false)] {
        let (pipes, mut calls) = Pipes::new(1 << 16);
        let asker = Asker::new(pipes, Vec::new(), false);
        let dripping = async {
            let mut link = calls.recv().await.expect("it is called");
            for byte in [0, 0, 0, 2, 10, 0] {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                let _sent = link.writer.write_all(&[byte]).await;
            }
            link
        };
        let asking = asker.backend.generate(request(None));
        let (started, _link) = tokio::join!(asking, dripping);
        assert_eq!(started.is_ok(), survives, "{pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_that_says_so_is_waited_for_but_not_for_ever() {
    let (asker, server) = pair(1 << 16, true);
    server.script.set(Script {
        delay: Duration::from_secs(7),
        ..Script::words(3)
    });
    let mut events = asker.start(request(None)).await;
    let mut all = 0;
    while let Some(event) = events.next().await {
        event.expect("it only takes long");
        all += 1;
    }
    assert_eq!(all, 1 + 3 + 1 + 1);

    let (asker, mut calls) = alone();
    let (mut events, mut raw) = accepted(&asker, &mut calls).await;
    let boring = async {
        let began = Instant::now();
        loop {
            let progress = Say::from(say::Kind::Progress(Progress::default()));
            if raw.writer.send(&progress).await.is_err() {
                return began.elapsed();
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    };
    let reading = async {
        let end = events.next().await;
        drop(events);
        end
    };
    let (end, took) = tokio::join!(reading, boring);
    assert!(matches!(end, Some(Err(BackendError::Timeout { .. }))));
    assert!(took > Duration::from_secs(1_700) && took < Duration::from_secs(1_900));
}

#[tokio::test]
async fn a_lost_stream_is_somebody_elses_chance() {
    let (asker, mut calls) = alone();
    let (refused, raw) = tokio::join!(asker.refused(request(None)), async {
        drop(opened(&mut calls).await)
    });
    assert!(matches!(refused, BackendError::Upstream { .. }) && refused.is_retryable());
    let () = raw;

    let (events, raw) = accepted(&asker, &mut calls).await;
    drop(raw);
    let all = collect(events).await;
    assert!(matches!(
        all.as_slice(),
        [Err(BackendError::Upstream { .. })]
    ));

    drop(calls);
    let refused = asker.refused(request(None)).await;
    assert!(refused.is_retryable(), "nobody is called");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_known_to_be_gone_is_not_waited_for() {
    type Change = fn(&mut crate::PeerView);
    let breaking: [Change; 4] = [
        |view| view.state = PeerState::Down,
        |view| view.state = PeerState::Wedged,
        |view| view.incarnation += 1,
        |view| view.node.0[0] ^= 1,
    ];
    for change in breaking {
        let (asker, mut calls) = alone();
        let (mut events, mut raw) = accepted(&asker, &mut calls).await;
        // What does not concern its stream does not break it.
        for state in [PeerState::Suspect, PeerState::Draining, PeerState::Alive] {
            asker.learn(|view| view.state = state);
            let waiting = tokio::time::timeout(Duration::from_millis(100), events.next());
            assert!(waiting.await.is_err(), "{state:?}");
            say(&mut raw, say::Kind::Progress(Progress::default())).await;
        }
        let began = Instant::now();
        asker.learn(change);
        let error = events.next().await.expect("an end").expect_err("a bad one");
        assert!(error.is_retryable(), "{error}");
        assert!(
            began.elapsed() <= Duration::from_millis(20),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn nobody_calls_a_peer_that_takes_no_work() {
    let (asker, mut calls) = alone();
    for state in [
        PeerState::Connecting,
        PeerState::Suspect,
        PeerState::Wedged,
        PeerState::Draining,
        PeerState::Down,
    ] {
        asker.learn(|view| view.state = state);
        assert!(asker.refused(request(None)).await.is_retryable());
        assert!(asker.backend.report().unavailable.is_some(), "{state:?}");
    }
    assert!(calls.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_distant_peer_is_called_and_left_alone_when_it_does_not_answer() {
    let (asker, mut calls) = alone();
    asker.learn(|view| view.state = PeerState::Distant);
    let is_free = || asker.backend.report().unavailable.is_none();
    assert!(is_free());
    let (events, _raw) = accepted(&asker, &mut calls).await;
    assert!(is_free(), "its own word decides");
    drop(events);
    let began = Instant::now();
    assert!(asker.refused(request(None)).await.is_retryable());
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(!is_free(), "it did not answer");
    asker.learn(|view| view.state = PeerState::Alive);
    assert!(is_free(), "a handshake counts more");
}

#[tokio::test]
async fn work_that_the_peer_did_not_report_yet_counts() {
    let (asker, mut calls) = alone();
    asker.learn(|view| view.facts.load.queued = 2);
    let (events, _raw) = accepted(&asker, &mut calls).await;
    let (more, _other) = accepted(&asker, &mut calls).await;
    let facts = |asker: &Asker| match asker.backend.report().place {
        Place::Peer(facts) => (facts.ours, facts.load.queued),
        _ => panic!("it is a peer"),
    };
    assert_eq!(facts(&asker), (2, 4));
    asker.learn(|view| {
        view.facts.load = Load {
            running: 2,
            ..Load::default()
        }
    });
    assert_eq!(facts(&asker), (2, 0), "the peer knows of them now");
    drop((events, more));
    assert_eq!(facts(&asker), (0, 0));
}

#[tokio::test]
async fn what_a_newer_server_says_besides_is_passed_over() {
    let (asker, mut calls) = alone();
    let (mut events, mut raw) = accepted(&asker, &mut calls).await;
    raw.writer.send(&Say { kind: None }).await.expect("sent");
    let started = super::super::wire::event::write(Event::Started {
        prompt_tokens: 4,
        cached_tokens: 0,
    });
    let unknown = super::super::wire::says::Event { kind: None };
    let frame = super::super::wire::says::Events {
        seq: 0,
        events: super::super::wire::list::write([unknown, started.expect("not the end")]),
    };
    say(&mut raw, say::Kind::Events(frame)).await;
    let first = events.next().await.expect("an event");
    assert!(matches!(first, Ok(Event::Started { .. })));
}
