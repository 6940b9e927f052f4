//! A scripted backend behind OpenAI's streaming API: the upstream for the conformance suite.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use kwaainet_core::{
    Backend, BackendError, EmbedInput, EmbedRequest, Event, GenerateParams, GenerateRequest,
    Message, PrincipalId, Prompt, Role, Sampling, TokenLogprob, TopLogprob,
};
use kwaainet_testkit::ScriptedBackend;
use serde_json::{Value, json};

type Fake = State<Arc<ScriptedBackend>>;

pub(crate) fn router(fake: Arc<ScriptedBackend>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(generate))
        .route("/v1/completions", post(generate))
        .route("/v1/embeddings", post(embed))
        .with_state(fake)
}

async fn models(State(fake): Fake) -> Json<Value> {
    let listed = fake.report().models.into_iter().map(
        |m| json!({"id": m.id, "object": "model", "created": m.created, "context_length": m.context}),
    );
    Json(json!({"object": "list", "data": listed.collect::<Vec<_>>()}))
}

async fn generate(State(fake): Fake, Json(body): Json<Value>) -> Response {
    let is_chat = body.get("messages").is_some();
    let events = match fake.generate(request(&body)).await {
        Ok(events) => events,
        Err(error) => return refuse(&error),
    };
    let lines = events.map(move |event| {
        let data = match event {
            Ok(Event::Started { .. }) => return Ok(": started\n\n".to_owned()),
            Ok(event) => chunk(event, is_chat),
            Err(error) => json!({"error": {"message": error.to_string()}}),
        };
        Ok::<_, Infallible>(format!("data: {data}\n\n"))
    });
    let done = futures_util::stream::iter([Ok("data: [DONE]\n\n".to_owned())]);
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(lines.chain(done))).into_response()
}

fn chunk(event: Event, is_chat: bool) -> Value {
    let choice = match event {
        Event::Delta(delta) if is_chat => {
            let tokens: Vec<Value> = delta.logprobs.iter().map(chat_token).collect();
            let logprobs = (!tokens.is_empty()).then(|| json!({"content": tokens}));
            let said = json!({"content": delta.text});
            json!({"index": delta.choice, "delta": said, "logprobs": logprobs})
        }
        Event::Delta(delta) => {
            let logprobs = (!delta.logprobs.is_empty()).then(|| completion(&delta.logprobs));
            json!({"index": delta.choice, "text": delta.text, "logprobs": logprobs})
        }
        Event::Finished { choice, reason } => {
            json!({"index": choice, "delta": {}, "text": "", "finish_reason": reason})
        }
        Event::Done(usage) => return json!({"choices": [], "usage": usage}),
        Event::Started { .. } | Event::Call(_) => unreachable!("it has no chunk"),
    };
    json!({"choices": [choice]})
}

fn chat_token(token: &TokenLogprob) -> Value {
    let one = |top: &TopLogprob| {
        let text = String::from_utf8_lossy(&top.bytes);
        json!({"token": text, "logprob": top.logprob, "bytes": top.bytes})
    };
    let mut value = one(&token.chosen);
    value["top_logprobs"] = token.top.iter().map(one).collect();
    value
}

fn completion(tokens: &[TokenLogprob]) -> Value {
    let text = |top: &TopLogprob| String::from_utf8_lossy(&top.bytes).into_owned();
    let tops = tokens.iter().map(|token| {
        let pairs = token.top.iter().map(|top| (text(top), json!(top.logprob)));
        Value::Object(pairs.collect())
    });
    json!({
        "tokens": tokens.iter().map(|token| text(&token.chosen)).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|token| token.chosen.logprob).collect::<Vec<_>>(),
        "top_logprobs": tops.collect::<Vec<_>>(),
    })
}

fn request(body: &Value) -> GenerateRequest {
    let messages = body["messages"].as_array();
    let (prompt, logprobs) = match messages {
        Some(messages) => {
            let wanted = body["logprobs"].as_bool().unwrap_or_default();
            let top = body["top_logprobs"].as_u64().unwrap_or_default();
            (
                Prompt::Chat(messages.iter().map(message).collect::<Vec<_>>().into()),
                wanted.then_some(top),
            )
        }
        None => (prompt(&body["prompt"]), body["logprobs"].as_u64()),
    };
    let newer = body["max_completion_tokens"].as_u64();
    let number = |name: &str| body[name].as_f64().map(|number| number as f32);
    let stop = body["stop"].as_array().into_iter().flatten();
    let bias = body["logit_bias"].as_object().into_iter().flatten();
    GenerateRequest {
        model: body["model"].as_str().unwrap_or_default().into(),
        prompt,
        params: GenerateParams {
            n: body["n"].as_u64().unwrap_or(1) as u16,
            max_tokens: newer.or(body["max_tokens"].as_u64()).map(|n| n as u32),
            max_tokens_param: if newer.is_some() {
                "max_completion_tokens"
            } else {
                "max_tokens"
            },
            stop: stop.filter_map(Value::as_str).map(str::to_owned).collect(),
            logprobs: logprobs.map(|top| top as u8),
            sampling: Sampling {
                temperature: number("temperature").unwrap_or(1.0),
                seed: body["seed"].as_u64(),
                logit_bias: bias
                    .map(|(id, bias)| {
                        (
                            id.parse().unwrap_or(u32::MAX),
                            bias.as_f64().unwrap_or_default() as f32,
                        )
                    })
                    .collect(),
                ..Sampling::default()
            },
            ..GenerateParams::default()
        },
        owner: PrincipalId::operator(),
        resume: None,
    }
}

fn message(message: &Value) -> Message {
    Message::new(Role::User, message["content"].as_str().unwrap_or_default())
}

fn prompt(prompt: &Value) -> Prompt {
    match prompt.as_str() {
        Some(text) => Prompt::Text(text.into()),
        None => Prompt::Tokens(ids(prompt)),
    }
}

fn ids(list: &Value) -> Vec<u32> {
    let ids = list.as_array().into_iter().flatten();
    ids.filter_map(Value::as_u64).map(|id| id as u32).collect()
}

async fn embed(State(fake): Fake, Json(body): Json<Value>) -> Response {
    let inputs = body["input"].as_array().into_iter().flatten();
    let request = EmbedRequest {
        model: body["model"].as_str().unwrap_or_default().into(),
        inputs: inputs
            .map(|input| match input.as_str() {
                Some(text) => EmbedInput::Text(text.into()),
                None => EmbedInput::Tokens(ids(input)),
            })
            .collect(),
        dimensions: body["dimensions"].as_u64().map(|n| n as u32),
    };
    match fake.embed(request).await {
        Ok(embeddings) => {
            let vectors = embeddings.vectors.iter().enumerate();
            let data = vectors.map(|(index, v)| json!({"index": index, "embedding": v}));
            // Backwards, since only the index counts.
            let data: Vec<Value> = data.rev().collect();
            let usage = json!({"prompt_tokens": embeddings.prompt_tokens});
            Json(json!({"data": data, "usage": usage})).into_response()
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &BackendError) -> Response {
    let (status, code, param) = match error {
        BackendError::ModelNotFound(_) => (404, "model_not_found", "model"),
        BackendError::ContextOverflow { param, .. } => (400, "context_length_exceeded", *param),
        BackendError::Invalid { param, .. } => (400, "invalid_value", *param),
        BackendError::Unsupported { param, .. } => (400, "unsupported_parameter", *param),
        BackendError::Busy { .. } => (429, "rate_limit_exceeded", ""),
        _ => (500, "", ""),
    };
    let status = StatusCode::from_u16(status).expect("it is a status");
    let error = json!({"message": error.to_string(), "param": param, "code": code});
    (status, Json(json!({"error": error}))).into_response()
}
