"""Batches: the official client, and a node that is killed in the middle."""

from __future__ import annotations

import json
import signal

from openai import OpenAI

from support.ask import ECHO, ECHOED, chat
from support.node import MINILM, SMOL, Node, eventually, running

LINES = 200


def jsonl(*lines: dict) -> bytes:
    return "\n".join(json.dumps(line) for line in lines).encode()


def line(name: str, url: str, **body) -> dict:
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def start(client: OpenAI, endpoint: str, content: bytes) -> str:
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"}
    )
    return batch.id


def over(client: OpenAI, name: str, within: float = 60):
    """The batch, once it is over."""

    def look():
        batch = client.batches.retrieve(name)
        return batch if batch.status in ("completed", "failed", "expired", "cancelled") else None

    return eventually(look, within=within)


def answers(client: OpenAI, file: str) -> dict[str, dict]:
    lines = [json.loads(line) for line in client.files.content(file).text.splitlines()]
    by_name = {line["custom_id"]: line for line in lines}
    assert len(by_name) == len(lines), "no line comes twice"
    return by_name


def test_a_batch_gives_what_live_requests_give(client):
    url = "/v1/chat/completions"
    good = {"model": SMOL, "messages": ECHO, "temperature": 0, "max_tokens": 12}
    name = start(client, url, jsonl(line("a", url, **good), line("b", url, **good, n=0)))
    batch = over(client, name)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    assert batch.usage.output_tokens > 0
    answer = answers(client, batch.output_file_id)["a"]["response"]
    assert answer["status_code"] == 200
    assert answer["body"]["choices"][0]["message"]["content"] == ECHOED
    refused = answers(client, batch.error_file_id)["b"]["response"]
    assert (refused["status_code"], refused["body"]["error"]["param"]) == (400, "n")
    assert batch.id in [found.id for found in client.batches.list(limit=5)]

    url = "/v1/embeddings"
    name = start(client, url, jsonl(line("e", url, model=MINILM, input="cats")))
    batch = over(client, name)
    vector = answers(client, batch.output_file_id)["e"]["response"]["body"]["data"][0]["embedding"]
    assert len(vector) == 384


def test_input_that_is_not_sound_is_told_by_its_lines(client):
    name = start(client, "/v1/completions", b'{"custom_id": "a"}\nnonsense\n')
    batch = over(client, name)
    assert batch.status == "failed"
    assert [(error.line, error.code) for error in batch.errors.data] == [
        (1, "missing_required_parameter"),
        (2, "invalid_json_line"),
    ]


def test_a_batch_that_is_cut_by_kill_9_twice_ends_complete_and_nothing_twice(folder):
    url = "/v1/chat/completions"
    requests = [
        line(
            f"line-{i}",
            url,
            model=SMOL,
            messages=[{"role": "user", "content": f"Say the number {i}."}],
            temperature=0,
            max_tokens=4,
        )
        for i in range(LINES)
    ]
    with running(folder) as node:
        with node.client() as client:
            name = start(client, url, jsonl(*requests))
        cut(node, name, 20)
    with running(folder) as node:
        cut(node, name, 70)
    with running(folder) as node, node.client() as client:
        batch = over(client, name, 240)
        assert batch.status == "completed"
        assert batch.request_counts.model_dump() == {"total": LINES, "completed": LINES, "failed": 0}
        assert batch.error_file_id is None
        found = answers(client, batch.output_file_id)
        assert list(found) == [request["custom_id"] for request in requests]
        assert all(line["response"]["status_code"] == 200 for line in found.values())
        assert chat(client).choices[0].message.content == ECHOED
        left = sorted(path.name for path in (node.data_dir / "files").iterdir())
        assert left == sorted([batch.input_file_id, batch.output_file_id]), "and nothing is left over"


def cut(node: Node, name: str, lines: int) -> None:
    """Kills the node when so many lines are done."""
    with node.client() as client:

        def far_enough() -> bool:
            return client.batches.retrieve(name).request_counts.completed >= lines

        eventually(far_enough, within=120)
    node.signal(signal.SIGKILL)
    assert node.wait() == -signal.SIGKILL
