//! A scheduler that is stepped by hand.

use tokio::sync::mpsc::Receiver;

use super::*;
use crate::engine::stream::Said;

pub(super) type Events = Receiver<Result<Said, BackendError>>;

/// A scheduler without a thread.
pub(super) struct Bench {
    pub(super) scheduler: Scheduler,
    queue: SyncSender<Ticket>,
    places: Arc<Semaphore>,
    gauges: Arc<Gauges>,
}

pub(super) fn bench(running_max: usize, kv_bytes: u64, speculate: bool) -> Bench {
    let model = Tiny::new("llama").context(2_048).load();
    bench_of(model, running_max, kv_bytes, speculate)
}

pub(super) fn bench_of(model: Model, running_max: usize, kv_bytes: u64, speculate: bool) -> Bench {
    let memory = Memory::new(model.decoder.page_shape(), model.pages(kv_bytes), |s| {
        Some(&s.kv)
    });
    let (queue, inbox) = sync_channel(64);
    let gauges = Arc::new(Gauges::default());
    let settings = Settings {
        running_max,
        speculate,
    };
    Bench {
        scheduler: Scheduler::new(model, memory, settings, inbox, Arc::clone(&gauges)),
        queue,
        places: Arc::new(Semaphore::new(64)),
        gauges,
    }
}

impl Bench {
    pub(super) fn submit(&self, request: Request) -> Events {
        self.submit_to(256, request)
    }

    /// The same for a reader with so many places.
    pub(super) fn submit_to(&self, places: usize, request: Request) -> Events {
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

    pub(super) fn step(&mut self) {
        assert!(self.scheduler.step(), "there is something to compute");
    }

    pub(super) fn stats(&self) -> EngineStats {
        self.gauges.read()
    }

    pub(super) fn free_places(&self) -> usize {
        self.places.available_permits()
    }

    pub(super) fn tokens_in(&self) -> u64 {
        self.gauges.read().tokens_in
    }
}

pub(super) fn asked(owner: &str, prompt: u32, max_tokens: usize) -> Request {
    let mut request = request(1, max_tokens);
    request.owner = PrincipalId::from(owner);
    // No two begin alike.
    let first = owner.bytes().map(u32::from).sum::<u32>() + prompt;
    request.prompt = (0..prompt).map(|i| 3 + (first + i * i) % 251).collect();
    request
}

/// Tokens said, and whether it is over.
pub(super) fn said(events: &mut Events) -> (usize, bool) {
    let (mut tokens, mut over) = (0, false);
    for event in heard(events) {
        match event {
            Event::Delta(delta) => tokens += delta.tokens as usize,
            Event::Done(_) => over = true,
            _ => {}
        }
    }
    (tokens, over)
}

/// All that was said since the last time; what is said of every choice, of the first.
pub(super) fn heard(events: &mut Events) -> Vec<Event> {
    let mut heard = Vec::new();
    while let Ok(said) = events.try_recv() {
        match said.expect("the stream goes well") {
            Said::Events(events) => heard.extend(events),
            Said::ToAll(delta) => heard.push(Event::Delta(delta)),
        }
    }
    heard
}
