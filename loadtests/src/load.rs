//! Runs of requests: so many streams at once, each taking the next request when its last ended.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use crate::chat::{self, Patience};
use crate::embed;
use crate::histogram::Histogram;
use crate::outcome::Outcome;
use crate::prompt::Prompts;
use crate::random::Random;
use crate::tally::Tally;
use crate::target::Target;
use crate::terminal;
use crate::time::{Deadline, Stopwatch};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// A streamed chat completion.
    Chat {
        /// Of each answer, at most.
        max_tokens: u32,
        /// The share of clients that leave before the end, between 0 and 1.
        drop: f64,
        /// Whether an answer of any other number of tokens is a failure.
        exact: bool,
    },
    /// Embeddings.
    Embed {
        /// Texts at once.
        batch: u32,
    },
}

/// A whole load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Of each request.
    pub work: Work,
    /// What is said.
    pub prompts: Prompts,
    /// Requests at once.
    pub streams: u32,
    /// Requests of each run.
    pub requests: u32,
    /// Runs for each server.
    pub runs: u32,
    /// When everything ends.
    pub deadline: Deadline,
}

/// One server, the model that it is asked for, and what its runs came to.
#[derive(Debug)]
pub struct Side {
    pub(crate) target: Arc<Target>,
    pub(crate) model: String,
    /// Further fields of each chat.
    pub(crate) body: Arc<Map<String, Value>>,
    pub(crate) runs: Vec<Run>,
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) tally: Tally,
    pub(crate) seconds: f64,
}

impl Side {
    /// A server that has not been asked yet, and its name for the model.
    pub fn new(target: Target, model: String) -> Self {
        Self {
            target: Arc::new(target),
            model,
            body: Arc::default(),
            runs: Vec::new(),
        }
    }

    /// The same server, not asked yet.
    pub fn again(&self) -> Self {
        Self {
            target: Arc::clone(&self.target),
            model: self.model.clone(),
            body: Arc::clone(&self.body),
            runs: Vec::new(),
        }
    }

    /// The same with further fields in each chat; they replace ours of the same name.
    pub fn with_body(mut self, body: Map<String, Value>) -> Self {
        self.body = Arc::new(body);
        self
    }
}

impl Run {
    /// Tokens of whole answers, or of inputs where vectors are made.
    pub(crate) fn tokens_per_s(&self, work: Work) -> f64 {
        self.per_s(match work {
            Work::Chat { .. } => self.tally.completion_tokens,
            Work::Embed { .. } => self.tally.prompt_tokens,
        })
    }

    /// Whole answers.
    pub(crate) fn requests_per_s(&self) -> f64 {
        self.per_s(self.tally.done)
    }

    fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.seconds.max(1e-9)
    }
}

impl Load {
    /// Puts all sides under load, in turns, until all runs are done or time is up. The order of
    /// the sides is turned every time, so that neither gains from a machine that warms up.
    ///
    /// # Errors
    /// When a server does not answer the one request that comes before all others and is not
    /// counted: it may have to load its model first.
    pub async fn drive(self, sides: &mut [Side]) -> anyhow::Result<()> {
        for side in &*sides {
            self.warm_up(side).await?;
        }
        for run in 0..self.runs {
            let mut order: Vec<usize> = (0..sides.len()).collect();
            if run % 2 == 1 {
                order.reverse();
            }
            for place in order {
                if self.deadline.left().is_zero() {
                    terminal::note("time is up; the rest is left out");
                    return Ok(());
                }
                // Other prompts for each: one server may stand behind the other and have a cache.
                let path = [u64::from(run), place as u64];
                let side = &mut sides[place];
                let result = self.run(side, path).await?;
                announce(self, run, side.target.address(), &result);
                side.runs.push(result);
            }
        }
        Ok(())
    }

    async fn warm_up(self, side: &Side) -> anyhow::Result<()> {
        let asker = Asker {
            load: self,
            target: Arc::clone(&side.target),
            model: side.model.clone(),
            body: Arc::clone(&side.body),
            path: [u64::MAX, 0],
        };
        let address = side.target.address();
        let mut gaps = Histogram::default();
        let asked = asker.ask(0, None, &mut gaps);
        let asked = tokio::time::timeout(self.deadline.left(), asked).await;
        match asked.with_context(|| format!("{address} did not answer in time"))? {
            Outcome::Failed(failure) => bail!("{address} failed the first request: {failure}"),
            Outcome::Done(_) | Outcome::Left => Ok(()),
        }
    }

    async fn run(self, side: &Side, path: [u64; 2]) -> anyhow::Result<Run> {
        let asker = Arc::new(Asker {
            load: self,
            target: Arc::clone(&side.target),
            model: side.model.clone(),
            body: Arc::clone(&side.body),
            path,
        });
        let next = Arc::new(AtomicU32::new(0));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let watch = Stopwatch::start();
        let mut streams = JoinSet::new();
        for _ in 0..self.streams.min(self.requests) {
            let (asker, next, tally) = (Arc::clone(&asker), Arc::clone(&next), Arc::clone(&tally));
            streams.spawn(async move { asker.stream(&next, &tally).await });
        }
        while let Some(ended) = streams.join_next().await {
            ended.context("a stream of the load generator failed")?;
        }
        let tally = tally.lock().expect("no holder panics").clone();
        Ok(Run {
            tally,
            seconds: watch.elapsed().as_secs_f64(),
        })
    }
}

/// Sends the requests of one run.
struct Asker {
    load: Load,
    target: Arc<Target>,
    model: String,
    body: Arc<Map<String, Value>>,
    path: [u64; 2],
}

impl Asker {
    /// One request after another, until none is left or time is up.
    async fn stream(&self, next: &AtomicU32, tally: &Mutex<Tally>) {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= self.load.requests {
                return;
            }
            let mut gaps = Histogram::default();
            let patience = self.patience(index);
            let asked = self.ask(index, patience, &mut gaps);
            let outcome = tokio::time::timeout(self.load.deadline.left(), asked).await;
            let mut tally = tally.lock().expect("no holder panics");
            tally.gap.merge(&gaps);
            match outcome {
                Ok(outcome) => tally.add(&outcome),
                Err(_time_is_up) => {
                    tally.unfinished += 1;
                    return;
                }
            }
        }
    }

    async fn ask(&self, index: u32, patience: Option<Patience>, gaps: &mut Histogram) -> Outcome {
        let [run, place] = self.path;
        let prompt = |input: u32| {
            let path = [run, place, u64::from(index), u64::from(input)];
            self.load.prompts.text(&path)
        };
        match self.load.work {
            Work::Chat {
                max_tokens, exact, ..
            } => {
                let body = chat::body(&self.model, &prompt(0), max_tokens, &self.body);
                let outcome = chat::request(&self.target, &body, patience, gaps).await;
                if exact {
                    outcome.only_with(u64::from(max_tokens))
                } else {
                    outcome
                }
            }
            Work::Embed { batch } => {
                let inputs: Vec<_> = (0..batch).map(prompt).collect();
                embed::request(&self.target, &embed::body(&self.model, &inputs), batch).await
            }
        }
    }

    fn patience(&self, index: u32) -> Option<Patience> {
        let Work::Chat {
            max_tokens, drop, ..
        } = self.load.work
        else {
            return None;
        };
        let [run, place] = self.path;
        // A path of another length than those of the prompts, so that the two have no draw in common.
        let mut random = Random::of(&[self.load.prompts.seed, run, place, u64::from(index), 0, 0]);
        Patience::draw(&mut random, drop, max_tokens)
    }
}

fn announce(load: Load, run: u32, address: &str, result: &Run) {
    let Run { tally, seconds } = result;
    terminal::note(format!(
        "run {} of {}, {address}: {} done, {} left, {} failed, {} unfinished in {seconds:.1} s",
        run + 1,
        load.runs,
        tally.done,
        tally.left,
        tally.failures.total(),
        tally.unfinished,
    ));
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::fake::{Fake, serve_in_background};

    const CHAT: Work = Work::Chat {
        max_tokens: 5,
        drop: 0.0,
        exact: true,
    };

    fn load(work: Work) -> Load {
        let prompts = Prompts {
            seed: 3,
            words: 8,
            shared: 0,
        };
        Load {
            work,
            prompts,
            streams: 4,
            requests: 20,
            runs: 2,
            deadline: Deadline::after(Duration::from_secs(60)),
        }
    }

    async fn side(gap_ms: u64) -> Side {
        let gap = Duration::from_millis(gap_ms);
        let target = serve_in_background(Fake { gap }.router()).await;
        Side::new(target, "m".to_owned())
    }

    #[tokio::test]
    async fn every_request_of_every_run_is_sent_and_counted_once() {
        let mut sides = [side(0).await, side(0).await];
        load(CHAT).drive(&mut sides).await.expect("they answer");
        for side in &sides {
            assert_eq!(side.runs.len(), 2);
            for run in &side.runs {
                assert_eq!(run.tally.done, 20);
                assert_eq!(run.tally.completion_tokens, 100);
                assert_eq!(run.tally.prompt_tokens, 160);
                assert_eq!(run.tally.gap.count(), 80);
            }
        }
        let mut sides = [side(0).await];
        let embed = load(Work::Embed { batch: 3 });
        embed.drive(&mut sides).await.expect("it answers");
        assert_eq!(sides[0].runs[1].tally.prompt_tokens, 20 * 3 * 8);
    }

    #[tokio::test]
    async fn those_who_leave_are_counted_apart() {
        let max_tokens = 200;
        let load = Load {
            streams: 8,
            requests: 8,
            ..load(Work::Chat {
                max_tokens,
                drop: 1.0,
                exact: false,
            })
        };
        // All leave within two seconds, and no answer is whole before twenty.
        let side = side(100).await;
        let run = load.run(&side, [0, 0]).await.expect("it runs");
        let counts = (run.tally.left, run.tally.done, run.tally.failures.total());
        assert_eq!(counts, (8, 0, 0));
        assert!(run.seconds < 15.0, "{}", run.seconds);
    }

    #[tokio::test]
    async fn time_that_is_up_ends_everything() {
        let mut load = load(CHAT);
        load.deadline = Deadline::after(Duration::from_millis(100));
        let side = side(60_000).await;
        let run = load.run(&side, [0, 0]).await.expect("it runs");
        assert_eq!((run.tally.unfinished, run.tally.done), (4, 0));
    }

    #[tokio::test]
    async fn a_server_that_fails_the_first_request_is_not_put_under_load() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        drop(listener);
        let target = Target::new(&address, None, false).expect("it is loopback");
        let mut sides = [Side::new(target, "m".to_owned())];
        let refused = load(CHAT).drive(&mut sides).await;
        let refused = refused.expect_err("nobody listens").to_string();
        assert!(refused.contains("cannot connect"), "{refused}");
        assert!(sides[0].runs.is_empty());
    }
}
