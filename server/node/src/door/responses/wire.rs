//! What a response says of errors, tokens and their log-probabilities, in the wire's words.

use kwaainet_core::{TokenLogprob, Usage};
use kwaainet_openapi::{
    InputTokensDetails, OutputLogprob, OutputTokensDetails, OutputTopLogprob, ResponseError,
    ResponseUsage,
};

use crate::door::ApiError;

const SERVER_ERROR: &str = "server_error";
/// What OpenAI says of a token that is as good as impossible.
const LOGPROB_MIN: f32 = -9_999.0;

/// An error in the words that a response has for it.
pub(super) fn error(error: &ApiError) -> ResponseError {
    let code = match error.status().as_u16() {
        429 | 503 => "rate_limit_exceeded",
        400..=499 => "invalid_prompt",
        _ => SERVER_ERROR,
    };
    ResponseError {
        code: code.to_owned(),
        message: error.body().error.message,
    }
}

/// A token with its log-probability.
pub(super) fn logprob(token: TokenLogprob) -> OutputLogprob {
    let top = |token: kwaainet_core::TopLogprob| OutputTopLogprob {
        token: String::from_utf8_lossy(&token.bytes).into_owned(),
        // JSON knows no infinity.
        logprob: token.logprob.max(LOGPROB_MIN),
        bytes: token.bytes,
    };
    let chosen = top(token.chosen);
    OutputLogprob {
        token: chosen.token,
        logprob: chosen.logprob,
        bytes: chosen.bytes,
        top_logprobs: token.top.into_iter().map(top).collect(),
    }
}

/// What became of a response when its node ended.
pub(super) fn stopped() -> ResponseError {
    ResponseError {
        code: SERVER_ERROR.to_owned(),
        message: "the node was stopped before the response was whole".to_owned(),
    }
}

/// The tokens of one more generation, added to those of the response's earlier ones.
pub(super) fn usage(before: Option<&ResponseUsage>, usage: Usage) -> ResponseUsage {
    let add =
        |field: fn(&ResponseUsage) -> u32, more: u32| before.map_or(0, field).saturating_add(more);
    let input_tokens = add(|usage| usage.input_tokens, usage.prompt_tokens);
    let output_tokens = add(|usage| usage.output_tokens, usage.completion_tokens);
    let cached = |usage: &ResponseUsage| usage.input_tokens_details.cached_tokens;
    ResponseUsage {
        input_tokens,
        input_tokens_details: InputTokensDetails {
            cached_tokens: add(cached, usage.cached_tokens),
            cache_write_tokens: 0,
        },
        output_tokens,
        output_tokens_details: OutputTokensDetails {
            reasoning_tokens: 0,
        },
        total_tokens: input_tokens.saturating_add(output_tokens),
    }
}
