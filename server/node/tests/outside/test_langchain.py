"""LangChain's OpenAI classes, told nothing but where to go."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel

from support.ask import COUNT, ECHOED
from support.node import SMOL, Node

TOLD = [("system", "Repeat what the user says."), ("user", ECHOED)]


class City(str, Enum):
    rome = "Rome"
    oslo = "Oslo"


class Weather(BaseModel):
    """Tells the weather in a city."""

    city: City
    tomorrow: bool


def options(node: Node) -> dict:
    base = {"model": SMOL, "base_url": f"{node.url}/v1", "api_key": "none", "max_retries": 0}
    return {**base, "temperature": 0, "max_tokens": 200}


@pytest.fixture(scope="module")
def model(node: Node) -> Iterator[ChatOpenAI]:
    yield ChatOpenAI(**options(node), use_responses_api=False, stream_usage=True)


def test_an_answer_whole_and_streamed(model):
    whole = model.invoke(TOLD)
    assert whole.content == ECHOED
    assert whole.response_metadata["finish_reason"] == "stop"
    merged = sum_of(model.stream(TOLD))
    assert merged.content == whole.content
    total = whole.usage_metadata["total_tokens"]
    assert merged.usage_metadata["total_tokens"] == total


def test_a_text_is_continued(node):
    text = OpenAI(**{**options(node), "max_tokens": 4})
    assert text.invoke(COUNT) == " four, five,"
    together = text.generate([COUNT, COUNT]).generations
    assert [[choice.text for choice in one] for one in together] == [[" four, five,"]] * 2


def test_n03_n04_a_call_whole_and_streamed(model):
    bound = model.bind_tools([Weather], tool_choice="Weather")
    whole = bound.invoke("How is the weather in Rome?")
    assert [call["name"] for call in whole.tool_calls] == ["Weather"]
    Weather.model_validate(whole.tool_calls[0]["args"])
    assert not whole.invalid_tool_calls
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    merged = sum_of(bound.stream("How is the weather in Rome?"))
    told = [(call["name"], call["args"]) for call in merged.tool_calls]
    assert told == [(call["name"], call["args"]) for call in whole.tool_calls]


def test_n24_results_go_back(model):
    bound = model.bind_tools([Weather], tool_choice="Weather")
    asked = HumanMessage("How is the weather in Rome?")
    called = bound.invoke([asked])
    results = [ToolMessage("sunny", tool_call_id=call["id"]) for call in called.tool_calls]
    assert model.invoke([asked, called, *results], max_tokens=16).content


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_an_object_of_the_class(model, method):
    structured = model.with_structured_output(Weather, method=method)
    assert isinstance(structured.invoke("How is the weather in Rome?"), Weather)


def sum_of(chunks):
    merged = None
    for chunk in chunks:
        merged = chunk if merged is None else merged + chunk
    return merged
