"""A host and two guests who meet through it, without a ticket of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.node import MINILM, Node, eventually, kwaainet, succeeded


def options(introductions: bool = True) -> dict[str, Any]:
    lines = ["enabled = true", "port = 0", 'bind = ["127.0.0.1"]', "lan = false"]
    lines.append(f"introductions = {str(introductions).lower()}")
    return {"config": "[federation]\n" + "\n".join(lines) + "\n[engine]\nthreads = 1\n"}


def peers(node: Node) -> dict[str, dict[str, Any]]:
    listed = httpx.get(f"{node.url}/v1/kwaai/peers").json()
    return {peer["id"]: peer for peer in listed["data"]}


def own_id(node: Node) -> str:
    return httpx.get(f"{node.url}/v1/kwaai/peers").json()["node"]


def data(node: Node) -> tuple[str, Any]:
    return ("--data-dir", node.data_dir)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Node]]:
    folder: Path = tmp_path_factory.mktemp("introductions")
    nodes: list[Node] = []
    try:
        for name in ("host", "first", "second", "shy"):
            chosen = options(introductions=name != "shy")
            nodes.append(Node(folder / name, "--model", MINILM, **chosen))
        host, *guests = nodes
        invited = kwaainet(host.folder, "invite", "--uses", "3", *data(host))
        ticket = re.search(r"kwaai1[a-z2-7]+", succeeded(invited))
        assert ticket
        for guest in guests:
            succeeded(kwaainet(guest.folder, "join", ticket[0], *data(guest)))
        yield nodes
        for node in nodes:
            node.stop()
    finally:
        for node in nodes:
            node.kill()


def test_guests_of_one_host_meet_until_one_is_removed(nodes: list[Node]) -> None:
    host, first, second, shy = nodes
    ids = {node: own_id(node) for node in nodes}

    def alive(node: Node, of: Node) -> dict[str, Any] | None:
        peer = peers(node).get(ids[of])
        return peer if peer and peer["state"] == "alive" else None

    seen = eventually(lambda: alive(first, second), within=20)
    assert seen["introduced_by"] == ids[host]
    assert seen["tier"] == "t1"
    eventually(lambda: alive(second, first), within=5)
    eventually(lambda: alive(shy, host), within=10)
    listed = succeeded(kwaainet(first.folder, "peers", "list", *listening(first)))
    assert f"introduced by {ids[host][:10]}" in listed
    assert "kwaai1" not in listed
    assert set(peers(shy)) == {ids[host]}
    assert not alive(first, shy)

    # That it is his own, only the owner can say.
    succeeded(kwaainet(first.folder, "peers", "trust", ids[second], "--tier", "t0", *data(first)))
    own = eventually(lambda: (alive(first, second) or {}).get("tier") == "t0", within=5)
    assert own
    assert peers(first)[ids[second]]["introduced_by"] is None
    assert peers(second)[ids[first]]["tier"] == "t1"

    # Whom the host removes, the others forget who knew it by him alone.
    succeeded(kwaainet(host.folder, "peers", "remove", ids[first], *data(host)))
    eventually(lambda: ids[first] not in peers(host), within=5)
    eventually(lambda: ids[first] not in peers(second), within=5)


def listening(node: Node) -> tuple[str, str]:
    return ("--listen", node.url.removeprefix("http://"))
