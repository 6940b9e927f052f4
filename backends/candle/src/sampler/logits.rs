//! The logits of a vocabulary, some of them changed by bias and penalties. Nothing is copied but the
//! part that is looked at, and that only where it holds a change.

use std::borrow::Cow;

use kwaainet_core::Sampling;

/// Logits that are looked at together: a whole number of the kernels' groups.
pub(super) const PART: usize = 1024;

/// Bits of a word of a mask.
const WORD: usize = u32::BITS as usize;

/// Marks a token of the prompt, and one that was generated, where the place of a bias could be.
const PROMPT: u64 = 1 << 30;
const GENERATED: u64 = 1 << 31;

pub(super) struct Logits<'l> {
    raw: &'l [f32],
    /// What counts instead, by ascending id.
    changes: Vec<(u32, f32)>,
}

impl<'l> Logits<'l> {
    /// As the model gave them.
    pub(super) fn raw(raw: &'l [f32]) -> Self {
        Self {
            raw,
            changes: Vec::new(),
        }
    }

    /// After bias and penalties.
    pub(super) fn adjusted(
        raw: &'l [f32],
        sampling: &Sampling,
        prompt: &[u32],
        generated: &[u32],
    ) -> Self {
        Self {
            raw,
            changes: changes(raw, sampling, prompt, generated),
        }
    }

    /// Only those whose bit is set in `mask`, by ascending id: the ids, and the logits. Bits are
    /// counted from the lowest of the first word; there may be more or fewer than tokens.
    pub(super) fn allowed(&self, mask: &[u32]) -> (Vec<u32>, Vec<f32>) {
        let count = mask.iter().map(|word| word.count_ones() as usize).sum();
        let (mut ids, mut logits) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for ((word, raw), start) in mask
            .iter()
            .zip(self.raw.chunks(WORD))
            .zip((0..).step_by(WORD))
        {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                if let Some(logit) = raw.get(bit as usize) {
                    ids.push(start + bit);
                    logits.push(*logit);
                }
            }
        }
        for (id, logit) in &self.changes {
            if let Ok(at) = ids.binary_search(id) {
                logits[at] = *logit;
            }
        }
        (ids, logits)
    }

    pub(super) fn len(&self) -> usize {
        self.raw.len()
    }

    /// The logits from `start` up to but not including `end`.
    pub(super) fn range(&self, start: usize, end: usize) -> Cow<'_, [f32]> {
        let raw = &self.raw[start..end];
        let from = self.changes.partition_point(|c| (c.0 as usize) < start);
        let changes = &self.changes[from..];
        let count = changes.partition_point(|c| (c.0 as usize) < end);
        if count == 0 {
            return Cow::Borrowed(raw);
        }
        let mut copy = raw.to_vec();
        for (id, logit) in &changes[..count] {
            copy[*id as usize - start] = *logit;
        }
        Cow::Owned(copy)
    }

    /// All of them, [`PART`] after [`PART`], each with the id of its first.
    pub(super) fn parts(&self) -> impl Iterator<Item = (usize, Cow<'_, [f32]>)> {
        let part = |start| (start, self.range(start, self.len().min(start + PART)));
        (0..self.len()).step_by(PART).map(part)
    }
}

/// A logit that compares and subtracts: not-a-number is impossible, and infinity a large number.
pub(super) fn clean(logit: f32) -> f32 {
    if logit.is_nan() {
        f32::NEG_INFINITY
    } else {
        logit.min(f32::MAX)
    }
}

/// What bias and penalties make of logits, by ascending id. The penalty for repetition makes a token
/// less likely once however often it occurs; that for frequency counts each occurrence.
fn changes(raw: &[f32], sampling: &Sampling, prompt: &[u32], generated: &[u32]) -> Vec<(u32, f32)> {
    let repeats = sampling.repetition_penalty != 1.0;
    let counts = sampling.frequency_penalty != 0.0 || sampling.presence_penalty != 0.0;
    // All reasons to change a token come to lie side by side, its biases first and in their order.
    let mut reasons: Vec<u64> = Vec::new();
    let reason = |id: &u32, what: u64| u64::from(*id) << 32 | what;
    let biases = (0..PROMPT).zip(&sampling.logit_bias);
    reasons.extend(biases.map(|(at, (id, _))| reason(id, at)));
    if repeats {
        reasons.extend(prompt.iter().map(|id| reason(id, PROMPT)));
    }
    if repeats || counts {
        reasons.extend(generated.iter().map(|id| reason(id, GENERATED)));
    }
    reasons.sort_unstable();

    let changed = |reasons: &[u64]| {
        let id = (reasons[0] >> 32) as u32;
        let mut logit = *raw.get(id as usize)?;
        let times = |from: u64| reasons.iter().filter(|r| **r & 0xFFFF_FFFF >= from).count();
        let (seen, generated) = (times(PROMPT), times(GENERATED));
        for bias in &reasons[..reasons.len() - seen] {
            logit += sampling.logit_bias[*bias as u32 as usize].1;
        }
        if repeats && seen > 0 {
            logit = if logit > 0.0 {
                logit / sampling.repetition_penalty
            } else {
                logit * sampling.repetition_penalty
            };
        }
        if counts && generated > 0 {
            logit -= sampling.frequency_penalty * generated as f32;
            logit -= sampling.presence_penalty;
        }
        Some((id, logit))
    };
    reasons
        .chunk_by(|a, b| a >> 32 == b >> 32)
        .filter_map(changed)
        .collect()
}
