//! Stop texts end a choice, never show, and cost nothing that is not theirs.

use kwaainet_core::{Backend, FinishReason, Prompt};

use super::taking::{Choice, take, text_of};
use super::{GenerateSubject, require};

/// Tries stop texts cut out of the greedy answer, wherever token boundaries lie.
pub(super) async fn stop_texts(backend: &dyn Backend, model: &GenerateSubject, prompt: &Prompt) {
    let rule = "a stop text ends a choice and never shows";
    let whole = text_of(backend, model.request(prompt), rule).await;
    let chars: Vec<char> = whole.chars().collect();
    require(chars.len() >= 4, rule, || {
        format!("the subject's {prompt:?} has too short an answer: {whole:?}")
    });
    for (start, length) in [(0, 1), (chars.len() / 3, 5), (chars.len() / 2, 2)] {
        let stop: String = chars.iter().skip(start).take(length).collect();
        let stops = vec!["\u{1}never\u{1}".to_owned(), stop.clone()];
        let choice = stopped(backend, model, prompt, stops).await;
        let expected = whole.split(&stop).next().unwrap_or_default();
        require(choice.text == expected, rule, || {
            format!("with stop {stop:?}, {:?} came of {whole:?}", choice.text)
        });
        require(choice.reason == Some(FinishReason::Stop), rule, || {
            format!("with stop {stop:?} it ended with {:?}", choice.reason)
        });
    }

    let rule = "text that only began like a stop text is not lost";
    let tail: String = chars[chars.len().saturating_sub(3)..].iter().collect();
    let choice = stopped(backend, model, prompt, vec![format!("{tail}\u{1}never")]).await;
    require(choice.text == whole, rule, || {
        format!("{:?} came of {whole:?}", choice.text)
    });
    require(choice.reason == Some(FinishReason::Length), rule, || {
        format!("it ended with {:?}", choice.reason)
    });
}

async fn stopped(
    backend: &dyn Backend,
    model: &GenerateSubject,
    prompt: &Prompt,
    stops: Vec<String>,
) -> Choice {
    let mut request = model.request(prompt);
    request.params.stop = stops;
    let mut taken = take(backend, request, "a stop text ends a choice").await;
    taken.choices.remove(0)
}
