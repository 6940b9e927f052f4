//! Log-probabilities in both of OpenAI's shapes: chat's list of objects, completions' parallel lists.

use std::collections::HashMap;

use kwaainet_core::{TokenLogprob, TopLogprob};
use serde::Deserialize;

/// The `logprobs` of one choice of one chunk.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum WireLogprobs {
    /// Of a chat.
    Chat {
        /// One for each token.
        content: Vec<ChatToken>,
    },
    /// Of a completion.
    Completion {
        /// The tokens' texts.
        tokens: Vec<String>,
        /// As many numbers; a server may have none for the very first token.
        token_logprobs: Vec<Option<f32>>,
        /// As many maps, if alternatives were asked for.
        #[serde(default)]
        top_logprobs: Option<Vec<Option<HashMap<String, f32>>>>,
    },
    /// Chat's object with nothing in it, as the first and the last chunk have it.
    Empty {},
}

/// A token of a chat, with its alternatives.
#[derive(Deserialize)]
pub(crate) struct ChatToken {
    #[serde(flatten)]
    chosen: ChatTop,
    #[serde(default)]
    top_logprobs: Vec<ChatTop>,
}

#[derive(Deserialize)]
struct ChatTop {
    token: String,
    logprob: f32,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
}

impl WireLogprobs {
    /// In our words, best alternatives first.
    pub(crate) fn into_tokens(self) -> Vec<TokenLogprob> {
        match self {
            Self::Chat { content } => content.into_iter().map(ChatToken::into_token).collect(),
            Self::Completion {
                tokens,
                token_logprobs,
                top_logprobs,
            } => {
                let mut tops = top_logprobs.unwrap_or_default().into_iter();
                let tokens = tokens.into_iter().zip(token_logprobs);
                let token = |(token, logprob): (String, Option<f32>)| TokenLogprob {
                    chosen: top(token_bytes(token), logprob.unwrap_or_default()),
                    top: alternatives(tops.next().flatten().unwrap_or_default()),
                };
                tokens.map(token).collect()
            }
            Self::Empty {} => Vec::new(),
        }
    }
}

impl ChatToken {
    fn into_token(self) -> TokenLogprob {
        TokenLogprob {
            chosen: self.chosen.into_top(),
            top: sorted(self.top_logprobs.into_iter().map(ChatTop::into_top)),
        }
    }
}

impl ChatTop {
    fn into_top(self) -> TopLogprob {
        let bytes = self.bytes.unwrap_or_else(|| self.token.into_bytes());
        top(bytes, self.logprob)
    }
}

fn alternatives(map: HashMap<String, f32>) -> Vec<TopLogprob> {
    sorted(
        map.into_iter()
            .map(|(token, logprob)| top(token_bytes(token), logprob)),
    )
}

/// Best first, and in the order of their bytes where equal, since a map has no order.
fn sorted(tops: impl Iterator<Item = TopLogprob>) -> Vec<TopLogprob> {
    let mut tops: Vec<_> = tops.collect();
    tops.sort_by(|a, b| {
        let better = b.logprob.total_cmp(&a.logprob);
        better.then_with(|| a.bytes.cmp(&b.bytes))
    });
    tops
}

/// Rounding makes some servers' logarithms a little positive.
fn top(bytes: Vec<u8>, logprob: f32) -> TopLogprob {
    TopLogprob {
        bytes,
        logprob: logprob.min(0.0),
    }
}

/// Completions have no `bytes`: a token that is not whole characters is written as
/// `bytes:\xe2\x80`.
fn token_bytes(token: String) -> Vec<u8> {
    let escaped = token.strip_prefix("bytes:").and_then(|escapes| {
        let hex = escapes.strip_prefix("\\x")?.split("\\x");
        hex.map(|digits| u8::from_str_radix(digits, 16).ok())
            .collect()
    });
    escaped.unwrap_or_else(|| token.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Vec<TokenLogprob> {
        let wire: WireLogprobs = serde_json::from_str(json).expect("it can be read");
        wire.into_tokens()
    }

    fn one(bytes: &[u8], logprob: f32) -> TopLogprob {
        top(bytes.to_vec(), logprob)
    }

    #[test]
    fn chats_shape_with_and_without_bytes() {
        let tokens = read(
            r#"{"content":[
                {"token":"�","logprob":-0.5,"bytes":[226,130],"top_logprobs":[
                    {"token":"b","logprob":-2.0,"bytes":null},
                    {"token":"�","logprob":-0.5,"bytes":[226,130]}]},
                {"token":"é","logprob":0.001}],"refusal":null}"#,
        );
        assert_eq!(tokens[0].chosen, one(b"\xE2\x82", -0.5));
        assert_eq!(tokens[0].top, [one(b"\xE2\x82", -0.5), one(b"b", -2.0)]);
        assert_eq!(tokens[1].chosen, one("é".as_bytes(), 0.0));
        assert_eq!(tokens[1].top, []);
    }

    #[test]
    fn completions_shape_with_escaped_bytes() {
        let tokens = read(
            r#"{"text_offset":[0,1],"tokens":["a","bytes:\\xe2\\x82"],"token_logprobs":[null,-1.5],
                "top_logprobs":[null,{"c":-3.0,"b":-1.0,"a":-3.0}]}"#,
        );
        assert_eq!(tokens[0].chosen, one(b"a", 0.0));
        assert_eq!(tokens[1].chosen, one(b"\xE2\x82", -1.5));
        assert_eq!(
            tokens[1].top,
            [one(b"b", -1.0), one(b"a", -3.0), one(b"c", -3.0)]
        );
        assert_eq!(token_bytes("bytes:x".into()), b"bytes:x");
    }

    #[test]
    fn an_object_without_tokens_is_none() {
        assert_eq!(read(r#"{"content":null}"#), []);
        assert_eq!(read("{}"), []);
    }
}
