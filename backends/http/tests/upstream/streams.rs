//! Answers that arrive, in whatever pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{Backend, BackendError, Event, Usage};

use crate::server::{
    END, answering, backend, chat, config, events, line, pieces, read, serve, start, then_again,
    then_silence,
};

#[tokio::test]
async fn text_is_the_same_however_the_bytes_are_cut() {
    let usage = "data: {\"choices\":[],\r\ndata: \"usage\":{\"prompt_tokens\":3,\
                 \"completion_tokens\":7}}\r\n\r\n";
    let body = format!(": hi\n\n{}{}", line("größe "), line("€ 😀"));
    let body = body.replace('\n', "\r\n")
        + &END.replace("data: [DONE]", &(usage.to_owned() + "data: [DONE]"));
    for size in [1, 2, 3, 5, 7, 64, body.len()] {
        let body = body.clone();
        let backend = answering(move || events(pieces(&body, size))).await;
        let (text, last) = read(start(&backend).await).await;
        assert_eq!(text, "größe € 😀", "pieces of {size}");
        let usage = Usage {
            prompt_tokens: 3,
            cached_tokens: 0,
            completion_tokens: 7,
        };
        assert_eq!(last, Ok(Event::Done(usage)), "pieces of {size}");
    }
}

#[tokio::test]
async fn text_goes_on_before_the_answer_is_over() {
    let left = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&left);
    let backend = answering(move || events(then_silence(&line("early"), &flag))).await;
    let mut stream = start(&backend).await;
    let started = stream.next().await;
    assert!(matches!(
        started,
        Some(Ok(Event::Started {
            prompt_tokens: 0,
            ..
        }))
    ));
    let Some(Ok(Event::Delta(delta))) = stream.next().await else {
        panic!("the text is there");
    };
    assert_eq!((delta.text.as_str(), delta.tokens), ("early", 1));
    assert!(!left.load(Ordering::SeqCst));
}

#[tokio::test]
async fn without_usage_tokens_are_counted_by_piece() {
    let body = format!("{}{}{END}", line("a"), line("b"));
    let backend = answering(move || events(pieces(&body, 64))).await;
    let (_, last) = read(start(&backend).await).await;
    let usage = Usage {
        completion_tokens: 2,
        ..Usage::default()
    };
    assert_eq!(last, Ok(Event::Done(usage)));
}

#[tokio::test]
async fn an_answer_is_whole_without_its_done_line() {
    let body = format!("{}{}", line("a"), END.replace("data: [DONE]\n\n", ""));
    let backend = answering(move || events(pieces(&body, 64))).await;
    let (text, last) = read(start(&backend).await).await;
    assert_eq!(text, "a");
    assert!(matches!(last, Ok(Event::Done(_))), "{last:?}");
}

#[tokio::test]
async fn a_complete_answer_does_not_wait_long_for_the_end_of_its_stream() {
    let left = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&left);
    let body = line("a") + &END.replace("data: [DONE]\n\n", "");
    let backend = answering(move || events(then_silence(&body, &flag))).await;
    let (text, last) = read(start(&backend).await).await;
    assert_eq!(text, "a");
    assert!(matches!(last, Ok(Event::Done(_))), "{last:?}");
    becomes(&left).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_error() {
    for tail in [
        "",
        "data: [DONE]\n\n",
        "data: {\"choices\":[{\"ind",
        "data: nonsense\n\n",
    ] {
        let body = line("half") + tail;
        let backend = answering(move || events(pieces(&body, 64))).await;
        let (text, last) = read(start(&backend).await).await;
        assert_eq!(text, "half");
        assert!(
            matches!(last, Err(BackendError::Upstream { .. })),
            "{tail:?}: {last:?}"
        );
    }
}

#[tokio::test]
async fn an_error_inside_a_stream_ends_it() {
    let body =
        line("half") + "data: {\"error\":{\"message\":\"x\",\"type\":\"rate_limit_error\"}}\n\n";
    let left = Arc::new(AtomicBool::new(false));
    let backend = answering(move || events(then_silence(&body, &left))).await;
    let (text, last) = read(start(&backend).await).await;
    assert_eq!(text, "half");
    assert!(matches!(last, Err(BackendError::Busy { .. })), "{last:?}");
}

#[tokio::test]
async fn silence_in_the_middle_is_a_timeout() {
    let left = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&left);
    let body = line("half");
    let route = axum::routing::post(move || std::future::ready(events(then_silence(&body, &flag))));
    let router = axum::Router::new().route("/v1/chat/completions", route);
    let mut config = config(&serve(router).await);
    config.idle_timeout = Duration::from_millis(50);
    let backend = backend(config);
    let (text, last) = read(start(&backend).await).await;
    assert_eq!(text, "half");
    assert!(
        matches!(last, Err(BackendError::Timeout { .. })),
        "{last:?}"
    );
    becomes(&left).await;
}

#[tokio::test]
async fn comments_do_not_break_the_silence() {
    let answer = || events(then_again(&line("half"), ": still here\n\n"));
    let route = axum::routing::post(move || std::future::ready(answer()));
    let router = axum::Router::new().route("/v1/chat/completions", route);
    let mut config = config(&serve(router).await);
    config.idle_timeout = Duration::from_millis(200);
    let (text, last) = read(start(&backend(config)).await).await;
    assert_eq!(text, "half");
    let timeout = BackendError::Timeout {
        reason: "we waited 200 ms for the rest of its answer".into(),
    };
    assert_eq!(last, Err(timeout));
}

#[tokio::test]
async fn what_follows_a_complete_answer_does_not_prolong_it() {
    let body = line("a") + &END.replace("data: [DONE]\n\n", "");
    for again in ["data: {\"choices\":[]}\n\n", ": still here\n\n"] {
        let body = body.clone();
        let backend = answering(move || events(then_again(&body, again))).await;
        let (text, last) = read(start(&backend).await).await;
        assert_eq!(text, "a");
        assert!(matches!(last, Ok(Event::Done(_))), "{last:?}");
    }
}

#[tokio::test]
async fn the_upstream_sees_a_caller_leave() {
    let left = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&left);
    let backend = answering(move || events(then_silence(&line("a"), &flag))).await;
    let stream = start(&backend).await;
    assert!(!left.load(Ordering::SeqCst));
    drop(stream);
    becomes(&left).await;
}

#[tokio::test]
async fn the_upstream_sees_a_caller_leave_before_the_first_word() {
    let asked = Arc::new(AtomicBool::new(false));
    let left = Arc::new(AtomicBool::new(false));
    let (seen, flag) = (Arc::clone(&asked), Arc::clone(&left));
    let backend = answering(move || {
        seen.store(true, Ordering::SeqCst);
        events(then_silence(": wait\n\n", &flag))
    })
    .await;
    tokio::select! {
        _ = backend.generate(chat()) => panic!("there is no word yet"),
        () = becomes(&asked) => {}
    }
    becomes(&left).await;
}

#[tokio::test]
async fn log_probabilities_that_do_not_come_are_refused_by_name() {
    let body = line("text") + END;
    let backend = answering(move || events(pieces(&body, 64))).await;
    let mut request = chat();
    request.params.logprobs = Some(2);
    let stream = backend.generate(request).await;
    let (_, last) = read(stream.unwrap_or_else(|error| panic!("{error}"))).await;
    let named = matches!(
        last,
        Err(BackendError::Unsupported {
            param: "logprobs",
            ..
        })
    );
    assert!(named, "{last:?}");
}

async fn becomes(flag: &AtomicBool) {
    let watch = async {
        while !flag.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let became = tokio::time::timeout(Duration::from_secs(5), watch).await;
    became.expect("the upstream sees that its client has left");
}
