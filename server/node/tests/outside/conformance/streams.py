"""What a streamed answer of each protocol has to be: its framing, the order of its events and its end.

Each function takes the events of one answer and raises `AssertionError` with the event at fault. The
events' own shapes are the document's business and are checked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

DONE = "[DONE]"


@dataclass(frozen=True)
class Event:
    """One event of a stream; `value` is none for the end marker."""

    name: str | None
    data: str

    @property
    def value(self) -> Any:
        return None if self.data == DONE else json.loads(self.data)


def server_sent(content: bytes) -> list[Event]:
    """Server-sent events in the form in which the node writes them (WHATWG HTML, section 9.2)."""
    text = content.decode("utf-8")
    if not text:
        return []
    assert text.endswith("\n\n"), f"the last event is cut: {text[-80:]!r}"
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        lines = [line.partition(": ") for line in block.split("\n")]
        names = [value for field, _, value in lines if field == "event"]
        data = [value for field, _, value in lines if field == "data"]
        assert len(data) == 1 and len(names) <= 1, f"no event is {block!r}"
        assert len(lines) == len(data) + len(names), f"no event is {block!r}"
        events.append(Event(names[0] if names else None, data[0]))
    return events


def lines(content: bytes) -> list[Event]:
    """Lines of JSON."""
    text = content.decode("utf-8")
    assert text.endswith("\n"), f"the last line is cut: {text[-80:]!r}"
    return [Event(None, line) for line in text.removesuffix("\n").split("\n")]


def chunks(events: list[Event], asked: dict[str, Any]) -> None:
    """Chunks of a chat or of a completion: one object, each choice ended once, then the usage."""
    *events, last = events
    if "error" in (last.value or {}):
        return
    assert last.data == DONE, f"the last event is {last}"
    values = [event.value for event in events]
    assert values and None not in values, "there are events after the end, or none before it"
    for field in ("id", "object", "created", "model", "system_fingerprint"):
        assert len({value[field] for value in values}) == 1, f"'{field}' changes"
    wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
    if wants_usage:
        usage = values.pop()
        assert usage["choices"] == [] and usage["usage"], f"no usage in {usage}"
        assert all(value["usage"] is None for value in values), "the usage comes early"
    else:
        assert not any("usage" in value for value in values), "nobody asked for the usage"
    reasons: dict[int, str] = {}
    begun: set[int] = set()
    for value in values:
        assert len(value["choices"]) == 1, f"not one choice in {value}"
        choice = value["choices"][0]
        index = choice["index"]
        assert index not in reasons, f"choice {index} goes on after its end"
        if value["object"] == "chat.completion.chunk":
            has_role = choice["delta"].get("role") == "assistant"
            assert has_role == (index not in begun), f"the role comes once, and first: {value}"
        begun.add(index)
        if choice["finish_reason"]:
            reasons[index] = choice["finish_reason"]
    assert set(reasons) == set(range(len(reasons))) and begun == set(reasons), f"ends: {reasons}"


def response_events(events: list[Event], asked: dict[str, Any]) -> None:
    """A response's events: numbered, each thing begun before it goes on, what was told told whole."""
    values = [event.value for event in events]
    assert [event.name for event in events] == [value["type"] for value in values], "names differ"
    after = asked.get("starting_after")
    if not values:
        assert after is not None, "there are no events"
        return
    first = 0 if after is None else int(after) + 1
    numbers = [value["sequence_number"] for value in values]
    assert numbers == list(range(first, first + len(values))), f"numbers: {numbers}"
    ends = ("response.completed", "response.incomplete", "response.failed")
    if first == 0:
        assert values[0]["type"] == "response.created", values[0]
    assert [v["type"] in ends for v in values] == [False] * (len(values) - 1) + [True], "the end"
    if first == 0:
        _items(values)


def _items(values: list[dict[str, Any]]) -> None:
    """Items in order, one at a time, with the same words in pieces and whole."""
    done: list[dict[str, Any]] = []
    pieces: dict[str, str] = {}
    for value in values:
        kind = value["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert value["output_index"] == len(done), f"an item begins within another: {value}"
        elif "output_index" in value:
            assert value["output_index"] == len(done), f"an item that is not open: {value}"
        if kind == "output_item.done":
            done.append(value["item"])
        elif kind in ("output_text.delta", "function_call_arguments.delta"):
            pieces[value["item_id"]] = pieces.get(value["item_id"], "") + value["delta"]
        elif kind in ("output_text.done", "function_call_arguments.done"):
            whole = value["text"] if kind == "output_text.done" else value["arguments"]
            assert whole == pieces.get(value["item_id"], ""), f"not what the pieces say: {value}"
    output = values[-1]["response"]["output"]
    if values[-1]["type"] != "response.failed":
        assert output == done, "the last event holds other items"


def message_events(events: list[Event], asked: dict[str, Any]) -> None:
    """Anthropic's events: blocks one after the other between the message's beginning and its end."""
    values = [event.value for event in events if event.name != "ping"]
    assert [event.name for event in events] == [event.value["type"] for event in events], "names"
    kinds = [value["type"] for value in values]
    if kinds[-1] == "error":
        return
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"], kinds
    expected = []
    for index in range(kinds.count("content_block_start")):
        deltas = [v for v in values if v["type"] == "content_block_delta" and v["index"] == index]
        expected.append(("content_block_start", index))
        expected += [("content_block_delta", index)] * len(deltas)
        expected.append(("content_block_stop", index))
    assert [(v["type"], v.get("index")) for v in values[1:-2]] == expected, kinds


def answer_lines(events: list[Event], asked: dict[str, Any]) -> None:
    """Ollama's lines: the last, and no other, is done."""
    *before, last = [event.value for event in events]
    assert not any(value["done"] for value in before), "it goes on after its end"
    assert "error" in last or (last["done"] and last["done_reason"]), f"the last is {last}"


def progress_lines(events: list[Event], asked: dict[str, Any]) -> None:
    """Ollama's pull: the last line, and no other, says how it ended."""
    *before, last = [event.value for event in events]
    assert not any(value["status"] == "success" for value in before), "it goes on after its end"
    assert "error" in last or last["status"] == "success", f"the last is {last}"


Order = Callable[[list[Event], dict[str, Any]], None]

# Every operation whose answer may be a stream. One that is documented and not here fails the check.
ORDERS: dict[str, Order] = {
    "POST /v1/chat/completions": chunks,
    "POST /v1/completions": chunks,
    "POST /v1/responses": response_events,
    "GET /v1/responses/{response_id}": response_events,
    "POST /v1/messages": message_events,
    "POST /api/chat": answer_lines,
    "POST /api/generate": answer_lines,
    "POST /api/pull": progress_lines,
}
