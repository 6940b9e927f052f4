"""Requests that were taken once and come again: a nonce, a signed text, a revision, an offset, a name. Each has its exact
answer the second time, and changes nothing then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from eth_account import Account

from support.matrix import No, World, filled

USED = No(401, "invalid_nonce")
CONFLICT = No(409, "conflict", "Document update conflict.")
# Saying it again is no error where it is so already.
SO_ALREADY = None


@dataclass(frozen=True)
class Once:
    """A request, whose parts may be functions of the world, and what is said when it comes again."""

    label: str
    again: No | None
    body: Any = None
    query: Any = ""
    headers: Any = None
    names: Any = None
    by: str = "owner"
    # Whether even the first time is refused, and what came with it is used up.
    first: int = 2

    def id(self) -> str:
        return f"{self.label} {self.query if isinstance(self.query, str) else ''}".strip()


def passkey(kind: str) -> Any:
    def body(world: World) -> dict[str, Any]:
        begun = world.good(None, f"POST /v1/auth/passkey/{kind}/begin", {})
        return {"ceremony": begun["ceremony"], "credential": {}}

    return body


def revision(world: World) -> str:
    return world.good("owner", "GET /couch/{db}/{id}")["_rev"]


def upload(bytes: int) -> Any:
    def names(world: World) -> dict[str, str]:
        return {"id": world.good("owner", "POST /v1/storage/uploads", {"bytes": bytes})["id"]}

    return names


def signing_out(world: World) -> dict[str, str]:
    """Another session of the owner's account, whose end ends nothing else."""
    world.signs_in("leaving", "owner")
    return {"session": "current"}


def document(world: World, id: str) -> dict[str, str]:
    rev = world.good("owner", "PUT /couch/{db}/{id}", {}, id=id)["rev"]
    return {"if-match": f'"{rev}"'}


STORED = "/v1/storage/databases/{db}/docs/{id}"
MADE_ELSEWHERE = {"new_edits": False, "docs": [{"_id": "far", "_rev": "1-a", "n": 1}]}
PARTS = {"upload-offset": "0"}
ISSUED = {"credential": {"id": "urn:kwaai:once", "credentialSubject": {"id": "did:example:x"}}}

REPLAYS = [
    Once("POST /v1/auth/verify", USED, lambda w: w.signed("sign_in", "owner", Account.create())),
    Once("POST /v1/auth/passkey/register/complete", USED, passkey("register"), first=4),
    Once(
        "POST /v1/identity/links", USED, lambda w: w.signed("link", "session", Account.create()), by="session"
    ),
    Once("DELETE /v1/identity/links/{did}", No(404, "link_not_found"), by="session"),
    Once("DELETE /v1/auth/sessions/{session}", No(401, "invalid_session"), names=signing_out, by="leaving"),
    Once("POST /v1/credentials/issue", No(409, "duplicate_id"), ISSUED),
    Once("POST /v1/credentials/status", SO_ALREADY, {"credentialId": "urn:kwaai:once", "status": True}),
    Once("POST /v1/auth/capabilities/revoke", SO_ALREADY, lambda w: {"token": w.things["capability"]}),
    Once("POST /v1/storage/databases", No(409, "database_exists"), {"name": "once"}),
    Once("DELETE /v1/storage/databases/{db}", No(404, "database_not_found"), names=lambda w: {"db": "once"}),
    Once(f"PUT {STORED}", No(412, "revision_mismatch"), {"n": 1}, names=lambda w: {"id": "once"}),
    Once(
        f"PUT {STORED}",
        No(412, "revision_mismatch"),
        {"n": 2},
        headers=lambda w: document(w, "seen"),
        names=lambda w: {"id": "seen"},
    ),
    Once(
        f"DELETE {STORED}",
        No(404, "document_not_found"),
        headers=lambda w: document(w, "gone"),
        names=lambda w: {"id": "gone"},
    ),
    Once("POST /v1/storage/blobs", SO_ALREADY, b"the same bytes"),
    Once("DELETE /v1/storage/blobs/{hash}", No(404, "blob_not_found")),
    Once("PUT /v1/storage/uploads/{id}", No(409, "upload_conflict"), b"mo", headers=PARTS, names=upload(4)),
    Once(
        "PUT /v1/storage/uploads/{id}", No(404, "upload_not_found"), b"moon", headers=PARTS, names=upload(4)
    ),
    Once("DELETE /v1/storage/uploads/{id}", No(404, "upload_not_found"), names=upload(4)),
    Once("PUT /couch/{db}", No(412, "file_exists"), names=lambda w: {"db": "again"}),
    Once("DELETE /couch/{db}", No(404, "not_found"), names=lambda w: {"db": "again"}),
    Once("PUT /couch/{db}/{id}", CONFLICT, lambda w: {"_rev": revision(w), "n": 2}),
    Once("PUT /couch/{db}/{id}/{name}", CONFLICT, b"new", query=lambda w: f"rev={revision(w)}"),
    Once("DELETE /couch/{db}/{id}/{name}", CONFLICT, query=lambda w: f"rev={revision(w)}"),
    Once("DELETE /couch/{db}/{id}", CONFLICT, query=lambda w: f"rev={revision(w)}"),
    Once("POST /couch/{db}/_bulk_docs", SO_ALREADY, MADE_ELSEWHERE),
    Once("POST /couch/{db}/_purge", SO_ALREADY, {"far": ["1-a"]}),
    Once("PUT /couch/{db}/_local/{id}", CONFLICT, {"_rev": "0-1"}),
    Once("DELETE /couch/{db}/_local/{id}", No(404, "not_found")),
    Once("POST /couch/{db}/_index", SO_ALREADY, {"index": {"fields": ["n"]}}),
    Once("PUT /couch/{db}/_security", SO_ALREADY, {"members": {"names": ["key:x"]}}),
    Once("POST /couch/{db}/_compact", SO_ALREADY),
    # His other sessions end with it, so that this is the last.
    Once(
        "POST /v1/identity/succeed",
        No(401, "invalid_session"),
        lambda w: w.signed("succeed", "session", Account.create()),
        by="session",
    ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with filled(tmp_path_factory.mktemp("replays")) as world:
        yield world


@pytest.mark.parametrize("once", REPLAYS, ids=Once.id)
def test_what_comes_again_changes_nothing(world: World, once: Once) -> None:
    def made(part: Any) -> Any:
        return part(world) if callable(part) else part

    names = made(once.names) or {}
    headers, query, body = made(once.headers), made(once.query), made(once.body)
    request = {"body": body, "query": query, "headers": headers, **names}
    first = world.send(once.by, once.label, **request)
    assert first.status_code // 100 == once.first, first.text
    before = world.state()
    again = world.send(once.by, once.label, **request)
    if once.again is SO_ALREADY:
        assert again.is_success, again.text
    else:
        once.again.check(once.label.split(" ")[1], again)
    after = world.state()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"{once.label} came again and changed {changed}"


def test_a_capability_that_was_taken_back_opens_nothing(world: World) -> None:
    asked = {"scopes": ["storage"], "paths": ["/couch/ownersnotes"]}
    world.keys["handed_on"] = world.good("owner", "POST /v1/auth/capabilities", asked)["token"]
    assert world.send("handed_on", "GET /couch/{db}").status_code == 200
    no = No(403, "insufficient_permissions", "the capability is not valid here")
    no.check("/couch", world.send("handed_on", "GET /couch/{db}2"))
    world.good("owner", "POST /v1/auth/capabilities/revoke", {"token": world.keys["handed_on"]})
    no = No(401, "invalid_capability", "the capability is not valid here: it was revoked")
    no.check("/couch", world.send("handed_on", "GET /couch/{db}"))
