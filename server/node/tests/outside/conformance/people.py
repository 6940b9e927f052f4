"""Somebody with a key of his own, who signs in and has what only whoever signed in can have: a session, a link, a
credential, a capability. Made anew when one of them was used up.
"""

from __future__ import annotations

import base64
from typing import Any

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Says "an Ed25519 public key" (multicodec).
ED25519 = b"\xed\x01"
# What each signed text is for.
ERRANDS = {
    "/v1/auth/verify": "sign_in",
    "/v1/identity/links": "link",
    "/v1/identity/succeed": "succeed",
}
# Where somebody has to have signed in.
HIS_OWN = ("/v1/auth/sessions", "/v1/identity/links", "/v1/identity/prepare")
HIS_OWN += ("/v1/identity/succeed", "/v1/identity/credentials")


class Person:
    """The owner of a node without keys, under a DID of his."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.token: str | None = None
        self.did, self.key = _key()
        self.token = self._post("/v1/auth/verify", self.signed("sign_in", self.did, self.key))["token"]
        self.linked, key = _key()
        self._post("/v1/identity/links", self.signed("link", self.linked, key))
        self.issued = self._issue()

    def names(self) -> dict[str, str]:
        """What stands in paths."""
        return {"session": "current", "did": self.linked, "list": "1"}

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def body(self, path: str) -> dict[str, Any] | None:
        """A body that is taken, where it has to be made for this one time."""
        if errand := ERRANDS.get(path):
            did, key = (self.did, self.key) if errand == "sign_in" else _key()
            return self.signed(errand, did, key)
        if path == "/v1/auth/capabilities/revoke":
            return {"token": self._post("/v1/auth/capabilities", {"scopes": ["inference"]}, by=None)["token"]}
        if path == "/v1/credentials/status":
            return {"credentialId": self._issue()["id"], "status": True}
        if path == "/v1/identity/credentials":
            return {"verifiableCredential": self.issued}
        return None

    def signed(self, purpose: str, did: str, key: Ed25519PrivateKey) -> dict[str, str]:
        """A text that this key's owner was asked to sign."""
        text = self._post("/v1/auth/challenge", {"account": did, "purpose": purpose})["message"]
        signature = base64.urlsafe_b64encode(key.sign(text.encode())).decode().rstrip("=")
        return {"message": text, "signature": f"u{signature}"}

    def _issue(self) -> dict[str, Any]:
        credential = {"credential": {"credentialSubject": {"id": self.did}}}
        return self._post("/v1/credentials/issue", credential, by=None)["verifiableCredential"]

    def _post(self, path: str, body: Any, by: str | None = "him") -> dict[str, Any]:
        headers = self.headers() if by else {}
        reply = requests.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)
        assert reply.ok, f"{path}: {reply.text}"
        return reply.json()


def _key() -> tuple[str, Ed25519PrivateKey]:
    """A new key, and its DID: base58 of what it is and of its bytes."""
    key = Ed25519PrivateKey.generate()
    number = int.from_bytes(ED25519 + key.public_key().public_bytes_raw(), "big")
    letters = ""
    while number:
        number, digit = divmod(number, 58)
        letters = ALPHABET[digit] + letters
    return f"did:key:z{letters}", key
