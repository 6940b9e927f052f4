"""The table of `test_matrix`: a row for every route of identity, storage, carbon, rewards and audit. What most routes have
in common is in `support.matrix.refusals`; here stands what a good request of each is, whose things it names, and which
changes spoil it in what way."""

from __future__ import annotations

import json
import time
from typing import Any

from eth_account import Account

from support.matrix import BY_OR_ABOUT_HIM, OWN, No, Row, World

NO_DB = No(404, "database_not_found", "No such database.")
NO_DOCUMENT = No(404, "document_not_found", "No such document.")
NO_BLOB = No(404, "blob_not_found", "No such blob.")
NO_UPLOAD = No(404, "upload_not_found", "No such upload.")
NO_REPLICATION = No(404, "replication_not_found", "No such replication.")
NO_ERASURE = No(404, "erasure_not_found", "No such erasure.")
NO_GRANT = No(404, "grant_not_found", "No such grant.")
COUCH_NO_DB = No(404, "not_found", "Database does not exist.")
COUCH_NO_DOCUMENT = No(404, "not_found", "missing")
COUCH_NO_ATTACHMENT = No(404, "not_found", "Document is missing attachment")
BAD_REQUEST = No(400, "bad_request")
CONFLICT = No(409, "conflict", "Document update conflict.")
INVALID = No(400, "invalid_value", "Invalid '")
WRONG_TYPE = No(400, "invalid_type", "Invalid type for '")
LACKING = No(400, "missing_required_parameter", "Missing required parameter: '")
NOT_SIGNED_IN = No(403, "insufficient_permissions", "this is for whoever has signed in with a DID")
NOT_THE_OWNER = No(403, "insufficient_permissions", "only whoever has one of the owner's keys")
USED = No(401, "invalid_nonce")
OTHERS = No(403, "insufficient_permissions", "Only the node's owner may ask about others.")
NO_LINK = No(404, "link_not_found", "your account has no such link")
NO_SESSION = No(404, "session_not_found", "you have no such session")


def bodies(*changes: tuple[Any, No]) -> tuple[tuple[dict[str, Any], No], ...]:
    return tuple(({"body": body}, refusal) for body, refusal in changes)


def queries(*changes: tuple[str, No]) -> tuple[tuple[dict[str, Any], No], ...]:
    return tuple(({"query": query}, refusal) for query, refusal in changes)


def a_credential(world: World) -> dict[str, Any]:
    return {"verifiableCredential": json.loads(world.things["credential"])}


def of_a_key(body: Any = None, *bad: tuple[dict[str, Any], No], **more: Any) -> Row:
    """A route for whoever has signed in, which a key alone does not open."""
    return Row(body, by="session", bad=(({"by": "owner"}, NOT_SIGNED_IN), *bad), **more)


SIGNED = bodies(
    ({}, LACKING),
    ({"message": 7, "signature": "0x"}, WRONG_TYPE),
    ({"message": "x", "signature": "0x"}, No(400, "invalid_value", "the message is no sign-in message")),
)
CREDENTIAL = bodies(({}, LACKING), ({"verifiableCredential": 7}, WRONG_TYPE))
PASSKEY = bodies(
    ({}, LACKING),
    ({"ceremony": "x"}, LACKING),
    ({"ceremony": "x", "credential": {}, "scopes": ["x"]}, INVALID),
    ({"ceremony": "x", "credential": {}}, USED),
)
ANYBODY = Row(public="all")
SOMEBODY = {"account": "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"}

IDENTITY: dict[str, Row] = {
    "GET /.well-known/did.json": ANYBODY,
    "GET /v1/identity/node": ANYBODY,
    "GET /v1/identity/node/history": ANYBODY,
    "GET /v1/credentials/status-lists/{list}": Row(
        public="all",
        missing={"list": No(404, "list_not_found")},
        bad=(({"list": "01"}, No(404, "list_not_found")),),
    ),
    "GET /v1/identity/me": Row(by="session", foreign=OWN),
    "GET /v1/identity/resolve/{did}": Row(
        missing={"did": No(400, "invalid_did")},
        bad=(
            ({"did": "did:web:127.0.0.1"}, No(400, "invalid_did")),
            ({"did": "did:web:localhost%253A1"}, No(400, "address_not_allowed")),
            ({"did": "did:web:localhost:..:x"}, No(400, "invalid_did")),
        ),
    ),
    "POST /v1/identity/credentials": of_a_key(
        a_credential,
        *CREDENTIAL,
        ({"body": {"verifiableCredential": {}}}, No(400, "invalid_credential")),
        foreign=No(400, "wrong_subject", "the credential is about somebody else"),
    ),
    "POST /v1/identity/prepare": of_a_key(
        {"next_key_sha256": "0" * 64, "recovery": SOMEBODY["account"]},
        *bodies(({}, LACKING), ({"next_key_sha256": "0" * 63, "recovery": SOMEBODY["account"]}, INVALID)),
        *bodies(({"next_key_sha256": "0" * 64, "recovery": "x"}, No(400, "invalid_did"))),
    ),
    "GET /v1/identity/links": of_a_key(foreign=OWN),
    "POST /v1/identity/links": of_a_key(
        lambda world: world.signed("link", "session", Account.create()),
        *SIGNED,
        foreign=No(401, "message_mismatch", "the message was asked for with another purpose"),
    ),
    "DELETE /v1/identity/links/{did}": of_a_key(foreign=NO_LINK, missing={"did": NO_LINK}),
    "POST /v1/identity/succeed": of_a_key(
        lambda world: world.signed("succeed", "session", Account.create()),
        *SIGNED,
        foreign=No(403, "insufficient_permissions", "this is not the DID that was named to come next"),
    ),
    "POST /v1/auth/challenge": Row(
        SOMEBODY,
        public="signing",
        bad=(
            *bodies(({}, LACKING), ({"account": "did:key:z"}, No(400, "invalid_did"))),
            *bodies(({"account": "did:web:example.com"}, No(400, "unsupported_value"))),
            *bodies(({**SOMEBODY, "purpose": "x"}, INVALID), ({**SOMEBODY, "scopes": ["x"]}, INVALID)),
            ({"body": {**SOMEBODY, "purpose": "link"}}, NOT_SIGNED_IN),
            (
                {
                    "by": "other_session",
                    "body": lambda world: {**SOMEBODY, "purpose": "succeed", "of": world.things["account"]},
                },
                No(403, "insufficient_permissions", "you may not recover this account"),
            ),
            ({"headers": {"host": "evil.example"}}, No(400, "unknown_origin")),
        ),
    ),
    "POST /v1/auth/verify": Row({}, public="signing", bad=SIGNED),
    "POST /v1/auth/passkey/register/begin": Row(
        {}, public="signing", bad=bodies(({"name": ""}, INVALID), ({"name": "x" * 129}, INVALID))
    ),
    "POST /v1/auth/passkey/register/complete": Row({}, public="signing", bad=PASSKEY),
    "POST /v1/auth/passkey/login/begin": Row(
        {},
        public="signing",
        bad=bodies(
            ({}, LACKING),
            (SOMEBODY, No(404, "passkey_not_found")),
            ({"account": "x"}, No(400, "invalid_did")),
        ),
    ),
    "POST /v1/auth/passkey/login/complete": Row({}, public="signing", bad=PASSKEY),
    "GET /v1/auth/sessions": of_a_key(foreign=OWN),
    "DELETE /v1/auth/sessions/{session}": of_a_key(foreign=NO_SESSION, missing={"session": NO_SESSION}),
    "POST /v1/auth/capabilities": Row(
        {"scopes": ["storage"]},
        tier=No(403, "insufficient_tier", "making capabilities takes tier 2"),
        bad=(
            *bodies(({}, LACKING), ({"scopes": []}, INVALID), ({"scopes": ["x"]}, INVALID)),
            *bodies(({"scopes": ["models"]}, No(403, "insufficient_permissions"))),
            *bodies(({"scopes": ["storage"], "paths": ["x"]}, INVALID)),
            *bodies(({"scopes": ["storage"], "paths": ['/"']}, INVALID)),
            *bodies(({"scopes": ["storage"], "expires_in": 0}, No(400, "integer_below_min_value"))),
        ),
    ),
    "POST /v1/auth/capabilities/revoke": Row(
        lambda world: {"token": world.things["capability"]},
        bad=bodies(({}, LACKING), ({"token": "biscuit:AAAA"}, INVALID)),
    ),
    # All keys are the owner's, so that they speak for the node alike; who merely signed in does not.
    "POST /v1/credentials/issue": Row(
        {"credential": {"credentialSubject": {"id": "did:example:x"}}},
        tier=NOT_THE_OWNER,
        bad=(
            *bodies(({}, LACKING), ({"credential": {}}, No(400, "invalid_value"))),
            *bodies(
                ({"credential": {"credentialSubject": {"id": "x:y"}, "issuer": "did:example:y"}}, INVALID)
            ),
            (
                {
                    "body": b'{"credential": {"id": "a:b", "id": "a:c"}}',
                    "headers": {"content-type": "application/json"},
                },
                No(400, "invalid_value"),
            ),
            ({"by": "session"}, NOT_THE_OWNER),
        ),
    ),
    "POST /v1/credentials/verify": Row(a_credential, bad=CREDENTIAL),
    "POST /v1/credentials/presentations/verify": Row(
        {"verifiablePresentation": {}},
        bad=bodies(({}, LACKING), ({"verifiablePresentation": []}, WRONG_TYPE)),
    ),
    "POST /v1/credentials/present": Row(
        {"presentation": {}},
        tier=NOT_THE_OWNER,
        bad=(
            *bodies(({}, LACKING), ({"presentation": {"holder": "did:example:x"}}, No(400, "invalid_value"))),
            *bodies(({"presentation": {"proof": {}}}, No(400, "invalid_value"))),
        ),
    ),
    "POST /v1/credentials/status": Row(
        lambda world: {"credentialId": json.loads(world.things["credential"])["id"], "status": True},
        tier=NOT_THE_OWNER,
        bad=bodies(
            ({}, LACKING),
            ({"credentialId": "urn:x:y", "status": True}, No(404, "credential_not_found")),
            ({"credentialId": "urn:x:y", "status": False}, INVALID),
            ({"credentialId": "urn:x:y", "status": True, "statusPurpose": "x"}, INVALID),
        ),
    ),
}


def database(body: Any = None, *bad: tuple[dict[str, Any], No], needs: str, **more: Any) -> Row:
    return Row(body, needs=needs, bad=bad, **{"missing": {"db": NO_DB}, **more})


def upload(**more: Any) -> Row:
    return Row(names={"id": "upload"}, foreign=NO_UPLOAD, missing={"id": NO_UPLOAD}, **more)


BLOB = {"foreign": NO_BLOB, "missing": {"hash": NO_BLOB}}
DOCUMENT = {"db": NO_DB, "id": NO_DOCUMENT}
SEEN = {"if-match": '"9-x"'}
# Nobody is there; it may be tried for ever.
REPLICA = {"database": "ownersnotes", "url": "https://replica.invalid/couch/x", "token": "kw_a_b"}
REPLICATION = {**REPLICA, "direction": "push"}
GRANT = {"to": "key:x", "access": "read", "purpose": "tax", "expires_at": int(time.time()) + 3_600}
STALE = No(412, "revision_mismatch")

STORAGE: dict[str, Row] = {
    "GET /v1/storage/usage": Row(foreign=OWN),
    "GET /v1/storage/databases": Row(foreign=OWN),
    "POST /v1/storage/databases": Row(
        {"name": "fresh"},
        bad=bodies(
            ({}, No(400, "invalid_value")),
            ({"name": "../up"}, No(400, "invalid_value")),
            ({"name": "A"}, No(400, "invalid_value")),
            ({"name": "a", "mode": "x"}, No(400, "invalid_value")),
            ({"name": "ownersnotes"}, No(409, "database_exists")),
        ),
    ),
    "GET /v1/storage/databases/{db}": database(needs="read"),
    "DELETE /v1/storage/databases/{db}": database(needs="admin"),
    "GET /v1/storage/databases/{db}/changes": database(
        None, *queries(("since=x", No(400, "bad_request"))), needs="read"
    ),
    "GET /v1/storage/databases/{db}/docs": database(
        None, *queries(("limit=0", INVALID), ("limit=x", No(400, "invalid_value"))), needs="read"
    ),
    "GET /v1/storage/databases/{db}/docs/{id}": database(needs="read", missing=DOCUMENT),
    "PUT /v1/storage/databases/{db}/docs/{id}": database(
        {"round": True},
        ({}, STALE),
        ({"headers": SEEN}, STALE),
        ({"headers": {"if-match": "x"}}, INVALID),
        ({"id": "new", "body": {"_rev": "1-a"}}, INVALID),
        ({"id": "_new"}, No(400, "invalid_document")),
        ({"id": "x" * 1_025}, No(400, "invalid_document")),
        needs="write",
    ),
    "DELETE /v1/storage/databases/{db}/docs/{id}": database(
        None, ({"headers": {}}, LACKING), ({}, STALE), needs="write", headers=SEEN, missing=DOCUMENT
    ),
    "POST /v1/storage/databases/{db}/erase": database(
        {"ids": ["moonstone"]}, *bodies(({"ids": []}, INVALID), ({}, No(400, "invalid_value"))), needs="admin"
    ),
    "GET /v1/storage/databases/{db}/export": database(needs="read"),
    "GET /v1/storage/erasures/{id}": Row(
        names={"id": "erasure"}, foreign=NO_ERASURE, missing={"id": NO_ERASURE}
    ),
    "GET /v1/storage/databases/{db}/grants": database(needs="admin"),
    "POST /v1/storage/databases/{db}/grants": database(
        GRANT,
        *bodies(
            ({}, No(400, "invalid_value")),
            ({**GRANT, "to": ""}, INVALID),
            ({**GRANT, "purpose": ""}, INVALID),
            ({**GRANT, "access": "admin"}, No(400, "invalid_value")),
            ({**GRANT, "expires_at": 1}, INVALID),
            ({**GRANT, "expires_at": 1 << 62}, INVALID),
            ({**GRANT, "documents": []}, INVALID),
        ),
        needs="admin",
    ),
    "DELETE /v1/storage/databases/{db}/grants/{id}": database(
        needs="admin", names={"id": "grant"}, missing={"db": NO_DB, "id": NO_GRANT}
    ),
    "GET /v1/storage/replications": Row(foreign=OWN),
    "POST /v1/storage/replications": Row(
        REPLICATION,
        foreign=NO_DB,
        bad=bodies(
            ({}, No(400, "invalid_value")),
            ({**REPLICATION, "token": ""}, INVALID),
            ({**REPLICATION, "direction": "up"}, No(400, "invalid_value")),
            ({**REPLICATION, "url": "file:///etc/passwd"}, INVALID),
            ({**REPLICATION, "url": "https://a:b@replica.invalid/couch/x"}, INVALID),
            (
                {**REPLICATION, "url": "https://127.0.0.1/couch/x"},
                No(403, "insufficient_permissions", "This address is in the node's own network"),
            ),
        ),
    ),
    "GET /v1/storage/replications/{id}": Row(
        names={"id": "replication"}, foreign=NO_REPLICATION, missing={"id": NO_REPLICATION}
    ),
    "DELETE /v1/storage/replications/{id}": Row(
        names={"id": "replication"}, foreign=NO_REPLICATION, missing={"id": NO_REPLICATION}
    ),
    "GET /v1/storage/blobs": Row(foreign=OWN, bad=queries(("limit=0", INVALID), ("limit=1001", INVALID))),
    "POST /v1/storage/blobs": Row(b"sun"),
    "GET /v1/storage/blobs/{hash}": Row(
        **BLOB, bad=(({"headers": {"range": "bytes=9-"}}, No(416, "invalid_range")),)
    ),
    "DELETE /v1/storage/blobs/{hash}": Row(**BLOB),
    "GET /v1/storage/blobs/{hash}/proof": Row(
        query="offset=0",
        **BLOB,
        bad=queries(
            ("offset=5", INVALID), ("", No(400, "invalid_value")), ("offset=-1", No(400, "invalid_value"))
        ),
    ),
    "POST /v1/storage/uploads": Row(
        {"bytes": 4},
        bad=bodies(
            ({"bytes": 0}, INVALID), ({"bytes": 1 << 60}, INVALID), ({"bytes": -1}, No(400, "invalid_value"))
        ),
    ),
    "GET /v1/storage/uploads/{id}": upload(),
    "PUT /v1/storage/uploads/{id}": upload(
        body=b"moon",
        headers={"upload-offset": "0"},
        bad=(({"headers": {}}, INVALID), ({"headers": {"upload-offset": "2"}}, No(409, "upload_conflict"))),
    ),
    "DELETE /v1/storage/uploads/{id}": upload(),
}


def couch(body: Any = None, *bad: tuple[dict[str, Any], No], needs: str, **missing: No) -> Row:
    return Row(body, needs=needs, bad=bad, missing={"db": COUCH_NO_DB, **missing})


def couch_document(path: str) -> dict[str, Row]:
    """A document, and one of its attachments."""
    no_document = {"id": COUCH_NO_DOCUMENT}
    no_attachment = {**no_document, "name": COUCH_NO_ATTACHMENT}
    bad_rev = queries(("rev=x", No(400, "bad_request", "Invalid rev format")))
    old = queries(("rev=9-x", CONFLICT), ("", CONFLICT))
    return {
        f"GET {path}": couch(
            None,
            *bad_rev,
            *queries(("rev=9-x", COUCH_NO_DOCUMENT), ("revs=x", BAD_REQUEST)),
            needs="read",
            **no_document,
        ),
        f"PUT {path}": couch(
            {},
            ({}, CONFLICT),
            *bodies(
                ([], BAD_REQUEST), ({"_mine": 1}, No(400, "doc_validation")), ({"_rev": "x"}, BAD_REQUEST)
            ),
            *bodies(({"_id": "other"}, No(400, "bad_request", "Document ID must match the URL"))),
            needs="write",
        ),
        f"DELETE {path}": couch(None, *bad_rev, *old, needs="write", **no_document),
        f"GET {path}/{{name}}": couch(
            None,
            *bad_rev,
            ({"headers": {"range": "bytes=9-"}}, No(416, "requested_range_not_satisfiable")),
            needs="read",
            **no_attachment,
        ),
        f"PUT {path}/{{name}}": couch(b"new", *bad_rev, *old, ({"name": "_x"}, BAD_REQUEST), needs="write"),
        f"DELETE {path}/{{name}}": couch(None, *bad_rev, *old, needs="write"),
    }


NO_OPERATOR = No(400, "invalid_selector")
DEEP: dict[str, Any] = {}
for _ in range(40):
    DEEP = {"$not": DEEP or {"a": 1}}
SELECTORS = bodies(
    ({}, BAD_REQUEST),
    ({"selector": []}, NO_OPERATOR),
    ({"selector": {"$what": 1}}, NO_OPERATOR),
    ({"selector": {"a": {"$regex": "("}}}, NO_OPERATOR),
    ({"selector": {"a": {"$regex": "(a{1000}){1000}"}}}, NO_OPERATOR),
    ({"selector": DEEP}, NO_OPERATOR),
    ({"selector": {}, "sort": [{"a": "up"}]}, No(400, "invalid_sort_json")),
)

NO_INDEX = No(404, "not_found", "index_not_found")

COUCHDB: dict[str, Row] = {
    "GET /couch": Row(foreign=OWN),
    "GET /couch/_all_dbs": Row(foreign=OWN),
    "GET /couch/{db}": couch(needs="read"),
    "POST /couch/_replicate": Row(
        {"source": "ownersnotes", "target": REPLICA["url"]},
        foreign=COUCH_NO_DB,
        bad=bodies(
            ({}, BAD_REQUEST),
            ({"source": "ownersnotes", "target": "shared"}, BAD_REQUEST),
            ({"source": "ownersnotes", "target": "file:///etc/passwd"}, BAD_REQUEST),
        ),
    ),
    "POST /couch/{db}/{id}/_copy": Row(
        headers={"destination": "copied"},
        needs="write",
        missing={"db": COUCH_NO_DB, "id": COUCH_NO_DOCUMENT},
        bad=(
            ({"headers": {}}, BAD_REQUEST),
            ({"headers": {"destination": "_x"}}, BAD_REQUEST),
            ({"headers": {"destination": "moonstone"}}, CONFLICT),
        ),
    ),
    "DELETE /couch/{db}/_index/{ddoc}/json/{name}": Row(
        names={"ddoc": "id"},
        needs="write",
        missing={"db": COUCH_NO_DB, "ddoc": NO_INDEX, "name": NO_INDEX},
    ),
    # Names are one's own, so that nobody takes another's.
    "PUT /couch/{db}": Row(
        missing={"db": No(400, "illegal_database_name")},
        bad=(
            ({}, No(412, "file_exists")),
            ({"db": "_x"}, No(400, "illegal_database_name")),
            ({"db": "x", "query": "mode=x"}, BAD_REQUEST),
        ),
    ),
    "POST /couch/{db}": couch(
        {"_id": "moonstone"},
        ({}, CONFLICT),
        *bodies(([], BAD_REQUEST), ({"_id": 7}, BAD_REQUEST)),
        needs="write",
    ),
    "DELETE /couch/{db}": couch(None, *queries(("rev=1-a", BAD_REQUEST)), needs="admin"),
    "GET /couch/{db}/_all_docs": couch(
        None, *queries(("limit=x", BAD_REQUEST), ("keys=x", BAD_REQUEST)), needs="read"
    ),
    "POST /couch/{db}/_all_docs": couch({}, *bodies(({"keys": 7}, BAD_REQUEST)), needs="read"),
    "POST /couch/{db}/_bulk_docs": couch(
        {"docs": []}, *bodies(({}, BAD_REQUEST), ({"docs": 7}, BAD_REQUEST)), needs="write"
    ),
    "POST /couch/{db}/_bulk_get": couch(
        {"docs": []},
        *bodies(({}, BAD_REQUEST), ({"docs": [{"id": "a", "rev": "x"}]}, BAD_REQUEST)),
        needs="read",
    ),
    "GET /couch/{db}/_changes": couch(
        None,
        *queries(("feed=x", BAD_REQUEST), ("since=x", BAD_REQUEST), ("filter=a/b", BAD_REQUEST)),
        needs="read",
    ),
    "POST /couch/{db}/_changes": couch(
        {}, *queries(("filter=_selector", BAD_REQUEST), ("filter=_doc_ids", BAD_REQUEST)), needs="read"
    ),
    "POST /couch/{db}/_compact": couch(needs="admin"),
    "GET /couch/{db}/_design_docs": couch(None, *queries(("limit=x", BAD_REQUEST)), needs="read"),
    "POST /couch/{db}/_ensure_full_commit": couch(needs="write"),
    "POST /couch/{db}/_explain": couch({"selector": {}}, *SELECTORS, needs="read"),
    "POST /couch/{db}/_find": couch(
        {"selector": {}}, *SELECTORS, *bodies(({"selector": {}, "bookmark": "x"}, BAD_REQUEST)), needs="read"
    ),
    "GET /couch/{db}/_index": couch(needs="read"),
    "POST /couch/{db}/_index": couch(
        {"index": {"fields": ["a"]}}, *bodies(({"index": {}}, BAD_REQUEST), ({}, BAD_REQUEST)), needs="write"
    ),
    "GET /couch/{db}/_local/{id}": couch(needs="read", id=COUCH_NO_DOCUMENT),
    "PUT /couch/{db}/_local/{id}": couch(
        {},
        ({}, CONFLICT),
        *bodies(({"_rev": "0-9"}, CONFLICT), ({"_rev": "1-a"}, BAD_REQUEST), ([], BAD_REQUEST)),
        needs="write",
    ),
    "DELETE /couch/{db}/_local/{id}": couch(
        None, *queries(("rev=0-9", CONFLICT), ("rev=x", BAD_REQUEST)), needs="write", id=COUCH_NO_DOCUMENT
    ),
    "POST /couch/{db}/_missing_revs": couch(
        {}, *bodies(({"a": ["x"]}, BAD_REQUEST), ([], BAD_REQUEST)), needs="read"
    ),
    "POST /couch/{db}/_purge": couch(
        {}, *bodies(({"a": ["x"]}, BAD_REQUEST), ({"a": ["1-a"] * 10_001}, BAD_REQUEST)), needs="admin"
    ),
    "POST /couch/{db}/_revs_diff": couch(
        {}, *bodies(({"a": ["x"]}, BAD_REQUEST), ([], BAD_REQUEST)), needs="read"
    ),
    "GET /couch/{db}/_security": couch(needs="admin"),
    "PUT /couch/{db}/_security": couch(
        {}, *bodies(([], BAD_REQUEST), ({"members": {"names": ["x"] * 1_001}}, BAD_REQUEST)), needs="admin"
    ),
    **couch_document("/couch/{db}/{id}"),
    **couch_document("/couch/{db}/_design/{id}"),
}

NO_REQUEST = No(404, "request_not_found")
NO_TRANSFER = No(404, "transfer_not_found")
NO_ENTRY = No(404, "entry_not_found")
PLACE = queries(("", LACKING), ("location=Nowhere", INVALID), ("location=DE&time=x", INVALID))
MEAN = "location=DE&startTime=2023-01-01&endTime=2023-02-01"
PROOF = queries(
    ("first=x", INVALID), ("first=1&second=0", INVALID), ("first=1&second=99999999", INVALID), ("", LACKING)
)
LOG = queries(
    ("limit=0", INVALID),
    ("limit=1001", INVALID),
    ("from=-1", INVALID),
    ("from=18446744073709551615", INVALID),
)
ENTRIES = Row(
    foreign=BY_OR_ABOUT_HIM,
    bad=(*LOG, *queries(("outcome=x", INVALID)), ({"by": "other", "query": "subject={owner}"}, OTHERS)),
)
PRIVACY = Row(
    lambda world: {"subject": world.things["owner"]},
    foreign=OTHERS,
    bad=bodies(({"subject": ""}, INVALID), ({"subject": "x" * 257}, INVALID), ({"subject": 7}, WRONG_TYPE)),
)

BOOKS: dict[str, Row] = {
    "GET /v1/carbon/node": Row(),
    "GET /v1/carbon/best-window": Row(
        bad=queries(("duration_minutes=0", INVALID), ("from=x", INVALID), ("to=x", INVALID))
    ),
    "GET /v1/carbon/report": Row(
        bad=queries(("month=x", INVALID), ("month=2026-13", INVALID), ("format=x", INVALID))
    ),
    "GET /v1/carbon/requests/{request_id}": Row(foreign=NO_REQUEST, missing={"request_id": NO_REQUEST}),
    "GET /emissions/bylocation": Row(
        query="location=DE", bad=(*PLACE, *queries(("location=DE&location=FR", INVALID)))
    ),
    "GET /emissions/bylocations": Row(
        query="location=DE", bad=(*PLACE, *queries(("&".join(["location=DE"] * 65), INVALID)))
    ),
    "GET /emissions/bylocations/best": Row(query="location=DE", bad=PLACE),
    "GET /emissions/average-carbon-intensity": Row(
        query=MEAN, bad=queries(("location=DE", LACKING), (f"{MEAN}x", INVALID))
    ),
    "POST /emissions/average-carbon-intensity/batch": Row(
        [], bad=bodies(({}, WRONG_TYPE), ([{}], No(400, "invalid_value")))
    ),
    "GET /emissions/forecasts/current": Row(
        query="location=DE", bad=queries(("", LACKING), ("location=DE", No(404, "no_forecast")))
    ),
    "POST /emissions/forecasts/batch": Row(
        [], bad=bodies(({}, WRONG_TYPE), ([{}], No(400, "invalid_value")))
    ),
    "GET /v1/rewards/balance": Row(foreign=OWN, bad=queries(("after=x", INVALID), ("limit=0", INVALID))),
    "GET /v1/rewards/statement": Row(
        foreign=OWN, bad=queries(("month=x", INVALID), ("month=9999-01", INVALID))
    ),
    "GET /v1/rewards/tariff": Row(),
    "GET /v1/rewards/transfers": Row(foreign=OWN, bad=(*LOG, *queries(("format=x", INVALID)))),
    "GET /v1/rewards/checkpoint": Row(),
    "GET /v1/rewards/proofs/inclusion": Row(
        query="transfer={transfer}",
        foreign=NO_TRANSFER,
        bad=queries(
            ("", LACKING),
            ("transfer=x", INVALID),
            (f"transfer={'0' * 31}1", NO_TRANSFER),
            ("transfer={transfer}&size=0", INVALID),
        ),
    ),
    "GET /v1/rewards/proofs/consistency": Row(bad=PROOF),
    "GET /v1/audit/entries": ENTRIES,
    "GET /v1/audit/export": ENTRIES,
    "GET /v1/audit/checkpoint": Row(),
    "GET /v1/audit/proofs/inclusion": Row(
        query="entry={entry}",
        foreign=NO_ENTRY,
        bad=queries(("", LACKING), ("entry=x", INVALID), ("entry=99999999", NO_ENTRY)),
    ),
    "GET /v1/audit/proofs/consistency": Row(bad=PROOF),
    "POST /v1/privacy/export": PRIVACY,
    "POST /v1/privacy/erase": PRIVACY,
}

ROUTES = {**IDENTITY, **STORAGE, **COUCHDB, **BOOKS}
