//! One embedding request, and the checks of what comes back.

use kwaainet_core::{BackendError, EmbedInput, EmbedRequest, Embeddings};
use serde::{Deserialize, Serialize};

use crate::errors::Asked;
use crate::upstream::{Upstream, failed, within};

/// Of an answer, in bytes: for each input, a vector of some ten thousand numbers in decimal.
const BYTES_PER_VECTOR_MAX: usize = 256 << 10;
const BYTES_MAX: usize = 256 << 20;
/// A vector whose length is this close to 1 is left as it came.
const UNIT_TOLERANCE: f64 = 1e-4;

#[derive(Serialize)]
struct EmbedBody<'a> {
    model: &'a str,
    input: WireInput<'a>,
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireInput<'a> {
    Texts(Vec<&'a str>),
    Tokens(Vec<&'a [u32]>),
}

#[derive(Deserialize)]
struct EmbedAnswer {
    data: Vec<WireVector>,
    #[serde(default)]
    usage: Option<WireUsage>,
}

impl EmbedAnswer {
    /// 0 if it does not say.
    fn prompt_tokens(&self) -> u32 {
        let usage = self.usage.as_ref();
        usage
            .and_then(|usage| usage.prompt_tokens)
            .unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct WireVector {
    index: usize,
    embedding: Vec<f32>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: Option<u32>,
}

/// Asks the upstream for all vectors at once. `model` is the upstream's name.
pub(crate) async fn embed(
    upstream: &Upstream,
    model: &str,
    request: &EmbedRequest,
) -> Result<Embeddings, BackendError> {
    let body = EmbedBody {
        model,
        input: wire_input(&request.inputs)?,
        encoding_format: "float",
        dimensions: request.dimensions,
    };
    let asked = Asked {
        model: request.model.clone(),
        main: "input",
        max_tokens: "input",
        hidden: upstream.hidden(),
    };
    let sent = upstream.post("embeddings", &body, &asked);
    let response = within(upstream.first_byte_timeout, "for an answer", sent).await??;
    let bytes_max = (request.inputs.len() + 1) * BYTES_PER_VECTOR_MAX;
    let body = upstream.body(response, bytes_max.min(BYTES_MAX)).await?;
    let answer: EmbedAnswer =
        serde_json::from_slice(&body).map_err(|_| failed("its embeddings cannot be read"))?;
    Ok(Embeddings {
        prompt_tokens: answer.prompt_tokens(),
        vectors: in_order(answer.data, request)?,
    })
}

fn wire_input(inputs: &[EmbedInput]) -> Result<WireInput<'_>, BackendError> {
    let invalid = |reason: &str| BackendError::Invalid {
        param: "input",
        reason: reason.to_owned(),
    };
    let texts: Vec<&str> = inputs.iter().filter_map(text).collect();
    let tokens: Vec<&[u32]> = inputs.iter().filter_map(tokens).collect();
    match (texts.is_empty(), tokens.is_empty()) {
        (true, true) => Err(invalid("there is nothing to embed")),
        (false, true) => Ok(WireInput::Texts(texts)),
        (true, false) => Ok(WireInput::Tokens(tokens)),
        (false, false) => Err(invalid("texts and token ids cannot be mixed")),
    }
}

fn text(input: &EmbedInput) -> Option<&str> {
    match input {
        EmbedInput::Text(text) => Some(text),
        EmbedInput::Tokens(_) => None,
    }
}

fn tokens(input: &EmbedInput) -> Option<&[u32]> {
    match input {
        EmbedInput::Text(_) => None,
        EmbedInput::Tokens(ids) => Some(ids),
    }
}

/// Each input's vector, in the inputs' order, none missing, all of one size and of unit length.
fn in_order(data: Vec<WireVector>, request: &EmbedRequest) -> Result<Vec<Vec<f32>>, BackendError> {
    let mut vectors = vec![Vec::new(); request.inputs.len()];
    for vector in data {
        match vectors.get_mut(vector.index) {
            Some(place) if place.is_empty() => *place = vector.embedding,
            _ => return Err(failed("its embeddings are not one for each input")),
        }
    }
    let size = vectors.first().map_or(0, Vec::len);
    if size == 0 || vectors.iter().any(|vector| vector.len() != size) {
        return Err(failed("its embeddings are not one for each input"));
    }
    if request
        .dimensions
        .is_some_and(|wanted| wanted as usize != size)
    {
        return Err(BackendError::Unsupported {
            param: "dimensions",
            reason: "the upstream server does not shorten embeddings".into(),
        });
    }
    vectors.into_iter().map(unit).collect()
}

fn unit(mut vector: Vec<f32>) -> Result<Vec<f32>, BackendError> {
    let squares = vector.iter().map(|x| f64::from(*x) * f64::from(*x));
    let length = squares.sum::<f64>().sqrt();
    if !length.is_finite() || length == 0.0 {
        return Err(failed("one of its embeddings has no direction"));
    }
    if (length - 1.0).abs() > UNIT_TOLERANCE {
        for x in &mut vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
    Ok(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(inputs: usize, dimensions: Option<u32>) -> EmbedRequest {
        EmbedRequest {
            model: "m".into(),
            inputs: vec![EmbedInput::Tokens(vec![1]); inputs],
            dimensions,
        }
    }

    fn vectors(parts: &[(usize, &[f32])]) -> Vec<WireVector> {
        let part = |(index, embedding): &(usize, &[f32])| WireVector {
            index: *index,
            embedding: embedding.to_vec(),
        };
        parts.iter().map(part).collect()
    }

    #[test]
    fn vectors_are_put_in_order_and_made_unit_only_if_they_are_not() {
        let data = vectors(&[(1, &[3.0, 4.0]), (0, &[0.6, 0.800_01])]);
        let ordered = in_order(data, &request(2, Some(2)));
        assert_eq!(ordered, Ok(vec![vec![0.6, 0.800_01], vec![0.6, 0.8]]));
    }

    #[test]
    fn a_usage_that_says_nothing_is_tolerated() {
        let tokens = |usage: &str| {
            let answer = format!(r#"{{"data":[]{usage}}}"#);
            let answer: EmbedAnswer = serde_json::from_str(&answer).expect("it can be read");
            answer.prompt_tokens()
        };
        for nothing in [
            "",
            r#","usage":null"#,
            r#","usage":{}"#,
            r#","usage":{"prompt_tokens":null}"#,
        ] {
            assert_eq!(tokens(nothing), 0, "{nothing}");
        }
        assert_eq!(tokens(r#","usage":{"prompt_tokens":3}"#), 3);
    }

    #[test]
    fn vectors_that_do_not_fit_the_inputs_are_refused() {
        for bad in [
            vectors(&[]),
            vectors(&[(0, &[1.0])]),
            vectors(&[(0, &[1.0]), (0, &[1.0])]),
            vectors(&[(0, &[1.0]), (2, &[1.0])]),
            vectors(&[(0, &[1.0]), (1, &[1.0, 0.0])]),
            vectors(&[(0, &[1.0]), (1, &[])]),
            vectors(&[(0, &[1.0]), (1, &[0.0])]),
        ] {
            let refused = in_order(bad, &request(2, None));
            assert!(
                matches!(refused, Err(BackendError::Upstream { .. })),
                "{refused:?}"
            );
        }
        let ignored = in_order(vectors(&[(0, &[1.0, 0.0])]), &request(1, Some(1)));
        assert!(matches!(
            ignored,
            Err(BackendError::Unsupported {
                param: "dimensions",
                ..
            })
        ));
    }

    #[test]
    fn inputs_are_all_texts_or_all_tokens() {
        let mixed = [EmbedInput::Text("a".into()), EmbedInput::Tokens(vec![1])];
        for bad in [&mixed[..], &[]] {
            assert!(matches!(
                wire_input(bad),
                Err(BackendError::Invalid { param: "input", .. })
            ));
        }
        assert!(wire_input(&mixed[..1]).is_ok());
        assert!(wire_input(&mixed[1..]).is_ok());
    }
}
