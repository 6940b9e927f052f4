//! The names of request fields that errors may hold. They are constants of this program, so that a peer cannot
//! make up any.

/// All that doors and backends give to errors which come from beneath the hallway.
pub(crate) const ALL: &[&str] = &[
    "--max-tokens",
    "dimensions",
    "echo",
    "file",
    "format",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "input",
    "language",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "messages",
    "model",
    "n",
    "options.num_predict",
    "output_config.format",
    "output_format",
    "prompt",
    "request",
    "response_format",
    "seed",
    "stop",
    "structured_outputs.choice",
    "structured_outputs.grammar",
    "structured_outputs.json",
    "structured_outputs.json_object",
    "structured_outputs.regex",
    "suffix",
    "text.format",
    "tokens",
    "tools",
];

/// The known name that is spelled like this, or one of the asker's own.
pub(crate) fn find(name: &str, own: &[&'static str]) -> Option<&'static str> {
    let mut known = own.iter().chain(ALL);
    known.find(|known| **known == name).copied()
}
