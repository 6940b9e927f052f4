"""The Responses API and conversations through the official SDK and its helpers."""

from __future__ import annotations

import asyncio

import pytest
from openai import BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

from support.ask import ECHO, ECHOED, chat, never_ends
from support.node import SMOL, Node, eventually, running

INSTRUCTIONS, INPUT = ECHO[0]["content"], ECHO[1]["content"]


def ask(client: OpenAI, **options):
    """A short answer, greedy unless told otherwise."""
    defaults = {
        "model": SMOL,
        "instructions": INSTRUCTIONS,
        "input": INPUT,
        "temperature": 0,
        "max_output_tokens": 16,
    }
    return client.responses.create(**{**defaults, **options})


def long_answer(client: OpenAI) -> dict:
    """What it takes for an answer that goes on until it is cut."""
    return {"max_output_tokens": 1_500, "extra_body": {"logit_bias": never_ends(client)}}


def test_it_answers_like_a_chat(client):
    response = ask(client)
    assert response.output_text == ECHOED
    assert response.output_text == chat(client).choices[0].message.content
    assert response.status == "completed"
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.input_tokens == chat(client).usage.prompt_tokens
    items = client.responses.input_items.list(response.id).data
    assert [item.content[0].text for item in items] == [INPUT]
    assert client.responses.retrieve(response.id) == response
    count = client.responses.input_tokens.count(
        model=SMOL, instructions=INSTRUCTIONS, input=INPUT
    )
    assert count.input_tokens == response.usage.input_tokens


def test_n19_the_stream_helper_is_content_with_the_events(client):
    with client.responses.stream(
        model=SMOL, instructions=INSTRUCTIONS, input=INPUT, temperature=0, max_output_tokens=16
    ) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert deltas[-1].snapshot == ECHOED
    assert "".join(event.delta for event in deltas) == ECHOED
    assert final.output_text == ECHOED
    again = list(client.responses.retrieve(final.id, stream=True))
    assert [event.type for event in again] == [event.type for event in events]
    tail = list(client.responses.retrieve(final.id, stream=True, starting_after=4))
    assert [event.sequence_number for event in tail] == list(range(5, len(events)))


def test_n19_a_cut_stream_ends_as_incomplete(client):
    *_, last = ask(client, stream=True, max_output_tokens=2)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output[0].status == "incomplete"


def test_the_async_client_streams(node: Node):
    async def streamed() -> str:
        async with node.async_client() as client:
            stream = await ask(client, stream=True)
            return "".join(
                [event.delta async for event in stream if event.type.endswith("text.delta")]
            )

    assert asyncio.run(streamed()) == ECHOED


def test_log_probabilities(client):
    response = ask(client, include=["message.output_text.logprobs"], top_logprobs=2)
    (part,) = response.output[0].content
    assert "".join(entry.token for entry in part.logprobs) == ECHOED
    assert all(len(entry.top_logprobs) == 2 for entry in part.logprobs)
    assert all(entry.top_logprobs[0].logprob >= entry.logprob for entry in part.logprobs)


def test_parse_gives_an_object_of_the_class(client):
    class Reply(BaseModel):
        ok: bool

    response = client.responses.parse(
        model=SMOL, input="Say yes as JSON.", text_format=Reply, max_output_tokens=64
    )
    assert isinstance(response.output_parsed, Reply)
    with client.responses.stream(
        model=SMOL, input="Say yes as JSON.", text_format=Reply, max_output_tokens=64
    ) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Reply)


def test_n05_a_function_that_must_be_called_is_called(client):
    tool = {
        "type": "function",
        "name": "get_weather",
        "description": "The weather of a city.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"celsius": {"type": "boolean"}},
            "required": ["celsius"],
            "additionalProperties": False,
        },
    }
    first = ask(
        client, input="Weather?", tools=[tool], tool_choice="required", max_output_tokens=64
    )
    call = first.output[0]
    assert (call.type, call.name) == ("function_call", "get_weather")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    second = ask(
        client, input=[output], previous_response_id=first.id, tools=[tool], tool_choice="none"
    )
    assert second.output[0].type == "message"


def test_turns_follow_on_each_other(client):
    first = ask(client)
    second = ask(client, input="Four.", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert second.usage.input_tokens > first.usage.input_tokens
    unstored = ask(client, store=False)
    with pytest.raises(NotFoundError) as refused:
        ask(client, previous_response_id=unstored.id)
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"
    client.responses.delete(first.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(first.id)


def test_a_conversation_grows_with_its_responses(client):
    conversation = client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "One."}], metadata={"topic": "a"}
    )
    ask(client, conversation=conversation.id)
    items = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.role for item in items] == ["user", "user", "assistant"], "all pages"
    assert items[2].content[0].type == "output_text"
    added = client.conversations.items.create(
        conversation.id, items=[{"type": "message", "role": "user", "content": "Two."}]
    )
    shown = client.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)
    assert shown.content[0].text == "Two."
    client.conversations.items.delete(shown.id, conversation_id=conversation.id)
    changed = client.conversations.update(conversation.id, metadata={"topic": "b"})
    assert client.conversations.retrieve(conversation.id) == changed
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_a_background_response_is_heard_later(client):
    begun = ask(client, background=True)
    assert begun.status in {"queued", "in_progress"}
    eventually(lambda: client.responses.retrieve(begun.id).status == "completed")
    over = client.responses.retrieve(begun.id)
    assert over.output_text == ECHOED
    *_, last = client.responses.retrieve(begun.id, stream=True, starting_after=3)
    assert last.type == "response.completed"


def test_a_background_response_is_heard_from_where_a_stream_broke(client):
    stream = ask(client, background=True, stream=True, **long_answer(client))
    id = next(stream).response.id
    last = next(event for event in stream if event.type == "response.output_text.delta")
    stream.close()
    again = client.responses.retrieve(id, stream=True, starting_after=last.sequence_number)
    assert next(again).sequence_number == last.sequence_number + 1
    again.close()
    cancelled = client.responses.cancel(id)
    assert cancelled.status == "cancelled"
    assert client.responses.cancel(id) == cancelled


def test_bad_values_are_bad_requests(client):
    for options, param in [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"truncation": "disabled", "input": "word " * 40_000}, "input"),
    ]:
        with pytest.raises(BadRequestError) as refused:
            ask(client, **options)
        assert refused.value.param == param


def test_truncation_leaves_out_the_oldest(client):
    old = [{"role": "user", "content": "old " * 9_000}, {"role": "assistant", "content": "ok"}]
    new = {"role": "user", "content": INPUT}
    response = ask(client, input=[*old, new], truncation="auto")
    assert response.status == "completed"
    assert response.usage.input_tokens < 200


def test_what_is_kept_outlives_the_node_and_what_runs_does_not(folder):
    with running(folder) as node, node.client() as client:
        kept = ask(client)
        cut = ask(client, background=True, **long_answer(client))
        eventually(lambda: client.responses.retrieve(cut.id).status == "in_progress")
        node.kill()
    with running(folder) as node, node.client() as client:
        assert client.responses.retrieve(kept.id) == kept
        assert client.responses.retrieve(cut.id).status == "failed"
        follows = ask(client, previous_response_id=kept.id)
        assert follows.status == "completed"
