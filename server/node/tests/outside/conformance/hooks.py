"""What schemathesis is told of the node: how a generated request becomes one that can be answered in
little time, how an event stream is read, and what it has to be.

A value is changed only if it is sound in itself, so that a request which has to be refused is still the
one that was generated.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import jsonschema_rs
import schemathesis
from questions import MINILM, QUESTIONS, SMOL
from streams import DONE, ORDERS, lines, server_sent

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"

# A random name is nobody's: most requests are for a model that is here, so many of eight.
KNOWN = 7
# Tokens of an answer, choices of a request.
TOKENS_MAX = 6
CHOICES_MAX = 2

EMBEDDERS = ("/v1/embeddings", "/api/embed", "/v1/rerank", "/v2/rerank", "/rerank")
# The fields that bound an answer, the first of which is added where there is none of them.
BOUNDS = {
    "/v1/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/v1/completions": ("max_tokens",),
    "/v1/responses": ("max_output_tokens",),
    "/v1/messages": ("max_tokens",),
}
# Where a bound that is left out is a fault of the request.
REQUIRED = ("/v1/messages",)


@schemathesis.hook
def before_add_examples(context, examples):
    operation = context.operation
    for body in QUESTIONS.get(operation.label, ()):
        examples.append(operation.Case(body=body, media_type="application/json"))


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict) or case.media_type != "application/json":
        return
    body = dict(body)
    path = context.operation.path
    luck = zlib.crc32(json.dumps(body, sort_keys=True, default=str).encode())
    if _is_name(body.get("model")) and luck % 8 < KNOWN:
        body["model"] = MINILM if path.startswith(EMBEDDERS) else SMOL
    if f"{case.method.upper()} {path}" in ORDERS and "stream" not in body and luck & 8:
        body["stream"] = True
    _bound(path, body)
    for field in ("n", "best_of"):
        if _is_count(body.get(field)):
            body[field] = min(body[field], CHOICES_MAX)
    case.body = body


def _bound(path: str, body: dict[str, Any]) -> None:
    """Bounds the answer."""
    if path in ("/api/chat", "/api/generate"):
        options = body.get("options")
        if options is None or isinstance(options, dict):
            body["options"] = options = dict(options or {})
            asked = options.get("num_predict", -1)
            if asked in (None, -1, -2) or _is_count(asked):
                options["num_predict"] = min(asked or -1, TOKENS_MAX) if _is_count(asked) else TOKENS_MAX
        return
    fields = BOUNDS.get(path, ())
    for field in fields:
        if _is_count(body.get(field)):
            body[field] = min(body[field], 2 * TOKENS_MAX)
    if fields and path not in REQUIRED and all(body.get(field) is None for field in fields):
        body[fields[0]] = TOKENS_MAX


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value.encode(errors="replace")) <= 256


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


@schemathesis.deserializer(EVENTS)
def events(context, response):
    """What each event says: the document has the schema of that, as OpenAI's own has."""
    return [event.value for event in server_sent(response.content) if event.data != DONE]


@schemathesis.check
class event_streams:
    """Every stream is what its protocol says, and every operation that can stream did."""

    def __init__(self):
        self.streamed = set()
        self.documented = set()
        self.validators = {}

    def after_response(self, ctx, response, case):
        label = case.operation.label
        kind = response.headers.get("content-type", [""])[0].partition(";")[0]
        documented = case.operation.definition.raw["responses"]["200"].get("content", {})
        if {EVENTS, LINES} & set(documented):
            self.documented.add(label)
        if response.status_code != 200 or kind not in (EVENTS, LINES):
            return
        self.streamed.add(label)
        assert not response.stream_cut_short, "the stream did not end in time"
        assert label in ORDERS, "nobody knows in which order its events come"
        found = server_sent(response.content) if kind == EVENTS else lines(response.content)
        if kind == LINES:
            validator = self.validator(case, documented[kind]["schema"])
            for event in found:
                validator.validate(event.value)
        asked = case.body if isinstance(case.body, dict) else case.query or {}
        ORDERS[label](found, asked)

    def validator(self, case, schema):
        """Lines are no media type that schemathesis knows."""
        key = case.operation.label
        if key not in self.validators:
            components = case.operation.schema.raw_schema["components"]
            whole = {**schema, "components": components}
            self.validators[key] = jsonschema_rs.Draft202012Validator(whole)
        return self.validators[key]

    def after_run(self, ctx):
        silent = self.documented - self.streamed
        assert not silent, f"never streamed: {sorted(silent)}"
