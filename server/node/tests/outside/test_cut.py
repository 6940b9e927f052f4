"""Three nodes on three hosts of a network of their own: the cable of the serving one is pulled at random.

CHAOS_CUTS says how often (4 if not set); `make chaos` says 100. CHAOS_SEED chooses the moments.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from support import net
from support.federation import REQUESTS, Federation, inside, peers, stream
from support.net import Lan
from support.node import Node, eventually, kwaainet, succeeded

CUTS = int(os.environ.get("CHAOS_CUTS") or 4)
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
# In seconds: from the last word before the cut to the next; until nobody shows the node as serving; and from the
# end of the cut until all do. Wide, since a machine that runs all tests may be busy; `make chaos` is strict.
GAP_MAX = float(os.environ.get("CHAOS_GAP") or 6.0)
GONE_MAX = float(os.environ.get("CHAOS_GONE") or 4.0)
BACK_MAX = float(os.environ.get("CHAOS_BACK") or 10.0)
LOOK_EVERY = 0.01


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    net.needed()
    with net.lan(3) as lan:
        yield lan


@pytest.fixture(scope="module")
def federation(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    federation = Federation(tmp_path_factory.mktemp("cut"), lan.hosts)
    try:
        yield federation
        federation.stop()
    finally:
        federation.kill()


class Watch:
    """Looks all the time how one node is seen by another one."""

    def __init__(self, federation: Federation, by: Node, of: str) -> None:
        self.host = federation.host_of(by)
        self.by, self.of = by, of
        # When it was seen that it is not shown as serving any more, and that it is again.
        self.gone: float | None = None
        self.back: float | None = None
        self.cut = self.mended = 0.0
        self.over = threading.Event()
        self.failed: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            inside(self.host, self._look)
        except BaseException as error:
            self.failed.append(error)

    def _look(self) -> None:
        while not self.over.wait(LOOK_EVERY):
            mended = self.mended
            states = {peer["id"]: peer["state"] for peer in peers(self.by)}
            is_there = states.get(self.of) == "alive"
            if not mended:
                self.gone = None if is_there else self.gone or time.monotonic()
            elif is_there and not self.back:
                self.back = time.monotonic()

    def gone_after(self) -> float:
        """Until it was not shown as serving any more, and that for good."""
        eventually(lambda: self.gone or self.failed, within=4 * GONE_MAX)
        assert not self.failed, self.failed
        assert self.gone
        return self.gone - self.cut

    def back_after(self) -> float:
        """Until it was shown as serving again."""
        eventually(lambda: self.back or self.failed, within=4 * BACK_MAX)
        assert not self.failed, self.failed
        assert self.back
        return self.back - self.mended

    def end(self) -> None:
        self.over.set()
        self.thread.join()
        assert not self.failed, self.failed


@pytest.mark.timeout(120 + 20 * CUTS)
def test_a_stream_survives_the_cut_of_its_nodes_cable(lan: Lan, federation: Federation) -> None:
    moments = random.Random(f"{SEED} cut")
    print(f"CHAOS_SEED={SEED}")
    url = federation.asker.url
    whole = {
        kind: federation.ask(lambda body=body: stream(url, body).pieces)
        for kind, body in REQUESTS.items()
    }
    gaps, gone, back = [], [], []
    for run in range(CUTS):
        kind = list(REQUESTS)[run % len(REQUESTS)]
        at = moments.randrange(1, len(whole[kind]) - 1)
        watches: list[Watch] = []

        def pull(server: str, watches: list[Watch] = watches) -> None:
            others = (node for node in federation.nodes() if node is not federation.servers[server])
            watches += [Watch(federation, node, server) for node in others]
            for watch in watches:
                watch.cut = time.monotonic()
            lan.cut(federation.hosts[server])

        told = federation.ask(
            lambda body=REQUESTS[kind], at=at, pull=pull: stream(url, body, at, pull)
        )
        # Long enough for a node that is shown again although it is not there.
        time.sleep(max(0.0, GONE_MAX + 0.5 - (time.monotonic() - watches[0].cut)))
        gone += [watch.gone_after() for watch in watches]
        for watch in watches:
            watch.mended = time.monotonic()
        lan.mend(federation.hosts[told.server])
        back += [watch.back_after() for watch in watches]
        for watch in watches:
            watch.end()
        gaps.append(told.gap)
        print(
            f"{kind} cut after {at}: continued {told.continued}, gap {told.gap:.2f} s, "
            f"gone after {gone[-2]:.2f} and {gone[-1]:.2f} s, back after {back[-2]:.2f} and {back[-1]:.2f} s"
        )
        assert told.pieces == whole[kind], f"{kind}, run {run}, cut after {at}"
        assert told.gap < GAP_MAX
        assert max(gone[-2:]) < GONE_MAX
        assert max(back[-2:]) < BACK_MAX
        federation.ask(lambda: eventually(federation.all_there, within=20))
    for what, times in (("gap", gaps), ("gone after", gone), ("back after", back)):
        print(f"{what}: median {statistics.median(times):.2f} s, longest {max(times):.2f} s")


def test_the_books_of_all_are_good_after_it(federation: Federation) -> None:
    for node in federation.nodes():
        exported = eventually(lambda node=node: federation.receipts(node), within=5)
        file = federation.folder / "receipts"
        file.write_text(exported, encoding="utf-8")
        succeeded(kwaainet(node.folder, "receipt", "verify", file))
