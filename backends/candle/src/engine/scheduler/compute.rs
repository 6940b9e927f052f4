//! Computes a step, draws from what it gives, and says what was drawn.

use std::rc::Rc;
use std::time::Instant;

use super::Scheduler;
use crate::engine::draw::Draw;
use crate::engine::gauges::Step;
use crate::engine::masking;
use crate::engine::sequence::Sequence;

impl Scheduler {
    pub(super) fn compute(&mut self) {
        let began = Instant::now();
        let prompt_tokens = self.active.iter().map(Sequence::prompt_tokens_taken).sum();
        let tokens = self.active.iter().map(|sequence| sequence.take).sum();
        if let Some(drafter) = &mut self.drafter {
            drafter.step_begins();
        }
        let rows: Vec<usize> = self
            .active
            .iter()
            .map(|s| if s.take > 0 { s.rows() } else { 0 })
            .collect();
        let taking = self
            .active
            .iter_mut()
            .zip(&rows)
            .filter(|(s, _)| s.take > 0);
        let (mut parts, maskings): (Vec<_>, Vec<_>) =
            taking.map(|(sequence, &rows)| sequence.parts(rows)).unzip();
        let maskings = maskings.into_iter().flatten().collect();
        let vocab = self.decoder.vocab();
        let (decoder, compute, work) = (&self.decoder, &self.compute, &mut self.work);
        let mut logits = masking::beside(maskings, || decoder.step(compute, &mut parts, work));
        let asked = self
            .active
            .iter_mut()
            .zip(&rows)
            .filter(|(_, rows)| **rows > 0);
        let mut draws: Vec<Draw<'_>> = asked
            .map(|(sequence, rows)| {
                let (own, others) = logits.split_at(rows * vocab);
                logits = others;
                sequence.draw(own)
            })
            .collect();
        let (kernel, text) = (self.compute.kernel, &*self.text);
        let pool = &self.compute.pool;
        pool.each(&mut draws, 1, |_, draw| draw.draw(kernel, text));

        let drawn: Vec<_> = draws.into_iter().map(|draw| draw.drawn).collect();
        let asked = self
            .active
            .iter_mut()
            .zip(&rows)
            .filter(|(_, rows)| **rows > 0);
        let settled: Vec<_> = asked
            .zip(drawn)
            .map(|((sequence, _), drawn)| sequence.settle(drawn, text))
            .collect();
        if let Some(drafter) = &mut self.drafter {
            drafter.step_ended(tokens, rows.iter().sum(), &settled);
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
