"""Signing in and capabilities with the libraries of PyPI: eth-account's signatures, and biscuits that are
made weaker without asking the node; and the node's own key: its words, and another in its place."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from biscuit_auth import Algorithm, Biscuit, BlockBuilder, PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct

from support.node import Node, kwaainet, refused, running, succeeded

Reply = tuple[int, dict[str, Any]]


def ask(node: Node, method: str, path: str, body: Any = None, token: str | None = None) -> Reply:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(node.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def challenge(node: Node, account: str) -> dict[str, Any]:
    status, body = ask(node, "POST", "/v1/auth/challenge", {"account": account})
    assert status == 200, body
    return body


def siwe(node: Node, **said: str) -> str:
    """EIP-4361's message, written here from its text."""
    host = node.url.removeprefix("http://")
    fields = {
        "domain": host,
        "statement": "I want to use this node.",
        "uri": node.url,
        "version": "1",
        "chain": "1",
        "issued": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        **said,
    }
    return (
        "{domain} wants you to sign in with your Ethereum account:\n{address}\n\n{statement}\n\n"
        "URI: {uri}\nVersion: {version}\nChain ID: {chain}\nNonce: {nonce}\nIssued At: {issued}"
    ).format(**fields)


def sign(account: Any, message: str) -> str:
    signature = account.sign_message(encode_defunct(text=message)).signature.hex()
    return "0x" + signature.removeprefix("0x")


def sign_in(node: Node, account: Any, message: str) -> Reply:
    signed = {"message": message, "signature": sign(account, message)}
    return ask(node, "POST", "/v1/auth/verify", signed)


def test_eth_account_signs_in(node: Node) -> None:
    account = Account.create()
    did = f"did:pkh:eip155:1:{account.address.lower()}"
    given = challenge(node, did)
    status, session = sign_in(node, account, siwe(node, address=account.address, nonce=given["nonce"]))
    assert status == 200, session
    assert session["subject"] == did
    assert ask(node, "GET", "/v1/identity/me", token=session["token"])[1]["principal"] == did
    given = challenge(node, did)
    status, again = sign_in(node, account, given["message"])
    assert status == 200, again


@pytest.mark.parametrize(
    "changed",
    [
        {"domain": "evil.example"},
        {"uri": "https://evil.example/"},
        {"version": "2"},
        {"chain": "5"},
        {"nonce": "abcdefgh12345678"},
        {"issued": "2020-01-01T00:00:00Z"},
        {"address": Account.create().address},
        {"statement": "Two\nlines"},
    ],
)
def test_what_says_something_else_is_refused(node: Node, changed: dict[str, str]) -> None:
    account = Account.create()
    given = challenge(node, f"did:pkh:eip155:1:{account.address.lower()}")
    said = {"address": account.address, "nonce": given["nonce"], **changed}
    status, body = sign_in(node, account, siwe(node, **said))
    assert status in (400, 401), body


def test_what_was_changed_after_it_was_signed_is_refused(node: Node) -> None:
    account = Account.create()
    given = challenge(node, f"did:pkh:eip155:1:{account.address.lower()}")
    message = siwe(node, address=account.address, nonce=given["nonce"])
    signed = {"message": message.replace("I want", "I wish"), "signature": sign(account, message)}
    status, body = ask(node, "POST", "/v1/auth/verify", signed)
    assert (status, body["error"]["code"]) == (401, "invalid_signature")


def test_a_biscuit_is_checked_and_made_weaker_offline(node: Node) -> None:
    wanted = {"scopes": ["inference", "identity"], "expires_in": 600}
    status, made = ask(node, "POST", "/v1/auth/capabilities", wanted)
    assert status == 200, made
    token = made["token"]
    text = token.removeprefix("biscuit:")
    root = PublicKey.from_bytes(bytes.fromhex(made["root_key"]), Algorithm.Ed25519)
    biscuit = Biscuit.from_base64(text, root)
    assert re.search(r'minter\("owner"', biscuit.block_source(0))
    assert ask(node, "GET", "/v1/models", token=token)[0] == 200
    assert ask(node, "GET", "/v1/identity/me", token=token)[1]["delegated"] is True
    assert ask(node, "GET", "/v1/carbon/node", token=token)[0] == 403

    block = BlockBuilder('check if path($p), $p.starts_with("/v1/models"); check if method("GET")')
    weaker = "biscuit:" + biscuit.append(block).to_base64()
    assert ask(node, "GET", "/v1/models", token=weaker)[0] == 200
    assert ask(node, "GET", "/v1/identity/me", token=weaker)[0] == 403
    stronger = BlockBuilder('scope("models"); minter("key", "x")')
    stronger = "biscuit:" + biscuit.append(stronger).to_base64()
    assert ask(node, "POST", "/api/pull", {"model": "x"}, token=stronger)[0] == 403

    assert ask(node, "POST", "/v1/auth/capabilities/revoke", {"token": weaker})[0] == 200
    status, body = ask(node, "GET", "/v1/models", token=weaker)
    assert (status, body["error"]["code"]) == (401, "invalid_capability")
    assert ask(node, "GET", "/v1/models", token=token)[0] == 200, "what it was made of stays"
    assert ask(node, "POST", "/v1/auth/capabilities/revoke", {"token": token})[0] == 200
    assert ask(node, "GET", "/v1/models", token=token)[0] == 401


def test_a_key_comes_back_from_its_words(folder: Path) -> None:
    shown = succeeded(kwaainet(folder, "identity", "show"))
    words = succeeded(kwaainet(folder, "identity", "phrase")).strip()
    assert len(words.split(" ")) == 24
    other = folder / "other"
    restored = kwaainet(other, "identity", "restore", stdin=words.upper())
    did = re.search(r"did:key:\S+", shown)[0]
    assert did in succeeded(restored)
    assert "already" in refused(kwaainet(other, "identity", "restore", stdin=words))
    slip = " ".join(reversed(words.split(" ")))
    assert "24 words" in refused(kwaainet(folder / "third", "identity", "restore", stdin=slip))


def test_a_new_key_is_the_same_nodes(folder: Path) -> None:
    data = folder / "data"
    with running(folder) as node:
        before = ask(node, "GET", "/v1/identity/node")[1]["id"]
        credential = {"credential": {"credentialSubject": {"id": "did:example:x", "a": 1}}}
        issued = ask(node, "POST", "/v1/credentials/issue", credential)[1]
        in_use = kwaainet(folder, "identity", "rotate", "--data-dir", data)
        assert "another node is running" in refused(in_use)
    after = succeeded(kwaainet(folder, "identity", "rotate", "--data-dir", data))
    assert before not in after
    with running(folder) as node:
        now = ask(node, "GET", "/v1/identity/node")[1]["id"]
        assert now in after
        changes = ask(node, "GET", "/v1/identity/node/history")[1]["data"]
        assert [(change["old"], change["new"]) for change in changes] == [(before, now)]
        status, verdict = ask(node, "POST", "/v1/credentials/verify", issued)
        assert (status, verdict["verified"]) == (200, True), verdict
        revoke = {"credentialId": issued["verifiableCredential"]["id"], "status": True}
        assert ask(node, "POST", "/v1/credentials/status", revoke)[0] == 200
        assert ask(node, "POST", "/v1/credentials/verify", issued)[1]["verified"] is False


def test_a_sealed_key_is_not_needed_to_serve(folder: Path) -> None:
    env = {"KWAAINET_KEY_PASSPHRASE": "correct horse battery"}
    succeeded(kwaainet(folder, "identity", "show", "--data-dir", folder / "data", env=env))
    with running(folder) as node:
        assert ask(node, "GET", "/v1/models")[0] == 200
        status, body = ask(node, "GET", "/v1/identity/node")
        assert (status, body["error"]["code"]) == (503, "identity_locked")
    with running(folder, env=env) as node:
        assert ask(node, "GET", "/v1/identity/node")[0] == 200
