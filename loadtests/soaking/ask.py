"""One request below any client, so that it can be sent by half, read slowly and given up at any moment."""

import http.client
import json
import math
import socket
import struct
import time
from contextlib import closing
from dataclasses import dataclass

from soaking.node import Gone
from soaking.questions import EMBEDDINGS

# Seconds.
ANSWER_MAX = 300
# So long a slow reader takes two pieces a second, and then the rest.
SLOW_FOR = 15


@dataclass
class Answer:
    """What came: (text, reason of its end) for each choice, or what was wrong with it."""

    status: int
    retry_after: int = 0
    choices: tuple = ()
    error: str | None = None


def only(node, question):
    """The answer of a node that does nothing else."""
    answer = ask(node, question, ANSWER_MAX)
    if answer.status != 200 or answer.error:
        raise Gone(f"{question.name}: {answer}")
    return answer


def ask(node, question, patience, leaves=False, chance=None, load=None):
    """One request on a connection of its own. Raises TimeoutError when patience is over."""
    until = time.monotonic() + patience
    data = json.dumps(question.body).encode()
    head = f"POST {question.path} HTTP/1.1\r\nHost: {node.host}:{node.port}\r\nContent-Type: application/json\r\n"
    data = f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data
    with socket.socket() as link:
        if question.slow:
            # The system keeps megabytes for a connection within the machine, unless its segments are small.
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        if load:
            load.connected(link)
        try:
            wait_until(link, until)
            link.connect((node.host, node.port))
            if load and load.over.is_set():
                raise ConnectionAbortedError("the end came before the connection")
            if leaves and chance.random() < 0.1:
                link.sendall(data[: chance.randrange(len(data))])
                time.sleep(min(patience, 1))
                raise TimeoutError
            link.sendall(data)
            with closing(http.client.HTTPResponse(link, method="POST")) as response:
                response.begin()
                return read(response, link, until, question)
        except TimeoutError:
            if leaves and chance.random() < 0.5:
                # Some go without a word: what is on the way to them is answered by a reset.
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise
        finally:
            if load:
                load.left(link)


def wait_until(link, until):
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    link.settimeout(left)


def read(response, link, until, question):
    streams = (response.headers["content-type"] or "").startswith("text/event-stream")
    answer = Answer(response.status, int(response.headers["retry-after"] or 0))
    if not streams:
        wait_until(link, until)
        value = json.loads(response.read())
        if response.status == 200:
            answer.choices, answer.error = whole(value, question)
        return answer
    begin, parts, ends, is_done = time.monotonic(), {}, {}, False
    while True:
        wait_until(link, until)
        line = response.readline()
        if not line:
            break
        if not line.startswith(b"data: "):
            continue
        is_done = line == b"data: [DONE]\n"
        chunk = {} if is_done else json.loads(line[6:])
        if "error" in chunk:
            answer.error = f"an error in the stream: {chunk['error']}"
            return answer
        for choice in chunk.get("choices", ()):
            text = choice["delta"].get("content") if "delta" in choice else choice["text"]
            parts.setdefault(choice["index"], []).append(text or "")
            ends[choice["index"]] = choice["finish_reason"] or ends.get(choice["index"])
        if question.slow and time.monotonic() - begin < SLOW_FOR:
            time.sleep(0.5)
    answer.choices = tuple(("".join(parts[i]), ends[i]) for i in sorted(parts))
    answer.error = wrong_count(answer.choices, question) or (None if is_done else "the stream has no end")
    return answer


def whole(value, question):
    """The choices of an answer that is no stream, and what is wrong with it."""
    if question.path == EMBEDDINGS:
        vectors = [one["embedding"] for one in value["data"]]
        is_sound = len(vectors) == len(question.body["input"]) and all(map(math.isfinite, sum(vectors, [])))
        return (), None if is_sound else "vectors are missing or not finite"
    choices = tuple(
        (choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"])
        for choice in value["choices"]
    )
    return choices, wrong_count(choices, question)


def wrong_count(choices, question):
    due = question.body.get("n", 1)
    return None if len(choices) == due and all(end for _, end in choices) else f"not {due} whole choices"
