"""Things for requests to refer to: files, stores, batches, responses, conversations and requests that are
really there. Made by plain requests, all anew when one of them was deleted.
"""

from __future__ import annotations

import json
from typing import Any

import requests
from people import Person
from questions import GRANT, REPLICATION, SMOL

_LINE = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/completions",
    "body": {"model": SMOL, "prompt": "One,", "max_tokens": 1},
}


class Things:
    """The ids of what is there, by the names that the document has for them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._ids: dict[str, str] = {}
        self._bounded: list[str] = []
        self._person: Person | None = None

    def person(self) -> Person:
        """Whoever signed in."""
        self._person = self._person or Person(self.url)
        return self._person

    def leave(self) -> None:
        """His session is over, or he has another key."""
        self._person = None

    def ids(self) -> dict[str, str]:
        """All of them, of one owner, each in the one that it belongs to."""
        if not self._ids:
            self._ids = self._made()
        return self._ids

    def forget(self) -> None:
        """One of them is gone."""
        self._ids = {}
        self.leave()

    def _post(self, path: str, body: Any = None, **form: Any) -> dict[str, Any]:
        reply = requests.post(f"{self.url}/v1{path}", json=body, timeout=30, **form)
        assert reply.status_code == 200, f"{path}: {reply.text}"
        return reply.json()

    def _file(self, name: str, purpose: str, content: str) -> str:
        form = {"files": {"file": (name, content)}, "data": {"purpose": purpose}}
        return self._post("/files", **form)["id"]

    def _stored(self) -> dict[str, str]:
        storage = f"{self.url}/v1/storage"
        # Of these there may be only so many.
        for bounded in self._bounded:
            requests.delete(f"{storage}{bounded}", timeout=30)
        requests.post(f"{storage}/databases", json={"name": "kept"}, timeout=30)
        requests.put(f"{storage}/databases/kept/docs/moon", json={"round": True}, timeout=30)
        blob = requests.post(f"{storage}/blobs", data=b"moon", timeout=30).json()
        upload = requests.post(f"{storage}/uploads", json={"bytes": 4}, timeout=30).json()
        kept = f"{storage}/databases/kept"
        erased = requests.post(f"{kept}/erase", json={"ids": ["sun"]}, timeout=30).json()
        grant = requests.post(f"{kept}/grants", json=GRANT, timeout=30).json()
        replication = requests.post(f"{storage}/replications", json=REPLICATION, timeout=30).json()
        self._bounded = [f"/uploads/{upload['id']}", f"/databases/kept/grants/{grant['id']}"]
        return {
            "db": "kept",
            "id": "moon",
            "hash": blob["hash"],
            "upload_id": upload["id"],
            "erasure_id": erased["id"],
            "grant_id": grant["id"],
            "replication_id": replication["id"],
        }

    def _made(self) -> dict[str, str]:
        file = self._file("moon.txt", "assistants", "The moon goes around the earth.")
        lines = self._file("lines.jsonl", "batch", json.dumps(_LINE))
        store = self._post("/vector_stores", {"name": "moon"})["id"]
        files = self._post(f"/vector_stores/{store}/file_batches", {"file_ids": [file]})["id"]
        window = {"endpoint": _LINE["url"], "completion_window": "24h"}
        batch = self._post("/batches", {"input_file_id": lines, **window})["id"]
        said = [{"role": "user", "content": "moon"}]
        self._post("/privacy/export", {})
        conversation = self._post("/conversations", {"items": said})["id"]
        items = requests.get(f"{self.url}/v1/conversations/{conversation}/items", timeout=30).json()
        asked = {"model": SMOL, "input": "moon", "max_output_tokens": 2}
        return {
            **self._stored(),
            "file_id": file,
            "input_file_id": lines,
            "vector_store_id": store,
            "file_batch_id": files,
            "batch_id": batch,
            "conversation_id": conversation,
            "item_id": items["data"][0]["id"],
            "response_id": self._post("/responses", {**asked, "background": True})["id"],
            "request_id": self._post("/completions", _LINE["body"])["id"],
            "previous_response_id": self._post("/responses", asked)["id"],
        }
