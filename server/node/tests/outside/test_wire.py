"""What no well-made client sends: each gets its answer in OpenAI's shape, and no other suffers."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from support.node import SMOL
from support.wire import CHAT, Wire, ask, post

GOOD = {"model": SMOL, "prompt": "One,", "max_tokens": 1, "temperature": 0}
GOOD_BYTES = json.dumps(GOOD).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b"{'model': 'x'}",
        b'{"model": "x"} trailing',
        b'{"model": "\xff\xfe"}',
        b'{"model": "\xc3"',
        b'{"model": "\\ud800"}',
        b'{"model": NaN}',
        b"\x00" * 64,
        b'{"x": ' + b"[" * 100_000,
        b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
def test_n11_what_is_not_json_is_refused_as_such(node, body):
    error = ask(node, "POST", CHAT, body).error(400)
    assert error["type"] == "invalid_request_error"
    assert "JSON" in error["message"]
    assert "\ufffd" not in error["message"]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ([], "", "invalid_type"),
        ("text", "", "invalid_type"),
        ({}, "model", "missing_required_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": 7}, "model", "invalid_type"),
        ({"model": ""}, "model", "invalid_value"),
        ({"model": "m" * 300}, "model", "invalid_value"),
        ({"model": SMOL}, "messages", "missing_required_parameter"),
        ({"model": SMOL, "messages": {}}, "messages", "invalid_type"),
        ({"model": SMOL, "messages": [7]}, "messages[0]", "invalid_type"),
        ({"model": SMOL, "messages": [{"role": 7}]}, "messages[0].role", "invalid_type"),
        ({"model": SMOL, "stream": "yes"}, "stream", "invalid_type"),
        ({"model": SMOL, "logit_bias": [1]}, "logit_bias", "invalid_type"),
    ],
)
def test_wrong_types_name_the_field(node, body, param, code):
    error = post(node, CHAT, body).error(400)
    assert (error["param"] or "", error["code"]) == (param, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(node, kind):
    error = ask(node, "POST", CHAT, GOOD_BYTES, {"Content-Type": kind}).error(400)
    assert error["code"] == "unsupported_content_type"


def test_a_charset_beside_the_content_type_is_no_matter(node):
    kind = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert ask(node, "POST", "/v1/completions", GOOD_BYTES, kind).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", CHAT), ("PUT", "/v1/embeddings"), ("POST", "/v1/models"), ("DELETE", "/healthz")],
)
def test_a_wrong_method_says_so(node, method, path):
    reply = ask(node, method, path)
    assert reply.error(405)["code"] == "method_not_supported"
    assert reply.headers["allow"]


@pytest.mark.parametrize("path", ["/v1", "/v1/audio/speech", "/v1/chat/completions/x", "/%00"])
def test_an_unknown_path_says_so(node, path):
    error = post(node, path, {}).error(404)
    assert error["code"] == "unknown_url"
    assert path in error["message"]


def test_a_body_too_large_gets_its_answer_although_the_client_sends_all_of_it(node):
    piece = b" " * (1 << 20)
    with Wire(node) as wire:
        wire.socket.sendall(wire.head("POST", CHAT, {"Content-Length": str(50 << 20)}))
        for _ in range(50):
            wire.socket.sendall(piece)
        assert wire.reply().error(413)["code"] == "request_too_large"
    assert ask(node, "POST", "/v1/completions", GOOD_BYTES).status == 200


def test_a_body_too_large_in_chunks_of_unknown_number_is_refused_as_well(node):
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    with Wire(node) as wire:
        wire.socket.sendall(wire.head("POST", CHAT, {"Transfer-Encoding": "chunked"}))
        for _ in range(12):
            wire.socket.sendall(chunk)
        wire.socket.sendall(b"0\r\n\r\n")
        assert wire.reply().error(413)["code"] == "request_too_large"


def test_a_client_that_asks_first_is_told_before_it_sends(node):
    with Wire(node) as wire:
        headers = {"Content-Length": str(50 << 20), "Expect": "100-continue"}
        wire.socket.sendall(wire.head("POST", CHAT, headers))
        assert wire.reply().error(413)["code"] == "request_too_large"


def test_a_body_in_chunks_is_read(node):
    with Wire(node) as wire:
        wire.socket.sendall(wire.head("POST", "/v1/completions", {"Transfer-Encoding": "chunked"}))
        half = len(GOOD_BYTES) // 2
        for part in (GOOD_BYTES[:half], GOOD_BYTES[half:]):
            wire.socket.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
        wire.socket.sendall(b"0\r\n\r\n")
        assert wire.reply().status == 200


def test_a_connection_lives_on_after_a_refusal(node):
    with Wire(node) as wire:
        for body, status in ((b"{", 400), (GOOD_BYTES, 200), (b"[]", 400), (GOOD_BYTES, 200)):
            wire.send("POST", "/v1/completions", body)
            assert wire.reply().status == status


def test_requests_sent_ahead_are_answered_in_order(node):
    with Wire(node) as wire:
        wire.send("POST", "/v1/completions", GOOD_BYTES)
        wire.send("GET", "/healthz")
        wire.send("POST", CHAT, b"{")
        wire.send("GET", "/nowhere")
        replies = [wire.reply(method).status for method in ("POST", "GET", "POST", "GET")]
    assert replies == [200, 200, 400, 404]


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: minus\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
        b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"X: x\r\n" * 5_000 + b"\r\n",
    ],
)
def test_what_is_not_http_ends_its_connection_and_no_other(node, data):
    with Wire(node) as wire:
        with contextlib.suppress(ConnectionError):
            wire.socket.sendall(data)
        assert wire.is_closed_by_peer()
    assert ask(node, "GET", "/healthz").status == 200


def test_a_client_that_says_nothing_more_holds_nothing_up(node):
    """Slow heads and slow bodies wait on their own; what they wait for is bounded by the node."""
    slow = [Wire(node) for _ in range(8)]
    for i, wire in enumerate(slow):
        whole = wire.head("POST", CHAT, {"Content-Length": "100"})
        wire.socket.sendall(whole[:20] if i % 2 else whole + b"{")
    assert ask(node, "POST", "/v1/completions", GOOD_BYTES).status == 200
    for wire in slow:
        wire.socket.close()


def test_a_body_that_ends_early_is_no_request(node):
    with Wire(node) as wire:
        wire.socket.sendall(wire.head("POST", CHAT, {"Content-Length": "100"}) + b'{"model"')
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.is_closed_by_peer()
    assert node.is_idle()
