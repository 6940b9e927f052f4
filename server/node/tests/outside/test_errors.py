"""Refusals as the official SDK's exceptions: the right class, the field and OpenAI's code."""

from __future__ import annotations

import pytest
from openai import BadRequestError, NotFoundError

from support.ask import ECHO, chat, complete
from support.node import SMOL

BELOW, ABOVE = "decimal_below_min_value", "decimal_above_max_value"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CUSTOM = {"type": "custom", "custom": {"name": "f"}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
NO_SCHEMA = {"type": "json_schema", "json_schema": {"name": "s"}}


def said(content, role="user"):
    return {"messages": [{"role": role, "content": content}]}


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": "hello"}, "messages", "invalid_type"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        (said("x", "wizard"), "messages[0].role", "invalid_value"),
        (said("x", "tool"), "messages[0].tool_call_id", "missing_required_parameter"),
        (said(7), "messages[0].content", "invalid_type"),
        (said([IMAGE]), "messages[0].content[0]", "unsupported_value"),
        (said([{"type": "text"}]), "messages[0].content[0]", "invalid_value"),
        ({"temperature": -0.1}, "temperature", BELOW),
        ({"temperature": 2.1}, "temperature", ABOVE),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_p": -0.5}, "top_p", BELOW),
        ({"top_p": 1.5}, "top_p", ABOVE),
        ({"frequency_penalty": 2.5}, "frequency_penalty", ABOVE),
        ({"presence_penalty": -2.5}, "presence_penalty", BELOW),
        ({"extra_body": {"top_k": -1}}, "top_k", "integer_below_min_value"),
        ({"extra_body": {"min_p": 2}}, "min_p", ABOVE),
        ({"extra_body": {"repetition_penalty": 0}}, "repetition_penalty", BELOW),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 129}, "n", "integer_above_max_value"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"max_completion_tokens": 5}, "max_tokens", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "array_above_max_length"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"logit_bias": {"word": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"1": 101}}, "logit_bias", ABOVE),
        ({"logit_bias": {"999999": 1}}, "logit_bias", "invalid_value"),
        ({"seed": 1.5}, "seed", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"tools": [CUSTOM]}, "tools[0].type", "unsupported_value"),
        ({"tools": [FUNCTION, FUNCTION]}, "tools[1].function.name", "invalid_value"),
        ({"tools": [FUNCTION] * 129}, "tools", "array_above_max_length"),
        ({"functions": [{"name": "a b"}]}, "functions[0].name", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": [FUNCTION], "tool_choice": "any"}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        (
            {"response_format": NO_SCHEMA},
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
        ({"metadata": {str(i): "x" for i in range(17)}}, "metadata", "object_above_max_properties"),
        ({"reasoning_effort": "high"}, "reasoning_effort", "unsupported_parameter"),
        ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"service_tier": "priority"}, "service_tier", "unsupported_parameter"),
        ({"extra_body": {"min_tokens": 3}}, "min_tokens", "unsupported_parameter"),
        ({"extra_body": {"guided_json": 1}}, "guided_json", "invalid_type"),
        ({"extra_body": {"grammar": "root ::= x"}}, "grammar", "unsupported_parameter"),
    ],
)
def test_a_chat_that_cannot_be_honoured_is_refused_by_name(client, options, param, code):
    with pytest.raises(BadRequestError) as refused:
        chat(client, **options)
    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"prompt": []}, "prompt", "empty_array"),
        ({"prompt": {"a": 1}}, "prompt", "invalid_type"),
        ({"prompt": [999_999]}, "prompt", "invalid_value"),
        ({"prompt": [-1]}, "prompt", "invalid_type"),
        ({"prompt": ["a"] * 65, "n": 2}, "n", "integer_above_max_value"),
        ({"logprobs": 6}, "logprobs", "integer_above_max_value"),
        ({"logprobs": True}, "logprobs", "invalid_type"),
        ({"best_of": 1, "n": 2}, "best_of", "invalid_value"),
        ({"best_of": 2, "stream": True}, "best_of", "invalid_value"),
        ({"echo": True, "suffix": "x"}, "echo", "invalid_value"),
        ({"prompt": [1, 2], "suffix": "x"}, "suffix", "invalid_value"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ],
)
def test_a_continuation_that_cannot_be_honoured_is_refused_by_name(client, options, param, code):
    with pytest.raises(BadRequestError) as refused:
        complete(client, **options)
    assert (refused.value.param, refused.value.code) == (param, code)


@pytest.mark.parametrize("stream", [False, True])
def test_n10_a_prompt_that_is_too_long_is_refused_before_any_work(client, stream):
    with pytest.raises(BadRequestError) as refused:
        complete(client, prompt="word " * 9_000, stream=stream)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "prompt"
    assert "8192" in refused.value.message
    with pytest.raises(BadRequestError) as refused:
        chat(client, **said("word " * 9_000), stream=stream)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_more_tokens_than_the_context_has_are_refused_under_the_callers_name(client, name):
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(model=SMOL, messages=ECHO, **{name: 8_192})
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", name)


@pytest.mark.parametrize("ask", [chat, complete])
@pytest.mark.parametrize("stream", [False, True])
def test_n12_an_unknown_model_is_not_found_and_not_replaced(client, ask, stream):
    with pytest.raises(NotFoundError) as refused:
        ask(client, model="gpt-9", stream=stream)
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_a_refusal_leaves_nothing_behind(client, node):
    with pytest.raises(BadRequestError):
        chat(client, **said("word " * 9_000))
    assert node.is_idle()
