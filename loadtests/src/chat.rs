//! One streamed chat completion, timed as its client sees it.

use std::time::Duration;

use reqwest::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::histogram::Histogram;
use crate::outcome::{Answer, ErrorObject, Failure, Outcome, Usage};
use crate::random::Random;
use crate::sse::SseParser;
use crate::target::{Target, transport};
use crate::time::Stopwatch;

/// A client that leaves has gone after this time at the latest, also while it waits its turn.
const PATIENCE_MAX: Duration = Duration::from_secs(2);

/// When a client leaves: at whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Patience {
    /// After so many pieces with text; 0 is as soon as the response head is there.
    pub(crate) pieces: u64,
    /// After so long.
    pub(crate) wait: Duration,
}

impl Patience {
    /// This share of all clients leaves, at a random piece and a random time.
    pub(crate) fn draw(random: &mut Random, share: f64, max_tokens: u32) -> Option<Self> {
        random.chance(share).then(|| Self {
            pieces: random.below(u64::from(max_tokens)),
            wait: Duration::from_micros(random.below(PATIENCE_MAX.as_micros() as u64)),
        })
    }
}

/// The request's body, with further fields. Greedy, so that the same server answers the same prompt
/// alike.
pub(crate) fn body(model: &str, prompt: &str, max_tokens: u32, more: &Map<String, Value>) -> Value {
    let mut body = json!({
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    for (name, value) in more {
        body[name] = value.clone();
    }
    body
}

/// Sends it and reads the answer to its end, or until patience ends. Adds the time between pieces
/// to `gaps`.
pub(crate) async fn request(
    target: &Target,
    body: &Value,
    patience: Option<Patience>,
    gaps: &mut Histogram,
) -> Outcome {
    let mut reading = Reading {
        watch: Stopwatch::start(),
        pieces_max: patience.map_or(u64::MAX, |patience| patience.pieces),
        answer: Answer::default(),
        last: Duration::ZERO,
        pieces: 0,
        done: false,
        gaps,
    };
    let ended = match patience {
        None => reading.run(target, body).await,
        // Dropping the future closes the connection.
        Some(patience) => tokio::time::timeout(patience.wait, reading.run(target, body))
            .await
            .unwrap_or(Ok(End::Left)),
    };
    match ended {
        Ok(End::Whole) => Outcome::Done(reading.answer),
        Ok(End::Left) => Outcome::Left,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// An answer that is being read.
struct Reading<'a> {
    watch: Stopwatch,
    pieces_max: u64,
    answer: Answer,
    /// When the last piece with text came.
    last: Duration,
    pieces: u64,
    /// The end was announced.
    done: bool,
    gaps: &'a mut Histogram,
}

enum End {
    Whole,
    Left,
}

impl Reading<'_> {
    async fn run(&mut self, target: &Target, body: &Value) -> Result<End, Failure> {
        let mut response = target.post("chat/completions", body).await?;
        self.answer.head = self.watch.elapsed();
        let mut parser = SseParser::default();
        while self.pieces < self.pieces_max {
            let Some(now) = self.read(&mut response, &mut parser).await? else {
                return if self.done {
                    Ok(End::Whole)
                } else {
                    Err(Failure::new("stream cut short"))
                };
            };
            if !self.done {
                self.answer.total = now;
            }
        }
        Ok(End::Left)
    }

    /// Takes what the network has. Gives the time when it came; none when the body has ended.
    async fn read(
        &mut self,
        response: &mut Response,
        parser: &mut SseParser,
    ) -> Result<Option<Duration>, Failure> {
        let bytes = response.chunk().await.map_err(|error| transport(&error))?;
        let now = self.watch.elapsed();
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let events = parser.feed(&bytes);
        for event in events.map_err(|error| Failure::new(error.to_string()))? {
            self.event(&event, now)?;
        }
        Ok(Some(now))
    }

    fn event(&mut self, event: &str, now: Duration) -> Result<(), Failure> {
        if self.done {
            return Err(Failure::new("event after [DONE]"));
        }
        if event.trim() == "[DONE]" {
            self.done = true;
            self.answer.total = now;
            return Ok(());
        }
        let chunk: Chunk =
            serde_json::from_str(event).map_err(|_| Failure::new("event not a chunk"))?;
        if let Some(error) = chunk.error {
            return Err(Failure::new(format!("stream {}", error.name())));
        }
        self.answer.usage = chunk.usage.or(self.answer.usage);
        if chunk.choices.iter().any(Choice::has_text) {
            self.piece(now);
        }
        Ok(())
    }

    fn piece(&mut self, now: Duration) {
        self.pieces += 1;
        match self.answer.first {
            None => self.answer.first = Some(now),
            Some(first) => {
                self.gaps.record(now.saturating_sub(self.last));
                self.answer.writing = now.saturating_sub(first);
            }
        }
        self.last = now;
    }
}

/// A piece of the stream, as far as it matters here.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Delta,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    /// What a model thinks before it answers, where a server sends it apart.
    reasoning_content: Option<String>,
}

impl Choice {
    fn has_text(&self) -> bool {
        let texts = [&self.delta.content, &self.delta.reasoning_content];
        texts.into_iter().flatten().any(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::post;

    use super::*;
    use crate::fake::{Fake, serve_in_background};

    /// The outcome of a request to a server that answers with this status and body.
    async fn answer_of(status: u16, answer: &'static str) -> Outcome {
        let status = StatusCode::from_u16(status).expect("it is a status");
        let path = "/v1/chat/completions";
        let app = Router::new().route(path, post(async move || (status, answer)));
        let target = serve_in_background(app).await;
        let body = body("m", "hello", 8, &Map::new());
        request(&target, &body, None, &mut Histogram::default()).await
    }

    async fn fake(gap: Duration) -> Target {
        serve_in_background(Fake { gap }.router()).await
    }

    #[tokio::test]
    async fn a_whole_stream_is_timed_and_its_tokens_are_those_of_the_usage() {
        let target = fake(Duration::from_millis(5)).await;
        let mut gaps = Histogram::default();
        let outcome = request(
            &target,
            &body("m", "one two", 6, &Map::new()),
            None,
            &mut gaps,
        )
        .await;
        let Outcome::Done(answer) = outcome else {
            panic!("it is whole, not {outcome:?}");
        };
        let usage = answer.usage.expect("it was asked for");
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (2, 6));
        assert_eq!(gaps.count(), 5);
        let first = answer.first.expect("there is text");
        assert!(answer.head <= first && first + answer.writing <= answer.total);
        assert!(answer.total >= Duration::from_millis(30), "six gaps");
    }

    #[tokio::test]
    async fn refusals_errors_in_the_stream_and_broken_streams_are_failures() {
        let words = async |status, answer| match answer_of(status, answer).await {
            Outcome::Failed(failure) => failure.words().to_owned(),
            other => format!("{other:?}"),
        };
        let full = r#"{"error":{"message":"full","type":"server_error","code":"overloaded"}}"#;
        assert_eq!(words(503, full).await, "503 overloaded");
        let broken = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
                      data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
        assert_eq!(words(200, broken).await, "stream server_error");
        let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(words(200, cut).await, "stream cut short");
        assert_eq!(words(200, "data: {\n\n").await, "event not a chunk");
        assert_eq!(
            words(200, "data: [DONE]\n\ndata: {}\n\n").await,
            "event after [DONE]"
        );
    }

    #[tokio::test]
    async fn a_client_leaves_at_its_piece_or_when_its_time_is_up() {
        let target = fake(Duration::from_millis(20)).await;
        let body = body("m", "hello", 1000, &Map::new());
        let long = Duration::from_secs(60);
        for (pieces, wait) in [(0, long), (3, long), (u64::MAX, Duration::from_millis(50))] {
            let patience = Some(Patience { pieces, wait });
            let mut gaps = Histogram::default();
            let outcome = request(&target, &body, patience, &mut gaps).await;
            assert!(matches!(outcome, Outcome::Left), "{outcome:?}");
            assert!(gaps.count() < 10, "it did not stay for the rest");
        }
    }

    #[test]
    fn further_fields_come_beside_ours_or_in_their_place() {
        let more = json!({"ignore_eos": true, "temperature": 0.5});
        let body = body("m", "hello", 8, more.as_object().expect("it is one"));
        assert_eq!(body["ignore_eos"], true);
        assert_eq!(body["temperature"], 0.5);
        assert_eq!(body["max_tokens"], 8);
    }

    #[test]
    fn the_share_of_clients_that_leave_is_as_asked() {
        let mut random = Random::of(&[1]);
        let draws = (0..10_000).filter_map(|_| Patience::draw(&mut random, 0.3, 8));
        let leaving: Vec<_> = draws.collect();
        assert!((2_700..3_300).contains(&leaving.len()), "{}", leaving.len());
        assert!((0..8).all(|n| leaving.iter().any(|patience| patience.pieces == n)));
        assert!(leaving.iter().all(|patience| patience.wait < PATIENCE_MAX));
        assert_eq!(Patience::draw(&mut random, 0.0, 8), None);
    }
}
