"""Nodes of one federation as child processes on this machine, and what one request to one of them came to."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
READY = re.compile(r"is ready on http://([0-9.]+):(\d+) ")
TICKET = re.compile(r"kwaai1[a-z2-7]+")
# Seconds.
READY_MAX = 120
MET_MAX = 30
ANSWER_MAX = 300


def models_of_user():
    """The folder that the user's caches lie in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


class Failed(Exception):
    """It cannot be measured. One sentence."""


class Node:
    """A node with a folder, a cache and settings of its own."""

    def __init__(self, binary, folder, models, settings, cache=None, environment=None):
        self.binary, self.folder, self.log_file = binary.resolve(), folder, folder / "log"
        folder.mkdir()
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KWAAINET_", "XDG_")) and not name.lower().endswith("_proxy")
        }
        ours = {"HOME": str(folder), "XDG_CACHE_HOME": str(cache or models_of_user())}
        self.environment = kept | ours | (environment or {})
        lines = ["[federation]", "enabled = true", "port = 0", 'bind = ["127.0.0.1"]', "lan = false"]
        for section, values in settings.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        (folder / "node.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [self.binary, "serve", "--listen", "127.0.0.1:0", "--log", "warn"]
        command += ["--config", folder / "node.toml", "--data-dir", folder / "data"]
        command += [part for model in models for part in ("--model", model)]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.host, self.port, self.id = "", 0, ""

    def await_ready(self):
        found = await_true(lambda: READY.search(self.log()) or self.process.poll() is not None, READY_MAX)
        if not isinstance(found, re.Match):
            raise Failed(f"a node did not get ready:\n{self.log()}")
        self.host, self.port = found[1], int(found[2])
        self.id = self.get("/v1/kwaai/peers")["node"]

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def command(self, *parts):
        done = subprocess.run(
            [str(self.binary), *parts, "--data-dir", str(self.folder / "data")],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{parts[0]} failed: {done.stderr}")
        return done.stdout

    def get(self, path):
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as link:
            link.request("GET", path)
            reply = link.getresponse()
            text = reply.read().decode()
        if reply.status != 200:
            raise Failed(f"{path} answers {reply.status}")
        return json.loads(text) if path != "/metrics" else text

    def jobs_running(self):
        found = re.search(r"^kwaainet_jobs_running (\d+)", self.get("/metrics"), re.MULTILINE)
        return int(found[1])

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


class Link:
    """A connection to a node that stays, as a client's does."""

    def __init__(self, node):
        self.connection = http.client.HTTPConnection(node.host, node.port, timeout=ANSWER_MAX)

    def close(self):
        self.connection.close()

    def ask(self, text, max_tokens, demands=None):
        """Seconds to the first text, seconds for each token after it, tokens, and who served."""
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if demands:
            body["kwaai"] = demands
        asked = time.monotonic()
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        reply = self.connection.getresponse()
        if reply.status != 200:
            raise Failed(f"an answer is {reply.status}: {reply.read().decode()}")
        first = last = None
        tokens = 0
        for line in reply:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                raise Failed(f"a stream failed: {chunk['error']}")
            if any(choice["delta"].get("content") for choice in chunk["choices"]):
                last = time.monotonic()
                first = first or last
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
        if first is None:
            raise Failed("an answer without text")
        return first - asked, (last - first) / max(1, tokens - 1), tokens, reply.headers["x-kwaai-served-by"]


@contextmanager
def federation(binary, described):
    """Nodes of these descriptions (the arguments of Node after the folder); the first knows all others."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kwaainet-federation-")))
        nodes = []
        try:
            for number, description in enumerate(described):
                node = Node(binary, folder / str(number), **description)
                stack.callback(node.kill)
                nodes.append(node)
            for node in nodes:
                node.await_ready()
            first, *others = nodes
            uses = ("--tier", "t0", "--uses", str(len(others)))
            ticket = TICKET.search(first.command("invite", *uses))
            for node in others:
                node.command("join", "--tier", "t0", ticket[0])
            if not await_true(lambda: all_alive(first, others), MET_MAX):
                raise Failed("the nodes did not meet")
            yield nodes
        except Failed as error:
            sys.exit(str(error))


def all_alive(node, others):
    alive = {peer["id"] for peer in node.get("/v1/kwaai/peers")["data"] if peer["state"] == "alive"}
    return {other.id for other in others} <= alive


def await_true(look, seconds):
    """Looks again and again until it sees something true, and gives that; or what it saw last."""
    until = time.monotonic() + seconds
    while True:
        seen = look()
        if seen or time.monotonic() >= until:
            return seen
        time.sleep(0.1)
