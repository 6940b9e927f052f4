"""Anthropic's Messages API through its official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from pydantic import BaseModel

from conftest import CANARY
from support.ask import ECHOED
from support.node import SMOL, Node, kwaainet, running, succeeded

ECHO = {
    "system": "Repeat what the user says.",
    "messages": [{"role": "user", "content": "One, two, three."}],
}
WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}


def client_of(node: Node, key: str = "none") -> Anthropic:
    """The official client, told where to go and nothing else. It must not hide a failure."""
    return Anthropic(base_url=node.url, api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def claude(node: Node) -> Iterator[Anthropic]:
    with client_of(node) as client:
        yield client


def ask(claude: Anthropic, **options: Any) -> Any:
    """A short answer, greedy unless told otherwise."""
    more = {"temperature": 0, **options.pop("extra_body", {})}
    defaults = {"model": SMOL, "max_tokens": 12, "extra_body": more}
    return claude.messages.create(**{**defaults, **ECHO, **options})


def test_an_answer_has_anthropics_shape_and_makes_sense(claude):
    answer = ask(claude)
    assert answer.id.startswith("msg_")
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", SMOL)
    (block,) = answer.content
    assert (block.type, block.text) == ("text", ECHOED)
    assert answer.stop_reason == "end_turn"
    assert answer.stop_sequence is None
    assert answer._request_id.startswith("req_")


def test_usage_adds_up_whether_the_prompt_was_cached_or_not(claude):
    counted = claude.messages.count_tokens(model=SMOL, **ECHO)
    for _ in range(2):
        usage = ask(claude).usage
        read = usage.cache_read_input_tokens
        assert usage.input_tokens + read == counted.input_tokens
        assert usage.output_tokens > 0
    assert read > 0, "the second time it is known"


def test_the_stream_helper_gathers_the_same_message(claude):
    whole = ask(claude)
    options = {"model": SMOL, "max_tokens": 12, "extra_body": {"temperature": 0}, **ECHO}
    with claude.messages.stream(**options) as stream:
        texts = list(stream.text_stream)
        final = stream.get_final_message()
        assert stream.request_id.startswith("req_")
    assert len(texts) > 3
    assert "".join(texts) == ECHOED
    assert [block.text for block in final.content] == [ECHOED]
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_raw_events_come_in_their_order(claude):
    events = [event.type for event in ask(claude, stream=True)]
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(events[2:-3]) == {"content_block_delta"}


def test_reasons_for_an_end_are_told(claude):
    cut = ask(claude, max_tokens=2)
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 2)
    stopped = ask(claude, stop_sequences=["never", " two"])
    assert stopped.stop_reason == "stop_sequence"
    assert stopped.stop_sequence == " two"
    assert stopped.content[0].text == "One,"


def test_a_named_tool_is_called_and_its_result_is_read(claude):
    options = {
        "tools": [WEATHER],
        "tool_choice": {"type": "tool", "name": "weather"},
        "messages": [{"role": "user", "content": "Weather in Rome?"}],
        "max_tokens": 60,
    }
    answer = ask(claude, **options)
    assert answer.stop_reason == "tool_use"
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert call.name == "weather"
    assert isinstance(call.input["city"], str)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "Sunny, 25 degrees."}
    messages = [
        *options["messages"],
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    told = ask(claude, tools=[WEATHER], tool_choice={"type": "none"}, messages=messages)
    assert told.content[0].type == "text"


def test_a_call_is_streamed_as_the_helper_reads_it(claude):
    options = {
        "model": SMOL,
        "max_tokens": 60,
        "tools": [WEATHER],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "messages": [{"role": "user", "content": "Weather in Rome?"}],
        "extra_body": {"temperature": 0},
    }
    with claude.messages.stream(**options) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert isinstance(call.input["city"], str)
    assert len(pieces) > 1


class Person(BaseModel):
    name: str
    age: int


def test_an_answer_is_parsed_into_its_type(claude):
    parsed = claude.messages.parse(
        model=SMOL,
        max_tokens=200,
        messages=[{"role": "user", "content": "Ann is 7 years old. Tell it as JSON."}],
        output_format=Person,
        extra_body={"temperature": 0},
    )
    assert parsed.stop_reason == "end_turn"
    assert isinstance(parsed.parsed_output, Person)


def test_errors_are_the_sdks_own(claude):
    with pytest.raises(anthropic.NotFoundError) as missing:
        ask(claude, model="nobody")
    assert missing.value.type == "not_found_error"
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(anthropic.BadRequestError) as image:
        source = {"type": "base64", "media_type": "image/png", "data": "aGk="}
        blocks = [{"type": "image", "source": source}]
        ask(claude, messages=[{"role": "user", "content": blocks}])
    assert image.value.type == "invalid_request_error"
    assert "messages[0].content[0]" in image.value.api_message
    with pytest.raises(anthropic.BadRequestError) as thinking:
        ask(claude, thinking={"type": "enabled", "budget_tokens": 1024})
    assert "thinking" in thinking.value.api_message
    with pytest.raises(anthropic.BadRequestError) as long:
        ask(claude, max_tokens=1_000_000)
    assert "max_tokens" in long.value.api_message


def test_what_is_said_is_in_no_log(claude, node):
    ask(claude, messages=[{"role": "user", "content": f"Say {CANARY}."}])
    assert CANARY not in node.log


def test_a_key_opens_the_door_under_either_header(tmp_path: Path):
    with running(tmp_path) as node:
        made = kwaainet(tmp_path, "keys", "create", "--data-dir", node.data_dir)
        key = succeeded(made).strip()
        with client_of(node) as stranger:
            with pytest.raises(anthropic.AuthenticationError):
                ask(stranger)
        with client_of(node, key) as guest:
            assert ask(guest).content[0].text == ECHOED
        bearer = Anthropic(base_url=node.url, auth_token=key, max_retries=0)
        with bearer:
            assert ask(bearer).content[0].text == ECHOED
