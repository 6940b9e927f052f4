//! Prompts that are said before their continuations: as text from here, or scored by the engine.

use futures_util::StreamExt;
use kwaainet_core::{BackendError, Delta, Event, EventStream, GenerateParams, Prompt};

use crate::tokenizer::{Spelled, TextModel};

/// What is said of a prompt: nothing, or one of these.
#[derive(Default)]
pub(super) struct Echo {
    /// Its text.
    pub(super) text: Option<String>,
    /// Its spelling, which the engine says with log-probabilities.
    pub(super) scored: Option<Spelled>,
}

impl Echo {
    /// What `params` ask for.
    ///
    /// # Errors
    /// `Unsupported` where that is log-probabilities, and the engine does not score prompts.
    pub(super) fn new(
        prompt: &Prompt,
        tokens: &[u32],
        params: &GenerateParams,
        text: &TextModel,
        scores_prompts: bool,
    ) -> Result<Self, BackendError> {
        let mut echo = Self::default();
        let written = match prompt {
            Prompt::Text(written) => Some(written),
            Prompt::Chat(_) | Prompt::Infill { .. } | Prompt::Tokens(_) => None,
        };
        match (params.echo, params.logprobs, written) {
            (false, ..) => {}
            (true, Some(_), _) if !scores_prompts => return Err(unscored()),
            (true, Some(_), Some(written)) => echo.scored = Some(text.spelled_in(written, tokens)),
            (true, Some(_), None) => echo.scored = Some(text.spelled(tokens)),
            (true, None, Some(written)) => echo.text = Some(written.clone()),
            (true, None, None) => echo.text = Some(text.decode(tokens)),
        }
        Ok(echo)
    }
}

fn unscored() -> BackendError {
    BackendError::Unsupported {
        param: "echo",
        reason:
            "this model runs through candle, which gives no log-probabilities of a prompt; ask \
                 for 'echo' without 'logprobs'"
                .into(),
    }
}

/// Says the prompt of each choice before anything else of it.
pub(super) fn echoed(events: EventStream, text: String, choices: u32) -> EventStream {
    let said = move |event: Result<Event, BackendError>| {
        let starts = matches!(event, Ok(Event::Started { .. }));
        let choices = if starts { 0..choices } else { 0..0 };
        let text = text.clone();
        let prompt = choices.map(move |choice| {
            Ok(Event::Delta(Delta {
                choice,
                text: text.clone(),
                ..Delta::default()
            }))
        });
        futures_util::stream::iter(std::iter::once(event).chain(prompt))
    };
    Box::pin(events.flat_map(said))
}
