"""A node whose federation does not answer is as good as one without: its first token is not later, and its start.

ALONE_ROUNDS says how many requests each gets (30 if not set).
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support import net
from support.federation import join, options, peers, ticket
from support.net import Host, Namespace, ip
from support.node import SMOL, Node, running

ROUNDS = int(os.environ.get("ALONE_ROUNDS") or 30)
WARM_UP = 5
# Of the median, for a machine that does other things too; what was seen is printed.
LATER_MAX = 1.3
SECONDS_LATER_MAX = 0.005
START_LATER_MAX = 2.0

LOST = 2
# Addresses that no answer ever comes from: one that a router throws away, one that nobody has.
THROWN_AWAY = "192.0.2.{}:11436"
NOBODYS = "10.77.0.99"


@pytest.fixture(scope="module")
def folder_of_lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, Path]]:
    """A host, and the folder of a node on it whose members cannot be reached from anywhere."""
    net.needed()
    folder = tmp_path_factory.mktemp("alone")
    with net.lan(2) as lan:
        here, gone = lan.hosts
        # The other host forwards nothing, so what goes there is lost without a word.
        ip("-n", here.name, "route", "add", "default", "via", gone.address)
        ip("-n", gone.name, "address", "add", f"{NOBODYS}/24", "dev", "eth0")
        tickets = []
        for number in range(LOST):
            where = options(NOBODYS, 11436 + number, advertise=[THROWN_AWAY.format(7 + number)])
            with running(folder / f"lost{number}", "--model", SMOL, prefix=gone.prefix, **where) as lost:
                tickets.append(ticket(lost, "--tier", "t0"))
        ip("-n", gone.name, "address", "delete", f"{NOBODYS}/24", "dev", "eth0")
        with running(folder / "joined", "--model", SMOL, prefix=here.prefix, **joined()) as node:
            for invitation in tickets:
                join(node, invitation)
        yield here, folder


def joined() -> dict[str, str]:
    """How a node is started that looks for its members wherever it can."""
    return {"config": "[federation]\nenabled = true\nport = 0\nlan = true\n"}


def first_token(client: httpx.Client, number: int) -> float:
    """Seconds from the request to the first text."""
    question = [{"role": "user", "content": f"What comes after {number}? Say it in one word."}]
    body = {"model": SMOL, "messages": question, "max_tokens": 1, "temperature": 0, "stream": True}
    asked = time.monotonic()
    took = None
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["x-kwaai-served-by"] == "local"
        for line in answer.iter_lines():
            chunk = json.loads(line[6:]) if line.startswith("data: {") else {"choices": []}
            if took is None and any(choice["delta"].get("content") for choice in chunk["choices"]):
                took = time.monotonic() - asked
    assert took, "it says nothing"
    return took


def alternately(nodes: list[Node]) -> list[list[float]]:
    """The times of each node, which are asked in turns, each first as often as last."""
    times: list[list[float]] = [[] for _ in nodes]
    clients = [httpx.Client(base_url=node.url, timeout=30) for node in nodes]
    for number in range(-WARM_UP, ROUNDS):
        turns = list(enumerate(clients))
        for which, client in turns if number % 2 else reversed(turns):
            took = first_token(client, number)
            if number >= 0:
                times[which].append(took)
    for client in clients:
        client.close()
    return times


def test_the_first_token_is_not_later(folder_of_lost: tuple[Host, Path]) -> None:
    host, folder = folder_of_lost
    with (
        running(folder / "alone", "--model", SMOL, prefix=host.prefix) as alone,
        running(folder / "joined", "--model", SMOL, prefix=host.prefix, **joined()) as with_lost,
    ):
        states = host.inside(lambda: [peer["state"] for peer in peers(with_lost)])
        assert len(states) == LOST and not {"alive", "suspect"} & set(states), states
        times = host.inside(lambda: alternately([alone, with_lost]))
    without, beside = map(statistics.median, times)
    print(f"first token: {without * 1e3:.2f} ms alone, {beside * 1e3:.2f} ms beside {LOST} lost members")
    assert beside < without * LATER_MAX + SECONDS_LATER_MAX


def test_a_start_without_a_network_is_not_later(folder_of_lost: tuple[Host, Path]) -> None:
    _, folder = folder_of_lost

    def start(name: str, namespace: Namespace, options: dict[str, str]) -> float:
        began = time.monotonic()
        with running(folder / name, "--model", SMOL, prefix=namespace.prefix, **options) as node:
            took = time.monotonic() - began
            states = namespace.inside(lambda: [peer["state"] for peer in peers(node)])
            assert len(states) == (LOST if options else 0)
        return took

    with Namespace("nowhere") as nowhere:
        alone, lost = (
            min(start(name, nowhere, options) for _ in range(2))
            for name, options in (("alone", {}), ("joined", joined()))
        )
    print(f"ready after {alone:.2f} s alone, {lost:.2f} s with {LOST} members and no network")
    assert lost < alone + START_LATER_MAX
