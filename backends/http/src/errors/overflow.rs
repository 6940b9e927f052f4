//! A prompt that is too long for an upstream, read out of what it says.
//!
//! OpenAI and most who imitate it give the numbers in prose only. A sentence that cannot be read
//! is passed on as any other bad request.

use kwaainet_core::BackendError;

use super::{Asked, Complaint};

/// The error that a complaint means, if it is this one and says how many tokens there are.
pub(super) fn read(complaint: &Complaint, asked: &Asked) -> Option<BackendError> {
    let says_so = complaint.code == "context_length_exceeded"
        || complaint.kind == "exceed_context_size_error"
        || complaint.message.contains("maximum context length");
    if !says_so {
        return None;
    }
    let (context, prompt_tokens, max_tokens) = match (complaint.context, complaint.prompt_tokens) {
        (Some(context), Some(prompt_tokens)) => (context, prompt_tokens, 0),
        _ => overflow_in_words(&complaint.message)?,
    };
    let too_long_alone = prompt_tokens >= context;
    // The numbers were read out of prose: believe them only if they add up.
    if !too_long_alone && prompt_tokens.saturating_add(max_tokens) <= context {
        return None;
    }
    Some(BackendError::ContextOverflow {
        prompt_tokens,
        max_tokens,
        context,
        param: if too_long_alone {
            asked.main
        } else {
            asked.max_tokens
        },
    })
}

/// Context, prompt tokens and tokens asked for, out of a sentence like OpenAI's "maximum context
/// length is 8192 tokens. However, you requested 9000 tokens (5000 in the messages, 4000 in the
/// completion)", which most servers imitate.
fn overflow_in_words(message: &str) -> Option<(u32, u32, u32)> {
    let lower = message.to_ascii_lowercase();
    let anchor = lower.find("context").or_else(|| lower.find("limit"))?;
    let numbers = lower[anchor..].split(|c: char| !c.is_ascii_digit());
    let numbers: Vec<u32> = numbers.filter_map(|digits| digits.parse().ok()).collect();
    match numbers[..] {
        [context, sum, prompt, max, ..] if prompt.checked_add(max) == Some(sum) => {
            Some((context, prompt, max))
        }
        [context, prompt, max, ..] => Some((context, prompt, max)),
        [context, prompt] => Some((context, prompt, 0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::asked;
    use super::*;
    use crate::errors::from_response;

    #[test]
    fn overflows_are_read_out_of_prose() {
        let overflow = |prompt_tokens, max_tokens, context, param| BackendError::ContextOverflow {
            prompt_tokens,
            max_tokens,
            context,
            param,
        };
        let says = |message: &str| {
            let object = serde_json::json!({"message": message, "code": "context_length_exceeded"});
            from_response(
                400,
                None,
                serde_json::json!({"error": object}).to_string().as_bytes(),
                &asked(),
            )
        };
        let summed = "This model's maximum context length is 8192 tokens. However, you requested \
                      9000 tokens (5000 in the messages, 4000 in the completion).";
        let by_limit = overflow(5_000, 4_000, 8_192, "max_completion_tokens");
        assert_eq!(says(summed), by_limit);
        let result = "This model's maximum context length is 4097 tokens, however your messages \
                      resulted in 5000 tokens.";
        assert_eq!(says(result), overflow(5_000, 0, 4_097, "messages"));
        let large = "'max_tokens' is too large: 5000. This model's maximum context length is 2048 \
                     tokens and your request has 100 input tokens (5000 > 2048 - 100).";
        assert_eq!(
            says(large),
            overflow(100, 5_000, 2_048, "max_completion_tokens")
        );
        let ours = overflow(64, 0, 64, "messages");
        assert_eq!(says(&ours.to_string()), ours);
        let fields = r#"{"error":{"code":400,"message":"the request is too long",
            "type":"exceed_context_size_error","n_prompt_tokens":99,"n_ctx":64}}"#;
        assert_eq!(
            from_response(400, None, fields.as_bytes(), &asked()),
            overflow(99, 0, 64, "messages")
        );
        for wordless in [
            "too long",
            "context of 10 and 1 token",
            "context 99999999999999999999",
        ] {
            assert!(
                matches!(says(wordless), BackendError::Invalid { .. }),
                "{wordless}"
            );
        }
    }
}
