//! Computes a step, draws from what it gives, and says what was drawn.

use kwaainet_decoder::Part;

use super::Scheduler;
use crate::engine::draw::Draw;
use crate::engine::sequence::Sequence;

impl Scheduler {
    pub(super) fn compute(&mut self) {
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
        let mut parts = Vec::new();
        for (sequence, &logits) in self.active.iter_mut().zip(&rows) {
            if sequence.take == 0 {
                continue;
            }
            let (start, end) = (sequence.kv.len(), sequence.kv.len() + sequence.take);
            sequence.kv.reserve(end);
            parts.push(Part {
                tokens: &sequence.tokens[start..end],
                kv: &mut sequence.kv,
                logits,
            });
        }
        let mut logits = self.decoder.step(&self.compute, &mut parts, &mut self.work);

        let vocab = self.decoder.vocab();
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
        self.gauges.computed(prompt_tokens, &settled);
        let finished = self.active.extract_if(.., |s| s.finished.is_some());
        let finished: Vec<_> = finished.collect();
        for sequence in finished {
            self.keep(&sequence);
            if let Some(reason) = sequence.finished {
                sequence.finish(reason);
            }
        }
    }
}
