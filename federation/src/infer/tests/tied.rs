//! A request that two servers are told of: one of them does it, and the other one nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Admission, Backend, Candidate, Hallway, Here, Job, JobId, NodeId, Principal, Receipt, Snapshot,
    SystemClock, Tier, Work,
};
use kwaainet_testkit::Script;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::{Accounts, Link, PeerBackend};

use super::super::wire::asks::{Ask, Cancel, Go, ask};
use super::super::wire::refusal::{self, Refusal};
use super::super::wire::request as opening;
use super::super::wire::says::{Accept, Say, say};
use super::harness::{
    CONTEXT, LIMITS, MODEL, Notebook, OTHER, Pipes, Raw, SERVER, SOON, Server, collect, link, pair,
    request, text_of, view,
};
use super::samples::{self, Dice};

const WORDS: u32 = 5;
const MS: Duration = Duration::from_millis(1);

/// An asker without a model before two servers that have it.
struct Scene {
    hall: Hallway,
    servers: [Server; 2],
    asker_books: Arc<Notebook>,
    receipts: mpsc::Receiver<Receipt>,
    _snapshot: watch::Sender<Arc<Snapshot>>,
}

impl Scene {
    /// Each server looks at what it is asked after so long; without a time, never.
    fn new(delays: [Option<Duration>; 2]) -> Self {
        let servers = [Server::new(CONTEXT), Server::new(CONTEXT)];
        let asker_books = Arc::new(Notebook::default());
        let nodes = [SERVER, OTHER];
        let views = nodes.iter().zip(&servers).map(|(node, server)| {
            let mut view = view(server.models.clone());
            view.node = *node;
            view.facts.node = *node;
            view
        });
        let (_, views) = watch::channel(Arc::new(views.collect::<Vec<_>>()));
        let mut backends: Vec<Arc<dyn Backend>> = Vec::new();
        for ((node, server), delay) in nodes.into_iter().zip(&servers).zip(delays) {
            server.script.set(Script::words(WORDS));
            let (pipes, calls) = Pipes::to(node, 1 << 16);
            listen(server, calls, delay);
            let books: Arc<dyn Accounts> = asker_books.clone();
            let clock = Arc::new(SystemClock::default());
            let peer = PeerBackend::new(node, views.clone(), pipes, Some(books), clock);
            backends.push(Arc::new(peer));
        }
        let candidates = backends.iter().flat_map(|backend| {
            let report = backend.report();
            let place = report.place;
            let load = report.load;
            report.models.into_iter().map(move |model| Candidate {
                backend: backend.id().clone(),
                model,
                unavailable: None,
                place: place.clone(),
                load,
            })
        });
        let snapshot = Snapshot {
            candidates: candidates.collect(),
            backends: backends.iter().map(Arc::clone).collect(),
            here: Here {
                ties: true,
                ..Here::default()
            },
        };
        let (publish, snapshot) = watch::channel(Arc::new(snapshot));
        let (outbox, receipts) = mpsc::channel(64);
        let admission = Admission::new(LIMITS, outbox, Arc::new(SystemClock::default()));
        Self {
            hall: Hallway::new(admission, snapshot),
            servers,
            asker_books,
            receipts,
            _snapshot: publish,
        }
    }

    /// Which of the servers is asked first.
    fn first(&self, job: &Job) -> usize {
        let route = self.hall.plan(&Principal::operator(), job);
        let route = route.expect("there is a route");
        assert!(route.tied);
        let node = route.candidates[0].place.peer().map(|facts| facts.node);
        usize::from(node == Some(OTHER))
    }

    /// Nothing is held anywhere, the books agree, and so many requests were begun.
    async fn rests(mut self, begun: u64) {
        // Whoever has gone says so, and the servers see what is signed.
        sleep(3_000 * MS).await;
        let mut signed = 0;
        let mut started = 0;
        for server in &mut self.servers {
            let admitted = server.hall.admission().admitted();
            assert_eq!(server.rests().await as u64, admitted);
            signed += server.books.signed();
            started += server.script.counts().started;
            assert_eq!(server.books.served().len(), server.books.signed());
        }
        assert_eq!(started, begun);
        assert_eq!(self.asker_books.signed(), signed);
        assert!(self.receipts.try_recv().is_ok(), "of the asker's own");
        assert!(self.receipts.try_recv().is_err(), "one");
    }
}

fn listen(server: &Server, mut calls: mpsc::Receiver<Link>, delay: Option<Duration>) {
    let (door, tasks) = (Arc::clone(&server.door), server.tasks.clone());
    server.tasks.spawn(async move {
        let mut unheard = Vec::new();
        while let Some(link) = calls.recv().await {
            let Some(delay) = delay else {
                unheard.push(link);
                continue;
            };
            let (door, asker) = (
                Arc::clone(&door),
                Principal::peer(super::harness::ASKER, Tier::T1),
            );
            tasks.spawn(async move {
                sleep(delay).await;
                door.serve(asker, link).await;
            });
        }
    });
}

fn job(number: u64) -> Job {
    let request = request(None);
    let work = Work::Generate {
        prompts: vec![request.prompt],
        params: request.params,
    };
    Job::new(JobId::new(format!("job-{number}")), MODEL.into(), work)
}

/// The same delay for whoever is asked first, and for the other.
fn scene_of(job: &Job, first: Option<Duration>, second: Option<Duration>) -> Scene {
    let probe = Scene::new([None, None]);
    match probe.first(job) {
        0 => Scene::new([first, second]),
        _ => Scene::new([second, first]),
    }
}

/// Runs it; the node that did it, and how long it took to begin.
async fn run(scene: &Scene, job: Job) -> (NodeId, Duration) {
    let began = Instant::now();
    let taken = scene.hall.generate(Principal::operator(), job);
    let events = timeout(SOON, taken).await.expect("soon").expect("accepted");
    let begun = began.elapsed();
    let course = events.course();
    let text = text_of(&collect(Box::pin(events)).await);
    assert_eq!(text, "w0 w1 w2 w3 w4");
    let stages = course.stages();
    assert_eq!((stages.continued, stages.inexact), (0, false));
    let place = stages.place.expect("somebody did it");
    (place.peer().expect("a peer").node, begun)
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_soon_is_the_only_one_who_hears_of_it() {
    let job = job(1);
    let scene = scene_of(&job, Some(20 * MS), Some(Duration::ZERO));
    let first = scene.first(&job);
    let (node, begun) = run(&scene, job).await;
    assert_eq!(node, [SERVER, OTHER][first]);
    assert!(begun < 25 * MS, "{begun:?}");
    let admitted = scene
        .servers
        .each_ref()
        .map(|s| s.hall.admission().admitted());
    assert_eq!(admitted.iter().sum::<u64>(), 1);
    scene.rests(1).await;
}

#[tokio::test(start_paused = true)]
async fn where_the_first_is_late_or_silent_the_second_does_it() {
    for late in [Some(700 * MS), None] {
        let job = job(2);
        let scene = scene_of(&job, late, Some(10 * MS));
        let first = scene.first(&job);
        let (node, begun) = run(&scene, job).await;
        assert_eq!(node, [OTHER, SERVER][first]);
        assert!(begun < 150 * MS, "{begun:?}");
        scene.rests(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_that_says_nothing_does_not_matter() {
    let job = job(3);
    let scene = scene_of(&job, Some(300 * MS), None);
    let first = scene.first(&job);
    let (node, begun) = run(&scene, job).await;
    assert_eq!(node, [SERVER, OTHER][first]);
    assert!(begun < 310 * MS, "{begun:?}");
    scene.rests(1).await;
}

/// Delays, losses and clients that leave, as a seed says: each request is done once, or by nobody if nobody
/// wants it any more.
#[tokio::test(start_paused = true)]
async fn whatever_happens_it_is_done_once() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let mut delay = || {
            let ms = dice.below(400) as u32;
            (ms < 360).then_some(MS * ms)
        };
        let delays = [delay(), delay()];
        let leaves = MS * dice.below(600) as u32;
        let scene = Scene::new(delays);
        let taken = scene.hall.generate(Principal::operator(), job(seed));
        let events = timeout(leaves, taken).await;
        let stays = events.is_ok();
        if let Ok(Ok(events)) = events {
            let text = text_of(&collect(Box::pin(events)).await);
            assert_eq!(text, "w0 w1 w2 w3 w4", "seed {seed}");
        }
        sleep(500 * MS).await;
        let begun = scene.servers.iter().map(|s| s.script.counts().started);
        let begun = begun.sum::<u64>();
        assert!(begun <= 1, "seed {seed}: {delays:?} {leaves:?}");
        let is_reachable = delays.iter().any(Option::is_some);
        assert!(begun == 1 || !stays || !is_reachable, "seed {seed}");
        scene.rests(begun).await;
    }
}

/// A server, and an asker's end of a stream on which it asked for a place.
async fn held(server: &Server) -> Raw {
    let (near, far) = link(1 << 16);
    server.take(far, Tier::T1);
    let mut raw = Raw::from(near);
    let mut wanted = samples::generation();
    wanted.tied = true;
    let open = ask::Kind::Open(opening::write(wanted).into());
    raw.writer.send(&Ask::from(open)).await.expect("sent");
    assert!(matches!(said(&mut raw).await, Some(say::Kind::Hold(_))));
    raw
}

async fn said(raw: &mut Raw) -> Option<say::Kind> {
    let said = timeout(SOON, raw.reader.next::<Say>()).await.expect("soon");
    said.expect("whole").and_then(|say| say.kind)
}

#[tokio::test(start_paused = true)]
async fn a_place_is_kept_for_a_moment_and_nothing_is_done_before_it_is_wanted() {
    let mut server = Server::new(CONTEXT);
    let mut raw = held(&server).await;
    assert_eq!(server.hall.admission().load().running, 1);
    sleep(900 * MS).await;
    assert_eq!(server.script.counts().started, 0);
    raw.writer
        .send(&Ask::from(ask::Kind::Go(Go {})))
        .await
        .expect("sent");
    assert!(matches!(said(&mut raw).await, Some(say::Kind::Accept(_))));
    assert!(matches!(said(&mut raw).await, Some(say::Kind::Events(_))));
    drop(raw);
    server.rests().await;

    let mut raw = held(&server).await;
    let Some(say::Kind::Reject(reject)) = said(&mut raw).await else {
        panic!("a place is not kept for ever");
    };
    let (refused, _) = refusal::read(reject, &[]).expect("it makes sense");
    assert!(matches!(refused, Refusal::Backend(error) if error.is_retryable()));
    assert_eq!(server.rests().await, 1);

    for no in [
        ask::Kind::Cancel(Cancel {}),
        ask::Kind::Countersign(Default::default()),
    ] {
        let mut raw = held(&server).await;
        raw.writer.send(&Ask::from(no)).await.expect("sent");
        assert_eq!(said(&mut raw).await, None);
        assert_eq!(server.rests().await, 1);
    }
    drop(held(&server).await);
    assert_eq!(server.rests().await, 1);
    assert_eq!(server.script.counts().started, 1);
    assert_eq!(
        server.books.served().len(),
        1,
        "no receipt of what was not begun"
    );
}

#[tokio::test]
async fn a_server_that_cannot_wait_has_begun() {
    for wanted in [true, false] {
        let (pipes, mut calls) = Pipes::new(1 << 16);
        let asker = super::harness::Asker::new(pipes, Vec::new(), true);
        let serving = async {
            let mut raw = Raw::from(calls.recv().await.expect("it is called"));
            let first = raw.reader.next::<Ask>().await.expect("whole");
            let Some(ask::Kind::Open(open)) = first.and_then(|ask| ask.kind) else {
                panic!("it opens");
            };
            assert!(open.tied);
            let accept = Say::from(say::Kind::Accept(Accept::default()));
            raw.writer.send(&accept).await.expect("sent");
            raw
        };
        let (place, mut raw) = tokio::join!(asker.backend.reserve(request(None)), serving);
        let place = place.expect("it is as good as a place");
        if wanted {
            let mut events = place.await.expect("it has begun");
            drop(raw);
            let end = events.next().await.expect("an end");
            assert!(end.is_err());
            continue;
        }
        drop(place);
        let next = raw.reader.next::<Ask>().await.expect("whole");
        let kind = next.and_then(|ask| ask.kind);
        assert!(matches!(kind, Some(ask::Kind::Cancel(_))), "it is stopped");
    }
}

#[tokio::test]
async fn who_is_asked_for_a_place_and_has_none_says_so() {
    let (asker, mut server) = pair(1 << 16, true);
    server.hall.admission().drain();
    let refused = asker.backend.reserve(request(None)).await;
    assert!(refused.err().expect("it is refused").is_retryable());
    server.rests().await;
}
