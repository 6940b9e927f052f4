"""Three nodes that know each other, and the requests with which they are tried: one without the model, and two
that serve it."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.net import Host
from support.node import CACHE_HOME, MINILM, SMOL, Node, eventually, kwaainet, succeeded

TICKET = re.compile(r"kwaai1[a-z2-7]+")
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


def options(bind: str = "127.0.0.1", port: int = 0, **more: Any) -> dict[str, Any]:
    """How a node of a federation is started."""
    chosen = {"enabled": True, "port": port, "bind": [bind], "lan": False, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in chosen.items()]
    return {"config": "[federation]\n" + "\n".join(lines) + "\n[engine]\nthreads = 1\n"}


def peers(node: Node) -> list[dict[str, Any]]:
    """How a node sees the others."""
    return httpx.get(f"{node.url}/v1/kwaai/peers").json()["data"]


def own_id(node: Node) -> str:
    return httpx.get(f"{node.url}/v1/kwaai/peers").json()["node"]


def ticket(node: Node, *options: str) -> str:
    """An invitation by a node."""
    invite = ("invite", *options, "--data-dir", node.data_dir)
    found = TICKET.search(succeeded(kwaainet(node.folder, *invite)))
    assert found
    return found[0]


def join(node: Node, ticket: str) -> None:
    """Makes a node a member, which it need not run for."""
    succeeded(kwaainet(node.folder, "join", "--tier", "t0", ticket, "--data-dir", node.data_dir))


class Federation:
    """The asker and the servers, by their ids; each on a host of its own, if there are hosts."""

    def __init__(self, folder: Path, hosts: list[Host] | None = None) -> None:
        self.folder = folder
        self.hosts: dict[str, Host] = {}
        self.servers: dict[str, Node] = {}
        self.started: list[Node] = []
        of_each = list(hosts or [])
        cache = folder / "cache"
        shutil.copytree(CACHE_HOME / "kwaainet" / "models" / MINILM, cache / "models" / MINILM)
        try:
            self.asker_host = of_each[0] if of_each else None
            model = ("--model", MINILM, "--cache-dir", cache)
            self.asker = self._start(folder / "asker", self.asker_host, *model)
            invitation = ticket(self.asker, "--tier", "t0", "--uses", "2")
            for number, name in enumerate(("one", "two"), start=1):
                host = of_each[number] if of_each else None
                server = self._start(folder / name, host, "--model", SMOL)
                node = inside(host, lambda server=server: own_id(server))
                self.servers[node] = server
                if host:
                    self.hosts[node] = host
                join(server, invitation)
            # The servers know each other too.
            one, two = self.servers.values()
            join(two, ticket(one, "--tier", "t0"))
            self.ask(lambda: eventually(self.all_there, within=20))
        except BaseException:
            self.kill()
            raise

    def _start(self, folder: Path, host: Host | None, *args: str | Path) -> Node:
        where = options(host.address, 11436) if host else options()
        node = Node(folder, *args, prefix=host.prefix if host else (), **where)
        self.started.append(node)
        return node

    def host_of(self, node: Node) -> Host | None:
        """Where a node runs."""
        of_servers = {id(server): self.hosts.get(name) for name, server in self.servers.items()}
        return of_servers.get(id(node), self.asker_host)

    def ask(self, work: Callable[[], Any]) -> Any:
        """Does some work where the asker can be reached."""
        return inside(self.asker_host, work)

    def all_there(self) -> bool:
        alive = [peer for peer in peers(self.asker) if peer["state"] == "alive"]
        loaded = [peer for peer in alive if any(model["loaded"] for model in peer["models"])]
        return len(loaded) == len(self.servers)

    def restart(self, server: str) -> None:
        folder = self.servers[server].folder
        self.servers[server] = self._start(folder, self.hosts.get(server), "--model", SMOL)

    def restart_asker(self) -> None:
        model = ("--model", MINILM, "--cache-dir", self.folder / "cache")
        self.asker = self._start(self.asker.folder, self.asker_host, *model)

    def differences(self, server: str) -> str:
        """What the asker's and a server's books say differently about the two; nothing if they agree."""
        of = {server: self.asker, own_id(self.asker): self.servers[server]}
        files = [self.folder / f"book-{place}" for place, _ in enumerate(of)]
        for file, (peer, node) in zip(files, of.items(), strict=True):
            data = ("--data-dir", node.data_dir)
            export = kwaainet(node.folder, "receipt", "export", "--peer", peer, *data)
            file.write_text(succeeded(export), encoding="utf-8")
        compared = kwaainet(self.folder, "receipt", "compare", *files)
        if compared.returncode == 0:
            print(compared.stdout.strip())
            return ""
        return compared.stdout + compared.stderr

    def nodes(self) -> list[Node]:
        return [self.asker, *self.servers.values()]

    def receipts(self, node: Node) -> str:
        return succeeded(kwaainet(node.folder, "receipt", "export", "--data-dir", node.data_dir))

    def stop(self) -> None:
        for node in self.nodes():
            node.stop()

    def kill(self) -> None:
        for node in self.started:
            node.kill()


def inside(host: Host | None, work: Callable[[], Any]) -> Any:
    """Does some work on a host, if there is one."""
    return host.inside(work) if host else work()


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
