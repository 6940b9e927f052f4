//! What grammars allow in a step, found out while the decoder computes it: the tokens so far are known
//! before.

use std::thread;

use super::voice::Voice;

/// One sequence's part.
pub(super) struct Masking<'a> {
    pub(super) voice: &'a mut Voice,
    /// Its guesses for the step, which its grammar allows.
    pub(super) guesses: &'a [u32],
}

impl Masking<'_> {
    /// Whether there is anything to find out.
    pub(super) fn is_needed(&self) -> bool {
        self.voice.is_bound()
    }
}

/// Does `step` here, and everything else on a thread beside it; gives what the step gave.
pub(super) fn beside<T>(maskings: Vec<Masking<'_>>, step: impl FnOnce() -> T) -> T {
    if maskings.is_empty() {
        return step();
    }
    thread::scope(|scope| {
        // Its end is waited for by the scope.
        scope.spawn(|| {
            for masking in maskings {
                masking.voice.make_masks(masking.guesses);
            }
        });
        step()
    })
}
