"""Structured output through the official SDK and its helpers: whatever the model wanted to say, what it
says has the form that was asked for."""

from __future__ import annotations

import json
import re
from typing import Literal

import pytest
from openai import BadRequestError, LengthFinishReasonError
from pydantic import BaseModel

from support.ask import chat, complete
from support.node import SMOL

LIMIT = 200
QUESTION = [{"role": "user", "content": "Tell me about the sky."}]


class Sky(BaseModel):
    colour: Literal["blue", "grey", "black"]
    is_day: bool
    clouds: list[Literal["small", "large"]]


SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["blue", "grey", "black"]},
        "is_day": {"type": "boolean"},
    },
    "required": ["colour", "is_day"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "sky", "strict": True, "schema": SCHEMA}}


def asking(client, **options):
    return chat(client, **{"messages": QUESTION, "max_tokens": LIMIT, **options})


def assert_sky(text):
    value = json.loads(text)
    assert set(value) == {"colour", "is_day"}
    assert value["colour"] in SCHEMA["properties"]["colour"]["enum"]
    assert isinstance(value["is_day"], bool)


@pytest.mark.parametrize("temperature", [0, 2])
def test_a_schema_is_followed_however_the_model_draws(client, temperature):
    answer = asking(client, response_format=FORMAT, temperature=temperature, n=3, seed=1)
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        assert_sky(choice.message.content)


def test_a_streamed_answer_is_the_same(client):
    whole = asking(client, response_format=FORMAT).choices[0].message.content
    chunks = list(asking(client, response_format=FORMAT, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert len(chunks) > 3


def test_the_schema_is_followed_also_when_it_is_not_called_strict(client):
    schema = {"name": "sky", "schema": SCHEMA}
    answer = asking(client, response_format={"type": "json_schema", "json_schema": schema})
    assert_sky(answer.choices[0].message.content)


def test_the_parse_helper_gives_the_model(client):
    answer = client.chat.completions.parse(
        model=SMOL,
        messages=QUESTION,
        response_format=Sky,
        max_tokens=4_000,
        temperature=1.5,
        seed=2,
    )
    assert isinstance(answer.choices[0].message.parsed, Sky)


def test_the_stream_helper_gives_the_model(client):
    with client.chat.completions.stream(
        model=SMOL,
        messages=QUESTION,
        response_format=Sky,
        max_tokens=4_000,
        temperature=1.5,
        seed=2,
    ) as stream:
        done = [event for event in stream if event.type == "content.done"]
        final = stream.get_final_completion()
    assert isinstance(done[0].parsed, Sky)
    assert final.choices[0].message.parsed == done[0].parsed


def test_what_is_cut_says_so(client):
    choice = asking(client, response_format=FORMAT, max_tokens=2).choices[0]
    assert choice.finish_reason == "length"
    with pytest.raises(LengthFinishReasonError):
        client.chat.completions.parse(
            model=SMOL, messages=QUESTION, response_format=Sky, max_tokens=2, temperature=0
        )


@pytest.mark.parametrize("temperature", [0, 1])
def test_n20_no_white_space_goes_on_and_on(client, temperature):
    options = {"temperature": temperature, "seed": 4, "n": 2, "max_tokens": 120}
    for form in (FORMAT, {"type": "json_object"}):
        for choice in asking(client, response_format=form, **options).choices:
            text = choice.message.content
            assert not re.search(r"\s{12}", text), text
            if choice.finish_reason == "stop":
                assert isinstance(json.loads(text), dict)


def test_any_json_object_without_a_word_of_json_in_the_prompt(client):
    text = asking(client, response_format={"type": "json_object"}).choices[0].message.content
    assert text.lstrip().startswith("{")


EXTENSIONS = [
    ({"structured_outputs": {"regex": "[0-9]{3}-[a-f]{2}"}}, r"[0-9]{3}-[a-f]{2}"),
    ({"guided_regex": "(yes|no)!"}, r"(yes|no)!"),
    ({"structured_outputs": {"choice": ["red", "green", "blue"]}}, r"red|green|blue"),
    ({"guided_choice": ["red", "green"]}, r"red|green"),
    ({"structured_outputs": {"grammar": 'start: "a" ("b" | "c") "d"'}}, r"a[bc]d"),
    ({"guided_grammar": 'start: DIGIT DIGIT\nDIGIT: /[0-9]/'}, r"[0-9]{2}"),
    ({"guided_json": {"enum": ["x", "y"]}}, r'\s*"[xy]"\s*'),
    ({"structured_outputs": {"json": json.dumps({"type": "boolean"})}}, r"\s*(true|false)\s*"),
]


@pytest.mark.parametrize(("fields", "pattern"), EXTENSIONS)
def test_other_languages_hold_on_both_endpoints(client, fields, pattern):
    for temperature in (0, 2):
        options = {"extra_body": fields, "temperature": temperature, "seed": 6, "max_tokens": 32}
        said = chat(client, **options).choices[0]
        assert re.fullmatch(pattern, said.message.content)
        assert said.finish_reason == "stop"
        assert re.fullmatch(pattern, complete(client, **options).choices[0].text)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        (
            {"response_format": FORMAT, "extra_body": {"guided_regex": "a"}},
            "guided_regex",
        ),
        (
            {"extra_body": {"structured_outputs": {"regex": "a", "choice": ["a"]}}},
            "structured_outputs.choice",
        ),
        ({"extra_body": {"guided_regex": "("}}, "guided_regex"),
        ({"extra_body": {"guided_grammar": "start: nowhere"}}, "guided_grammar"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(client, fields, param):
    with pytest.raises(BadRequestError) as refused:
        asking(client, **fields)
    assert refused.value.param == param


def test_a_schema_that_cannot_be_enforced_is_refused(client):
    for schema in ({"$ref": "#/nowhere"}, {"type": "colour"}):
        format = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
        for stream in (False, True):
            with pytest.raises(BadRequestError) as refused:
                asking(client, response_format=format, stream=stream)
            assert refused.value.param == "response_format"


def test_a_format_holds_beside_tools_where_text_is_said(client):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    options = {"tools": [tool], "response_format": FORMAT}
    assert_sky(asking(client, tool_choice="none", **options).choices[0].message.content)
    called = asking(client, tool_choice="required", **options).choices[0]
    assert called.finish_reason in ("tool_calls", "length")
    assert called.message.tool_calls[0].function.name == "look"
