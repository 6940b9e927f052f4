//! The shape of a generation: events, counts, choices, neighbours.

use futures_util::future::join_all;
use kwaainet_core::{Backend, FinishReason, Prompt, Usage};

use super::taking::{Taken, take, text_of};
use super::{GenerateSubject, TOKENS, require};

/// Events come in order, `max_tokens` is kept to the token, and the counts agree.
pub(super) async fn stream_is_well_formed(
    backend: &dyn Backend,
    model: &GenerateSubject,
    prompt: &Prompt,
) {
    let rule = "max_tokens ends a choice with 'length' after exactly so many tokens";
    for max_tokens in [1, TOKENS] {
        let mut request = model.request(prompt);
        request.params.max_tokens = Some(max_tokens);
        let taken = take(backend, request, rule).await;
        let reason = taken.choices[0].reason;
        require(reason == Some(FinishReason::Length), rule, || {
            format!("{prompt:?} ended with {reason:?}")
        });
        let made = taken.usage.completion_tokens;
        require(made == max_tokens, rule, || {
            format!("{max_tokens} were asked for, {made} are accounted for")
        });
        usage_agrees(model, &taken);
    }
}

/// Each choice is what it would be alone, and all are counted.
pub(super) async fn choices_are_independent(backend: &dyn Backend, model: &GenerateSubject) {
    let rule = "choices are independent";
    let request = model.request(model.first_prompt());
    let alone = text_of(backend, request.clone(), rule).await;
    let mut several = request;
    several.params.n = 3;
    let taken = take(backend, several, rule).await;
    for (index, choice) in taken.choices.iter().enumerate() {
        require(choice.text == alone, rule, || {
            format!("greedy choice {index} of 3 differs from the only choice")
        });
    }
    let made = taken.usage.completion_tokens;
    require(made == 3 * TOKENS, rule, || {
        format!("3 choices of {TOKENS} tokens are accounted for as {made}")
    });
    usage_agrees(model, &taken);
}

/// Streams that run at once give what they give alone.
pub(super) async fn streams_do_not_mix(backend: &dyn Backend, model: &GenerateSubject) {
    let rule = "streams that run at once do not mix";
    let requests = (1..=4).map(|part| {
        let prompt = &model.prompts[part as usize % model.prompts.len()];
        let mut request = model.request(prompt);
        request.params.max_tokens = Some(part * TOKENS / 4);
        if model.seed {
            request.params.sampling.temperature = 0.8;
            request.params.sampling.seed = Some(u64::from(part));
        }
        request
    });
    let requests: Vec<_> = requests.collect();
    let together = requests.iter().cloned().map(|r| text_of(backend, r, rule));
    let together = join_all(together).await;
    for (request, text) in requests.into_iter().zip(together) {
        let alone = text_of(backend, request, rule).await;
        require(alone == text, rule, || {
            "a text differs from the same alone".into()
        });
    }
}

/// The last word on usage equals what the stream said on its way.
fn usage_agrees(model: &GenerateSubject, taken: &Taken) {
    let rule = "usage equals what the events said";
    let Usage {
        prompt_tokens,
        cached_tokens,
        completion_tokens,
    } = taken.usage;
    require(prompt_tokens > 0, rule, || "no prompt tokens".into());
    require(cached_tokens <= prompt_tokens, rule, || {
        format!("{cached_tokens} of {prompt_tokens} prompt tokens came from a cache")
    });
    if model.counts_tokens {
        let said: u32 = taken.choices.iter().map(|choice| choice.tokens).sum();
        require(said == completion_tokens, rule, || {
            format!("the deltas hold {said} tokens, Done says {completion_tokens}")
        });
        let started = taken.started_prompt_tokens;
        require(started == prompt_tokens, rule, || {
            format!("Started says {started} prompt tokens, Done says {prompt_tokens}")
        });
    }
}
