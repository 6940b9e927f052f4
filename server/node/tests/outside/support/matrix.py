"""What `test_matrix` needs: a node with keys and things of several people, requests that are refused, and all that
the node keeps as one value."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct

from support.node import SMOL, Node, eventually, kwaainet, succeeded

ROOTS = ("/v1/identity", "/v1/auth", "/v1/credentials", "/v1/storage", "/couch", "/v1/carbon")
ROOTS += ("/emissions", "/v1/rewards", "/v1/audit", "/v1/privacy", "/.well-known")
SCOPES = ("inference", "identity", "storage", "carbon", "rewards", "audit")
# Small bounds, so that what is too large is soon sent. Strangers may come in with every scope that there is: what
# they still may not do, their tier keeps from them.
BODY_BYTES = 64 << 10
MIB = 1 << 20
CONFIG = f"""
[limits]
body_bytes = {BODY_BYTES}
[storage]
body_mib = 1
document_mib = 1
attachment_mib = 1
blob_mib = 1
[identity]
strangers = {json.dumps(SCOPES)}
"""
# The log of what was refused grows by that; the others are written by the clock.
ITS_OWN = {"audit_entries", "audit_subjects", "log_nodes", "log_checkpoints", "carbon_hours"}
ITS_OWN |= {"storage_meters", "api_keys", "replications", "erasure_replicas"}

# CouchDB's words for what every protocol here refuses.
COUCH = {
    "invalid_api_key": "unauthorized",
    "insufficient_permissions": "forbidden",
    "request_too_large": "too_large",
    "invalid_value": "bad_request",
    None: "bad_request",
}


TITLES = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
TITLES |= {413: "Payload Too Large"}


@dataclass(frozen=True)
class No:
    """A refusal: the status, the code, and the words with which the message begins where they matter."""

    status: int
    code: str | None
    says: str = ""

    def check(self, path: str, reply: httpx.Response) -> None:
        assert reply.status_code == self.status, reply.text
        assert ("www-authenticate" in reply.headers) == (self.status == 401)
        said = reply.json()
        if path.startswith("/couch"):
            assert set(said) == {"error", "reason"}, said
            assert said["error"] == COUCH.get(self.code, self.code), said
            message = said["reason"]
        elif path.startswith("/emissions"):
            assert reply.headers["content-type"] == "application/problem+json"
            assert (said["status"], said["type"]) == (self.status, "about:blank"), said
            assert said["title"] == TITLES[self.status], said
            message = said["detail"]
        else:
            assert set(said) == {"error"}, said
            error = said["error"]
            assert set(error) == {"message", "type", "param", "code"}, error
            assert (error["type"], error["code"]) == ("invalid_request_error", self.code), error
            message = error["message"]
        assert message.startswith(self.says) and message, message


@dataclass(frozen=True)
class Row:
    """A route: a request of it that would be honoured, and what is answered otherwise."""

    # The body, the query and the headers of a good request; a body that is bytes is no JSON.
    body: Any = None
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    # Of which things the names in the path are, where those have another name.
    names: dict[str, str] = field(default_factory=dict)
    # Whose request it would be.
    by: str = "owner"
    # Whether anybody may ask (`all`), or somebody who is nobody yet (`signing`).
    public: str = ""
    # What a stranger who signed in is told, where his scopes would do.
    tier: No | None = None
    # What another one is told who names the owner's things; or of what the list is that he gets.
    foreign: Any = None
    # Of a database: whether the route reads it, edits documents, or is for its admins.
    needs: str = ""
    # For each name in the path, what is answered where it names nothing.
    missing: dict[str, No] = field(default_factory=dict)
    # Changes to the good request that spoil it.
    bad: tuple[tuple[dict[str, Any], No], ...] = ()


OWN = "a list of his own"
# Of the audit log: what he asked for stands there in his own words.
BY_OR_ABOUT_HIM = "entries by him or about him"


@dataclass
class World:
    """A node with keys. Its owner has things; another key has none of them, a third has no scopes to speak of, and a
    stranger signed in whom nobody let in."""

    node: Node
    keys: dict[str, str]
    things: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.node.url, timeout=30)

    def send(
        self,
        by: str | None,
        label: str,
        body: Any = None,
        query: str = "",
        headers: dict[str, str] | None = None,
        **names: str,
    ) -> httpx.Response:
        """A request of a route, about the owner's things but for those that are named."""
        method, path = label.split(" ")
        chosen = {name: value.format(**self.things) for name, value in names.items()}
        path = path.format(**{**self.things, **chosen})
        headers = dict(headers or {})
        if by:
            headers.setdefault("authorization", f"Bearer {self.keys[by]}")
        if callable(body):
            body = body(self)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("content-type", "application/json")
        if path.startswith("/v1/auth/passkey"):
            # Passkeys are for names.
            headers["host"] = f"localhost:{self.node.port}"
        query = query.format(**self.things)
        url = f"{path}?{query}" if query else path
        return self.http.request(method, url, content=body, headers=headers)

    def good(self, by: str | None, label: str, body: Any = None, **more: Any) -> Any:
        reply = self.send(by, label, body, **more)
        assert reply.is_success, f"{label}: {reply.text}"
        return reply.json()

    def state(self) -> dict[str, Any]:
        """All that the node keeps, but for what it writes by itself."""
        rows: dict[str, Any] = {}
        for file in ("node.db", "storage.db"):
            place = f"file:{self.node.data_dir / file}?mode=ro"
            with sqlite3.connect(place, uri=True) as db:
                found = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
                for (table,) in found:
                    if table not in ITS_OWN:
                        lines = map(repr, db.execute(f"SELECT * FROM {table}"))
                        rows[f"{file} {table}"] = sorted(lines)
            db.close()
        files = sorted((self.node.data_dir / "blobs").iterdir())
        rows["blobs"] = [(file.name, file.stat().st_size) for file in files]
        return rows

    def signed(self, purpose: str, by: str | None, wallet: Any) -> dict[str, str]:
        """A text that was asked for, with the signature of an Ethereum account (EIP-191)."""
        asked = {"account": did(wallet), "purpose": purpose}
        text = self.good(by, "POST /v1/auth/challenge", asked)["message"]
        signature = wallet.sign_message(encode_defunct(text=text)).signature.hex()
        return {"message": text, "signature": "0x" + signature.removeprefix("0x")}

    def signs_in(self, name: str, by: str | None) -> str:
        """Somebody new signs in, whom a key lets in if there is one; his DID."""
        wallet = Account.create()
        session = self.good(by, "POST /v1/auth/verify", self.signed("sign_in", by, wallet))
        self.keys[name] = session["token"]
        self.things[f"session_of_{name}"] = session["id"]
        return did(wallet)

    def fill(self) -> None:
        """Gives the owner his things."""
        things = self.things
        things.update(db="ownersnotes", id="moonstone", name="phases", list="1")
        owner = f"key:{self.keys['owner'].split('_')[1]}"
        other = f"key:{self.keys['other'].split('_')[1]}"
        things.update(owner=owner)
        for db, mode in (("ownersnotes", "private"), ("shared", "private"), ("open", "public")):
            self.good("owner", "PUT /couch/{db}", db=db, query=f"mode={mode}")
        members = {"members": {"names": [other]}}
        self.good("owner", "PUT /couch/{db}/_security", members, db="shared")
        for id in ("moonstone", "_design/moonstone"):
            path = f"PUT /couch/ownersnotes/{id}"
            rev = self.good("owner", path, {"views": {}})["rev"]
            self.good("owner", f"{path}/phases", b"full", query=f"rev={rev}")
        self.good("owner", "PUT /couch/{db}/_local/{id}", {})
        things["rev"] = self.good("owner", "GET /couch/{db}/{id}")["_rev"]
        things["hash"] = self.good("owner", "POST /v1/storage/blobs", b"lunar")["hash"]
        things["upload"] = self.good("owner", "POST /v1/storage/uploads", {"bytes": 4})["id"]
        things["account"] = self.signs_in("session", "owner")
        self.signs_in("other_session", "other")
        self.signs_in("stranger", None)
        things["session"] = things["session_of_session"]
        replication = {"database": "ownersnotes", "url": "https://replica.invalid/couch/x"}
        replication |= {"token": "kw_a_b", "direction": "push"}
        kept = self.good("owner", "POST /v1/storage/replications", replication)
        erased = self.good("owner", "POST /v1/storage/databases/{db}/erase", {"ids": ["nothing"]})
        things.update(replication=kept["id"], erasure=erased["id"])
        grant = {"to": "key:x", "access": "read", "purpose": "tax"}
        grant["expires_at"] = int(time.time()) + 3_600
        things["grant"] = self.good("owner", "POST /v1/storage/databases/{db}/grants", grant)["id"]
        link = Account.create()
        self.good("session", "POST /v1/identity/links", self.signed("link", "session", link))
        things["did"] = did(link)
        subject = {"credentialSubject": {"id": things["account"]}}
        issued = self.good("owner", "POST /v1/credentials/issue", {"credential": subject})
        things["credential"] = json.dumps(issued["verifiableCredential"])
        minted = self.good("owner", "POST /v1/auth/capabilities", {"scopes": ["storage"]})
        things["capability"] = minted["token"]
        exported = self.good("owner", "POST /v1/privacy/export", {})
        things["entry"] = str(exported["receipt"]["audit_index"])
        asked = {"model": SMOL, "prompt": "One,", "max_tokens": 1}
        things["request_id"] = self.good("owner", "POST /v1/completions", asked)["id"]
        transfers = "GET /v1/rewards/transfers"
        paid = eventually(lambda: self.good("owner", transfers)["data"], within=20)
        things["transfer"] = paid[-1]["id"]

    def of_the_owner(self) -> list[str]:
        """What nobody else's list may show."""
        names = ("db", "id", "hash", "upload", "session", "account", "did", "transfer")
        return [self.things[name] for name in names]


def did(wallet: Any) -> str:
    return f"did:pkh:eip155:1:{wallet.address.lower()}"


def keyed(folder: Path) -> World:
    """A node with three keys, whose model answers what the ledger has to pay for."""
    make = ("keys", "create", "--data-dir", folder / "data")
    scoped = [part for scope in SCOPES for part in ("--scope", scope)]
    keys = {name: succeeded(kwaainet(folder, *make, *scoped)).strip() for name in ("owner", "other")}
    keys["poor"] = succeeded(kwaainet(folder, *make, "--scope", "inference")).strip()
    return World(Node(folder, "--model", SMOL, config=CONFIG), keys)


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[World]:
    """Such a node, in which everybody has his things."""
    world = keyed(folder)
    try:
        world.fill()
        yield world
        world.http.close()
        world.node.stop()
    finally:
        world.node.kill()


NOBODY = No(401, "invalid_api_key", "no API key was given")
NOT_JSON = "application/octet-stream"
# What stands where a name should: no UTF-8, and the way to another file.
NO_TEXT = "%FF%FE"
ELSEWHERE = "..%2F..%2Fnode.key"


def refusals(label: str, row: Row, kinds: set[str]) -> Iterator[tuple[str, str | None, dict[str, Any], No]]:
    """The requests of a route that are refused: what is wrong, who asks, what he changes, and the refusal. `kinds` are
    the media types that the document has for the body."""
    path = label.split(" ")[1]
    names = {name: f"{{{thing}}}" for name, thing in row.names.items()}
    good = {"body": row.body, "query": row.query, "headers": row.headers, **names}
    couch = path.startswith("/couch")
    if not row.public:
        yield "nobody", None, good, NOBODY
        yield "wrong scope", "poor", good, No(403, "insufficient_permissions", "the API key lacks the scope")
        if path.startswith(("/v1/storage", "/couch", "/v1/rewards", "/v1/audit", "/v1/privacy")):
            lacks = No(403, "insufficient_permissions", "the API key lacks the scope")
            yield "wrong tier", "stranger", good, lacks
    elif row.public == "signing":
        yield "a key that is none", None, {**good, "headers": {"authorization": "Bearer kw_a_b"}}, (
            No(401, "invalid_api_key", "the API key is not valid")
        )
    if row.tier:
        yield "wrong tier", "stranger", good, row.tier
    other = "other_session" if row.by == "session" else "other"
    if isinstance(row.foreign, No):
        yield "wrong owner", other, good, row.foreign
    if row.needs:
        yield "wrong owner", other, good, row.missing["db"]
        code = "forbidden" if couch else "insufficient_permissions"
        says = "You are not allowed to access this db." if couch else "You may not do this with the database."
        if row.needs != "read":
            yield "a reader", other, {**good, "db": "open"}, No(403, code, says)
        if row.needs == "admin":
            yield "a member", other, {**good, "db": "shared"}, No(403, code, says)
    for name, refusal in row.missing.items():
        yield f"{name} is nothing", row.by, {**good, name: ELSEWHERE}, refusal
    for name in row.missing:
        no_text = No(400, "invalid_value", "a name in the URL is not UTF-8")
        yield f"{name} is no text", row.by, {**good, name: NO_TEXT}, no_text
    if kinds:
        large = b" " * (MIB + 1 if couch or NOT_JSON in kinds else BODY_BYTES + 1)
        typed = {**row.headers, "content-type": next(iter(kinds))}
        too_large = {**good, "body": large, "headers": typed}
        yield "oversized", row.by, too_large, No(413, "request_too_large")
    if kinds and NOT_JSON not in kinds:
        cut = b"[" if isinstance(row.body, list) else b'{"a":'
        for body in (cut, b"\xff", b""):
            spoiled = {**good, "body": body, "headers": {**row.headers, "content-type": "application/json"}}
            says = "invalid UTF-8 JSON" if couch else "the request body is not valid JSON"
            yield f"the body is {body!r}", row.by, spoiled, No(400, None, says)
    for change, refusal in row.bad:
        yield f"{change}", row.by, {**good, **change}, refusal
