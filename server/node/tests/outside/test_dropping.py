"""Clients that leave at any moment: nothing of them stays, whatever the moment was."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from support.ask import complete, streaming
from support.node import SMOL, Node, eventually, running

CLIENTS = 200
SEED = 20_261_122
# Room for all of them, so that each one is let in; many wait for a slot and leave while they do.
# A small cache of prefixes, whose growth is no leak.
CONFIG = (
    "[limits]\nslots = 16\nwaiting = 512\nper_key = 1024\nwait_s = 600\n"
    "[engine]\nkv_mib = 96\n"
)
# How far a client reads before it leaves.
MOMENTS = ("sent", "half sent", "head", "first text", "some text", "end")
MEMORY_GROWTH_MAX = 64 << 20
# Threads that come with work and stay for more: of each of two databases, one for the connection that writes
# and four for those that read; of the runtime, one for each core and some for blocking work.
POOLS = {"sqlx-sqlite": 10, "tokio-rt-worker": (os.cpu_count() or 1) + 48}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    with running(tmp_path_factory.mktemp("crowded"), config=CONFIG) as node:
        yield node


async def come_and_leave(node: Node, moment: str, delay: float, stream: bool) -> str:
    """One client on a bare socket. Gives the moment that it came to see before it left."""
    body = {"model": SMOL, "prompt": "Hi", "max_tokens": 4, "stream": stream}
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {node.host}:{node.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection(node.host, node.port)
    try:
        request = head + data
        writer.write(request[: len(request) // 2] if moment == "half sent" else request)
        await writer.drain()
        if moment in ("sent", "half sent"):
            await asyncio.sleep(delay)
            return moment
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 200 "), answered
        if moment == "head":
            return moment
        if moment == "end":
            whole = await reader.read()
            assert (b"data: [DONE]" if stream else b'"usage"') in whole
            return moment
        for _ in range(1 if moment == "first text" else 3):
            await reader.readuntil(b"\n\n" if stream else b",")
        return moment
    finally:
        writer.transport.abort()


async def crowd(node: Node, count: int, chance: random.Random) -> Counter[str]:
    """So many clients, most at once, each leaving at a moment of its own."""
    clients = (
        come_and_leave(node, chance.choice(MOMENTS), chance.random(), chance.random() < 0.7)
        for _ in range(count)
    )
    return Counter(await asyncio.gather(*clients))


def memory(node: Node) -> int:
    """Resident bytes of the process."""
    with open(f"/proc/{node.pid}/status", encoding="ascii") as status:
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) << 10


def threads(node: Node) -> Counter[str]:
    """Threads of the process by name, without those of pools, which are held against their size."""
    tasks = Path(f"/proc/{node.pid}/task").iterdir()
    names = Counter((task / "comm").read_text().strip() for task in tasks)
    for pool, size in POOLS.items():
        members = [name for name in names if name.startswith(pool)]
        assert sum(names.pop(name) for name in members) <= size, f"{pool} is larger than {size}"
    return names


def outcomes(node: Node) -> Counter[str]:
    """Jobs by how they ended, as the metrics have them."""
    found: Counter[str] = Counter()
    for name, value in node.metrics().items():
        if name.startswith("kwaainet_jobs_total{"):
            found[name.split('outcome="')[1].split('"')[0]] += int(value)
    return found


def recorded(node: Node) -> Counter[str]:
    """Jobs by how they ended, as the database has them."""
    database = sqlite3.connect(node.data_dir / "node.db")
    rows = database.execute("SELECT outcome, count(*) FROM receipts GROUP BY outcome").fetchall()
    database.close()
    return Counter(dict(rows))


@pytest.mark.timeout(300)
def test_two_hundred_clients_that_drop_leave_nothing_behind(crowded):
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    # The first round grows what grows once: threads, buffers, caches.
    first = asyncio.run(crowd(crowded, CLIENTS, chance))
    eventually(crowded.is_idle)
    memory_before, threads_before = memory(crowded), threads(crowded)

    second = asyncio.run(crowd(crowded, CLIENTS, chance))
    eventually(crowded.is_idle, within=10)
    assert threads(crowded) == threads_before
    assert memory(crowded) - memory_before < MEMORY_GROWTH_MAX

    came = first + second
    assert min(came[moment] for moment in MOMENTS) > 5, "every moment was tried"
    # One receipt for each job that got a slot, and no other. Who leaves before his turn has none.
    answered = sum(came[moment] for moment in ("head", "first text", "some text", "end"))
    admitted = int(crowded.metrics()["kwaainet_jobs_admitted"])
    assert answered <= admitted <= answered + came["sent"]
    eventually(lambda: sum(outcomes(crowded).values()) == admitted)
    ended = outcomes(crowded)
    assert recorded(crowded) == ended
    assert ended["error"] == 0
    assert ended["done"] >= came["end"]
    assert ended["cancelled"] > 0

    assert complete(crowded.client()).choices[0].text.startswith(" four, five")


def test_n13_a_client_that_leaves_frees_the_engine_within_a_step(crowded):
    stream = streaming(crowded.client())
    assert crowded.metrics()["kwaainet_engine_sequences_running"] == 1
    stream.close()
    eventually(crowded.is_idle, within=5)


def test_a_client_that_stops_reading_does_not_hold_up_the_others(crowded):
    async def slow_and_quick():
        body = {"model": SMOL, "prompt": "One,", "max_tokens": 40, "stream": True, "n": 4}
        data = json.dumps(body).encode()
        reader, writer = await asyncio.open_connection(crowded.host, crowded.port, limit=64)
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
            b"\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        )
        await reader.readuntil(b"\r\n")
        async with crowded.async_client() as quick:
            answer = await complete(quick, max_tokens=3)
        writer.transport.abort()
        return answer.choices[0].text

    assert asyncio.run(slow_and_quick()) == " four, five"
    eventually(crowded.is_idle)
