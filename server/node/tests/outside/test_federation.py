"""Three nodes: one without the model, and two that serve it and die at random.

CHAOS_KILLS says how often (8 if not set); `make chaos` says 100. CHAOS_SEED chooses the moments.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.node import CACHE_HOME, MINILM, SMOL, Node, eventually, kwaainet, refused, succeeded

KILLS = int(os.environ.get("CHAOS_KILLS") or 8)
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
# From the loss of a node to the next word, in seconds; a prompt is read anew within this too.
GAP_MAX = float(os.environ.get("CHAOS_GAP") or 6.0)

SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "body": {"type": "string", "maxLength": 200},
        "n": {"type": "integer"},
    },
    "required": ["title", "body", "n"],
    "additionalProperties": False,
}
BASE = {
    "model": SMOL,
    "messages": [{"role": "user", "content": "Tell a long story about the moon and a fox."}],
    "max_tokens": 100,
    "stream": True,
}
SAMPLED = {**BASE, "temperature": 0.8}
FORMAT = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "tell", "parameters": SCHEMA}}
REQUESTS: dict[str, dict[str, Any]] = {
    "plain": {**BASE, "temperature": 0},
    "sampled": {**SAMPLED, "seed": 11, "logprobs": True, "top_logprobs": 2},
    "schema": {**SAMPLED, "seed": 5, "response_format": FORMAT},
    "tool": {**SAMPLED, "seed": 6, "tools": [TOOL], "tool_choice": "required"},
}


def options(port: int = 0) -> dict[str, Any]:
    lines = ["enabled = true", f"port = {port}", 'bind = ["127.0.0.1"]', "lan = false"]
    return {"config": "[federation]\n" + "\n".join(lines) + "\n[engine]\nthreads = 1\n"}


@dataclass
class Federation:
    """The asker and the servers, by their ids."""

    asker: Node
    servers: dict[str, Node]
    folder: Path

    def peers(self) -> list[dict[str, Any]]:
        return httpx.get(f"{self.asker.url}/v1/kwaai/peers").json()["data"]

    def all_there(self) -> bool:
        alive = [peer for peer in self.peers() if peer["state"] == "alive"]
        loaded = [peer for peer in alive if any(model["loaded"] for model in peer["models"])]
        return len(loaded) == len(self.servers)

    def restart(self, server: str) -> None:
        folder = self.servers[server].folder
        self.servers[server] = Node(folder, "--model", SMOL, **options())

    def restart_asker(self) -> None:
        cache = self.folder / "cache"
        model = ("--model", MINILM, "--cache-dir", cache)
        self.asker = Node(self.asker.folder, *model, **options())

    def differences(self, server: str) -> str:
        """What the asker's and a server's books say differently about the two; nothing if they agree."""
        nodes = {server: self.asker, own_id(self.asker): self.servers[server]}
        files = [self.folder / f"book-{place}" for place, _ in enumerate(nodes)]
        for file, (peer, node) in zip(files, nodes.items(), strict=True):
            data = ("--data-dir", node.data_dir)
            export = kwaainet(node.folder, "receipt", "export", "--peer", peer, *data)
            file.write_text(succeeded(export), encoding="utf-8")
        compared = kwaainet(self.folder, "receipt", "compare", *files)
        if compared.returncode == 0:
            print(compared.stdout.strip())
            return ""
        return compared.stdout + compared.stderr

    def receipts(self, node: Node) -> str:
        return succeeded(kwaainet(node.folder, "receipt", "export", "--data-dir", node.data_dir))


def own_id(node: Node) -> str:
    return httpx.get(f"{node.url}/v1/kwaai/peers").json()["node"]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("federation")
    cache = folder / "cache"
    shutil.copytree(CACHE_HOME / "kwaainet" / "models" / MINILM, cache / "models" / MINILM)
    nodes = []
    try:
        asker = Node(folder / "asker", "--model", MINILM, "--cache-dir", cache, **options())
        nodes.append(asker)
        data = ("--data-dir", asker.data_dir)
        invited = kwaainet(asker.folder, "invite", "--tier", "t0", "--uses", "2", *data)
        ticket = re.search(r"kwaai1[a-z2-7]+", succeeded(invited))
        assert ticket
        servers = {}
        for name in ("one", "two"):
            server = Node(folder / name, "--model", SMOL, **options())
            nodes.append(server)
            servers[own_id(server)] = server
            join = ("join", "--tier", "t0", ticket[0], "--data-dir", server.data_dir)
            succeeded(kwaainet(server.folder, *join))
        federation = Federation(asker, servers, folder)
        eventually(federation.all_there, within=20)
        yield federation
        nodes = [federation.asker, *federation.servers.values()]
        for node in nodes:
            node.stop()
    finally:
        for node in nodes:
            node.kill()


@dataclass
class Told:
    """What a stream said, without what names the answer."""

    server: str
    pieces: list[Any] = field(default_factory=list)
    continued: int = 0
    gap: float = 0.0


def stream(url: str, body: dict[str, Any], at: int = -1, act: Any = None) -> Told:
    """Reads a stream; after so many pieces, does something to its server."""
    sent = httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=90)
    with sent as answer:
        assert answer.status_code == 200, answer.read()
        told = Told(answer.headers["x-kwaai-served-by"])
        ended, last = False, time.monotonic()
        for line in answer.iter_lines():
            if line.startswith(": x-kwaai-continued"):
                told.continued = int(line.split()[-1])
            if not line.startswith("data: "):
                continue
            assert not ended
            if line == "data: [DONE]":
                ended = True
                continue
            now = time.monotonic()
            told.gap, last = max(told.gap, now - last), now
            chunk = json.loads(line.removeprefix("data: "))
            assert "error" not in chunk, chunk
            told.pieces.append(chunk["choices"])
            if len(told.pieces) == at:
                act(told.server)
        assert ended
        return told


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
    data = ("--data-dir", federation.asker.data_dir)
    ticket = re.search(
        r"kwaai1[a-z2-7]+", succeeded(kwaainet(federation.asker.folder, "invite", *data))
    )
    assert ticket
    listing = succeeded(kwaainet(federation.asker.folder, "invite", "list", *data))
    assert ticket[0] not in listing
    changed = ticket[0][:-3] + ("aaa" if not ticket[0].endswith("aaa") else "bbb")
    refused(kwaainet(folder, "join", changed, "--data-dir", folder / "data"))


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
    for node in (federation.asker, *federation.servers.values()):
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
