"""Three nodes: one without the model, and two that serve it and die at random.

CHAOS_KILLS says how often (8 if not set); `make chaos` says 100. CHAOS_SEED chooses the moments.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.federation import REQUESTS, Federation, join, options, peers, stream, ticket
from support.node import MINILM, SMOL, Node, eventually, kwaainet, refused, succeeded

KILLS = int(os.environ.get("CHAOS_KILLS") or 8)
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
# From the loss of a node to the next word, in seconds; a prompt is read anew within this too.
GAP_MAX = float(os.environ.get("CHAOS_GAP") or 6.0)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    federation = Federation(tmp_path_factory.mktemp("federation"))
    try:
        yield federation
        federation.stop()
    finally:
        federation.kill()


def test_a_node_without_the_model_answers_from_a_peer(federation: Federation) -> None:
    with federation.asker.client() as client:
        listed = {model.id for model in client.models.list()}
        assert SMOL in listed
        messages: Any = [{"role": "user", "content": "Say something."}]
        chunks = client.chat.completions.create(
            model=SMOL, messages=messages, max_tokens=12, temperature=0, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        whole = client.chat.completions.with_raw_response.create(
            model=SMOL, messages=messages, max_tokens=12, temperature=0
        )
        assert whole.headers["x-kwaai-served-by"] in federation.servers
        assert whole.parse().choices[0].message.content == text
        for server in federation.servers.values():
            with server.client() as direct:
                same = direct.chat.completions.create(
                    model=SMOL, messages=messages, max_tokens=12, temperature=0
                )
                assert same.choices[0].message.content == text
                # The other direction: the asker's model.
                vectors = direct.embeddings.create(model=MINILM, input="moon")
                assert len(vectors.data[0].embedding) == 384


def test_who_is_no_member_is_refused(federation: Federation, folder: Path) -> None:
    with_key = kwaainet(folder, "identity", "show", "--data-dir", folder / "data")
    succeeded(with_key)
    invitation = ticket(federation.asker)
    data = ("--data-dir", federation.asker.data_dir)
    listing = succeeded(kwaainet(federation.asker.folder, "invite", "list", *data))
    assert invitation not in listing
    changed = invitation[:-3] + ("aaa" if not invitation.endswith("aaa") else "bbb")
    refused(kwaainet(folder, "join", changed, "--data-dir", folder / "data"))


@pytest.mark.timeout(120 + 15 * KILLS)
@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "wedged"])
def test_a_stream_survives_its_node(federation: Federation, blow: signal.Signals) -> None:
    moments = random.Random(f"{SEED} {blow}")
    print(f"CHAOS_SEED={SEED}")
    url = federation.asker.url
    whole = {kind: stream(url, body).pieces for kind, body in REQUESTS.items()}

    def hit(server: str) -> None:
        federation.servers[server].signal(blow)

    for run in range(KILLS):
        kind = list(REQUESTS)[run % len(REQUESTS)]
        at = moments.randrange(1, len(whole[kind]) - 1)
        told = stream(url, REQUESTS[kind], at, hit)
        assert told.pieces == whole[kind], f"{kind}, run {run}, hit after {at}"
        print(f"{kind} hit after {at}: continued {told.continued}, gap {told.gap:.2f} s")
        assert told.gap < GAP_MAX
        if blow == signal.SIGKILL:
            federation.servers[told.server].kill()
            federation.restart(told.server)
        else:
            federation.servers[told.server].signal(signal.SIGCONT)
        eventually(federation.all_there, within=20)


def test_both_sides_books_agree_in_the_end(federation: Federation) -> None:
    """After all that was killed and stopped above, and with the asker killed in the middle of streams too."""
    moments = random.Random(f"{SEED} asker")
    print(f"CHAOS_SEED={SEED}")
    for _ in range(max(1, KILLS // 4)):
        at = moments.randrange(1, 30)
        with pytest.raises(httpx.HTTPError):
            stream(
                federation.asker.url,
                REQUESTS["sampled"],
                at,
                lambda _: federation.asker.signal(signal.SIGKILL),
            )
        federation.asker.kill()
        federation.restart_asker()
        eventually(federation.all_there, within=30)
    for server in federation.servers:
        told = [""]

        def agree(server: str = server, told: list[str] = told) -> bool:
            told[0] = federation.differences(server)
            return not told[0]

        try:
            eventually(agree, within=40)
        except AssertionError as late:
            raise AssertionError(told[0]) from late
        listed = kwaainet(
            federation.asker.folder,
            *("receipt", "list", "--peer", server, "--data-dir", federation.asker.data_dir),
        )
        states = [line.split()[0] for line in succeeded(listed).splitlines()]
        print({state: states.count(state) for state in sorted(set(states))})
        assert states.count("state=final") > 1


def test_receipts_are_good_and_a_changed_byte_is_seen(federation: Federation) -> None:
    stream(federation.asker.url, REQUESTS["plain"])
    for node in federation.nodes():
        exported = eventually(lambda node=node: federation.receipts(node), within=5)
        lines = exported.splitlines()
        assert len(lines) > 1
        file = federation.folder / "receipts"
        file.write_text(exported, encoding="utf-8")
        succeeded(kwaainet(node.folder, "receipt", "verify", file))
        line = lines[-1]
        middle = len(line) // 3
        other = "A" if line[middle] != "A" else "B"
        lines[-1] = line[:middle] + other + line[middle + 1 :]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        refused(kwaainet(node.folder, "receipt", "verify", file))


def test_a_server_that_does_not_answer_is_not_waited_for(federation: Federation) -> None:
    body = {**REQUESTS["plain"], "max_tokens": 8}
    url = federation.asker.url
    whole = stream(url, body).pieces
    for server, node in list(federation.servers.items()) * 2:
        eventually(federation.all_there, within=20)
        node.signal(signal.SIGSTOP)
        try:
            asked = time.monotonic()
            told = stream(url, body)
            took = time.monotonic() - asked
        finally:
            node.signal(signal.SIGCONT)
        # Without a second that is asked soon, it takes a second of silence where the first is the frozen one.
        print(f"beside a frozen node: {took:.2f} s")
        assert (told.pieces, told.server == server, told.continued) == (whole, False, 0)


def test_a_model_that_is_not_loaded_takes_over(tmp_path: Path) -> None:
    body = {**REQUESTS["sampled"], "kwaai": {"prefer": "fast"}}
    nodes = []
    try:
        # The asker has the model on its disk, and has never loaded it.
        asker = Node(tmp_path / "asker", "--model", MINILM, **options())
        nodes.append(asker)
        server = Node(tmp_path / "server", "--model", SMOL, **options())
        nodes.append(server)
        join(server, ticket(asker, "--tier", "t0"))
        eventually(lambda: [peer["state"] for peer in peers(asker)] == ["alive"], within=20)
        whole = stream(server.url, body).pieces
        told = stream(asker.url, body, len(whole) // 2, lambda _: server.signal(signal.SIGKILL))
        print(f"loaded and went on after {told.gap:.2f} s")
        assert told.server not in ("local", "upstream")
        assert (told.pieces, told.continued) == (whole, 1)
        asker.stop()
    finally:
        for node in nodes:
            node.kill()
