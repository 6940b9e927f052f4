"""Streamed chat completions through the official SDK."""

from __future__ import annotations

import asyncio
import json

import pytest

from support.ask import ECHO, chat, streaming
from support.node import SMOL, Node
from support.wire import CHAT, Wire


def test_the_pieces_make_up_the_whole(client):
    whole = chat(client).choices[0]
    chunks = list(chat(client, stream=True))
    assert len({chunk.id for chunk in chunks}) == 1
    assert len({chunk.created for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all(len(chunk.choices) == 1 for chunk in chunks), "no chunk without a choice"
    first, last = chunks[0].choices[0], chunks[-1].choices[0]
    assert first.delta.role == "assistant"
    assert first.finish_reason is None
    assert all(chunk.choices[0].delta.role is None for chunk in chunks[1:])
    assert last.finish_reason == whole.finish_reason
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks[:-1])
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.message.content
    assert all(chunk.usage is None for chunk in chunks), "nobody asked for usage"


def test_n01_usage_comes_last_when_asked_for(client):
    usage = chat(client).usage
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    *others, last = chunks
    assert last.choices == []
    assert last.usage == usage
    assert all(chunk.usage is None for chunk in others)
    # The others say so, instead of leaving it out.
    assert all("usage" in chunk.to_dict() for chunk in others)


def test_choices_are_told_apart(client):
    options = {"n": 2, "temperature": 1.2, "seed": 5, "max_tokens": 8}
    whole = chat(client, **options)
    texts, reasons = {}, {}
    for chunk in chat(client, stream=True, **options):
        (choice,) = chunk.choices
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        if choice.finish_reason:
            assert choice.index not in reasons
            reasons[choice.index] = choice.finish_reason
    assert texts == {c.index: c.message.content for c in whole.choices}
    assert reasons == {c.index: c.finish_reason for c in whole.choices}


def test_n08_a_stop_text_never_leaks_a_piece_of_itself(client):
    whole = chat(client).choices[0].message.content
    stop = whole[len(whole) // 2 :][:5]
    said = ""
    for chunk in chat(client, stream=True, stop=stop):
        said += chunk.choices[0].delta.content or ""
        assert whole[: whole.index(stop)].startswith(said)
    assert said == whole[: whole.index(stop)]


def test_the_stream_helper_builds_the_same_answer(client):
    whole = chat(client)
    with client.chat.completions.stream(
        model=SMOL,
        messages=ECHO,
        temperature=0,
        max_tokens=12,
        stream_options={"include_usage": True},
    ) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds[-1] == "content.done" or "content.done" in kinds
    assert "content.delta" in kinds
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == "stop"
    assert final.usage == whole.usage


def test_the_async_client_streams(node: Node, client):
    async def streamed():
        async with node.async_client() as asynchronous:
            stream = await chat(asynchronous, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(streamed()) == chat(client).choices[0].message.content


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_n25_n30_on_the_wire_it_is_events_that_nothing_may_hold_back(node, path):
    body = {"model": SMOL, "stream": True, "max_tokens": 2, "temperature": 0}
    body |= {"messages": ECHO} if path == CHAT else {"prompt": "One, two,"}
    with Wire(node) as wire:
        wire.send("POST", path, json.dumps(body).encode())
        reply = wire.reply()
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "no-cache" in reply.headers["cache-control"]
        assert reply.headers["x-accel-buffering"] == "no"
        events = reply.body.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        # Comments are for whoever looks at the wire.
        for event in (event for event in events[:-2] if not event.startswith(":")):
            data = json.loads(event.removeprefix("data: "))
            assert "usage" not in data
        # The connection is as good as before.
        wire.send("GET", "/healthz")
        assert wire.reply("GET").status == 200


def test_text_comes_while_it_is_made(client, node):
    """The first pieces are here while the engine still has work to do."""
    pieces = streaming(client, max_tokens=48)
    next(pieces)
    assert node.metrics()["kwaainet_jobs_running"] == 1
    assert len(list(pieces)) > 3
