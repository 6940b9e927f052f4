"""Two nodes that reach nothing but a relay, each in a network namespace of its own, and the doctor's word on it.

Needs root and `ip` (iproute2); where it has neither, it says so and is skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.node import (
    BINARY,
    CACHE_HOME,
    MINILM,
    SMOL,
    Node,
    environment,
    eventually,
    kwaainet,
    succeeded,
)

# The relay's own address, on no link: both nodes have a route to it and none to each other.
RELAY = "10.213.9.1"
URL = f"http://{RELAY}:11437"
ASK = """
import json, sys, urllib.request
url, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=60) as answer:
    print(answer.headers["x-kwaai-served-by"])
    print(answer.read().decode())
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Networks:
    """A namespace in the middle, and one at each of its ends."""

    tag: str

    def name(self, place: str) -> str:
        return f"kwaai-{self.tag}-{place}"

    def inside(self, place: str) -> tuple[str, ...]:
        """What puts a command into a namespace."""
        return ("ip", "netns", "exec", self.name(place))

    def run(self, place: str, *words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.inside(place), *map(str, words)],
            env=environment(folder),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def make(self) -> None:
        for place in ("relay", "left", "right"):
            ip("netns", "add", self.name(place))
            ip("-n", self.name(place), "link", "set", "lo", "up")
        middle = self.name("relay")
        ip("-n", middle, "address", "add", f"{RELAY}/32", "dev", "lo")
        for number, place in enumerate(("left", "right"), start=1):
            near, far = f"kr{self.tag}{number}", f"ke{self.tag}{number}"
            ip("link", "add", near, "netns", middle, "type", "veth", "peer", "name", far, "netns", self.name(place))
            for name, link, host in ((middle, near, 1), (self.name(place), far, 2)):
                ip("-n", name, "address", "add", f"10.213.{number}.{host}/24", "dev", link)
                ip("-n", name, "link", "set", link, "up")
            ip("-n", self.name(place), "route", "add", RELAY, "via", f"10.213.{number}.1")
        # It must not lead from one to the other.
        off = (*self.inside("relay"), "sh", "-c", "echo 0 > /proc/sys/net/ipv4/ip_forward")
        subprocess.run(off, check=True)

    def remove(self) -> None:
        for place in ("relay", "left", "right"):
            subprocess.run(["ip", "netns", "delete", self.name(place)], capture_output=True, check=False)


@pytest.fixture(scope="module")
def networks() -> Iterator[Networks]:
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    networks = Networks(f"{os.getpid() % 100_000:x}")
    try:
        networks.make()
        yield networks
    finally:
        networks.remove()


def settings(relays: bool = True) -> str:
    lines = ["[federation]", "enabled = true", "lan = false"]
    if relays:
        lines.append(f'relays = ["{URL}"]')
    return "\n".join([*lines, "[engine]", "threads = 1", ""])


@pytest.fixture(scope="module")
def nodes(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    """One with the model and one without, who know each other, and the relay that knows both."""
    folder = tmp_path_factory.mktemp("relay")
    cache = folder / "cache"
    shutil.copytree(CACHE_HOME / "kwaainet" / "models" / MINILM, cache / "models" / MINILM)
    names = []
    for place in ("left", "right"):
        shown = succeeded(kwaainet(folder / place, "identity", "show", "--data-dir", folder / place / "data"))
        names.append(re.search(r"^node +(\w+)$", shown, re.M)[1])
    started = []
    relay = subprocess.Popen(
        [*networks.inside("relay"), str(BINARY), "relay", "--data-dir", str(folder / "relay")]
        + [word for name in names for word in ("--node", name)],
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=(folder / "relay.log").open("wb"),
        text=True,
    )
    try:
        assert "is ready to relay on http://0.0.0.0:11437" in relay.stdout.readline()
        inside = networks.inside
        left = Node(folder / "left", "--model", SMOL, config=settings(), prefix=inside("left"))
        started.append(left)
        without = ("--model", MINILM, "--cache-dir", cache)
        right = Node(folder / "right", *without, config=settings(), prefix=inside("right"))
        started.append(right)
        data = ("--data-dir", left.data_dir)

        def invited() -> str | None:
            # The ticket has to name the relay, which is connected to a moment later.
            ticket = kwaainet(left.folder, "invite", *data)
            return ticket.stdout.strip() or None

        wait_for_relay(networks, "left", left)
        ticket = eventually(invited, within=20)
        succeeded(kwaainet(right.folder, "join", ticket, "--data-dir", right.data_dir))
        yield left, right
        for node in started:
            node.stop()
        relay.terminate()
        assert relay.wait(10) == 0
    finally:
        for node in started:
            node.kill()
        relay.kill()
        relay.wait(10)


def doctor(networks: Networks, place: str, node: Node) -> subprocess.CompletedProcess[str]:
    flags = ("--json", "--config", node.folder / "node.toml", "--data-dir", node.data_dir)
    words = (BINARY, "doctor", *flags, "--listen", f"{node.host}:{node.port}")
    return networks.run(place, *words, folder=node.folder)


def wait_for_relay(networks: Networks, place: str, node: Node) -> None:
    eventually(lambda: "It is connected to the relay" in doctor(networks, place, node).stdout, within=20)


def test_a_stream_goes_over_the_relay(networks: Networks, nodes: tuple[Node, Node]) -> None:
    _, right = nodes
    peers = (BINARY, "peers", "list", "--listen", f"{right.host}:{right.port}")

    def relayed() -> str | None:
        said = succeeded(networks.run("right", *peers, folder=right.folder))
        return said if re.search(r"alive .* relayed .*" + SMOL, said) else None

    eventually(relayed, within=30)
    route = networks.run("right", "ip", "route", "get", "10.213.1.2", folder=right.folder)
    assert route.returncode != 0, "there is no other way"
    body = {
        "model": SMOL,
        "messages": [{"role": "user", "content": "Count to ten."}],
        "max_tokens": 24,
        "temperature": 0,
        "stream": True,
    }
    url = f"{right.url}/v1/chat/completions"
    asked = networks.run("right", sys.executable, "-c", ASK, url, json.dumps(body), folder=right.folder)
    said = succeeded(asked)
    assert re.fullmatch(r"[0-9a-f]{64}", said.splitlines()[0]), "a peer served it"
    assert said.count("data: ") > 10 and "data: [DONE]" in said
    succeeded(networks.run("right", *peers, folder=right.folder))


def test_the_doctor_tells_the_way(networks: Networks, nodes: tuple[Node, Node]) -> None:
    _, right = nodes
    report = json.loads(succeeded(doctor(networks, "right", right)))
    assert report["ok"]
    peers = [found for found in report["data"] if found["about"] == "peer"]
    assert len(peers) == 1 and peers[0]["grade"] == "note"
    assert "through a relay" in peers[0]["says"] and "advertise" in peers[0]["advice"]


def test_without_the_relay_the_doctor_says_what_is_missing(
    networks: Networks, nodes: tuple[Node, Node]
) -> None:
    """The node stands still, and is examined as if it were started without a relay."""
    _, right = nodes
    right.stop()
    alone = right.folder / "alone.toml"
    alone.write_text(settings(relays=False), encoding="utf-8")
    flags = ("--json", "--config", alone, "--data-dir", right.data_dir, "--listen", "127.0.0.1:0")
    examined = networks.run("right", BINARY, "doctor", *flags, folder=right.folder)
    assert examined.returncode == 1, examined.stderr
    report = json.loads(examined.stdout)
    bad = [found for found in report["data"] if found["grade"] == "bad"]
    assert [found["about"] for found in bad] == ["peer"], bad
    assert "no route" in bad[0]["says"] and f"relay {URL}" in bad[0]["says"]
    # As it was, for whoever comes after.
    flags = ("--json", "--data-dir", right.data_dir, "--config", right.folder / "node.toml")
    examined = networks.run("right", BINARY, "doctor", *flags, "--listen", "127.0.0.1:0", folder=right.folder)
    assert examined.returncode == 0, examined.stdout
