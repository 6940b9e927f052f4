"""Two nodes of one owner, each a process of its own, and a database that one of them keeps equal at both."""

from __future__ import annotations

import base64
import json
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.node import Node, eventually, kwaainet, succeeded

DOCUMENTS = 3_000
IDS = [f"d{n:05}" for n in range(DOCUMENTS)]


def kept_port() -> int:
    """One below those that the system gives to others (32,768 and up), which nobody listens on."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as taken:
            if taken.connect_ex(("127.0.0.1", port)) != 0:
                return port


class Owner:
    """Asks a node as its owner, with a key where there is one."""

    def __init__(self, folder: Path, *, with_key: bool) -> None:
        self.folder = folder
        self.key = ""
        if with_key:
            options = ("--scope", "storage", "--data-dir", folder / "data")
            self.key = succeeded(kwaainet(folder, "keys", "create", *options)).strip()
        self.listen = f"127.0.0.1:{kept_port()}"
        self.again()

    def again(self) -> None:
        """The same node on the same port, where it was killed."""
        options = ("--log", "debug", "--listen", self.listen)
        self.node = Node(self.folder, *options, config="models = []\n")

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://{self.listen}{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def good(self, method: str, path: str, body: Any = None) -> Any:
        status, said = self.ask(method, path, body)
        assert status < 300, said
        return said

    def everything(self) -> list[str]:
        """Each leaf of each document, with its history and what hangs on it."""
        changes = self.good("GET", "/couch/notes/_changes?style=all_docs")["results"]
        found = []
        for at in range(0, len(changes), 500):
            docs = [
                {"id": change["id"], "rev": leaf["rev"]}
                for change in changes[at : at + 500]
                for leaf in change["changes"]
            ]
            got = self.good(
                "POST", "/couch/notes/_bulk_get?revs=true&attachments=true", {"docs": docs}
            )
            for result in got["results"]:
                found += [json.dumps(doc["ok"], sort_keys=True) for doc in result["docs"]]
        return sorted(found)


@pytest.fixture
def owners(folder: Path) -> Iterator[tuple[Owner, Owner]]:
    """One that drives and needs no key, and one that asks for it."""
    made: list[Owner] = []
    try:
        for name in ("here", "there"):
            (folder / name).mkdir()
            made.append(Owner(folder / name, with_key=name == "there"))
        here, there = made
        yield here, there
        for owner in made:
            if owner.node.process.poll() is None:
                owner.node.stop()
        # What is shown at the other node stands nowhere but in its owner's hands.
        secret = there.key.rsplit("_", 1)[1].encode()
        files = [file for file in here.folder.rglob("*") if file.is_file()]
        assert files
        assert not [file for file in files if secret in file.read_bytes()]
    finally:
        for owner in made:
            owner.node.kill()


def pair(here: Owner, there: Owner, *, live: bool, direction: str = "both") -> str:
    for owner in (here, there):
        owner.ask("PUT", "/couch/notes")
    asked = {
        "database": "notes",
        "url": f"http://{there.listen}/couch/notes",
        "token": there.key,
        "direction": direction,
        "live": live,
    }
    return str(here.good("POST", "/v1/storage/replications", asked)["id"])


def equal(here: Owner, there: Owner, within: float = 60.0) -> list[str]:
    """Both sides, once they are equal."""

    def look() -> list[str] | None:
        ours = here.everything()
        return ours if ours == there.everything() else None

    return eventually(look, within=within)


def test_two_nodes_stay_equal_through_kill_and_conflict(owners: tuple[Owner, Owner]) -> None:
    here, there = owners
    for owner in owners:
        owner.good("PUT", "/couch/notes")
    docs = [{"_id": name, "text": name * 8} for name in IDS]
    for at in range(0, DOCUMENTS, 1_000):
        here.good("POST", "/couch/notes/_bulk_docs", {"docs": docs[at : at + 1_000]})
    data = base64.b64encode(bytes(range(256)) * 8_192).decode()
    there.good(
        "PUT",
        "/couch/notes/with%20file",
        {"_attachments": {"a/b.bin": {"content_type": "application/x", "data": data}}},
    )
    replication = pair(here, there, live=True)

    def shown() -> Any:
        return here.good("GET", f"/v1/storage/replications/{replication}")

    # Killed in the midst of it.
    eventually(lambda: shown()["push"]["docs_written"] > 0, within=30)
    there.node.kill()
    eventually(lambda: "did not answer" in (shown()["last_error"] or ""), within=30)
    here.good("PUT", "/couch/notes/meanwhile", {"n": 1})
    there.again()
    assert len(equal(here, there)) == DOCUMENTS + 2

    # Edited at both while they do not see each other: both edits are kept, the same one wins.
    there.node.kill()
    rev = here.good("GET", "/couch/notes/meanwhile")["_rev"]
    here.good("PUT", "/couch/notes/meanwhile", {"_rev": rev, "n": "here"})
    here.good("DELETE", f"/couch/notes/{IDS[0]}?rev=" + here.good("GET", f"/couch/notes/{IDS[0]}")["_rev"])
    here.node.kill()
    there.again()
    there.good("PUT", "/couch/notes/meanwhile", {"_rev": rev, "n": "there"})
    here.again()
    equal(here, there)
    winners = [
        owner.good("GET", "/couch/notes/meanwhile?conflicts=true") for owner in owners
    ]
    assert winners[0] == winners[1]
    assert len(winners[0]["_conflicts"]) == 1
    assert there.ask("GET", f"/couch/notes/{IDS[0]}")[0] == 404
    # A restart went on where it was: most documents were read once.
    pushed = eventually(lambda: shown() if shown()["state"] == "running" else None)["push"]
    assert pushed["docs_read"] < 2 * DOCUMENTS
    assert pushed["doc_write_failures"] == 0


def test_an_erasure_waits_for_the_replica_to_be_back(owners: tuple[Owner, Owner]) -> None:
    here, there = owners
    for owner in owners:
        owner.good("PUT", "/couch/notes")
    canary = "canary-8c1f0b"
    here.good("PUT", "/couch/notes/secret", {"text": canary})
    here.good("PUT", "/couch/notes/kept", {"n": 1})
    pair(here, there, live=True)
    equal(here, there)
    there.node.kill()
    erased = here.good("POST", "/v1/storage/databases/notes/erase", {"ids": ["secret"]})
    assert (erased["documents"], erased["complete"]) == (1, False)

    def shown() -> Any:
        return here.good("GET", f"/v1/storage/erasures/{erased['id']}")

    eventually(lambda: shown()["replicas"][0]["tries"] >= 2, within=20)
    assert shown()["replicas"][0]["state"] == "pending"
    # It is still asked after this node was killed, too.
    here.node.kill()
    here.again()
    time.sleep(1)
    assert shown()["complete"] is False
    assert here.ask("GET", "/couch/notes/secret")[0] == 404
    there.again()
    eventually(lambda: shown()["complete"], within=60)
    assert shown()["replicas"][0]["state"] == "acknowledged"
    equal(here, there)
    for owner in owners:
        assert owner.ask("GET", "/couch/notes/secret")[0] == 404
        assert owner.ask("GET", "/couch/notes/kept")[0] == 200
        owner.node.stop()
        for file in owner.folder.rglob("*"):
            assert not file.is_file() or canary.encode() not in file.read_bytes(), file
