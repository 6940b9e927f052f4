//! Reads a stream to its end and checks the order of its events on the way.

use std::time::Duration;

use futures_util::StreamExt;
use kwaainet_core::{
    Backend, BackendError, Delta, Event, EventStream, FinishReason, GenerateRequest, TokenLogprob,
    Usage,
};

use super::require;

/// No backend needs longer for one event of the suite's small answers.
pub(super) const EVENT_WAIT_MAX: Duration = Duration::from_secs(120);

/// A whole generation.
pub(super) struct Taken {
    pub(super) choices: Vec<Choice>,
    pub(super) started_prompt_tokens: u32,
    pub(super) usage: Usage,
}

/// One of its choices.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) text: String,
    /// As the deltas say.
    pub(super) tokens: u32,
    pub(super) logprobs: Vec<TokenLogprob>,
    pub(super) reason: Option<FinishReason>,
}

/// Runs a request that has to succeed.
pub(super) async fn take(backend: &dyn Backend, request: GenerateRequest, rule: &str) -> Taken {
    let choices = usize::from(request.params.n);
    let mut events = start(backend, request, rule).await;
    let taken = take_events(&mut events, choices, rule).await;
    let after = tokio::time::timeout(EVENT_WAIT_MAX, events.next()).await;
    require(matches!(after, Ok(None)), rule, || {
        format!("nothing may follow Done, but there was {after:?}")
    });
    taken
}

/// The text of a request's only choice.
pub(super) async fn text_of(backend: &dyn Backend, request: GenerateRequest, rule: &str) -> String {
    let mut taken = take(backend, request, rule).await;
    std::mem::take(&mut taken.choices[0].text)
}

/// Starts a request that has to be accepted.
pub(super) async fn start(
    backend: &dyn Backend,
    request: GenerateRequest,
    rule: &str,
) -> EventStream {
    match begin(backend, request, rule).await {
        Ok(events) => events,
        Err(error) => panic!("conformance rule broken: {rule}: it was refused: {error}"),
    }
}

/// Starts a request that may be refused.
pub(super) async fn begin(
    backend: &dyn Backend,
    request: GenerateRequest,
    rule: &str,
) -> Result<EventStream, BackendError> {
    let begun = tokio::time::timeout(EVENT_WAIT_MAX, backend.generate(request)).await;
    require(begun.is_ok(), rule, || "generate() hangs".into());
    begun.expect("checked above")
}

/// The error of a request that has to be refused before any event.
pub(super) async fn refusal(
    backend: &dyn Backend,
    request: GenerateRequest,
    rule: &str,
) -> BackendError {
    match begin(backend, request, rule).await {
        Err(error) => error,
        Ok(_) => panic!("conformance rule broken: {rule}: it was accepted"),
    }
}

/// The next event, which has to come.
pub(super) async fn event(events: &mut EventStream, rule: &str) -> Event {
    let next = tokio::time::timeout(EVENT_WAIT_MAX, events.next()).await;
    match next {
        Ok(Some(Ok(event))) => event,
        Ok(Some(Err(error))) => panic!("conformance rule broken: {rule}: it failed: {error}"),
        Ok(None) => panic!("conformance rule broken: {rule}: the stream ended before Done"),
        Err(_) => panic!("conformance rule broken: {rule}: the stream hangs"),
    }
}

async fn take_events(events: &mut EventStream, choices: usize, rule: &str) -> Taken {
    let first = event(events, rule).await;
    let Event::Started { prompt_tokens, .. } = first else {
        panic!("conformance rule broken: {rule}: the first event is {first:?}, not Started");
    };
    let mut taken = Taken {
        choices: (0..choices).map(|_| Choice::default()).collect(),
        started_prompt_tokens: prompt_tokens,
        usage: Usage::default(),
    };
    loop {
        match event(events, rule).await {
            Event::Started { .. } => panic!("conformance rule broken: {rule}: Started came twice"),
            Event::Delta(delta) => add(running(&mut taken, delta.choice, rule), delta),
            Event::Call(call) => {
                panic!(
                    "conformance rule broken: {rule}: there are no tools, but it called {call:?}"
                )
            }
            Event::Finished { choice, reason } => {
                running(&mut taken, choice, rule).reason = Some(reason);
            }
            Event::Done(usage) => {
                let all = taken.choices.iter().all(|choice| choice.reason.is_some());
                require(all, rule, || {
                    "Done came before each choice had Finished".into()
                });
                taken.usage = usage;
                return taken;
            }
        }
    }
}

fn add(choice: &mut Choice, delta: Delta) {
    choice.text.push_str(&delta.text);
    choice.tokens += delta.tokens;
    choice.logprobs.extend(delta.logprobs);
}

/// A choice that may still have events.
fn running<'a>(taken: &'a mut Taken, index: u32, rule: &str) -> &'a mut Choice {
    let count = taken.choices.len();
    let Some(choice) = taken.choices.get_mut(index as usize) else {
        panic!("conformance rule broken: {rule}: an event of choice {index}, but n is {count}");
    };
    require(choice.reason.is_none(), rule, || {
        format!("an event of choice {index} after its Finished")
    });
    choice
}
