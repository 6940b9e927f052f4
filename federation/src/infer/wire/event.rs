//! Events. That they come in order is for whoever reads them.

use kwaainet_core::{
    CallDelta, CallStart, Delta, Event, FinishReason, TokenLogprob, TopLogprob, Usage,
};

use super::says::{self, event::Kind};
use super::{Bad, at_most, list, needed, one_of};

/// Log-probabilities of one delta.
pub(crate) const LOGPROBS_MAX: usize = 1 << 16;
/// Alternatives of one token.
const TOP_MAX: usize = 64;
/// Token ids of one delta.
pub(crate) const IDS_MAX: usize = 1 << 16;

const REASONS: [FinishReason; 4] = [
    FinishReason::Stop,
    FinishReason::Length,
    FinishReason::ToolCalls,
    FinishReason::ContentFilter,
];

fn reason_number(reason: FinishReason) -> u32 {
    match reason {
        FinishReason::Stop => 1,
        FinishReason::Length => 2,
        FinishReason::ToolCalls => 3,
        FinishReason::ContentFilter => 4,
    }
}

/// `Done` is no event on the wire: it is the end, with a receipt.
pub(crate) fn write(event: Event) -> Result<says::Event, Usage> {
    let kind = match event {
        Event::Started {
            prompt_tokens,
            cached_tokens,
        } => Kind::Started(says::Started {
            prompt_tokens,
            cached_tokens,
        }),
        Event::Delta(delta) => Kind::Delta(says::Delta {
            choice: delta.choice,
            text: delta.text,
            tokens: delta.tokens,
            ids: delta.ids,
            logprobs: list::write(delta.logprobs.into_iter().map(write_logprob)),
            stopped_by: delta.stopped_by,
        }),
        Event::Call(call) => Kind::Call(says::Call {
            choice: call.choice,
            index: call.index,
            start: call.start.map(|start| says::CallStart {
                id: start.id,
                name: start.name,
            }),
            arguments: call.arguments,
        }),
        Event::Finished { choice, reason } => Kind::Finished(says::Finished {
            choice,
            reason: reason_number(reason),
        }),
        Event::Done(usage) => return Err(usage),
    };
    Ok(says::Event { kind: Some(kind) })
}

/// `None` for a kind that is not known.
pub(crate) fn read(event: says::Event) -> Result<Option<Event>, Bad> {
    let Some(kind) = event.kind else {
        return Ok(None);
    };
    Ok(Some(match kind {
        Kind::Started(started) => Event::Started {
            prompt_tokens: started.prompt_tokens,
            cached_tokens: started.cached_tokens,
        },
        Kind::Delta(delta) => {
            at_most(delta.ids.len(), IDS_MAX, "ids")?;
            let logprobs = list::read(&delta.logprobs, LOGPROBS_MAX, "logprobs")?;
            Event::Delta(Delta {
                choice: delta.choice,
                text: delta.text,
                tokens: delta.tokens,
                ids: delta.ids,
                logprobs: logprobs
                    .into_iter()
                    .map(read_logprob)
                    .collect::<Result<_, _>>()?,
                stopped_by: delta.stopped_by,
            })
        }
        Kind::Call(call) => Event::Call(CallDelta {
            choice: call.choice,
            index: call.index,
            start: call.start.map(|start| CallStart {
                id: start.id,
                name: start.name,
            }),
            arguments: call.arguments,
        }),
        Kind::Finished(finished) => Event::Finished {
            choice: finished.choice,
            reason: one_of(&REASONS, reason_number, finished.reason, "reason")?,
        },
    }))
}

fn write_logprob(logprob: TokenLogprob) -> says::Logprob {
    says::Logprob {
        chosen: Some(write_top(logprob.chosen)),
        top: list::write(logprob.top.into_iter().map(write_top)),
    }
}

fn read_logprob(logprob: says::Logprob) -> Result<TokenLogprob, Bad> {
    let top = list::read(&logprob.top, TOP_MAX, "logprobs")?;
    Ok(TokenLogprob {
        chosen: read_top(needed(logprob.chosen, "logprobs")?),
        top: top.into_iter().map(read_top).collect(),
    })
}

fn write_top(top: TopLogprob) -> says::Top {
    says::Top {
        bytes: top.bytes,
        logprob: top.logprob.to_bits(),
    }
}

fn read_top(top: says::Top) -> TopLogprob {
    TopLogprob {
        bytes: top.bytes,
        logprob: f32::from_bits(top.logprob),
    }
}

pub(crate) fn write_usage(usage: Usage) -> says::Usage {
    says::Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        completion_tokens: usage.completion_tokens,
    }
}

pub(crate) fn read_usage(usage: Option<says::Usage>) -> Result<Usage, Bad> {
    let usage = needed(usage, "usage")?;
    Ok(Usage {
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        completion_tokens: usage.completion_tokens,
    })
}
