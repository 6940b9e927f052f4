"""The node as a child process, and what can be seen of it from outside: metrics, memory, threads, receipts."""

import http.client
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, contextmanager
from pathlib import Path

from soaking.questions import CHAT_MODEL, EMBEDDER

# Small, so that the prefix cache is full before the load begins.
KV_MIB = 256
# Seconds.
READY_MAX = 120
# Threads that come and go: of the database, and of the runtime one for each core and those for blocking work.
POOLS = {"sqlx-sqlite": 5, "tokio-rt-worker": (os.cpu_count() or 1) + 48}

READY = re.compile(r"is ready on http://([0-9.]+):(\d+) ")
GAUGES = ("jobs_running", "jobs_waiting", "engine_sequences_running", "engine_sequences_queued")
GAUGES += ("engine_sequences_parked", "engine_kv_tokens")


class Gone(Exception):
    """The node is not there, or not as it has to be for the soak to begin."""


class Node:
    """A node as a child process."""

    def __init__(self, binary, folder):
        self.folder = folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("KWAAINET_", "XDG_")) and not name.lower().endswith("_proxy")
        }
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        ours = {"HOME": str(folder), "XDG_CACHE_HOME": cache, "KWAAINET_ENGINE_KV_MIB": str(KV_MIB)}
        command = [binary.resolve(), "serve", "--listen", "127.0.0.1:0", "--data-dir", folder / "data"]
        command += ["--model", CHAT_MODEL, "--model", EMBEDDER]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command], env=kept | ours, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.host, self.port = "", 0

    def await_ready(self):
        found = await_true(lambda: READY.search(self.log()) or self.process.poll() is not None, READY_MAX)
        if not isinstance(found, re.Match):
            raise Gone(f"it did not get ready:\n{self.log()}")
        self.host, self.port = found[1], int(found[2])

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def metrics(self):
        """Each line of /metrics, its labels part of its name."""
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as link:
            link.request("GET", "/metrics")
            reply = link.getresponse()
            text = reply.read().decode()
        if reply.status != 200:
            raise Gone(f"/metrics answers {reply.status}")
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        pairs = (line.rsplit(" ", 1) for line in lines)
        return {name.removeprefix("kwaainet_"): float(value) for name, value in pairs}


@contextmanager
def running(binary):
    with tempfile.TemporaryDirectory(prefix="kwaainet-soak-") as folder:
        node = Node(binary, Path(folder))
        try:
            node.await_ready()
            yield node
        except Gone as error:
            sys.exit(str(error))
        finally:
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait(10)


def outcomes(node):
    found = Counter()
    for name, value in node.metrics().items():
        if name.startswith("jobs_total{"):
            found[name.split('outcome="')[1].split('"')[0]] += int(value)
    return found


def recorded(node):
    with closing(sqlite3.connect(node.folder / "data" / "node.db")) as database:
        return Counter(dict(database.execute("SELECT outcome, count(*) FROM receipts GROUP BY outcome")))


def gauges(node):
    metrics = node.metrics()
    return {name: int(metrics[name]) for name in GAUGES}


def is_idle(node):
    """Whether no job is anywhere inside, and no sequence holds a page."""
    return not any(gauges(node).values())


def resident(node):
    status = Path(f"/proc/{node.process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) << 10


def threads_of(node):
    """Threads by name; those of a pool count as one, or as what they are where they are too many."""
    names = Counter()
    for task in Path(f"/proc/{node.process.pid}/task").iterdir():
        try:
            names[(task / "comm").read_text(encoding="ascii").strip()] += 1
        except OSError:
            pass  # It ended while we looked.
    for pool, size in POOLS.items():
        members = [name for name in names if name.startswith(pool)]
        count = sum(names.pop(name) for name in members)
        names[pool] = 1 if count <= size else count
    return names


def await_true(look, seconds):
    """Looks again and again until it sees something true, and gives that; or what it saw last."""
    until = time.monotonic() + seconds
    while True:
        seen = look()
        if seen or time.monotonic() >= until:
            return seen
        time.sleep(0.1)


def note(text):
    print(text, flush=True)
