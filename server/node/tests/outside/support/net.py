"""Networks of their own for nodes: namespaces that a test makes and removes. Needs root on Linux, and `ip`.

Nothing of it is seen from outside: all links lie within the namespaces, and none leads out of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
NUMBERS = itertools.count()
# From sched.h.
CLONE_NEWNET = 0x40000000


def ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, (args, done.stderr)


def missing() -> str | None:
    """What this machine lacks for networks of our own, in one line."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "networks of our own need root on Linux"
    if not shutil.which("ip"):
        return "missing: ip (on Debian: iproute2)"
    try:
        with Namespace("probe"):
            return None
    except AssertionError as error:
        return f"this machine gives no network namespaces: {error}"


def needed() -> None:
    """Passes over the test where there can be no networks of our own, and says why."""
    if lack := missing():
        pytest.skip(lack)


class Namespace:
    """A network with nothing but its own loopback, for the length of a block."""

    def __init__(self, name: str) -> None:
        self.name = f"kwaai-{os.getpid()}-{next(NUMBERS)}-{name}"

    def __enter__(self) -> Namespace:
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        ip("netns", "delete", self.name)

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that is to run inside."""
        return ("ip", "netns", "exec", self.name)

    def inside(self, work: Callable[[], T]) -> T:
        """Does some work, in a thread whose sockets are in here."""
        outcome: list[T] = []
        failed: list[BaseException] = []

        def run() -> None:
            try:
                self._enter()
                outcome.append(work())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return outcome[0]

    def _enter(self) -> None:
        with (Path("/run/netns") / self.name).open() as file:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "a thread cannot enter a namespace")


class Host(Namespace):
    """A namespace with an address on a [`Lan`]."""

    def __init__(self, number: int) -> None:
        super().__init__(str(number))
        self.address = f"10.77.0.{number}"
        self.port = f"port{number}"


class Lan:
    """Hosts on one switch, whose cables can be pulled."""

    def __init__(self, switch: Namespace, hosts: list[Host]) -> None:
        self.switch = switch
        self.hosts = hosts
        ip("-n", switch.name, "link", "add", "switch", "type", "bridge")
        ip("-n", switch.name, "link", "set", "switch", "up")
        for host in hosts:
            cable = ("type", "veth", "peer", "name", host.port, "netns", switch.name)
            ip("link", "add", "eth0", "netns", host.name, *cable)
            ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            ip("-n", host.name, "link", "set", "eth0", "up")
            ip("-n", switch.name, "link", "set", host.port, "master", "switch", "up")

    def cut(self, host: Host) -> None:
        ip("-n", self.switch.name, "link", "set", host.port, "down")

    def mend(self, host: Host) -> None:
        ip("-n", self.switch.name, "link", "set", host.port, "up")


@contextlib.contextmanager
def lan(hosts: int) -> Iterator[Lan]:
    """So many hosts that reach each other and nobody else."""
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(Namespace("switch"))
        numbers = range(1, hosts + 1)
        yield Lan(switch, [stack.enter_context(Host(number)) for number in numbers])
