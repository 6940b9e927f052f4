"""HTTP/1.1 byte by byte, for what no well-made client would send."""

from __future__ import annotations

import http.client
import io
import json
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from support.node import Node

PATIENCE_SECONDS = 20
CHAT = "/v1/chat/completions"


@dataclass
class Reply:
    """A whole response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        assert (self.headers["content-type"] or "").startswith("application/json"), self
        return json.loads(self.body)

    def error(self, status: int) -> dict[str, Any]:
        """The error object, which has OpenAI's four fields and no others."""
        assert self.status == status, self
        body = self.json
        assert set(body) == {"error"}, body
        error: dict[str, Any] = body["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        assert isinstance(error["message"], str) and error["message"], error
        assert isinstance(error["type"], str), error
        assert error["code"] is None or isinstance(error["code"], str), error
        assert self.headers["x-request-id"], self
        return error


class Wire:
    """One connection."""

    def __init__(self, node: Node) -> None:
        self.socket = socket.create_connection((node.host, node.port), PATIENCE_SECONDS)
        self.file = _KeptOpen(socket.SocketIO(self.socket, "r"))
        self.host = f"{node.host}:{node.port}"

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def head(self, method: str, path: str, headers: dict[str, str]) -> bytes:
        """The head of a request; what is in `headers` replaces what would be sent anyway."""
        all_headers = {"Host": self.host, "Content-Type": "application/json", **headers}
        lines = [f"{method} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in all_headers.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        length = {"Content-Length": str(len(body))} if body or method == "POST" else {}
        self.socket.sendall(self.head(method, path, {**length, **(headers or {})}) + body)

    def reply(self, method: str = "POST") -> Reply:
        """Reads one response, to the end of its body and no further."""
        response = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type]
        response.begin()
        return Reply(response.status, response.headers, response.read())

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `http.client` asks a socket for."""
        return self.file

    def is_closed_by_peer(self) -> bool:
        """Whether the node has hung up, after whatever it still had to say."""
        try:
            while self.file.read1(65_536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True


class _KeptOpen(io.BufferedReader):
    """A reader that several responses share, so that no byte of the next one is lost."""

    def close(self) -> None:
        """A response closes its reader when it ends; this one's end is its socket's."""


def ask(
    node: Node,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> Reply:
    """One request on a connection of its own."""
    with Wire(node) as wire:
        wire.send(method, path, body, headers)
        return wire.reply(method)


def post(node: Node, path: str, value: Any, headers: dict[str, str] | None = None) -> Reply:
    """One JSON request on a connection of its own."""
    return ask(node, "POST", path, json.dumps(value).encode(), headers)
