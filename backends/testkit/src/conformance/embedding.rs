//! Vectors: of unit length, each its own input's, alone or in a batch.

use kwaainet_core::{Backend, EmbedInput, EmbedRequest, Embeddings};

use super::sampling::names_param;
use super::{EmbedSubject, require};

/// Components may differ by rounding only.
const CLOSE: f32 = 1e-4;

/// A vector is of unit length, repeatable, and the same in a batch as alone.
pub(super) async fn vectors(backend: &dyn Backend, model: &EmbedSubject) {
    let rule = "a vector is the same in a batch as alone";
    let texts = [
        "one",
        "a somewhat longer input of eight words",
        "three",
        "one",
    ];
    let batch = embed(backend, model, &texts, None, rule).await;
    require(batch.vectors.len() == texts.len(), rule, || {
        format!("{} vectors for {} inputs", batch.vectors.len(), texts.len())
    });
    let mut tokens = 0;
    for (text, vector) in texts.iter().zip(&batch.vectors) {
        let alone = embed(backend, model, &[text], None, rule).await;
        tokens += alone.prompt_tokens;
        require(is_close(vector, &alone.vectors[0]), rule, || {
            format!("the vector of {text:?} differs")
        });
        has_unit_length(vector);
    }
    let rule = "different inputs have different vectors";
    let [first, second, ..] = &batch.vectors[..] else {
        unreachable!("there are four");
    };
    require(!is_close(first, second), rule, || "two are equal".into());

    let rule = "the tokens of a batch are the sum of its inputs'";
    let all = batch.prompt_tokens;
    require(tokens > 0 && all == tokens, rule, || {
        format!("{all} in a batch, {tokens} alone")
    });
}

/// `dimensions` keeps the first components and normalises again.
pub(super) async fn dimensions(backend: &dyn Backend, model: &EmbedSubject) {
    let rule = "dimensions shorten a vector";
    let text = ["one"];
    if !model.dimensions {
        let answer = backend.embed(request(model, &text, Some(2))).await;
        match answer {
            Err(error) => names_param(&error, "dimensions", rule),
            Ok(_) => panic!("conformance rule broken: {rule}: it was accepted"),
        }
        return;
    }
    let full = embed(backend, model, &text, None, rule).await;
    let keep = full.vectors[0].len() / 2;
    let short = embed(backend, model, &text, Some(keep as u32), rule).await;
    let head = &full.vectors[0][..keep];
    let length = length(head);
    let expected: Vec<f32> = head.iter().map(|x| x / length).collect();
    require(is_close(&short.vectors[0], &expected), rule, || {
        format!("{keep} dimensions are not the first {keep} of all, normalised")
    });
    has_unit_length(&short.vectors[0]);

    let rule = "more dimensions than the model has are refused";
    let more = full.vectors[0].len() as u32 + 1;
    let answer = backend.embed(request(model, &text, Some(more))).await;
    require(answer.is_err(), rule, || format!("{more} were accepted"));
}

async fn embed(
    backend: &dyn Backend,
    model: &EmbedSubject,
    texts: &[&str],
    dimensions: Option<u32>,
    rule: &str,
) -> Embeddings {
    match backend.embed(request(model, texts, dimensions)).await {
        Ok(embeddings) => embeddings,
        Err(error) => panic!("conformance rule broken: {rule}: it was refused: {error}"),
    }
}

fn request(model: &EmbedSubject, texts: &[&str], dimensions: Option<u32>) -> EmbedRequest {
    let texts = texts.iter().map(|text| (*text).to_owned());
    EmbedRequest {
        model: model.model.clone(),
        inputs: texts.map(EmbedInput::Text).collect(),
        dimensions,
    }
}

fn has_unit_length(vector: &[f32]) {
    let rule = "a vector has unit length";
    let length = length(vector);
    require((length - 1.0).abs() < CLOSE, rule, || {
        format!("it is {length}")
    });
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

fn is_close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < CLOSE)
}
