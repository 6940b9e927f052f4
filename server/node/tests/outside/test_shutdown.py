"""How a node ends: gently, at once, or not at all by its own will; and what is there afterwards."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import time

import httpx2
import pytest
from openai import APIConnectionError, APIError, InternalServerError

from support.ask import ECHOED, chat, streaming
from support.node import BINARY, Node, environment, eventually, running

# What a client of a stream sees when the other end is gone.
BROKEN_OFF = (APIError, httpx2.TransportError)


def is_stopping(node: Node) -> bool:
    return "stopping; a second signal ends at once" in node.log


def takes_nothing_new(node: Node) -> bool:
    """Whether a new client is refused, at the socket or with a 503 that says when to come back."""
    try:
        with node.client() as client:
            chat(client, max_tokens=1)
    except InternalServerError as error:
        assert error.status_code == 503
        assert int(error.response.headers["retry-after"]) >= 1
        return True
    except APIConnectionError:
        return True
    return False


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_lets_a_stream_end_and_takes_nothing_new(folder, by):
    with running(folder) as node:
        pieces = streaming(node.client(), max_tokens=24)
        node.signal(by)
        eventually(lambda: is_stopping(node))
        assert takes_nothing_new(node)
        rest = list(pieces)
        assert rest[-1].choices[0].finish_reason == "length"
        assert node.wait() == 0
    assert re.search(r"\bERROR\b", node.log) is None
    assert receipts(node) == [("done", 24)]


def receipts(node: Node) -> list[tuple[str, int]]:
    """How each job ended, and how many tokens it made, out of the database of an ended node."""
    database = sqlite3.connect(node.data_dir / "node.db")
    rows = database.execute("SELECT outcome, completion_tokens FROM receipts ORDER BY seq")
    found = rows.fetchall()
    database.close()
    return found


def test_an_idle_node_ends_at_once_although_clients_are_connected(folder):
    with running(folder) as node, socket.create_connection((node.host, node.port)):
        client = node.client()
        assert client.models.list().data
        begin = time.monotonic()
        node.stop()
        assert time.monotonic() - begin < 5


def test_the_second_signal_ends_at_once(folder):
    with running(folder) as node:
        pieces = streaming(node.client())
        node.signal(signal.SIGTERM)
        eventually(lambda: is_stopping(node))
        next(pieces)
        begin = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.wait() == 130
        assert time.monotonic() - begin < 5
        with pytest.raises(BROKEN_OFF):
            list(pieces)


def test_a_drain_does_not_last_for_ever(folder):
    with running(folder, config="[limits]\ndrain_s = 1\n") as node:
        pieces = streaming(node.client())
        begin = time.monotonic()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert 0.5 < time.monotonic() - begin < 10
        assert "are cut" in node.log
        with pytest.raises(BROKEN_OFF):
            list(pieces)
    ((outcome, tokens),) = receipts(node)
    assert outcome == "cancelled"
    assert tokens >= 1


def test_a_node_that_was_killed_starts_again_as_if_nothing_was(folder):
    with running(folder) as node:
        client = node.client()
        assert chat(client).choices[0].message.content == ECHOED
        eventually(lambda: sum(by_outcome(node).values()) == 1)
        pieces = streaming(client)
        node.signal(signal.SIGKILL)
        assert node.wait() == -signal.SIGKILL
        with pytest.raises(BROKEN_OFF):
            list(pieces)
    with running(folder) as node:
        assert chat(node.client()).choices[0].message.content == ECHOED
    outcomes = [outcome for outcome, _ in receipts(node)]
    assert outcomes == ["done", "done"], "what was written before is there, and nothing half"


def by_outcome(node: Node) -> dict[str, float]:
    return {k: v for k, v in node.metrics().items() if k.startswith("kwaainet_jobs_total")}


def test_a_signal_while_models_are_loading_is_heeded(folder):
    """Not ready yet, so this one is started by hand."""
    command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder / "data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command], env=environment(folder), stdout=log, stderr=log
        )
    try:
        eventually(lambda: b"listening" in (folder / "log").read_bytes())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)
