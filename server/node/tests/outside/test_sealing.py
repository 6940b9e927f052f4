"""Private databases on the disk: nothing that was written into one is found in the node's files, while it runs, after it
was killed, or after the database was deleted; and only the keys of those who may open it do."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from support.node import Node, kwaainet, running, succeeded
from support.wire import Reply, ask

WORDS = ("kanarienvogel-text", "kanarienvogel-anhang", "kanarienvogel-name", "kanarienvogel-lokal")
DB = "/couch/notes"
# What documents are called is not encrypted, but it goes with the database.
ID = "kanarienvogel-id-"


def key(folder: Path) -> str:
    made = kwaainet(folder, "keys", "create", "--scope", "storage", "--data-dir", folder / "data")
    return succeeded(made).strip()


def send(node: Node, key: str, method: str, path: str, body: object = None) -> Reply:
    held = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(node, method, path, held, {"Authorization": f"Bearer {key}"})


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in (folder / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def places(folder: Path, word: str) -> list[str]:
    """The files in which a word is found: as it is, in hexadecimal digits, or in base64 at each of its places."""
    plain = word.encode()
    shapes = [plain, plain.hex().encode()]
    for before in range(3):
        text = base64.b64encode(b"\0" * before + plain)
        shapes.append(text[0 if before == 0 else before + 1 : -4])
    return [name for name, held in files(folder).items() if any(shape in held for shape in shapes)]


def write(node: Node, key: str) -> None:
    text, attachment, name, local = WORDS
    data = base64.b64encode(attachment.encode()).decode()
    for n in range(50):
        document = {"n": n, "text": text, "_attachments": {name: {"data": data}}}
        assert send(node, key, "PUT", f"{DB}/{ID}{n}", document).status == 201
    big = (attachment * 20_000).encode()
    assert send(node, key, "PUT", f"{DB}/big/{name}", big).status == 201
    assert send(node, key, "PUT", f"{DB}/_local/here", {"text": local}).status == 201


def check(node: Node, key: str) -> None:
    text, attachment, name, local = WORDS
    for n in range(50):
        document = send(node, key, "GET", f"{DB}/{ID}{n}?attachments=true").json
        assert (document["n"], document["text"]) == (n, text)
        assert base64.b64decode(document["_attachments"][name]["data"]) == attachment.encode()
    assert send(node, key, "GET", f"{DB}/big/{name}").body == (attachment * 20_000).encode()
    assert send(node, key, "GET", f"{DB}/_local/here").json["text"] == local


def test_a_private_database_is_read_with_the_right_key_and_nowhere_else(folder: Path):
    ada, eve = key(folder), key(folder)
    with running(folder) as node:
        assert send(node, ada, "PUT", DB).status == 201
        assert send(node, ada, "GET", DB).json["encrypted"] is True
        write(node, ada)
        check(node, ada)
        held = files(folder)
        assert held["data/storage.db-wal"], "the log that is written ahead is looked at, too"
        for word in WORDS:
            assert places(folder, word) == []
        node.kill()
    for word in (*WORDS, ada.split("_")[2]):
        assert places(folder, word) == [], "after it was killed"

    with running(folder) as node:
        check(node, ada)
        assert send(node, eve, "GET", f"{DB}/{ID}0").status == 404
        member = {"members": {"names": [f"key:{eve.split('_')[1]}"]}}
        assert send(node, ada, "PUT", f"{DB}/_security", member).status == 200
        check(node, eve)
        node.kill()
    with running(folder) as node:
        check(node, eve)
        assert send(node, eve, "DELETE", DB).status == 403
        assert send(node, ada, "DELETE", DB).status == 200
        for word in (*WORDS, ID):
            assert places(folder, word) == [], "after it was deleted"
        assert send(node, ada, "GET", f"{DB}/{ID}0").status == 404
        # The search finds what is not private.
        assert send(node, ada, "PUT", f"{DB}?mode=public").status == 201
        write(node, ada)
        for word in WORDS:
            assert places(folder, word) != []


def test_the_owners_databases_outlive_a_rotation_of_the_nodes_key(folder: Path):
    with running(folder) as node:
        assert ask(node, "PUT", DB).status == 201
        written = ask(node, "PUT", f"{DB}/a", body=b'{"text":"kanarienvogel-text"}')
        assert written.status == 201
    rotated = kwaainet(folder, "identity", "rotate", "--data-dir", folder / "data")
    succeeded(rotated)
    assert "new key opens now: 1" in rotated.stderr
    with running(folder) as node:
        assert ask(node, "GET", f"{DB}/a").json["text"] == "kanarienvogel-text"
    assert places(folder, "kanarienvogel-text") == []
