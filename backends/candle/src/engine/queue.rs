//! Who waits, and whose turn it is.
//!
//! Higher priority goes first; owners of one priority take turns; what one owner asked is served in
//! the order in which it came. So an owner who brings a thousand prompts delays another one's by at
//! most one.

use std::collections::VecDeque;

use kwaainet_core::{PrincipalId, Priority};

/// Items that wait.
pub(super) struct Queue<T> {
    /// For each priority the owners, in the order of their turns.
    classes: [VecDeque<Line<T>>; 2],
}

/// What one owner waits for; never empty.
struct Line<T> {
    owner: PrincipalId,
    items: VecDeque<T>,
}

/// Where an item stands, until the queue changes.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    class: usize,
    line: usize,
    at: usize,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self {
            classes: [VecDeque::new(), VecDeque::new()],
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        let lines = self.classes.iter().flatten();
        lines.map(|line| line.items.len()).sum()
    }

    /// All who wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let lines = self.classes.iter().flatten();
        lines.flat_map(|line| &line.items)
    }

    /// Puts an item at the end of its owner's line. An owner who was not waiting gets the last turn.
    pub(super) fn push(&mut self, priority: Priority, owner: &PrincipalId, item: T) {
        self.line(priority, owner).push_back(item);
    }

    /// Puts an item that had its turn before at the head of its owner's line.
    pub(super) fn put_back(&mut self, priority: Priority, owner: &PrincipalId, item: T) {
        self.line(priority, owner).push_front(item);
    }

    /// The item whose turn it is, among those that can be served.
    pub(super) fn first(&self, can_be_served: impl Fn(&T) -> bool) -> Option<Spot> {
        self.classes.iter().enumerate().find_map(|(class, lines)| {
            lines.iter().enumerate().find_map(|(line, waiting)| {
                let at = waiting.items.iter().position(&can_be_served)?;
                Some(Spot { class, line, at })
            })
        })
    }

    pub(super) fn peek(&self, spot: Spot) -> Option<&T> {
        self.classes[spot.class].get(spot.line)?.items.get(spot.at)
    }

    /// Takes an item out; its owner's next turn comes after everybody else's.
    pub(super) fn take(&mut self, spot: Spot) -> Option<T> {
        let lines = &mut self.classes[spot.class];
        let mut line = lines.remove(spot.line)?;
        let item = line.items.remove(spot.at);
        if !line.items.is_empty() {
            lines.push_back(line);
        }
        item
    }

    /// Drops the items that do not hold.
    pub(super) fn retain(&mut self, holds: impl Fn(&T) -> bool) {
        for lines in &mut self.classes {
            for line in lines.iter_mut() {
                line.items.retain(&holds);
            }
            lines.retain(|line| !line.items.is_empty());
        }
    }

    fn line(&mut self, priority: Priority, owner: &PrincipalId) -> &mut VecDeque<T> {
        let lines = &mut self.classes[match priority {
            Priority::Interactive => 0,
            Priority::Batch => 1,
        }];
        let at = lines.iter().position(|line| line.owner == *owner);
        let at = at.unwrap_or_else(|| {
            lines.push_back(Line {
                owner: owner.clone(),
                items: VecDeque::new(),
            });
            lines.len() - 1
        });
        &mut lines[at].items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.first(|_| true).and_then(|spot| queue.take(spot))).collect()
    }

    fn queue(items: &[(Priority, &str, &'static str)]) -> Queue<&'static str> {
        let mut queue = Queue::new();
        for (priority, owner, item) in items {
            queue.push(*priority, &PrincipalId::from(*owner), *item);
        }
        queue
    }

    use Priority::{Batch, Interactive};

    #[test]
    fn owners_take_turns() {
        let mut queue = queue(&[
            (Interactive, "ann", "a1"),
            (Interactive, "ann", "a2"),
            (Interactive, "ann", "a3"),
            (Interactive, "bob", "b1"),
            (Interactive, "eve", "e1"),
            (Interactive, "bob", "b2"),
        ]);
        assert_eq!(queue.len(), 6);
        assert_eq!(served(&mut queue), ["a1", "b1", "e1", "a2", "b2", "a3"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn batch_work_waits_for_everything_else() {
        let mut queue = queue(&[
            (Batch, "ann", "x"),
            (Interactive, "bob", "b1"),
            (Batch, "bob", "y"),
            (Interactive, "bob", "b2"),
        ]);
        assert_eq!(served(&mut queue), ["b1", "b2", "x", "y"]);
    }

    #[test]
    fn one_who_comes_again_and_again_does_not_keep_others_from_their_turn() {
        let mut queue = queue(&[(Interactive, "ann", "a1"), (Interactive, "ann", "a2")]);
        let mut order = Vec::new();
        for _ in 0..3 {
            queue.push(Interactive, &PrincipalId::from("bob"), "b");
            let spot = queue.first(|_| true).expect("somebody waits");
            order.extend(queue.take(spot));
        }
        assert_eq!(order, ["a1", "b", "a2"]);
    }

    #[test]
    fn who_cannot_be_served_is_passed_over_and_keeps_his_place() {
        let mut queue = queue(&[
            (Interactive, "ann", "a1"),
            (Interactive, "ann", "a2"),
            (Interactive, "bob", "b1"),
        ]);
        let spot = queue.first(|item| *item != "a1").expect("a2 can");
        assert_eq!(queue.peek(spot), Some(&"a2"));
        assert_eq!(queue.take(spot), Some("a2"));
        queue.put_back(Interactive, &PrincipalId::from("bob"), "b0");
        queue.retain(|item| *item != "nobody");
        assert_eq!(served(&mut queue), ["b0", "a1", "b1"]);
        assert!(queue.first(|_| true).is_none());
    }
}
