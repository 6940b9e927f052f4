//! What is wrong with a request, named as OpenAI names it.

use serde_json::json;

use super::{PATH, ask, refused};
use crate::harness::TestNode;

#[tokio::test]
async fn bad_values_are_refused_by_name() {
    let node = TestNode::new().await;
    let unsupported = "unsupported_parameter";
    for (more, code, param) in [
        (
            json!({"model": null}),
            "missing_required_parameter",
            "model",
        ),
        (
            json!({"input": null}),
            "missing_required_parameter",
            "input",
        ),
        (json!({"input": []}), "missing_required_parameter", "input"),
        (json!({"input": 7}), "invalid_type", "input"),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "unsupported_value",
            "input[0].content[0]",
        ),
        (
            json!({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}),
            "invalid_value",
            "input",
        ),
        (
            json!({"max_output_tokens": 0}),
            "integer_below_min_value",
            "max_output_tokens",
        ),
        (
            json!({"max_output_tokens": "x"}),
            "invalid_type",
            "max_output_tokens",
        ),
        (
            json!({"temperature": 2.1}),
            "decimal_above_max_value",
            "temperature",
        ),
        (json!({"top_p": -1}), "decimal_below_min_value", "top_p"),
        (
            json!({"top_logprobs": 21}),
            "integer_above_max_value",
            "top_logprobs",
        ),
        (json!({"top_logprobs": 1}), "invalid_value", "top_logprobs"),
        (
            json!({"include": ["everything"]}),
            "invalid_value",
            "include[0]",
        ),
        (
            json!({"truncation": "middle"}),
            "invalid_value",
            "truncation",
        ),
        (
            json!({"stream_options": {}}),
            "invalid_value",
            "stream_options",
        ),
        (
            json!({"stream": true, "stream_options": {"include_obfuscation": true}}),
            unsupported,
            "stream_options.include_obfuscation",
        ),
        (
            json!({"service_tier": "priority"}),
            "unsupported_value",
            "service_tier",
        ),
        (
            json!({"background": true, "store": false}),
            "invalid_value",
            "store",
        ),
        (
            json!({"conversation": "conv_x", "store": false}),
            "invalid_value",
            "store",
        ),
        (
            json!({"conversation": "conv_x", "previous_response_id": "resp_x"}),
            "mutually_exclusive_parameters",
            "previous_response_id",
        ),
        (json!({"conversation": 7}), "invalid_type", "conversation"),
        (
            json!({"conversation": {}}),
            "missing_required_parameter",
            "conversation.id",
        ),
        (
            json!({"previous_response_id": ""}),
            "invalid_value",
            "previous_response_id",
        ),
        (
            json!({"metadata": {"k": "v".repeat(513)}}),
            "string_above_max_length",
            "metadata",
        ),
        (json!({"metadata": {"k": 7}}), "invalid_type", "metadata.k"),
        (
            json!({"user": "u".repeat(513)}),
            "string_above_max_length",
            "user",
        ),
        (
            json!({"safety_identifier": "u".repeat(65)}),
            "string_above_max_length",
            "safety_identifier",
        ),
        (
            json!({"text": {"verbosity": "high"}}),
            unsupported,
            "text.verbosity",
        ),
        (
            json!({"text": {"format": {"type": "xml"}}}),
            "invalid_value",
            "text.format.type",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "schema": {}}}}),
            "missing_required_parameter",
            "text.format.name",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n"}}}),
            "missing_required_parameter",
            "text.format.schema",
        ),
        (
            json!({"text": {"format": {"type": "json_schema", "name": "n", "schema": []}}}),
            "invalid_type",
            "text.format.schema",
        ),
        (
            json!({"tools": [{"type": "web_search"}]}),
            "unsupported_value",
            "tools[0].type",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            "missing_required_parameter",
            "tools[0].name",
        ),
        (
            json!({"tools": [{"type": "function", "name": 7}]}),
            "invalid_type",
            "tools[0].name",
        ),
        (
            json!({"tool_choice": "required"}),
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"tool_choice": "sometimes"}),
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"tool_choice": {"type": "web_search_preview"}}),
            "unsupported_value",
            "tool_choice.type",
        ),
        (
            json!({"tool_choice": {"type": "function"}}),
            "missing_required_parameter",
            "tool_choice.name",
        ),
        (
            json!({"tool_choice": {"type": "function", "name": "f"}}),
            "invalid_value",
            "tool_choice",
        ),
        (
            json!({"reasoning": {"effort": "high"}}),
            unsupported,
            "reasoning.effort",
        ),
        (json!({"prompt": {"id": "p"}}), unsupported, "prompt"),
        (json!({"max_tokens": 7}), unsupported, "max_tokens"),
        (json!({"messages": []}), unsupported, "messages"),
        (
            json!({"response_format": {"type": "text"}}),
            unsupported,
            "response_format",
        ),
        (json!({"n": 2}), unsupported, "n"),
        (json!({"stop": ["x"]}), unsupported, "stop"),
        (json!({"guided_json": {}}), unsupported, "guided_json"),
        (
            json!({"moderation": {"model": "m"}}),
            unsupported,
            "moderation",
        ),
    ] {
        let expected = (400, Some(code.to_owned()), Some(param.to_owned()));
        assert_eq!(refused(&node, more.clone()).await, expected, "{more}");
    }
    let harmless = json!({"n": 1, "stop": null, "reasoning": {"effort": null}, "new_in_2030": 1,
        "prompt_cache_retention": "in_memory", "include": ["file_search_call.results"]});
    assert_eq!(node.post(PATH, ask(harmless)).await.status, 200);
    node.settled().await;
}

#[tokio::test]
async fn n12_an_unknown_model_is_a_404_in_the_background_too() {
    let node = TestNode::new().await;
    for more in [
        json!({"model": "nobody"}),
        json!({"model": "nobody", "stream": true}),
        json!({"model": "nobody", "background": true}),
        json!({"model": "nobody", "truncation": "auto"}),
    ] {
        let expected = (404, Some("model_not_found".into()), Some("model".into()));
        assert_eq!(refused(&node, more).await, expected);
    }
    assert_eq!(node.settled().await, [0, 0, 0], "nothing was admitted");
}
