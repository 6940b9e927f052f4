"""The ledger and the audit log as strangers check them: beancount, pymerkle, and a node that is killed."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pymerkle
import pytest
from beancount import loader

from support.node import SMOL, Node, eventually, kwaainet, refused, succeeded

KILLS = int(os.environ.get("REWARDS_KILLS", "4"))
SEED = os.environ.get("REWARDS_SEED", "1")
ORIGIN = "kwaainet/{}/ledger"


@dataclass
class Books:
    """A node, and a key that has worked."""

    node: Node
    key: str

    def get(self, path: str, **query: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        answer = httpx.get(f"{self.node.url}{path}", params=query, headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer

    def post(self, path: str, **body: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        answer = httpx.post(f"{self.node.url}{path}", headers=headers, timeout=60, **body)
        assert answer.status_code in (200, 201), answer.text
        return answer

    def transfers(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["index"] + 1 if found else 0
            page = self.get("/v1/rewards/transfers", **{"from": after, "limit": 1_000}).json()
            found += page["data"]
            if not page["has_more"]:
                return found

    def ledger(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        return kwaainet(self.node.folder, "ledger", *args, "--data-dir", self.node.data_dir)

    def work(self) -> None:
        before = len(self.transfers())
        with self.node.client(self.key) as client:
            client.chat.completions.create(
                model=SMOL, messages=[{"role": "user", "content": "Hi"}], max_tokens=4
            )
        eventually(lambda: len(self.transfers()) > before, within=20)


def make_key(
    folder: Path, data_dir: Path, names: tuple[str, ...] = ("inference", "rewards", "audit")
) -> str:
    scopes = [part for name in names for part in ("--scope", name)]
    return succeeded(kwaainet(folder, "keys", "create", *scopes, "--data-dir", data_dir)).strip()


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    folder = tmp_path_factory.mktemp("rewards")
    key = make_key(folder, folder / "data")
    node = Node(folder, "--model", SMOL)
    try:
        books = Books(node, key)
        for _ in range(3):
            books.work()
        yield books
        node.stop()
    finally:
        node.kill()


def test_bean_check_accepts_the_export(books: Books, tmp_path: Path) -> None:
    file = tmp_path / "ledger.beancount"
    file.write_text(succeeded(books.ledger("export", "--format", "beancount")), encoding="utf-8")
    entries, errors, _ = loader.load_file(str(file))
    assert not errors, errors
    assert len([entry for entry in entries if type(entry).__name__ == "Transaction"]) >= 3
    assert any(type(entry).__name__ == "Balance" for entry in entries)
    check = Path(sys.executable).with_name("bean-check")
    done = subprocess.run([check, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    # Without its first transaction the balances are not right any more.
    lines = file.read_text(encoding="utf-8").splitlines()
    first = next(at for at, line in enumerate(lines) if line.endswith('"') and " * " in line)
    file.write_text("\n".join(lines[:first] + lines[first + 5 :]) + "\n", encoding="utf-8")
    assert loader.load_file(str(file))[1]
    page = books.get("/v1/rewards/transfers", format="beancount").text
    file.write_text(page, encoding="utf-8")
    assert not loader.load_file(str(file))[1]


def test_an_export_is_verified_offline_and_a_change_is_seen(books: Books, tmp_path: Path) -> None:
    note = books.get("/v1/rewards/checkpoint").text
    exported = succeeded(books.ledger("export"))
    lines = exported.splitlines()
    head = json.loads(lines[0])
    assert note.startswith(ORIGIN.format(head["node"]) + "\n")
    file = tmp_path / "ledger"
    file.write_text(exported, encoding="utf-8")
    said = succeeded(kwaainet(tmp_path, "ledger", "verify", file, "--node", head["node"]))
    assert said.startswith("good: ")
    assert " 0 checkpoints" not in said
    assert succeeded(books.ledger("verify")).startswith("good: ")
    refused(kwaainet(tmp_path, "ledger", "verify", file, "--node", "00" * 32))
    signed = int(note.split("\n")[1])
    for at, line in enumerate(lines):
        fields = json.loads(line)
        if fields["type"] != "transfer" or fields["index"] >= signed:
            continue
        fields["user_data_32"] += 1
        changed = [*lines[:at], json.dumps(fields, separators=(",", ":")), *lines[at + 1 :]]
        file.write_text("\n".join(changed) + "\n", encoding="utf-8")
        refused(kwaainet(tmp_path, "ledger", "verify", file))
        file.write_text("\n".join([*lines[:at], *lines[at + 1 :]]) + "\n", encoding="utf-8")
        refused(kwaainet(tmp_path, "ledger", "verify", file))


def test_pymerkle_has_the_same_tree_and_verifies_the_proofs(books: Books) -> None:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for _ in range(4):
        books.work()
    # The tree is of all transfers, also of those that are none of the key's.
    lines = succeeded(books.ledger("export", "--format", "jsonl")).splitlines()
    leaves = [leaf_of(line) for line in map(json.loads, lines) if line["type"] == "transfer"]
    for data in leaves:
        tree.append_entry(data)
    size, own = len(leaves), books.transfers()
    assert len(own) >= 14
    for transfer in own:
        proof = books.get("/v1/rewards/proofs/inclusion", transfer=transfer["id"]).json()
        assert base64.b64decode(proof["leaf"]) == leaves[transfer["index"]]
    for at in sorted({1, 2, 3, size // 2, size - 1, size}):
        for transfer in (one for one in own if one["index"] < at):
            query = {"transfer": transfer["id"], "size": at}
            ours = books.get("/v1/rewards/proofs/inclusion", **query).json()
            theirs = tree.prove_inclusion(transfer["index"] + 1, at)
            leaf, root = bytes.fromhex(ours["leaf_hash"]), bytes.fromhex(ours["root"])
            assert root == tree.get_root(at)
            # Theirs begins with the leaf's own hash, which RFC 9162 leaves out.
            path = [leaf, *map(bytes.fromhex, ours["hashes"])]
            assert path == theirs.path
            proof = pymerkle.InclusionProof(
                "sha256", True, at, transfer["index"] + 1, theirs.rule, path
            )
            pymerkle.verify_inclusion(leaf, root, proof)
        if at < 2:
            continue
        for first in range(1, at):
            query = {"first": first, "second": at}
            ours = books.get("/v1/rewards/proofs/consistency", **query).json()
            old, new = bytes.fromhex(ours["first_root"]), bytes.fromhex(ours["second_root"])
            pymerkle.verify_consistency(old, new, tree.prove_consistency(first, at))
            assert consistent(first, old, at, new, [*map(bytes.fromhex, ours["hashes"])])


def leaf_of(line: dict[str, Any]) -> bytes:
    """A transfer's bytes in the tree: a version byte and every field in order, the most significant byte first."""
    fields = bytes([1])
    for name in ("id", "debit", "credit"):
        fields += bytes.fromhex(line[name])
    fields += line["amount"].to_bytes(8, "big")
    for name in ("pending", "user_data_128"):
        fields += bytes.fromhex(line[name])
    rest = ("user_data_64", "user_data_32", "timeout_s", "ledger", "code", "flags", "at_ns")
    return fields + struct.pack(">QIIIHHq", *(line[name] for name in rest))


def consistent(first: int, old: bytes, second: int, new: bytes, proof: list[bytes]) -> bool:
    """RFC 9162, section 2.1.4.2."""
    if first & (first - 1) == 0:
        proof = [old, *proof]
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    pair = lambda left, right: sha256(b"\x01" + left + right).digest()  # noqa: E731
    one, other = proof[0], proof[0]
    for part in proof[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            one, other = pair(part, one), pair(part, other)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            other = pair(other, part)
        node, last = node >> 1, last >> 1
    return (one, other, last) == (old, new, 0)


@pytest.mark.timeout(60 + 15 * KILLS)
def test_what_was_acknowledged_survives_a_kill(folder: Path) -> None:
    moments = random.Random(SEED)
    print(f"REWARDS_SEED={SEED}")
    key = make_key(folder, folder / "data")
    receipts: dict[str, int] = {}
    seen: dict[str, dict[str, Any]] = {}
    for kill in range(KILLS):
        node = Node(folder, "--model", SMOL)
        try:
            books = Books(node, key)
            had = len(receipts)
            workers = [
                threading.Thread(target=audit, args=(books, receipts)) for _ in range(3)
            ] + [threading.Thread(target=work, args=(books, seen))]
            for worker in workers:
                worker.start()
            time.sleep(moments.uniform(0.3, 3))
            node.signal(signal.SIGKILL)
            node.wait()
            for worker in workers:
                worker.join(60)
            assert kill > 0 or len(receipts) > had, "something was recorded"
        finally:
            node.kill()
        verified = kwaainet(folder, "ledger", "verify", "--data-dir", folder / "data")
        assert succeeded(verified).startswith("good: ")
    node = Node(folder, "--model", SMOL)
    try:
        books = Books(node, key)
        there = {transfer["id"]: transfer for transfer in books.transfers()}
        assert seen.items() <= there.items()
        entries: list[dict[str, Any]] = []
        while True:
            after = entries[-1]["index"] + 1 if entries else 0
            page = books.get("/v1/audit/entries", **{"from": after}).json()
            entries += page["data"]
            if not page["has_more"]:
                break
        recorded = {entry["said"]["resource"]: entry["index"] for entry in entries}
        assert receipts.items() <= recorded.items()
        node.stop()
    finally:
        node.kill()
    print(f"{len(receipts)} audit entries and {len(seen)} transfers were acknowledged")


@pytest.mark.timeout(60 + 15 * KILLS)
def test_storage_and_verifications_are_paid_once_whatever_is_killed(folder: Path) -> None:
    moments = random.Random(SEED)
    data = folder / "data"
    scopes = ("inference", "rewards", "audit", "storage", "identity")
    key = make_key(folder, data, scopes)
    # A word of credit that is not used up by some hundred verifications.
    config = "[rewards]\ncredit_vda = 1000000\n[storage]\nkey_mib = 256\n"
    acknowledged: list[None] = []
    for kill in range(KILLS):
        node = Node(folder, config=config)
        try:
            books = Books(node, key)
            if kill == 0:
                books.post("/v1/storage/blobs", content=b"stored" * 10_000_000)
            subject = {"credentialSubject": {"id": "did:example:a", "n": kill}}
            issued = books.post("/v1/credentials/issue", json={"credential": subject}).json()
            workers = [
                threading.Thread(target=check, args=(books, issued, acknowledged))
                for _ in range(2)
            ]
            for worker in workers:
                worker.start()
            time.sleep(moments.uniform(0.5, 3))
            node.signal(signal.SIGKILL)
            node.wait()
            for worker in workers:
                worker.join(60)
        finally:
            node.kill()
        verified = kwaainet(folder, "ledger", "verify", "--data-dir", data)
        assert succeeded(verified).startswith("good: ")
    node = Node(folder, config=config)
    try:
        books = Books(node, key)

        def paid(kind: str) -> list[int]:
            found, at = [], 0
            while True:
                page = books.get("/v1/rewards/transfers", **{"from": at}).json()
                found += [one["amount"] for one in page["data"] if one["kind"] == kind]
                if not page["has_more"]:
                    return found
                at = page["data"][-1]["index"] + 1

        noted = select(data / "node.db", "SELECT COUNT(*) FROM verifications")
        assert noted >= len(acknowledged) > 0
        eventually(lambda: len(paid("verification")) >= noted, within=30)
        assert paid("verification") == [25_000_000] * noted
        # What lay here, at fifty VDA for 10^9 bytes in thirty days: less than one micro-VDA is still owed.
        usage = books.get("/v1/storage/usage").json()
        due = usage["byte_seconds"] * 50_000_000 // (10**9 * 30 * 24 * 3600)
        assert due > 0, usage
        eventually(lambda: sum(paid("storage")) >= due - 1, within=30)
        whole = sum(paid("storage")) + sum(paid("rounding"))
        assert sum(paid("storage")) <= due + 1 and whole <= due + 2 * KILLS + 2
        node.stop()
    finally:
        node.kill()
    print(f"{noted} verifications, {len(acknowledged)} of them acknowledged; storage came to {due}")


def select(file: Path, query: str) -> int:
    """One number, read from a database of a node."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    with contextlib.closing(database):
        return int(database.execute(query).fetchone()[0])


def check(books: Books, issued: dict[str, Any], acknowledged: list[None]) -> None:
    headers = {"authorization": f"Bearer {books.key}"}
    with httpx.Client(headers=headers, timeout=20) as client:
        while True:
            try:
                answer = client.post(f"{books.node.url}/v1/credentials/verify", json=issued)
                assert answer.json()["verified"], answer.text
            except (httpx.HTTPError, ValueError, KeyError):
                return
            acknowledged.append(None)
            # Two workers for some seconds stay far from what may be owed.
            time.sleep(0.01)


def audit(books: Books, receipts: dict[str, int]) -> None:
    headers = {"authorization": f"Bearer {books.key}"}
    with httpx.Client(headers=headers, timeout=20) as client:
        while True:
            try:
                answer = client.post(f"{books.node.url}/v1/privacy/export", json={})
                receipt = answer.json()["receipt"]
            except (httpx.HTTPError, ValueError, KeyError):
                return
            receipts[receipt["id"]] = receipt["audit_index"]


def work(books: Books, seen: dict[str, dict[str, Any]]) -> None:
    headers = {"authorization": f"Bearer {books.key}"}
    body = {"model": SMOL, "prompt": "Hi", "max_tokens": 2}
    with httpx.Client(headers=headers, timeout=20) as client:
        while True:
            try:
                client.post(f"{books.node.url}/v1/completions", json=body)
                answer = client.get(f"{books.node.url}/v1/rewards/transfers").json()
                seen.update({transfer["id"]: transfer for transfer in answer["data"]})
            except (httpx.HTTPError, ValueError, KeyError):
                return
