"""Tools through the official SDK and its helpers. Asked is what a client relies on: that a call comes
where one is demanded, that its arguments follow their schema, and that it has OpenAI's shape. Whether
the call is a clever one is not asked of so small a model."""

from __future__ import annotations

import json
from enum import Enum

import pytest
from openai import BadRequestError, pydantic_function_tool
from pydantic import BaseModel

from support.ask import chat
from support.node import SMOL

LIMIT = 200
QUESTION = [{"role": "user", "content": "What is the weather in Rome?"}]


class City(str, Enum):
    rome = "Rome"
    oslo = "Oslo"


class Weather(BaseModel):
    """Tells the weather in a city."""

    city: City
    tomorrow: bool


class Clock(BaseModel):
    """Tells the time in a city."""

    city: City


MODELS = {"Weather": Weather, "Clock": Clock}
TOOLS = [pydantic_function_tool(Weather), pydantic_function_tool(Clock)]


def named(name):
    return {"type": "function", "function": {"name": name}}


def asking(client, **options):
    defaults = {"messages": QUESTION, "tools": TOOLS, "max_tokens": LIMIT}
    return chat(client, **{**defaults, **options})


def checked(call):
    """The name of a call whose arguments are what its schema says."""
    assert call.id and call.type == "function"
    MODELS[call.function.name].model_validate_json(call.function.arguments)
    return call.function.name


def assert_calls(choice):
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    calls = choice.message.tool_calls
    assert len({call.id for call in calls}) == len(calls)
    return [checked(call) for call in calls]


def test_n06_a_call_that_is_required_comes(client):
    answer = asking(client, tool_choice="required")
    assert assert_calls(answer.choices[0])
    assert answer.usage.completion_tokens > 1


@pytest.mark.parametrize("name", list(MODELS))
def test_n06_a_named_tool_is_called_once_and_no_other(client, name):
    assert assert_calls(asking(client, tool_choice=named(name)).choices[0]) == [name]


def test_n06_only_allowed_tools_are_called(client):
    allowed = {"mode": "required", "tools": [named("Clock")]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert set(assert_calls(asking(client, tool_choice=choice).choices[0])) == {"Clock"}


def test_n06_what_is_forbidden_does_not_happen(client):
    message = asking(client, tool_choice="none", max_tokens=24).choices[0].message
    assert message.content
    assert not message.tool_calls


def test_one_call_at_a_time(client):
    answer = asking(client, tool_choice="required", parallel_tool_calls=False)
    assert len(assert_calls(answer.choices[0])) == 1


def test_n06_a_model_is_told_of_its_tools(client):
    """Its prompt is longer for them, however its template knows tools."""
    plain = chat(client, messages=QUESTION, max_tokens=1).usage.prompt_tokens
    told = asking(client, max_tokens=1).usage.prompt_tokens
    silent = asking(client, max_tokens=1, tool_choice="none").usage.prompt_tokens
    assert told > plain + 20
    assert silent == plain


def test_every_choice_has_its_own_calls(client):
    answer = asking(client, tool_choice=named("Weather"), n=2, temperature=1, seed=3)
    ids = []
    for choice in answer.choices:
        assert_calls(choice)
        ids += [call.id for call in choice.message.tool_calls]
    assert len(set(ids)) == len(ids)


def test_n03_n04_a_streamed_call_is_the_whole_call_in_pieces(client):
    whole = asking(client, tool_choice=named("Weather")).choices[0]
    calls, reasons, text = {}, [], ""
    for chunk in asking(client, tool_choice=named("Weather"), stream=True):
        (choice,) = chunk.choices
        reasons += [choice.finish_reason] if choice.finish_reason else []
        text += choice.delta.content or ""
        for piece in choice.delta.tool_calls or []:
            if piece.index not in calls:
                assert piece.id and piece.type == "function"
                assert piece.function.arguments == ""
                calls[piece.index] = [piece.function.name, ""]
            else:
                assert piece.id is None and piece.type is None
                assert piece.function.name is None
                calls[piece.index][1] += piece.function.arguments
    assert reasons == ["tool_calls"]
    assert text == ""
    assert list(calls) == list(range(len(calls)))
    expected = [[c.function.name, c.function.arguments] for c in whole.message.tool_calls]
    assert list(calls.values()) == expected


def test_n05_a_call_never_ends_with_stop(client):
    for options in ({}, {"stream": True}):
        answer = asking(client, tool_choice="required", **options)
        choices = [chunk.choices[0] for chunk in answer] if options else answer.choices
        assert choices[-1].finish_reason == "tool_calls"


def test_the_parse_helper_gives_typed_arguments(client):
    answer = client.chat.completions.parse(
        model=SMOL,
        messages=QUESTION,
        tools=TOOLS,
        tool_choice=named("Weather"),
        temperature=0,
        max_tokens=LIMIT,
    )
    for call in answer.choices[0].message.tool_calls:
        assert isinstance(call.function.parsed_arguments, Weather)


def test_the_stream_helper_tells_of_calls(client):
    with client.chat.completions.stream(
        model=SMOL,
        messages=QUESTION,
        tools=TOOLS,
        tool_choice=named("Weather"),
        temperature=0,
        max_tokens=LIMIT,
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    deltas = [e for e in events if e.type == "tool_calls.function.arguments.delta"]
    done = [e for e in events if e.type == "tool_calls.function.arguments.done"]
    assert deltas and done
    for event in done:
        assert event.name == "Weather"
        assert isinstance(event.parsed_arguments, Weather)
        pieces = [d.arguments_delta for d in deltas if d.index == event.index]
        assert "".join(pieces) == event.arguments
    assert final.choices[0].finish_reason == "tool_calls"
    assert isinstance(final.choices[0].message.tool_calls[0].function.parsed_arguments, Weather)


def test_n24_a_result_goes_back_into_the_conversation(client):
    message = asking(client, tool_choice=named("Weather")).choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"sky": "clear"})}
        for call in message.tool_calls
    ]
    turns = [*QUESTION, message, *results]
    answer = asking(client, messages=turns, tool_choice="none", max_tokens=16)
    assert answer.choices[0].message.content
    without = asking(client, tool_choice="none", max_tokens=16)
    assert answer.usage.prompt_tokens > without.usage.prompt_tokens + 10


def test_a_result_that_answers_nothing_is_refused(client):
    turns = [*QUESTION, {"role": "tool", "tool_call_id": "call_1", "content": "x"}]
    with pytest.raises(BadRequestError) as refused:
        chat(client, messages=turns)
    assert refused.value.param == "messages[1].role"


def test_a_call_that_is_cut_says_so(client):
    answer = asking(client, tool_choice="required", max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_the_older_functions_are_called_in_their_older_form(client):
    function = {"name": "Clock", "parameters": Clock.model_json_schema()}
    options = {"messages": QUESTION, "functions": [function], "max_tokens": LIMIT}
    options["function_call"] = {"name": "Clock"}
    choice = chat(client, **options).choices[0]
    assert choice.finish_reason == "function_call"
    assert choice.message.content is None
    assert not choice.message.tool_calls
    call = choice.message.function_call
    assert call.name == "Clock"
    Clock.model_validate_json(call.arguments)

    name, arguments = "", ""
    for chunk in chat(client, stream=True, **options):
        piece = chunk.choices[0].delta.function_call
        if piece:
            name += piece.name or ""
            arguments += piece.arguments
    assert (name, arguments) == ("Clock", call.arguments)

    said = {"role": "assistant", "content": None, "function_call": call.model_dump()}
    result = {"role": "function", "name": "Clock", "content": "noon"}
    options |= {"messages": [*QUESTION, said, result], "function_call": "none", "max_tokens": 8}
    assert chat(client, **options).choices[0].message.content
