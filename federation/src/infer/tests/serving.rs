//! The serving end against an asker that asks for what it may not have, or does not ask at all.

use std::sync::Arc;
use std::time::Duration;

use kwaainet_core::{
    BackendError, ModelDigest, NodeId, Numerics, Place, Principal, Resume, Snapshot, Tier,
};
use kwaainet_testkit::{Fault, Script};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::super::wire::asks::{Ask, Cancel, ask};
use super::super::wire::refusal::{self, Refusal};
use super::super::wire::request;
use super::super::wire::says::{Say, say};
use super::harness::{CONTEXT, Raw, SOON, Server, link};
use super::samples;

/// An opening that would be accepted.
fn good() -> Ask {
    ask::Kind::Open(request::write(samples::generation()).into()).into()
}

fn changed(change: impl FnOnce(&mut super::super::wire::asks::Open)) -> Ask {
    let mut open = request::write(samples::generation());
    change(&mut open);
    ask::Kind::Open(open.into()).into()
}

/// The first frame that says anything.
async fn answer(raw: &mut Raw) -> Option<say::Kind> {
    loop {
        let said = timeout(SOON, raw.reader.next::<Say>()).await.expect("soon");
        match said.expect("whole")?.kind? {
            say::Kind::Progress(_) => {}
            kind => return Some(kind),
        }
    }
}

async fn asked(server: &Server, ask: Ask) -> Option<say::Kind> {
    let (near, far) = link(1 << 16);
    server.take(far, Tier::T1);
    let mut raw = Raw::from(near);
    raw.writer.send(&ask).await.expect("sent");
    answer(&mut raw).await
}

async fn refused(server: &Server, ask: Ask) -> Refusal {
    match asked(server, ask).await {
        Some(say::Kind::Reject(reject)) => refusal::read(reject, &[]).expect("it makes sense").0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_what_is_served_here_is_served() {
    let server = Server::new(CONTEXT);
    assert!(matches!(
        asked(&server, good()).await,
        Some(say::Kind::Accept(_))
    ));
    let strange = [
        changed(|open| open.model = "nobody's".into()),
        changed(|open| open.digest = Some(vec![7; 32])),
        changed(|open| open.numerics = Some("other/1".into())),
    ];
    for ask in strange {
        assert_eq!(refused(&server, ask).await, Refusal::UnknownModel);
    }
    let known = |snapshot: &mut Arc<Snapshot>, place: Place| {
        let mut new = Snapshot::clone(snapshot);
        for candidate in &mut new.candidates {
            candidate.model.digest = Some(ModelDigest([7; 32]));
            candidate.model.numerics = Some(Numerics::of("other/1"));
            candidate.place = place.clone();
        }
        *snapshot = Arc::new(new);
    };
    server.snapshot.send_modify(|all| known(all, Place::Here));
    let exact = changed(|open| {
        open.digest = Some(vec![7; 32]);
        open.numerics = Some("other/1".into());
    });
    assert!(matches!(
        asked(&server, exact).await,
        Some(say::Kind::Accept(_))
    ));
    server
        .snapshot
        .send_modify(|all| known(all, Place::Upstream));
    assert_eq!(refused(&server, good()).await, Refusal::UnknownModel);
}

#[tokio::test]
async fn whoever_is_no_peer_and_whoever_comes_too_late_is_turned_away() {
    let server = Server::new(CONTEXT);
    let (near, far) = link(1 << 16);
    server.door.serve(Principal::operator(), far).await;
    let mut raw = Raw::from(near);
    assert!(matches!(raw.reader.next::<Say>().await, Ok(None)));

    server.hall.admission().drain();
    assert_eq!(refused(&server, good()).await, Refusal::Draining);
}

#[tokio::test]
async fn a_busy_server_says_so_at_once() {
    let server = Server::new(CONTEXT);
    let wait = Duration::from_secs(3);
    server.script.set(Script::busy(wait));
    let Refusal::Backend(BackendError::Busy { retry_after, .. }) = refused(&server, good()).await
    else {
        panic!("it is busy");
    };
    assert_eq!(retry_after, wait);
}

#[tokio::test]
async fn what_a_door_would_not_let_in_is_not_let_in_here() {
    type Change = fn(&mut super::super::wire::asks::Generate);
    let changes: [Change; 14] = [
        |g| g.params.as_mut().expect("there").n = 0,
        |g| g.params.as_mut().expect("there").n = 129,
        |g| g.params.as_mut().expect("there").max_tokens = Some(0),
        |g| g.params.as_mut().expect("there").logprobs = Some(21),
        |g| g.params.as_mut().expect("there").priority = 9,
        |g| g.params.as_mut().expect("there").stop = vec![0; 65],
        |g| g.params.as_mut().expect("there").sampling = None,
        |g| {
            let sampling = g.params.as_mut().and_then(|p| p.sampling.as_mut());
            sampling.expect("there").temperature = f32::NAN.to_bits();
        },
        |g| {
            let sampling = g.params.as_mut().and_then(|p| p.sampling.as_mut());
            sampling.expect("there").top_p = 1.5_f32.to_bits();
        },
        |g| {
            let sampling = g.params.as_mut().and_then(|p| p.sampling.as_mut());
            sampling.expect("there").biased = vec![1];
        },
        |g| g.params = None,
        |g| g.prompt = None,
        |g| {
            g.resume = Some(super::super::wire::asks::Resume {
                choices: Vec::new(),
            });
        },
        |g| {
            let too_long = super::super::wire::asks::Ids { ids: vec![1; 99] };
            g.resume = Some(super::super::wire::asks::Resume {
                choices: super::super::wire::list::write([too_long]),
            });
        },
    ];
    let server = Server::new(CONTEXT);
    for (number, change) in changes.into_iter().enumerate() {
        let ask = changed(|open| match &mut open.work {
            Some(super::super::wire::asks::open::Work::Generate(generate)) => change(generate),
            _ => panic!("it is a generation"),
        });
        let refusal = refused(&server, ask).await;
        let Refusal::Backend(error) = &refusal else {
            panic!("{number}: {refusal:?}");
        };
        assert!(error.is_retryable(), "{number}: another node may do it");
    }
    let changes: [fn(&mut super::super::wire::asks::Open); 6] = [
        |open| open.request = vec![1],
        |open| open.scope = Vec::new(),
        |open| open.budget_ms = 0,
        |open| open.model = "m".repeat(257),
        |open| open.digest = Some(vec![1]),
        |open| open.work = None,
    ];
    for change in changes {
        let refusal = refused(&server, changed(change)).await;
        assert!(matches!(refusal, Refusal::Backend(_)), "{refusal:?}");
    }
    assert_eq!(server.script.counts().started, 0);
}

#[tokio::test]
async fn a_generation_that_began_elsewhere_is_somebody_elses_for_now() {
    let server = Server::new(CONTEXT);
    let mut wanted = samples::generation();
    samples::resume(
        &mut wanted,
        Resume {
            choices: vec![vec![1, 2]],
        },
    );
    let ask = ask::Kind::Open(request::write(wanted).into()).into();
    assert!(matches!(refused(&server, ask).await, Refusal::Backend(_)));
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_does_not_come_or_is_none_is_dropped() {
    let server = Server::new(CONTEXT);
    for bytes in [
        &[][..],
        &[0, 0],
        &[0, 0, 0, 9, 1],
        &[0xFF; 64],
        &[1, 0, 0, 1, 0],
        &[0, 0, 0, 2, 0xFF, 0xFF],
        &[0, 0, 0, 0],
    ] {
        let (mut near, far) = link(1 << 16);
        server.take(far, Tier::T3);
        near.writer.write_all(bytes).await.expect("written");
        let began = Instant::now();
        let mut said = Vec::new();
        let ended = near.reader.read_to_end(&mut said).await;
        assert_eq!((ended.ok(), said.len()), (Some(0), 0), "{bytes:?}");
        assert!(began.elapsed() <= Duration::from_secs(6));
    }
    let cancel = Ask::from(ask::Kind::Cancel(Cancel {}));
    assert!(asked(&server, cancel).await.is_none());
}

#[tokio::test]
async fn a_peer_has_a_bounded_number_of_streams() {
    let server = Server::new(CONTEXT);
    let mut open = Vec::new();
    for _ in 0..256 {
        let (near, far) = link(64);
        server.take(far, Tier::T2);
        open.push(near);
    }
    tokio::task::yield_now().await;
    assert!(matches!(
        refused(&server, good()).await,
        Refusal::Busy { .. }
    ));
    drop(open);
    server.tasks.close();
    server.tasks.wait().await;
    assert!(matches!(
        asked(&server, good()).await,
        Some(say::Kind::Accept(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn whoever_opens_slowly_holds_up_only_itself() {
    let server = Server::new(CONTEXT);
    let mut slow = Vec::new();
    for bytes in [&[0, 0, 0, 9, 1][..], &[0, 0xF0, 0, 0, 1]].repeat(32) {
        let (mut near, far) = link(64);
        near.writer.write_all(bytes).await.expect("written");
        server.take(far, Tier::T2);
        slow.push(near);
    }
    tokio::task::yield_now().await;
    let began = Instant::now();
    let (near, far) = link(1 << 16);
    let door = Arc::clone(&server.door);
    let other = Principal::peer(NodeId([9; 32]), Tier::T2);
    server
        .tasks
        .spawn(async move { door.serve(other, far).await });
    let mut raw = Raw::from(near);
    raw.writer.send(&good()).await.expect("sent");
    assert!(matches!(answer(&mut raw).await, Some(say::Kind::Accept(_))));
    assert!(began.elapsed() < Duration::from_millis(10));
    // The slow ones are given up, all at the same time.
    for mut near in slow {
        let ended = near.reader.read_u8().await;
        assert!(ended.is_err());
    }
    assert!(began.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_left_is_kept_to() {
    let server = Server::new(CONTEXT);
    server
        .script
        .set(Script::failing(Fault::HangAfter { tokens: 1 }));
    let began = Instant::now();
    let (near, far) = link(1 << 16);
    server.take(far, Tier::T1);
    let mut raw = Raw::from(near);
    let ask = changed(|open| open.budget_ms = 3_000);
    raw.writer.send(&ask).await.expect("sent");
    let mut last = None;
    while let Some(kind) = answer(&mut raw).await {
        last = Some(kind);
    }
    let Some(say::Kind::Failed(failed)) = last else {
        panic!("{last:?}");
    };
    assert_eq!(failed.error.expect("why").kind, 9);
    assert!(
        began.elapsed() <= Duration::from_millis(5_500),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(server.script.counts().alive, 0);
}

#[tokio::test(start_paused = true)]
async fn an_asker_who_takes_one_byte_at_a_time_is_not_waited_for_for_ever() {
    let server = Server::new(1 << 20);
    server.script.set(Script::words(100_000));
    let (mut near, far) = link(64);
    server.take(far, Tier::T2);
    let mut opening = super::super::wire::request::write(samples::generation());
    if let Some(super::super::wire::asks::open::Work::Generate(generate)) = &mut opening.work {
        generate.params.as_mut().expect("there").max_tokens = None;
    }
    let ask = Ask::from(ask::Kind::Open(opening.into()));
    let mut writer = crate::FrameWriter::new(&mut near.writer);
    writer.send(&ask).await.expect("sent");
    let began = Instant::now();
    while near.reader.read_u8().await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // What is in the pipe is still read after the server gave up.
        assert!(began.elapsed() <= Duration::from_secs(60 + 1 + 64 + 2));
    }
    assert_eq!(server.script.counts().alive, 0);
}

#[tokio::test]
async fn our_own_faults_are_told_to_friends_only() {
    let server = Server::new(CONTEXT);
    let fault = "disk full at the third shelf";
    let error = BackendError::Internal(fault.into());
    server.script.set(Script::failing(Fault::Refuse(error)));
    for (tier, tells) in [(Tier::T0, true), (Tier::T1, true), (Tier::T2, false)] {
        let (near, far) = link(1 << 16);
        server.take(far, tier);
        let mut raw = Raw::from(near);
        raw.writer.send(&good()).await.expect("sent");
        let Some(say::Kind::Reject(reject)) = answer(&mut raw).await else {
            panic!("it is refused");
        };
        let told = reject.error.expect("why").reason;
        assert_eq!(told.contains(fault), tells, "{tier}");
    }
}
