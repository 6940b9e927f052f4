//! How far one sequence has come in its grammar. A function of the tokens so far.

use kwaainet_core::BackendError;
use llguidance::Matcher;
use llguidance::toktrie::SimpleVob;

/// The tokens that may come next.
pub(crate) struct Mask(SimpleVob);

impl Mask {
    /// A bit for each token, from the lowest bit of the first word up.
    pub(crate) fn bits(&self) -> &[u32] {
        self.0.as_slice()
    }
}

/// A text on its way through a grammar.
pub(crate) struct Matching {
    matcher: Matcher,
    param: &'static str,
}

impl Matching {
    pub(super) fn new(matcher: Matcher, param: &'static str) -> Self {
        Self { matcher, param }
    }

    /// How many of these tokens may come next, one after the other.
    pub(crate) fn may_follow(&mut self, tokens: &[u32]) -> usize {
        if self.is_over() {
            return 0;
        }
        // What is wrong will be wrong with the next mask too.
        self.matcher.validate_tokens(tokens).unwrap_or(0)
    }

    /// What may come next, and what may after each of `guesses`, which may follow and hold no end.
    ///
    /// # Errors
    /// When the grammar is too complex at this place, or leads nowhere.
    pub(crate) fn masks(&mut self, guesses: &[u32]) -> Result<Vec<Mask>, BackendError> {
        let mut masks = Vec::with_capacity(guesses.len() + 1);
        let outcome = self.walk(guesses, &mut masks);
        outcome.map_err(|error| self.fault(&error.to_string()))?;
        Ok(masks)
    }

    /// What may come after all of `guesses`, which may follow and hold no end.
    ///
    /// # Errors
    /// When the grammar is too complex at this place, or leads nowhere.
    pub(crate) fn mask_after(&mut self, guesses: &[u32]) -> Result<Mask, BackendError> {
        let mask = self.look(guesses);
        mask.map_err(|error| self.fault(&error.to_string()))
    }

    fn look(&mut self, guesses: &[u32]) -> Result<Mask, impl ToString + use<>> {
        self.matcher.consume_tokens(guesses)?;
        let mask = Mask(self.matcher.compute_mask_or_eos()?);
        self.matcher.rollback(guesses.len()).map(|()| mask)
    }

    fn walk(
        &mut self,
        guesses: &[u32],
        masks: &mut Vec<Mask>,
    ) -> Result<(), impl ToString + use<>> {
        masks.push(Mask(self.matcher.compute_mask_or_eos()?));
        for guess in guesses {
            self.matcher.consume_token(*guess)?;
            masks.push(Mask(self.matcher.compute_mask_or_eos()?));
        }
        self.matcher.rollback(guesses.len())
    }

    /// Takes the next token, which is none that ends; says whether nothing may follow.
    ///
    /// # Errors
    /// When the token may not follow.
    pub(crate) fn push(&mut self, token: u32) -> Result<bool, BackendError> {
        let taken = self.matcher.consume_token(token);
        taken.map_err(|error| self.fault(&error.to_string()))?;
        Ok(self.is_over())
    }

    /// The tokens of the text that has to come next, as far as it is certain. The longest tokens that
    /// there are; others may spell the same text, so they are no more than a good guess.
    pub(crate) fn forced(&mut self) -> Vec<u32> {
        let bytes = self.forced_bytes();
        if bytes.is_empty() {
            return Vec::new();
        }
        let env = self.matcher.tok_env();
        env.map(|env| env.tok_trie().greedy_tokenize(&bytes))
            .unwrap_or_default()
    }

    pub(super) fn forced_bytes(&mut self) -> Vec<u8> {
        if self.is_over() {
            return Vec::new();
        }
        self.matcher.compute_ff_bytes()
    }

    fn is_over(&self) -> bool {
        self.matcher.is_stopped()
    }

    fn fault(&self, error: &str) -> BackendError {
        BackendError::Invalid {
            param: self.param,
            reason: format!(
                "the grammar cannot be enforced any further: {}",
                super::first_sentence(error)
            ),
        }
    }
}
