"""Many clients at once: their streams do not mix, and a node that is full says so."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from openai import APIStatusError, InternalServerError, RateLimitError

from support.ask import chat, complete, streaming
from support.node import GEMMA, SMOL, Node, eventually, running

STREAMS = 16


def test_sixteen_streams_do_not_mix_and_all_end(node: Node, client):
    words = [
        "one",
        "red",
        "sea",
        "cat",
        "sun",
        "ten",
        "hot",
        "day",
        "ice",
        "cow",
        "sky",
        "map",
        "old",
        "key",
        "low",
        "gas",
    ]
    prompts = [f"The {word} is" for word in words]
    assert len(prompts) == STREAMS
    limits = [4 + i % 5 for i in range(STREAMS)]
    alone = [
        complete(client, prompt=prompt, max_tokens=limit).choices[0].text
        for prompt, limit in zip(prompts, limits, strict=True)
    ]
    assert len(set(alone)) == STREAMS

    async def stream(many, prompt: str, limit: int) -> tuple[str, str | None]:
        text, reason = "", None
        answer = await complete(many, prompt=prompt, max_tokens=limit, stream=True)
        async for chunk in answer:
            text += chunk.choices[0].text
            reason = chunk.choices[0].finish_reason or reason
        return text, reason

    async def all_together():
        async with node.async_client() as many:
            asked = zip(prompts, limits, strict=True)
            return await asyncio.gather(*(stream(many, *one) for one in asked))

    together = asyncio.run(all_together())
    assert [text for text, _ in together] == alone
    assert {reason for _, reason in together} == {"length"}
    eventually(node.is_idle)


def test_two_models_answer_at_once(client):
    asked = [(SMOL, "One, two, three,"), (GEMMA, "Monday, Tuesday,")] * 2
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda one: complete(client, model=one[0], prompt=one[1], max_tokens=3), asked)
        )
    assert [answer.choices[0].text for answer in answers] == [
        " four, five",
        " Wednesday, Thursday",
    ] * 2


@contextmanager
def busy(node: Node, waiting: int):
    """One stream that holds a slot, and so many requests that wait for one."""
    with node.client() as holder:
        stream = streaming(holder)
        results: list[object] = []

        def wait_for_a_slot():
            with node.client() as client:
                try:
                    results.append(complete(client, max_tokens=1).choices[0].text)
                except APIStatusError as error:
                    results.append(error)

        threads = [threading.Thread(target=wait_for_a_slot) for _ in range(waiting)]
        for thread in threads:
            thread.start()
        names = ("kwaainet_jobs_running", "kwaainet_jobs_waiting")
        eventually(lambda: [node.metrics()[name] for name in names] == [1, waiting])
        try:
            yield results
        finally:
            # Leaving gives the slot to the next one.
            stream.close()
            for thread in threads:
                thread.join(60)


def test_a_full_node_says_when_to_come_back_and_serves_those_who_wait(folder):
    with running(folder, config="[limits]\nslots = 1\nwaiting = 1\n") as node:
        with busy(node, waiting=1) as waited, node.client() as client:
            for ask in (chat, complete):
                with pytest.raises(InternalServerError) as refused:
                    ask(client)
                error = refused.value
                assert (error.status_code, error.code) == (503, "overloaded")
                assert error.type == "server_error"
                assert 1 <= int(error.response.headers["retry-after"]) <= 60
            # What is no work is answered all the same.
            assert client.models.list().data
        assert waited == [" four"]
        eventually(node.is_idle)
        assert complete(node.client(), max_tokens=1).choices


def test_who_waits_too_long_is_told_so(folder):
    config = "[limits]\nslots = 1\nwaiting = 4\nwait_s = 1\n"
    with running(folder, config=config) as node, node.client() as client:
        stream = streaming(client)
        with pytest.raises(InternalServerError) as refused:
            complete(client, max_tokens=1)
        assert refused.value.code == "overloaded"
        assert refused.value.response.headers["retry-after"]
        stream.close()
        eventually(node.is_idle)


def test_one_caller_cannot_take_all(folder):
    config = "[limits]\nslots = 4\nper_key = 2\n"
    with running(folder, config=config) as node, node.client() as client:
        streams = [streaming(client) for _ in range(2)]
        with pytest.raises(RateLimitError) as refused:
            complete(client, max_tokens=1)
        assert refused.value.code == "rate_limit_exceeded"
        assert "2" in refused.value.message
        assert int(refused.value.response.headers["retry-after"]) >= 1
        for stream in streams:
            stream.close()
        eventually(node.is_idle)
        assert complete(client, max_tokens=1).choices
