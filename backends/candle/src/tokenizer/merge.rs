//! The loop that byte-pair encoding and SentencePiece share: join the best pair of neighbours until
//! no pair is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No such symbol, or no token for it.
pub(super) const NONE: u32 = u32::MAX;

/// A stretch of the text on its way to become a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    /// Where it starts, in bytes.
    pub(super) start: u32,
    /// Where it ends; equal to `start` once the symbol is part of another.
    pub(super) end: u32,
    /// Its token, or [`NONE`].
    pub(super) id: u32,
    previous: u32,
    next: u32,
}

/// What joining two neighbours gives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    /// The lowest is done first; of equal ones, the leftmost.
    pub(super) order: u32,
    pub(super) id: u32,
}

/// Symbols in the order of the text, reused from one text to the next.
#[derive(Default)]
pub(super) struct Symbols {
    list: Vec<Symbol>,
    pairs: BinaryHeap<Reverse<Pair>>,
}

/// Order, left symbol, end of the right one, token: compared in this order.
type Pair = (u32, u32, u32, u32);

impl Symbols {
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// Adds the next stretch of text.
    pub(super) fn push(&mut self, start: usize, end: usize, id: u32) {
        let number = self.list.len() as u32;
        if let Some(last) = self.list.last_mut() {
            last.next = number;
        }
        self.list.push(Symbol {
            start: start as u32,
            end: end as u32,
            id,
            previous: number.checked_sub(1).unwrap_or(NONE),
            next: NONE,
        });
    }

    /// Joins neighbours for as long as `join` knows how. O(n log n).
    pub(super) fn merge(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Joined>) {
        self.pairs.clear();
        for left in 0..self.list.len() as u32 {
            self.consider(left, &join);
        }
        while let Some(Reverse((_, left, end, id))) = self.pairs.pop() {
            let symbol = self.list[left as usize];
            // Either side may have become part of something else since.
            if symbol.start == symbol.end || symbol.next == NONE {
                continue;
            }
            let right = self.list[symbol.next as usize];
            if right.end != end {
                continue;
            }
            self.swallow(left, right, id);
            if symbol.previous != NONE {
                self.consider(symbol.previous, &join);
            }
            self.consider(left, &join);
        }
    }

    /// What is left, in order.
    pub(super) fn remaining(&self) -> impl Iterator<Item = &Symbol> {
        self.list.iter().filter(|symbol| symbol.start != symbol.end)
    }

    fn consider(&mut self, left: u32, join: &impl Fn(&Symbol, &Symbol) -> Option<Joined>) {
        let symbol = &self.list[left as usize];
        if symbol.next == NONE {
            return;
        }
        let right = &self.list[symbol.next as usize];
        if let Some(joined) = join(symbol, right) {
            self.pairs
                .push(Reverse((joined.order, left, right.end, joined.id)));
        }
    }

    fn swallow(&mut self, left: u32, right: Symbol, id: u32) {
        let symbol = &mut self.list[left as usize];
        let swallowed = symbol.next;
        symbol.end = right.end;
        symbol.id = id;
        symbol.next = right.next;
        let gone = &mut self.list[swallowed as usize];
        gone.end = gone.start;
        if right.next != NONE {
            self.list[right.next as usize].previous = left;
        }
    }
}
