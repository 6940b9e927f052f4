//! Whether a peer's events may come as they come. A pure state machine; what it lets through keeps the promises
//! of [`Event`], whoever the peer is.

use kwaainet_core::{Delta, Event, GenerateParams, Resume, Usage};

use super::super::wire::Bad;

/// Tool calls of one choice.
const CALLS_MAX: u32 = 1_024;
/// Tokens of a choice that has no bound of its own; more than any context.
const TOKENS_MAX: u32 = 1 << 22;
/// Tokens that a template puts around a prompt, beside one for each byte of the request.
const AROUND_MAX: usize = 1 << 16;
/// Bytes that a token stands for, on average.
const TOKEN_BYTES_MAX: u64 = 1 << 10;
/// Deltas without a token, beside one for each token.
const EMPTY_MAX: u64 = 1_024;

/// What may come next, and how much of it.
pub(super) struct Order {
    seq: u64,
    prompt_tokens_max: u32,
    choice_tokens_max: u32,
    top_max: usize,
    /// Tokens of the prompt, once it is read.
    started: Option<u32>,
    choices: Vec<Choice>,
}

#[derive(Clone, Default)]
struct Choice {
    finished: bool,
    /// Calls that have begun; unknown where what was said elsewhere may hold some.
    calls: Option<u32>,
    /// Those that it began with included.
    tokens: u32,
    empty: u64,
    bytes: u64,
    logprobs: u64,
}

impl Order {
    /// Of a request that was so many bytes long.
    pub(super) fn new(params: &GenerateParams, resume: Option<&Resume>, bytes: usize) -> Self {
        let fresh = Choice {
            calls: Some(0),
            ..Choice::default()
        };
        let mut choices = vec![fresh; usize::from(params.n)];
        let resumed = resume.map_or(&[][..], |resume| &resume.choices);
        for (choice, ids) in choices.iter_mut().zip(resumed) {
            choice.tokens = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            if !ids.is_empty() {
                choice.calls = None;
            }
        }
        Self {
            seq: 0,
            prompt_tokens_max: prompt_tokens_max(bytes),
            choice_tokens_max: params.max_tokens.unwrap_or(TOKENS_MAX).min(TOKENS_MAX),
            top_max: usize::from(params.logprobs.unwrap_or(0)),
            started: None,
            choices,
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
                if cached_tokens > prompt_tokens || *prompt_tokens > self.prompt_tokens_max {
                    return Err(bad("more tokens of the prompt than there are"));
                }
                self.started = Some(*prompt_tokens);
            }
            Event::Delta(delta) => self.delta(delta)?,
            Event::Call(call) => {
                let choice = self.running(call.choice)?;
                let begun = call.index.saturating_add(1);
                let before = begun - u32::from(call.start.is_some());
                if begun > CALLS_MAX || choice.calls.is_some_and(|calls| calls != before) {
                    return Err(bad(format!("a piece of call {} out of turn", call.index)));
                }
                choice.calls = Some(begun);
                let start = call.start.as_ref();
                let named = start.map_or(0, |start| start.id.len() + start.name.len());
                self.grow(call.choice, named + call.arguments.len())?;
            }
            Event::Finished { choice, .. } => self.running(*choice)?.finished = true,
            Event::Done(_) => return Err(bad("the end is no event")),
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Delta) -> Result<(), Bad> {
        let (tokens_max, top_max) = (self.choice_tokens_max, self.top_max);
        let prompt = u64::from(self.started.unwrap_or(0));
        let choice = self.running(delta.choice)?;
        if !delta.ids.is_empty() && delta.ids.len() != delta.tokens as usize {
            return Err(bad("not as many token ids as tokens"));
        }
        let tokens = choice.tokens.checked_add(delta.tokens);
        let tokens = tokens.filter(|tokens| *tokens <= tokens_max);
        choice.tokens = tokens.ok_or_else(|| bad("more tokens than were asked for"))?;
        choice.empty += u64::from(delta.tokens == 0);
        choice.logprobs += delta.logprobs.len() as u64;
        let all = prompt + u64::from(choice.tokens);
        if choice.empty > all + EMPTY_MAX || choice.logprobs > all {
            return Err(bad("more than there are tokens for"));
        }
        if delta.logprobs.iter().any(|token| token.top.len() > top_max) {
            return Err(bad("more alternatives than were asked for"));
        }
        let tops = delta.logprobs.iter().flat_map(|token| &token.top);
        let chosen = delta.logprobs.iter().map(|token| &token.chosen);
        let longest = tops.chain(chosen).map(|top| top.bytes.len()).max();
        if longest.unwrap_or(0) as u64 > TOKEN_BYTES_MAX {
            return Err(bad("a token that is too long"));
        }
        self.grow(delta.choice, delta.text.len())
    }

    /// So many bytes more of a choice, of which there may be as many as tokens can stand for.
    fn grow(&mut self, index: u32, bytes: usize) -> Result<(), Bad> {
        let prompt = u64::from(self.started.unwrap_or(0));
        let choice = self.running(index)?;
        choice.bytes += bytes as u64;
        let tokens = prompt + u64::from(choice.tokens) + EMPTY_MAX;
        match choice.bytes <= tokens * TOKEN_BYTES_MAX {
            true => Ok(()),
            false => Err(bad("more text than there are tokens for")),
        }
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
        let tokens = self.choices.iter().map(|choice| u64::from(choice.tokens));
        let tokens = u32::try_from(tokens.sum::<u64>()).unwrap_or(u32::MAX);
        let counted = (self.started.unwrap_or(0), tokens);
        if said != counted || usage.cached_tokens > usage.prompt_tokens {
            return Err(bad(format!(
                "counts that do not add up: {said:?} tokens were said, {counted:?} counted"
            )));
        }
        Ok(())
    }
}

/// A token is a byte at least.
pub(super) fn prompt_tokens_max(bytes: usize) -> u32 {
    u32::try_from(bytes + AROUND_MAX).unwrap_or(u32::MAX)
}

fn bad(reason: impl Into<String>) -> Bad {
    Bad::new("events", reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kwaainet_core::{CallDelta, CallStart, FinishReason, TokenLogprob, TopLogprob};

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

    /// Of two choices, of which one has five tokens already.
    fn order() -> Order {
        let params = GenerateParams {
            n: 2,
            max_tokens: Some(7),
            logprobs: Some(0),
            ..GenerateParams::default()
        };
        let resume = Resume {
            choices: vec![Vec::new(), vec![1; 5]],
        };
        Order::new(&params, Some(&resume), 10)
    }

    /// What becomes of these events.
    fn judge(events: &[Event]) -> Result<Order, Bad> {
        let mut order = order();
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
            delta(1, 0),
            finished(1),
        ];
        let order = judge(&events).expect("all in order");
        assert_eq!(order.end(usage(3, 7)), Ok(()));
    }

    #[test]
    fn every_lie_is_seen() {
        let ids = Event::Delta(Delta {
            tokens: 2,
            ids: vec![1],
            ..Delta::default()
        });
        let text = |bytes: usize| {
            Event::Delta(Delta {
                text: "x".repeat(bytes),
                ..Delta::default()
            })
        };
        let token = |bytes: usize, top: usize| {
            let one = TopLogprob {
                bytes: vec![0; bytes],
                logprob: 0.0,
            };
            Event::Delta(Delta {
                tokens: 1,
                logprobs: vec![TokenLogprob {
                    chosen: one.clone(),
                    top: vec![one; top],
                }],
                ..Delta::default()
            })
        };
        assert!(judge(&[STARTED, token(9, 0), text(9_999)]).is_ok());
        let many = [vec![STARTED], vec![delta(0, 0); 1_028]].concat();
        assert!(judge(&many[..1_028]).is_ok());
        let prompt = Event::Started {
            prompt_tokens: 1 << 20,
            cached_tokens: 0,
        };
        let lies: [&[Event]; 16] = [
            &[prompt],
            &many,
            &[STARTED, text(2 << 20)],
            &[STARTED, token(2_000, 0)],
            &[STARTED, token(1, 1)],
            &[STARTED, delta(1, 3)],
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
        for (number, lie) in lies.into_iter().enumerate() {
            assert!(judge(lie).is_err(), "{number}");
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
        let mut order = order();
        assert!(order.frame(1).is_err());
        assert_eq!(order.frame(0), Ok(()));
        assert!(order.frame(0).is_err());
        assert_eq!(order.frame(1), Ok(()));
    }
}
