//! What the backends that could not do a job say of those that may still be asked.

use super::JobError;
use crate::BackendError;

/// The way from one backend to the next.
#[derive(Default)]
pub(super) struct Search {
    /// What is answered if there is no other.
    last: Option<BackendError>,
    /// The longest context that was too short.
    too_short: Option<u32>,
}

impl Search {
    /// What was too long for one is too long for all whose context is no longer.
    pub(super) fn is_over_for(&self, context: Option<u32>) -> bool {
        let both = self.too_short.zip(context);
        both.is_some_and(|(too_short, context)| context <= too_short)
    }

    /// Goes on after an error that another backend may not have; `context` is that of the one who had it.
    pub(super) fn next_or_fail(
        &mut self,
        error: BackendError,
        context: Option<u32>,
    ) -> Result<(), BackendError> {
        let too_short = match &error {
            BackendError::ContextOverflow { context, .. } => Some(*context),
            BackendError::InputTooLong { .. } => Some(context.unwrap_or(0)),
            error if error.is_retryable() => {
                self.last = Some(error.clone());
                return Ok(());
            }
            _ => return Err(error),
        };
        self.too_short = self.too_short.max(too_short);
        // Who was only busy may have the room: then it is he who has to be waited for.
        self.last.get_or_insert(error);
        Ok(())
    }

    pub(super) fn exhausted(self) -> JobError {
        let none = || BackendError::Internal("the route names no backend".into());
        self.last.unwrap_or_else(none).into()
    }
}
