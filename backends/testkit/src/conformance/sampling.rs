//! What is fixed stays fixed, and log-probabilities belong to the text.

use kwaainet_core::{Backend, BackendError, GenerateRequest, Prompt, TokenLogprob};

use super::taking::{Choice, refusal, take, text_of};
use super::{GenerateSubject, require};

/// Temperature 0 gives the same text every time.
pub(super) async fn greedy_is_repeatable(
    backend: &dyn Backend,
    model: &GenerateSubject,
    prompt: &Prompt,
) {
    let rule = "greedy output is repeatable";
    let first = text_of(backend, model.request(prompt), rule).await;
    let second = text_of(backend, model.request(prompt), rule).await;
    require(first == second, rule, || {
        format!("two greedy answers to {prompt:?} differ")
    });
    require(!first.is_empty(), rule, || {
        format!("the subject's {prompt:?} has no text for an answer")
    });
}

/// A seed fixes the draws, and another seed draws otherwise.
pub(super) async fn seeds(backend: &dyn Backend, model: &GenerateSubject) {
    let rule = "a seed fixes the draws";
    let with = |seed| -> GenerateRequest {
        let mut request = model.request(model.first_prompt());
        request.params.sampling.temperature = 0.8;
        request.params.sampling.seed = Some(seed);
        request
    };
    if !model.seed {
        let refused = refusal(backend, with(1), rule).await;
        return names_param(&refused, "seed", rule);
    }
    let first = text_of(backend, with(1), rule).await;
    let again = text_of(backend, with(1), rule).await;
    require(first == again, rule, || "seed 1 gave two texts".into());
    let mut others = 0;
    for seed in 2..10 {
        others += usize::from(text_of(backend, with(seed), rule).await != first);
    }
    require(others > 0, rule, || "seeds 1 to 9 all gave one text".into());
}

/// One for each token, sorted, not positive, and their bytes are the text.
pub(super) async fn log_probabilities(
    backend: &dyn Backend,
    model: &GenerateSubject,
    prompt: &Prompt,
) {
    let rule = "log-probabilities belong to the text";
    for top in [0, 3] {
        let mut request = model.request(prompt);
        request.params.logprobs = Some(top);
        if !model.logprobs {
            let refused = refusal(backend, request, rule).await;
            names_param(&refused, "logprobs", rule);
            continue;
        }
        let taken = take(backend, request, rule).await;
        let choice = &taken.choices[0];
        bytes_are_the_text(choice, taken.usage.completion_tokens, rule);
        for token in &choice.logprobs {
            is_ordered(token, usize::from(top), rule);
        }
    }
    let silent = take(backend, model.request(prompt), rule).await;
    require(silent.choices[0].logprobs.is_empty(), rule, || {
        "some came though nobody asked".into()
    });
}

fn bytes_are_the_text(choice: &Choice, tokens: u32, rule: &str) {
    let chosen = choice.logprobs.iter().map(|token| &token.chosen.bytes);
    let bytes: Vec<u8> = chosen.flatten().copied().collect();
    let whole = whole_characters(&bytes);
    require(whole == choice.text, rule, || {
        format!("the tokens spell {whole:?}, the text is {:?}", choice.text)
    });
    let count = choice.logprobs.len();
    // A character that is cut at the end takes its tokens with it, so only plain text tells.
    if choice.text.is_ascii() {
        require(count == tokens as usize, rule, || {
            format!("{tokens} tokens, {count} log-probabilities")
        });
    }
}

/// The text of bytes, without half a character at the end.
fn whole_characters(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let malformed = std::str::from_utf8(chunk.invalid()).err();
        if malformed.is_some_and(|error| error.error_len().is_some()) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    text
}

fn is_ordered(token: &TokenLogprob, top: usize, rule: &str) {
    let all = std::iter::once(&token.chosen).chain(&token.top);
    for one in all {
        require(one.logprob <= 0.0, rule, || {
            format!("{} is not the logarithm of a probability", one.logprob)
        });
    }
    require(token.top.len() == top, rule, || {
        format!(
            "{top} alternatives were asked for, {} came",
            token.top.len()
        )
    });
    let sorted = token.top.is_sorted_by(|a, b| a.logprob >= b.logprob);
    require(sorted, rule, || {
        "the alternatives are not best first".into()
    });
    if let Some(best) = token.top.first() {
        require(best.logprob >= token.chosen.logprob, rule, || {
            "the chosen token is more probable than the best alternative".into()
        });
    }
}

/// What cannot be done is refused by name.
pub(super) fn names_param(refused: &BackendError, wanted: &str, rule: &str) {
    let named = matches!(refused, BackendError::Unsupported { param, .. } if *param == wanted);
    require(named, rule, || {
        format!("it should be Unsupported naming '{wanted}', not {refused:?}")
    });
}
