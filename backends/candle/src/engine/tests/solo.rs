//! One sequence at a time, with a tiny model that candle computes.

use super::bench::{Events, said};
use super::*;

fn engine() -> Engine {
    let model = Tiny::new("phi2").context(CONTEXT).load_solo();
    let limits = EngineLimits::default();
    Engine::start_solo("tiny", model, CONTEXT as usize, &limits).expect("there is a thread")
}

#[tokio::test]
async fn streams_say_what_each_says_alone() {
    let engine = engine();
    let mut alone = Vec::new();
    for prompt in 0..6 {
        alone.push(say(&engine, request(prompt, 20)).await);
    }
    let together = join_all((0..6).map(|prompt| say(&engine, request(prompt, 20)))).await;
    assert_eq!(together, alone);
    let texts: std::collections::HashSet<_> = alone.iter().map(|said| &said.texts).collect();
    assert_eq!(texts.len(), 6, "the prompts lead to different texts");
    settles(&engine, "idle", is_idle).await;
}

#[tokio::test]
async fn choices_come_one_after_the_other() {
    let single = say(&engine(), request(4, 15)).await;
    let engine = engine();
    let mut three = request(4, 15);
    three.n = 3;
    let prompt = three.prompt.len() as u64;
    let said = say(&engine, three).await;
    assert_eq!(
        said.texts[0], single.texts[0],
        "the first is what it is alone"
    );
    assert!(said.texts[1] != said.texts[0] && said.texts[2] != said.texts[1]);
    assert_eq!(said.tokens, [15; 3]);
    let stats = engine.stats();
    assert_eq!((stats.tokens_in, stats.tokens_out), (3 * prompt, 45));
    assert_eq!(stats.cached_tokens, 0);
}

/// No clock decides here: beside busy processes, a token of candle's takes the better part of a second.
#[tokio::test]
async fn a_slow_reader_is_waited_for_and_gives_way() {
    let engine = engine();
    let slow = engine.submit(request(1, 60)).expect("there is room");
    // Its turn comes only when the other one, whom nobody reads, finds no room for more.
    assert_eq!(say(&engine, request(2, 10)).await.tokens, [10]);
    let drawn = engine.stats().tokens_out;
    assert!((30..70).contains(&drawn), "{drawn}");
    let said = read(slow, 1).await;
    assert_eq!(said.tokens, [60]);
    assert_eq!(said.reasons, [Some(FinishReason::Length)]);
}

#[test]
fn who_is_waited_for_is_parked() {
    let mut engine = ByHand::new();
    let mut slow = engine.submit_to(job::said_max(1), request(1, 60));
    let steps = (0..100).take_while(|_| engine.solo.step()).count();
    assert!((20..60).contains(&steps), "{steps}");
    assert_eq!(engine.gauges.read().parked, 1);
    let (heard, over) = said(&mut slow);
    assert!(heard > 20 && !over);
    engine.steps(1);
    assert_eq!(engine.gauges.read().parked, 0);
}

#[tokio::test]
async fn dropped_streams_leave_nothing_behind() {
    let engine = engine();
    let mut noise = Noise(7);
    let mut held = Vec::new();
    for prompt in 0..20 {
        let mut events = engine.submit(request(prompt, 150)).expect("there is room");
        if noise.next().is_multiple_of(2) {
            events
                .next()
                .await
                .expect("it begins")
                .expect("it goes well");
        }
        held.push(events);
        if held.len() > 3 {
            drop(held.swap_remove(noise.next() as usize % held.len()));
        }
        if held.len() > 2 {
            held.clear();
        }
    }
    drop(held);
    settles(&engine, "idle", is_idle).await;
    assert!(engine.is_idle());
}

#[tokio::test]
async fn a_step_that_fails_ends_one_request() {
    let engine = engine();
    let bystander = engine.submit(request(1, 30)).expect("there is room");
    let mut broken = request(2, 5);
    broken.prompt = vec![1_000_000];
    broken.n = 2;
    let broken = engine.submit(broken).expect("it is not checked here");
    let events: Vec<_> = broken.collect().await;
    assert!(matches!(
        events.last(),
        Some(Err(BackendError::Internal(_)))
    ));
    assert_eq!(read(bystander, 1).await.tokens, [30]);
    assert!(engine.is_alive());
    assert_eq!(say(&engine, request(3, 5)).await.tokens, [5]);
    settles(&engine, "idle", is_idle).await;
}

/// An engine that is stepped by hand.
struct ByHand {
    solo: Solo,
    gauges: Arc<Gauges>,
    queue: SyncSender<Ticket>,
    places: Arc<Semaphore>,
}

impl ByHand {
    fn new() -> Self {
        let (queue, inbox) = sync_channel(16);
        let gauges = Arc::new(Gauges::default());
        let model = Tiny::new("phi2").load_solo();
        Self {
            solo: Solo::new(model, inbox, Arc::clone(&gauges)),
            gauges,
            queue,
            places: Arc::new(Semaphore::new(16)),
        }
    }

    fn submit(&self, request: Request) -> Events {
        self.submit_to(256, request)
    }

    /// The same for a reader with so many places.
    fn submit_to(&self, places: usize, request: Request) -> Events {
        let (events, reader) = mpsc::channel(places);
        let place = Arc::clone(&self.places).try_acquire_owned();
        let ticket = Ticket {
            request,
            events,
            place: place.expect("there are enough"),
        };
        self.queue.try_send(ticket).expect("there is room");
        reader
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            assert!(self.solo.step(), "there is something to compute");
        }
    }
}

#[test]
fn batch_work_gives_way_and_goes_on_later() {
    let mut engine = ByHand::new();
    let mut batch = request(1, 20);
    batch.priority = Priority::Batch;
    let mut batch = engine.submit(batch);
    engine.steps(5);
    assert_eq!(said(&mut batch), (5, false));

    let mut first = engine.submit(request(2, 4));
    let mut second = engine.submit(request(3, 4));
    engine.steps(4);
    assert_eq!(said(&mut first), (4, true));
    assert_eq!(said(&mut second), (0, false), "one at a time");
    engine.steps(4);
    assert_eq!(said(&mut second), (4, true));
    assert_eq!(said(&mut batch), (0, false));

    engine.steps(15);
    assert_eq!(
        said(&mut batch),
        (15, true),
        "what was said is not said again"
    );
    assert!(!engine.solo.step());
}

#[test]
fn a_long_prompt_is_read_in_pieces_and_left_between_them() {
    let mut engine = ByHand::new();
    let mut long = request(1, 5);
    long.prompt = (0..200).map(|i| 3 + i % 256).collect();
    let reader = engine.submit(long);
    engine.steps(1);
    drop(reader);
    assert!(!engine.solo.step(), "nobody waits for the rest");
}
