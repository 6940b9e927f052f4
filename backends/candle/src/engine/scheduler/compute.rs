//! Computes a step, draws from what it gives, and says what was drawn.

use std::rc::Rc;
use tokio::time::Instant;

use super::Scheduler;
use crate::engine::gauges::Step;
use crate::engine::masking;
use crate::engine::sequence::{Rows, Sequence};

impl Scheduler {
    pub(super) fn compute(&mut self) {
        let began = Instant::now();
        let prompt_tokens = self.active.iter().map(Sequence::prompt_tokens_taken).sum();
        let tokens = self.active.iter().map(|sequence| sequence.take).sum();
        if let Some(drafter) = &mut self.drafter {
            drafter.step_begins();
        }
        let taking = self.active.iter().filter(|s| s.take > 0);
        let rows: Vec<Rows> = taking.map(Sequence::rows).collect();
        let taking = self.active.iter_mut().filter(|s| s.take > 0);
        let (mut parts, maskings): (Vec<_>, Vec<_>) = taking
            .zip(&rows)
            .map(|(sequence, rows)| sequence.parts(*rows))
            .unzip();
        let maskings = maskings.into_iter().flatten().collect();
        let vocab = self.decoder.vocab();
        let (decoder, compute, work) = (&self.decoder, &self.compute, &mut self.work);
        let mut logits = masking::beside(maskings, || decoder.step(compute, &mut parts, work));
        let (mut scorings, mut draws) = (Vec::new(), Vec::new());
        let taking = self.active.iter_mut().filter(|s| s.take > 0);
        for (sequence, rows) in taking.zip(&rows) {
            let (scored, others) = logits.split_at(rows.scored * vocab);
            let (drawn, others) = others.split_at(rows.drawn * vocab);
            logits = others;
            scorings.extend(sequence.scorings(scored, vocab));
            if rows.drawn > 0 {
                draws.push(sequence.draw(drawn));
            }
        }
        let (kernel, text) = (self.compute.kernel, &*self.text);
        let pool = &self.compute.pool;
        pool.each(&mut scorings, 1, |_, scoring| scoring.score(kernel, text));
        pool.each(&mut draws, 1, |_, draw| draw.draw(kernel, text));

        let mut drawn = draws
            .into_iter()
            .map(|draw| draw.drawn)
            .collect::<Vec<_>>()
            .into_iter();
        let mut scored = scorings.into_iter().filter_map(|scoring| scoring.scored);
        let mut settled = Vec::new();
        let taking = self.active.iter_mut().filter(|s| s.take > 0);
        for (sequence, rows) in taking.zip(&rows) {
            // The prompt comes before what follows it.
            sequence.say_scored(scored.by_ref().take(rows.scored));
            if rows.drawn > 0 {
                settled.extend(drawn.next().map(|drawn| sequence.settle(drawn, text)));
            }
        }
        if let Some(drafter) = &mut self.drafter {
            let rows = rows.iter().map(|rows| rows.drawn).sum();
            drafter.step_ended(tokens, rows, &settled);
        }
        // Before anybody learns that it is over.
        self.gauges.computed(&Step {
            prompt_tokens,
            settled: &settled,
            took: began.elapsed(),
        });
        self.drop_broken();
        let finished = self.active.extract_if(.., |s| s.finished.is_some());
        let finished: Vec<_> = finished.collect();
        for sequence in finished {
            self.keep(&sequence);
            if let Some(reason) = sequence.finished {
                sequence.finish(reason);
            }
        }
    }

    /// Ends the requests whose grammar leads no further, with all of their choices.
    fn drop_broken(&mut self) {
        while let Some(at) = self.active.iter().position(Sequence::is_broken) {
            let broken = self.active.remove(at);
            let job = Rc::clone(&broken.job);
            broken.fail();
            self.active.retain(|other| !Rc::ptr_eq(&other.job, &job));
            self.waiting.retain(|other| !Rc::ptr_eq(&other.job, &job));
        }
    }
}
