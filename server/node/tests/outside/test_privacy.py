"""Somebody leaves words in every face of a node and is erased: no byte of them is in any of its files, others keep what
they had, and the audit log is still the tree that was signed."""

from __future__ import annotations

import base64
import json
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pymerkle
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from support.node import MINILM, SMOL, Node, eventually, kwaainet, succeeded

SCOPES = ("inference", "identity", "storage", "carbon", "rewards", "audit")
OUTCOMES = {"done": 0, "denied": 1, "failed": 2}
# Each face has a word of its own, so that a finding says where it is from.
FACES = (
    "chat completion response conversation embedding filename filetext storename storetext batchline "
    "keyname docid docbody olddoc deleteddoc attachment attachmentname localdoc blob upload dbname design "
    "credential jsonface replica"
).split()


def word(face: str) -> str:
    return f"Kanarie{face}Vogel"


@dataclass
class Person:
    """A node, and somebody's key."""

    node: Node
    key: str

    def ask(self, method: str, path: str, status: int = 200, **kwargs: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}", **kwargs.pop("headers", {})}
        answer = httpx.request(
            method, f"{self.node.url}{path}", headers=headers, timeout=60, **kwargs
        )
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        return answer

    def post(self, path: str, body: Any, status: int = 200) -> Any:
        return self.ask("POST", path, status, json=body).json()

    @property
    def subject(self) -> str:
        return f"key:{self.key.split('_')[1]}"


def make_key(node_folder: Path, data_dir: Path, name: str) -> str:
    scopes = [part for scope in SCOPES for part in ("--scope", scope)]
    command = ("keys", "create", "--name", name, *scopes, "--data-dir", data_dir)
    return succeeded(kwaainet(node_folder, *command)).strip()


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, Person, Path]]:
    folder = tmp_path_factory.mktemp("privacy")
    mine = make_key(folder, folder / "data", word("keyname"))
    other = make_key(folder, folder / "data", "other")
    node = Node(folder, "--model", SMOL, "--model", MINILM)
    try:
        yield Person(node, mine), Person(node, other), folder / "data"
        node.stop()
    finally:
        node.kill()


def speak(person: Person) -> None:
    """Inference, in every protocol that keeps something."""
    short = {"model": SMOL, "max_tokens": 2}
    person.post(
        "/v1/chat/completions", {**short, "messages": [{"role": "user", "content": word("chat")}]}
    )
    person.post("/v1/completions", {**short, "prompt": word("completion")})
    person.post(
        "/v1/responses",
        {"model": SMOL, "input": word("response"), "max_output_tokens": 16, "user": "somebody"},
    )
    person.post("/v1/embeddings", {"model": MINILM, "input": word("embedding")})
    talk = {"items": [{"type": "message", "role": "user", "content": word("conversation")}]}
    person.post("/v1/conversations", talk)


def leave_files(person: Person) -> None:
    """Files, a vector store, a batch."""
    with person.node.client(person.key) as client:
        file = client.files.create(
            file=(f"{word('filename')}.txt", f"{word('filetext')} sleeps.".encode() * 400),
            purpose="assistants",
        )
        store = client.vector_stores.create(
            name=word("storename"), metadata={"about": word("storetext")}
        )
        client.vector_stores.files.create_and_poll(file.id, vector_store_id=store.id)
        line = {
            "custom_id": word("batchline"),
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": MINILM, "input": word("batchline")},
        }
        lines = client.files.create(
            file=("lines.jsonl", json.dumps(line).encode()), purpose="batch"
        )
        batch = client.batches.create(
            input_file_id=lines.id, endpoint="/v1/embeddings", completion_window="24h"
        )
        eventually(lambda: client.batches.retrieve(batch.id).status == "completed", within=60)


def leave_documents(person: Person, seed: int) -> None:
    """Databases of every kind, so many documents that pages of the file are split and joined."""
    name = f"notes-{word('dbname').lower()}"
    couch = f"/couch/{name}"
    person.ask("PUT", couch, 201)
    chance = random.Random(seed)
    for _ in range(12):
        docs = [
            {
                "_id": f"{chance.getrandbits(64):016x}{word('docid')}",
                "said": word("docbody") * chance.randint(1, 30),
            }
            for _ in range(100)
        ]
        person.post(f"{couch}/_bulk_docs", {"docs": docs}, 201)
    old = person.ask("PUT", f"{couch}/one", 201, json={"said": word("olddoc")}).json()["rev"]
    new = person.ask("PUT", f"{couch}/one?rev={old}", 201, json={"said": "new"}).json()["rev"]
    person.ask(
        "PUT",
        f"{couch}/one/{word('attachmentname')}?rev={new}",
        201,
        content=word("attachment").encode() * 5000,
        headers={"content-type": "text/plain"},
    )
    gone = person.ask("PUT", f"{couch}/gone", 201, json={"said": word("deleteddoc")}).json()["rev"]
    person.ask("DELETE", f"{couch}/gone?rev={gone}")
    person.ask("PUT", f"{couch}/_local/{word('localdoc')}", 201, json={"last": word("localdoc")})
    design = {"said": word("design")}
    person.ask("PUT", f"{couch}/_design/{word('design')}", 201, json=design)
    replicated = {"_id": "far", "_rev": "2-b", "_revisions": {"start": 2, "ids": ["b", "a"]}}
    replicated["said"] = word("replica")
    body = {"docs": [replicated], "new_edits": False}
    person.ask("POST", f"{couch}/_bulk_docs", 201, json=body)
    person.post("/v1/storage/databases", {"name": "public-one", "mode": "public"}, 201)
    plain = f"/v1/storage/databases/public-one/docs/{word('jsonface')}"
    person.ask("PUT", plain, 201, json={"said": word("jsonface")})
    person.ask("POST", "/v1/storage/blobs", 201, content=word("blob").encode() * 50_000)
    begun = person.post("/v1/storage/uploads", {"bytes": 1 << 20}, 201)
    person.ask(
        "PUT",
        f"/v1/storage/uploads/{begun['id']}",
        content=word("upload").encode() * 1000,
        headers={"upload-offset": "0"},
    )


def sign_in(door: Person) -> tuple[Person, str, str]:
    """An account by two wallets of Ethereum, let in with a key."""
    wallets = [Account.create(), Account.create()]
    dids = [f"did:pkh:eip155:1:{wallet.address.lower()}" for wallet in wallets]

    def signed(person: Person, at: int, **asked: str) -> dict[str, str]:
        message = person.post("/v1/auth/challenge", {"account": dids[at], **asked})["message"]
        signature = wallets[at].sign_message(encode_defunct(text=message)).signature.hex()
        return {"message": message, "signature": "0x" + signature.removeprefix("0x")}

    token = door.post("/v1/auth/verify", signed(door, 0))["token"]
    person = Person(door.node, token)
    person.post("/v1/identity/links", signed(person, 1, purpose="link"))
    hash_of_next = {"next_key_sha256": "ab" * 32, "recovery": dids[1]}
    person.post("/v1/identity/prepare", hash_of_next)
    # Open, and never answered.
    person.post("/v1/auth/challenge", {"account": dids[0]})
    return person, dids[0], dids[1]


def search(data_dir: Path, words: list[str]) -> list[str]:
    """Which words are in which files, as text and as what encodings make of it."""
    found = []
    forms = [
        (one, form)
        for one in words
        for form in (one.encode(), one.encode("utf-16-le"), base64.b64encode(one.encode())[:-4])
    ]
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert any(path.name == "storage.db" for path in files)
    for path in files:
        there = path.read_bytes()
        name = path.name.encode()
        hits = [one for one, form in forms if form in there or form in name]
        found += [f"{one} in {path.name}" for one in hits]
    return found


def leaves(data_dir: Path) -> list[bytes]:
    """The audit log's leaves, read from the file without the node."""
    database = sqlite3.connect(f"file:{quote(str(data_dir / 'node.db'))}?mode=ro", uri=True)
    columns = "at_ms, action, outcome, commitment"
    rows = database.execute(f"SELECT {columns} FROM audit_entries ORDER BY seq").fetchall()
    database.close()
    return [
        b"\x01"
        + at_ms.to_bytes(8, "big", signed=True)
        + bytes([len(action)])
        + action.encode()
        + bytes([OUTCOMES[outcome]])
        + commitment
        for at_ms, action, outcome, commitment in rows
    ]


def head(person: Person) -> tuple[int, bytes]:
    """The size and the root that the node signs."""
    lines = person.ask("GET", "/v1/audit/checkpoint").text.split("\n")
    return int(lines[1]), base64.b64decode(lines[2])


def pages(person: Person) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    while True:
        after = entries[-1]["index"] + 1 if entries else 0
        page = person.ask("GET", "/v1/audit/entries", params={"from": after}).json()
        entries += page["data"]
        if not page["has_more"]:
            return entries


def test_who_is_erased_is_in_no_file_and_the_log_still_verifies(
    people: tuple[Person, Person, Path],
) -> None:
    mine, other, data_dir = people
    for person, seed in ((mine, 1), (other, 2)):
        speak(person)
        leave_files(person)
        leave_documents(person, seed)
    account, did, linked = sign_in(mine)
    account.ask("PUT", "/couch/mine", 201)
    account.ask("PUT", "/couch/mine/a", 201, json={"said": word("docbody")})
    account.post(
        "/v1/chat/completions",
        {"model": SMOL, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]},
    )
    credential = {
        "id": f"urn:example:{word('credential')}",
        "credentialSubject": {"id": did, "name": word("credential")},
    }
    issued = mine.post("/v1/credentials/issue", {"credential": credential}, 201)
    mine.post("/v1/credentials/verify", issued)
    # Let in by somebody else, whose data it stays.
    other.ask("PUT", "/couch/shared", 201)
    member = {"members": {"names": [mine.subject, did]}}
    other.ask("PUT", "/couch/shared/_security", json=member)
    mine.ask("GET", "/couch/shared")
    everything = [word(face) for face in FACES]
    assert len(search(data_dir, everything)) > len(FACES) / 2, "the search finds what is there"

    told = mine.post("/v1/privacy/export", {})
    kinds = {held["holder"]: len(held["items"]) for held in told["holders"]}
    for holder in (
        "responses_and_conversations batches vector_stores files storage receipts_and_accounts "
        "identity keys audit"
    ).split():
        assert kinds[holder] > 0, (holder, kinds)
    of_account = account.post("/v1/privacy/export", {})
    named = json.dumps(of_account)
    assert all(name in named for name in (did, linked, "/couch/mine".split("/")[-1]))

    size, root = head(other)
    # Receipts of what is over are on their way to the disk.
    time.sleep(1)
    kept = other.post("/v1/privacy/export", {})["holders"]
    done = account.post("/v1/privacy/erase", {})
    assert sum(holder["erased"] for holder in done["holders"]) > 5
    erased = mine.post("/v1/privacy/erase", {})
    assert {holder["holder"] for holder in erased["holders"]} >= set(kinds)
    for person in (mine, account):
        person.ask("GET", "/v1/models", 401)

    # The other one wrote the same words. What names me is gone already.
    names = [mine.subject, mine.key.split("_")[1], word("keyname"), word("credential")]
    names += [part for name in (did, linked) for part in (name, name.split(":")[-1])]
    assert search(data_dir, names) == []
    still = other.post("/v1/privacy/export", {})["holders"]
    for before, after in zip(kept, still, strict=True):
        if before["holder"] != "audit":
            assert len(after["items"]) >= len(before["items"]), before["holder"]
    name = f"notes-{word('dbname').lower()}"
    assert other.ask("GET", f"/couch/{name}").json()["doc_count"] > 1200
    security = other.ask("GET", "/couch/shared/_security").json()
    assert security["members"]["names"] == []

    verify(other, data_dir, size, root)
    last = other.post("/v1/privacy/erase", {})
    assert last["receipt"]["note"]
    assert search(data_dir, [*everything, *names, other.subject, other.key.split("_")[1]]) == []


def verify(person: Person, data_dir: Path, size: int, root: bytes) -> None:
    """pymerkle's tree over the leaves in the file is the one that was signed, before and after."""
    entries = pages(person)
    now, new_root = head(person)
    assert now > size
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in leaves(data_dir)[:now]:
        tree.append_entry(leaf)
    assert tree.get_root(size) == root
    assert tree.get_root(now) == new_root
    pymerkle.verify_consistency(root, new_root, tree.prove_consistency(size, now))
    query = {"first": size, "second": now}
    ours = person.ask("GET", "/v1/audit/proofs/consistency", params=query).json()
    roots = [bytes.fromhex(ours[name]) for name in ("first_root", "second_root")]
    assert roots == [root, new_root]
    chosen = random.Random(3).sample(entries, min(20, len(entries)))
    for entry in chosen:
        query = {"entry": entry["index"], "size": now}
        ours = person.ask("GET", "/v1/audit/proofs/inclusion", params=query).json()
        leaf = bytes.fromhex(ours["leaf_hash"])
        path = [leaf, *map(bytes.fromhex, ours["hashes"])]
        theirs = tree.prove_inclusion(entry["index"] + 1, now)
        assert path == theirs.path
        proof = pymerkle.InclusionProof("sha256", True, now, entry["index"] + 1, theirs.rule, path)
        pymerkle.verify_inclusion(leaf, new_root, proof)
