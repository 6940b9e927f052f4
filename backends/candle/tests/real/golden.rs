//! Answers equal to llama.cpp's and vectors equal to sentence-transformers', for the same files.
//!
//! The golden data and the scripts that made it lie in `tests/golden`. Where two tokens are nearly
//! equally likely, llama.cpp itself answers differently with another cache type or batch size, so a
//! difference there ends the comparison of that text and is no fault. `ties.json` says where.

use std::collections::HashMap;

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, EmbedInput, EmbedRequest, Event, FinishReason, GenerateParams, GenerateRequest,
    Message, PrincipalId, Prompt, Role, Sampling, Tokenized,
};
use serde::Deserialize;

use crate::models;

/// As many as llama.cpp was asked for.
const TOKENS: u32 = 32;
const END_TOKENS: [&str; 4] = ["<|im_end|>", "<|endoftext|>", "<eos>", "<end_of_turn>"];

/// For each golden file and case, which other tokens came within 0.3 nats of each token's place.
type Ties = HashMap<String, HashMap<String, Vec<Vec<u32>>>>;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    messages: Option<Vec<Turn>>,
    prompt: Option<String>,
    prompt_tokens: Vec<u32>,
    tokens: Vec<u32>,
    /// Whether the end token follows.
    #[serde(default)]
    ended: bool,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: String,
}

impl Case {
    fn prompt(&self) -> Prompt {
        match (&self.messages, &self.prompt) {
            (Some(turns), _) => Prompt::Chat(turns.iter().map(message).collect::<Vec<_>>().into()),
            (None, Some(text)) => Prompt::Text(text.clone()),
            (None, None) => panic!("{} has no prompt", self.name),
        }
    }

    fn tokenized(&self) -> Tokenized {
        match self.prompt() {
            Prompt::Chat(chat) => Tokenized::Chat(chat),
            Prompt::Text(text) => Tokenized::Text {
                text,
                add_special: true,
                parse_special: true,
            },
            Prompt::Infill { .. } | Prompt::Tokens(_) => unreachable!("no case has such a prompt"),
        }
    }
}

fn message(turn: &Turn) -> Message {
    let role = match turn.role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        other => panic!("the role {other} is not known"),
    };
    Message::new(role, turn.content.as_str())
}

fn golden<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the golden data is checked in");
    serde_json::from_str(&text).expect("the golden data is well-formed")
}

#[tokio::test(flavor = "multi_thread")]
async fn smollm2_answers_like_llama_cpp() {
    answers_like_llama_cpp(models::SMOLLM2, "smollm2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gemma3_answers_like_llama_cpp() {
    answers_like_llama_cpp(models::GEMMA3, "gemma3").await;
}

async fn answers_like_llama_cpp(model: &str, data: &str) {
    let backend = models::backend(&[model]);
    let ties: Ties = golden("ties");
    let ties = &ties[data];
    let golden: Golden = golden(data);
    let checks = golden.cases.iter().map(|case| async {
        let text = case.tokenized();
        let tokens = backend.tokenize(model.into(), text).await;
        let tokens = tokens.expect("the prompt is right");
        if tokens.ids != case.prompt_tokens {
            return Some(format!("{}: the prompt's tokens differ", case.name));
        }
        difference(backend.as_ref(), model, case, &ties[&case.name]).await
    });
    let differences = futures_util::future::join_all(checks).await;
    let differences: Vec<_> = differences.into_iter().flatten().collect();
    assert!(differences.is_empty(), "{differences:#?}");
    backend.shutdown().await;
}

/// What was generated greedily.
struct Answer {
    /// Of each token, as far as it came out whole.
    pieces: Vec<String>,
    tokens: u32,
    reason: Option<FinishReason>,
}

async fn greedy(backend: &dyn Backend, model: &str, case: &Case) -> Answer {
    let request = GenerateRequest {
        model: model.into(),
        prompt: case.prompt(),
        params: GenerateParams {
            max_tokens: Some(TOKENS),
            // For the bytes of each token.
            logprobs: Some(0),
            sampling: Sampling {
                temperature: 0.0,
                ..Sampling::default()
            },
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    };
    let mut answer = Answer {
        pieces: Vec::new(),
        tokens: 0,
        reason: None,
    };
    let mut events = backend
        .generate(request)
        .await
        .expect("the request is right");
    while let Some(event) = events.next().await {
        match event.expect("the stream goes well") {
            Event::Delta(delta) => {
                answer.tokens += delta.tokens;
                let bytes = delta.logprobs.into_iter().map(|l| l.chosen.bytes);
                let pieces = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                answer.pieces.extend(pieces);
            }
            Event::Call(_) => panic!("there are no tools"),
            Event::Finished { reason, .. } => answer.reason = Some(reason),
            Event::Started { .. } | Event::Done(_) => {}
        }
    }
    answer
}

/// The first difference to llama.cpp, unless it is at a tie.
async fn difference(
    backend: &dyn Backend,
    model: &str,
    case: &Case,
    ties: &[Vec<u32>],
) -> Option<String> {
    let ours = greedy(backend, model, case).await;
    for (i, ties) in ties.iter().enumerate() {
        let piece = match ours.pieces.get(i) {
            Some(piece) => piece.as_str(),
            None if ours.reason == Some(FinishReason::Stop) => "the end",
            // The last tokens are part of a character that never became whole.
            None if ours.tokens == TOKENS => return None,
            None => return Some(format!("{}: a token is missing after {i}", case.name)),
        };
        let theirs = match case.tokens.get(i) {
            Some(token) => spelled(backend, model, *token).await,
            None => "the end".into(),
        };
        if piece == theirs {
            continue;
        }
        for tie in ties {
            if piece == spelled(backend, model, *tie).await {
                return None;
            }
        }
        return Some(format!(
            "{}: token {i} is {piece:?}, not {theirs:?}",
            case.name
        ));
    }
    (case.ended && ours.reason != Some(FinishReason::Stop))
        .then(|| format!("{}: goes on after the end", case.name))
}

async fn spelled(backend: &dyn Backend, model: &str, token: u32) -> String {
    let text = backend.detokenize(model.into(), vec![token]).await;
    let text = text.expect("the token is in the vocabulary");
    if END_TOKENS.contains(&text.as_str()) {
        "the end".into()
    } else {
        text
    }
}

#[derive(Deserialize)]
struct GoldenVectors {
    texts: Vec<GoldenVector>,
}

#[derive(Deserialize)]
struct GoldenVector {
    text: String,
    tokens: Vec<u32>,
    embedding: Vec<f32>,
}

#[tokio::test(flavor = "multi_thread")]
async fn minilm_embeds_like_sentence_transformers() {
    let backend = models::backend(&[models::MINILM]);
    let golden: GoldenVectors = golden("minilm");
    for expected in golden.texts {
        let text = Tokenized::Text {
            text: expected.text.clone(),
            add_special: true,
            parse_special: false,
        };
        let tokens = backend.tokenize(models::MINILM.into(), text).await;
        assert_eq!(tokens.expect("the text is right").ids, expected.tokens);

        let request = EmbedRequest {
            model: models::MINILM.into(),
            inputs: vec![EmbedInput::Text(expected.text)],
            dimensions: None,
        };
        let ours = backend.embed(request).await.expect("the text fits");
        let ours = &ours.vectors[0];
        assert_eq!(ours.len(), expected.embedding.len());
        let cosine =
            dot(ours, &expected.embedding) / dot(&expected.embedding, &expected.embedding).sqrt();
        assert!(cosine >= 0.999, "the cosine is {cosine}");
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
