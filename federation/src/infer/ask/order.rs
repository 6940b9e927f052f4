//! Whether a peer's events may come as they come. A pure state machine; what it lets through keeps the promises
//! of [`Event`], whoever the peer is.

use kwaainet_core::{Event, Usage};

use super::super::wire::Bad;

/// Tool calls of one choice.
const CALLS_MAX: u32 = 1_024;

/// What may come next.
pub(super) struct Order {
    seq: u64,
    /// Tokens of the prompt, once it is read.
    started: Option<u32>,
    choices: Vec<Choice>,
    /// Tokens of all choices, those of a resumed generation included.
    tokens: u32,
}

#[derive(Clone, Default)]
struct Choice {
    finished: bool,
    calls: u32,
}

impl Order {
    /// Of so many choices, which have so many tokens already.
    pub(super) fn new(choices: u16, resumed: u32) -> Self {
        Self {
            seq: 0,
            started: None,
            choices: vec![Choice::default(); usize::from(choices)],
            tokens: resumed,
        }
    }

    /// The number of the next frame.
    pub(super) fn frame(&mut self, seq: u64) -> Result<(), Bad> {
        if seq != self.seq {
            return Err(bad(format!("frame {seq} where {} was due", self.seq)));
        }
        self.seq += 1;
        Ok(())
    }

    /// The next event.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), Bad> {
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => {
                if self.started.is_some() {
                    return Err(bad("the prompt was read twice"));
                }
                if cached_tokens > prompt_tokens {
                    return Err(bad("more tokens were cached than there are"));
                }
                self.started = Some(*prompt_tokens);
            }
            Event::Delta(delta) => {
                self.running(delta.choice)?;
                if !delta.ids.is_empty() && delta.ids.len() != delta.tokens as usize {
                    return Err(bad("not as many token ids as tokens"));
                }
                let total = self.tokens.checked_add(delta.tokens);
                self.tokens = total.ok_or_else(|| bad("more tokens than can be counted"))?;
            }
            Event::Call(call) => {
                let choice = self.running(call.choice)?;
                let next = choice.calls;
                let is_due = match call.start {
                    Some(_) => call.index == next && next < CALLS_MAX,
                    None => call.index.checked_add(1) == Some(next),
                };
                if !is_due {
                    return Err(bad(format!("a piece of call {} out of turn", call.index)));
                }
                choice.calls += u32::from(call.start.is_some());
            }
            Event::Finished { choice, .. } => self.running(*choice)?.finished = true,
            Event::Done(_) => return Err(bad("the end is no event")),
        }
        Ok(())
    }

    /// A choice that may say more.
    fn running(&mut self, index: u32) -> Result<&mut Choice, Bad> {
        if self.started.is_none() {
            return Err(bad("an event before the prompt was read"));
        }
        let count = self.choices.len();
        let choice = self.choices.get_mut(index as usize);
        let choice = choice.ok_or_else(|| bad(format!("choice {index} of {count}")))?;
        match choice.finished {
            false => Ok(choice),
            true => Err(bad(format!("more of choice {index} after its end"))),
        }
    }

    /// The end of all choices.
    pub(super) fn end(&self, usage: Usage) -> Result<(), Bad> {
        if !self.choices.iter().all(|choice| choice.finished) {
            return Err(bad("the end before the end of each choice"));
        }
        self.adds_up(usage)
    }

    /// The end where it was asked for.
    pub(super) fn adds_up(&self, usage: Usage) -> Result<(), Bad> {
        let said = (usage.prompt_tokens, usage.completion_tokens);
        let counted = (self.started.unwrap_or(0), self.tokens);
        if said != counted || usage.cached_tokens > usage.prompt_tokens {
            return Err(bad(format!(
                "counts that do not add up: {said:?} tokens were said, {counted:?} counted"
            )));
        }
        Ok(())
    }
}

fn bad(reason: impl Into<String>) -> Bad {
    Bad::new("events", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{CallDelta, CallStart, Delta, FinishReason};

    const STARTED: Event = Event::Started {
        prompt_tokens: 3,
        cached_tokens: 1,
    };

    fn delta(choice: u32, tokens: u32) -> Event {
        Event::Delta(Delta {
            choice,
            tokens,
            ..Delta::default()
        })
    }

    fn call(index: u32, begins: bool) -> Event {
        let start = CallStart {
            id: "c".into(),
            name: "f".into(),
        };
        Event::Call(CallDelta {
            index,
            start: begins.then_some(start),
            ..CallDelta::default()
        })
    }

    fn finished(choice: u32) -> Event {
        let reason = FinishReason::Stop;
        Event::Finished { choice, reason }
    }

    fn usage(prompt_tokens: u32, completion_tokens: u32) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens: 1,
        }
    }

    /// What becomes of events of two choices.
    fn judge(events: &[Event]) -> Result<Order, Bad> {
        let mut order = Order::new(2, 5);
        for event in events {
            order.event(event)?;
        }
        Ok(order)
    }

    #[test]
    fn what_keeps_its_promises_passes() {
        let events = [
            STARTED,
            delta(1, 2),
            call(0, true),
            call(0, false),
            call(1, true),
            finished(0),
            delta(1, 1),
            finished(1),
        ];
        let order = judge(&events).expect("all in order");
        assert_eq!(order.end(usage(3, 8)), Ok(()));
    }

    #[test]
    fn every_lie_is_seen() {
        let ids = Event::Delta(Delta {
            tokens: 2,
            ids: vec![1],
            ..Delta::default()
        });
        let lies: [&[Event]; 10] = [
            &[delta(0, 1)],
            &[STARTED, STARTED],
            &[STARTED, delta(2, 1)],
            &[STARTED, finished(0), delta(0, 1)],
            &[STARTED, finished(0), finished(0)],
            &[STARTED, call(0, false)],
            &[STARTED, call(1, true)],
            &[STARTED, delta(0, u32::MAX)],
            &[STARTED, Event::Done(usage(3, 5))],
            &[STARTED, ids],
        ];
        for lie in lies {
            assert!(judge(lie).is_err(), "{lie:?}");
        }
        let order = judge(&[STARTED, finished(0)]).expect("as yet in order");
        assert!(order.end(usage(3, 5)).is_err(), "one choice is not over");
        let order = judge(&[STARTED, finished(0), finished(1)]).expect("in order");
        for wrong in [usage(2, 5), usage(3, 4), usage(3, 6), usage(0, 5)] {
            assert!(order.end(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn frames_are_numbered_from_nought() {
        let mut order = Order::new(1, 0);
        assert!(order.frame(1).is_err());
        assert_eq!(order.frame(0), Ok(()));
        assert!(order.frame(0).is_err());
        assert_eq!(order.frame(1), Ok(()));
    }
}
