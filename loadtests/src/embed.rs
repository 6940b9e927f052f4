//! One embedding request, timed as its client sees it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::outcome::{Answer, Failure, Outcome, Usage};
use crate::target::{Target, whole};
use crate::time::Stopwatch;

/// For one vector, in bytes: some ten thousand numbers in decimal.
const VECTOR_MAX: usize = 256 << 10;
/// For one answer.
const ANSWER_MAX: usize = 64 << 20;

/// The request's body. Base64, as the official SDKs ask for it.
pub(crate) fn body(model: &str, inputs: &[String]) -> Value {
    json!({"model": model, "input": inputs, "encoding_format": "base64"})
}

/// Sends it and waits for the whole answer, which must hold `batch` vectors.
pub(crate) async fn request(target: &Target, body: &Value, batch: u32) -> Outcome {
    match run(target, body, batch as usize).await {
        Ok(answer) => Outcome::Done(answer),
        Err(failure) => Outcome::Failed(failure),
    }
}

async fn run(target: &Target, body: &Value, batch: usize) -> Result<Answer, Failure> {
    let watch = Stopwatch::start();
    let response = target.post("embeddings", body).await?;
    let head = watch.elapsed();
    let bytes_max = ((batch + 1) * VECTOR_MAX).min(ANSWER_MAX);
    let bytes = whole(response, bytes_max).await?;
    let total = watch.elapsed();
    let list: List = serde_json::from_slice(&bytes)
        .map_err(|_| Failure::new("answer not a list of embeddings"))?;
    if list.data.len() != batch {
        return Err(Failure::new("wrong number of embeddings"));
    }
    Ok(Answer {
        head,
        total,
        usage: list.usage,
        ..Answer::default()
    })
}

#[derive(Deserialize)]
struct List {
    data: Vec<IgnoredAny>,
    usage: Option<Usage>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::routing::post;

    use super::*;
    use crate::fake::{Fake, serve_in_background};

    #[tokio::test]
    async fn a_batch_is_answered_and_counted() {
        let gap = Duration::ZERO;
        let target = serve_in_background(Fake { gap }.router()).await;
        let inputs = ["one two".to_owned(), "three".to_owned()];
        let outcome = request(&target, &body("m", &inputs), 2).await;
        let Outcome::Done(answer) = outcome else {
            panic!("it is whole, not {outcome:?}");
        };
        assert_eq!(answer.usage.map(|usage| usage.prompt_tokens), Some(3));
        assert!(answer.head <= answer.total);
        assert_eq!(answer.first, None);
    }

    #[tokio::test]
    async fn an_answer_that_misses_a_vector_is_a_failure() {
        let answer = r#"{"data":[{"embedding":[1]}],"usage":{"prompt_tokens":1}}"#;
        let app = Router::new().route("/v1/embeddings", post(async move || answer));
        let target = serve_in_background(app).await;
        let outcome = request(&target, &json!({}), 2).await;
        let Outcome::Failed(failure) = outcome else {
            panic!("it is a failure, not {outcome:?}");
        };
        assert_eq!(failure.words(), "wrong number of embeddings");
    }
}
