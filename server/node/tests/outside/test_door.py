"""The door around the API: who may come in, what each answer carries, and the node's own pages."""

from __future__ import annotations

import json

import pytest
from openai import BadRequestError

from support.ask import chat
from support.node import kwaainet, succeeded
from support.wire import ask

PUBLIC = ["/healthz", "/readyz", "/openapi.json", "/docs/"]


def test_the_sdk_sees_the_heads_of_answers(client):
    raw = client.models.with_raw_response.list(extra_headers={"x-request-id": "mine-7"})
    assert raw.headers["x-request-id"] == "mine-7"
    assert raw.headers["content-type"] == "application/json"
    assert raw.parse().data
    own = client.models.with_raw_response.list().headers["x-request-id"]
    assert own.startswith("req_")
    assert own != client.models.with_raw_response.list().headers["x-request-id"]


def test_a_stream_and_a_refusal_carry_the_id_too(client):
    headers = {"x-request-id": "mine-8"}
    raw = client.chat.completions.with_raw_response.create(
        model="smollm2-135m-instruct",
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=1,
        stream=True,
        extra_headers=headers,
    )
    assert raw.headers["x-request-id"] == "mine-8"
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert list(raw.parse())
    with pytest.raises(BadRequestError) as refused:
        chat(client, n=0, extra_headers=headers)
    assert refused.value.request_id == "mine-8"


@pytest.mark.parametrize("id", ["x" * 500, "a b", "ü".encode().decode("latin-1")])
def test_an_id_that_is_not_sane_is_replaced(node, id):
    reply = ask(node, "GET", "/healthz", headers={"x-request-id": id})
    assert reply.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:11435"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_foreign_names_and_foreign_pages_are_turned_away(node, path, headers):
    method = "POST" if path.endswith("completions") else "GET"
    error = ask(node, method, path, headers=headers).error(403)
    assert error["code"] == "foreign_origin"


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "[::1]:80", "127.0.0.1"])
def test_this_machines_own_names_and_pages_are_let_in(node, host):
    headers = {"Host": host, "Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"}
    assert ask(node, "GET", "/v1/models", headers=headers).status == 200


def test_a_key_that_means_nothing_here_is_no_matter(client):
    assert client.with_options(api_key="sk-anything").models.list().data


def test_the_node_says_that_it_lives_and_that_it_is_ready(node):
    health = ask(node, "GET", "/healthz").json
    assert health["status"] == "ok"
    assert health["version"] == succeeded(kwaainet(node.folder, "version")).split()[1]
    assert ask(node, "GET", "/readyz").json == {"ready": True, "reason": None}


def test_metrics_are_counted_by_route_and_never_by_a_clients_own_word(node):
    ask(node, "GET", "/some/odd/path")
    ask(node, "BREW", "/v1/models")
    metrics = node.metrics()
    assert metrics['kwaainet_http_requests_total{method="GET",route="unknown",status="404"}'] >= 1
    brewed = 'kwaainet_http_requests_total{method="other",route="/v1/models",status="405"}'
    assert metrics[brewed] >= 1
    assert not any("odd" in name or "BREW" in name for name in metrics)


def test_the_document_is_served_as_it_is_printed(node):
    document = ask(node, "GET", "/openapi.json").json
    assert document["openapi"].startswith("3.1")
    paths = {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/metrics"}
    assert paths <= set(document["paths"])
    printed = succeeded(kwaainet(node.folder, "openapi"))
    assert json.loads(printed) == document


def test_the_api_page_needs_nothing_from_elsewhere(node):
    page = ask(node, "GET", "/docs/")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert b"http://" not in page.body.replace(b"http://www.w3.org", b"")
    assert b"https://" not in page.body
    assert ask(node, "GET", "/docs").status in (200, 301, 303, 307, 308)


@pytest.mark.parametrize("path", PUBLIC)
def test_the_public_pages_answer_to_any_name(node, path):
    assert ask(node, "GET", path, headers={"Host": "node.example"}).status == 200
