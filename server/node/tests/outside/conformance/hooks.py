"""What schemathesis is told of the node: how a generated request becomes one that can be answered in
little time, how an event stream is read, and what it has to be.

A value is changed only if it is sound in itself, so that a request which has to be refused is still the
one that was generated.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import schemathesis
from people import HIS_OWN
from questions import MINILM, QUERIES, QUESTIONS, SAID, SMOL
from streams import DONE, ORDERS, lines, server_sent
from things import Things

EVENTS = "text/event-stream"
LINES = "application/x-ndjson"

# What is random is nobody's: most requests name a model and things that are here.
KNOWN = 0.85
# Of the fields that a sound request may leave out, at most so many stay: all of them together hardly ever
# go together.
OPTIONAL_MAX = 4
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

# What this node has no models for, and no live source of intensities; a batch of one line is over before it can be
# cancelled; and who serves himself makes no transfers.
UNSERVED = {
    "POST /v1/batches/{batch_id}/cancel",
    "POST /v1/audio/transcriptions",
    "POST /v1/audio/translations",
    "GET /v1/models/{owner}/{name}",
    "GET /emissions/forecasts/current",
    "GET /v1/rewards/proofs/consistency",
    "GET /v1/rewards/proofs/inclusion",
    # They go on where something is: with an ETag, an offset, that nobody guesses.
    "DELETE /v1/storage/databases/{db}/docs/{id}",
    "PUT /v1/storage/uploads/{id}",
    "GET /v1/storage/databases/{db}/changes",
    "GET /v1/storage/databases/{db}/export",
    # They take a passkey, which js/passkeys.test.js brings.
    "POST /v1/auth/passkey/login/begin",
    "POST /v1/auth/passkey/login/complete",
    "POST /v1/auth/passkey/register/complete",
}
# PouchDB asks for these.
ELSEWHERE = "/couch"

THINGS = Things(os.environ["NODE_URL"])


@schemathesis.hook
def before_add_examples(context, examples):
    operation = context.operation
    names = {parameter.name: "here" for parameter in operation.path_parameters}
    kinds = operation.definition.raw.get("requestBody", {}).get("content", {})
    for body in QUESTIONS.get(operation.label, ()):
        examples.append(operation.Case(body=body, path_parameters=names, media_type=next(iter(kinds))))
    # What takes no body is asked once for what is here, whatever chance generates.
    plain = () if kinds else ({},)
    for query in QUERIES.get(operation.label, plain):
        examples.append(operation.Case(query=query, path_parameters=names))


@schemathesis.hook
def before_call(context, case, kwargs):
    path = context.operation.path
    dice = random.Random(json.dumps([path, case.path_parameters, case.body], default=repr))
    # What was not generated is a question of ours.
    is_ours = case.meta is None
    is_sound = is_ours or not case.meta.generation.mode.is_negative
    if case.path_parameters and is_sound and (is_ours or dice.random() < KNOWN):
        known = _known(path, case.path_parameters)
        if case.method.upper() == "PUT" and "/docs/" in path:
            # A document that is there is not written anew by who has not seen it.
            known["id"] = case.path_parameters["id"]
        case.path_parameters = known
    if is_sound and not is_ours:
        # A node that works alone fulfils hardly any demand, and says so with a 503.
        for name in [name for name in case.headers or {} if name.lower().startswith("x-kwaai-")]:
            del case.headers[name]
    if is_ours and path == "/v1/identity/succeed":
        # Somebody who has named his next key has no other.
        THINGS.leave()
    if is_sound and path.startswith(HIS_OWN):
        case.headers = {**(case.headers or {}), **THINGS.person().headers()}
    if path.startswith("/v1/auth/passkey"):
        # Passkeys are for names.
        case.headers = {**(case.headers or {}), "Host": f"localhost:{urlsplit(THINGS.url).port}"}
    if not isinstance(case.body, dict) or case.media_type != "application/json":
        return
    body = dict(case.body)
    if is_ours:
        body = THINGS.person().body(path) or body
    if is_sound:
        body = _known_in(body)
        if not is_ours:
            body.pop("kwaai", None)
    # The phase `coverage` goes through the values of each field by itself.
    if is_sound and not is_ours and case.meta.phase.name.value != "coverage":
        body = _thinned(case.operation, body, dice)
    if _is_name(body.get("model")) and dice.random() < KNOWN:
        body["model"] = MINILM if path.startswith(EMBEDDERS) else SMOL
    if f"{case.method.upper()} {path}" in ORDERS and "stream" not in body and dice.random() < 0.5:
        body["stream"] = True
    _bound(path, body)
    case.body = body


@schemathesis.hook
def after_call(context, case, response):
    path, method = context.operation.path, case.method.upper()
    if response.status_code != 200:
        return
    if path == "/v1/identity/succeed" or (method == "DELETE" and path.startswith(HIS_OWN)):
        THINGS.leave()
    elif method == "DELETE" or path == "/v1/privacy/erase":
        THINGS.forget()


def _known(path: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The same with things that are here."""
    if path.startswith(("/v1/identity", "/v1/auth", "/v1/credentials")):
        ids = THINGS.person().names()
        return {name: ids.get(name, value) for name, value in parameters.items()}
    ids = dict(THINGS.ids())
    if "file_batches" in path:
        ids["batch_id"] = ids["file_batch_id"]
    if path.startswith("/v1/storage/uploads"):
        ids["id"] = ids["upload_id"]
    if path == "/v1/models/{model}":
        ids["model"] = SMOL
    return {name: ids.get(name, value) for name, value in parameters.items()}


def _known_in(body: dict[str, Any]) -> dict[str, Any]:
    """A sound body that refers to things that are here."""
    body = dict(body)
    ids = THINGS.ids()
    for field in ("file_id", "input_file_id", "previous_response_id"):
        if body.get(field) is not None:
            body[field] = ids[field]
    if body.get("file_ids") is not None:
        body["file_ids"] = [ids["file_id"]]
    if body.get("conversation") is not None:
        body["conversation"] = ids["conversation_id"]
    return body


def _thinned(operation: Any, body: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """A sound body with fewer fields."""
    content = operation.definition.raw["requestBody"]["content"]["application/json"]
    if "$ref" not in content["schema"]:
        # Whatever an owner likes.
        return body
    name = content["schema"]["$ref"].rpartition("/")[2]
    schema = operation.schema.raw_schema["components"]["schemas"][name]
    needed = {*schema.get("required", ()), "model"}
    optional = sorted(set(body) - needed)
    kept = needed | set(dice.sample(optional, dice.randint(0, min(OPTIONAL_MAX, len(optional)))))
    body = {field: value for field, value in body.items() if field in kept}
    if "messages" in body and dice.random() < KNOWN:
        body["messages"] = SAID
    if body.get("stream_options") is not None:
        body["stream"] = True
    for field in ("n", "best_of"):
        if body.get(field) is not None:
            body[field] = min(body[field], CHOICES_MAX)
    return body


def _bound(path: str, body: dict[str, Any]) -> None:
    """Bounds the answer."""
    if path in ("/api/chat", "/api/generate"):
        options = body.get("options")
        if options is None or isinstance(options, dict):
            body["options"] = options = dict(options or {})
            asked = options.get("num_predict")
            if asked in (None, -1, -2) or _is_count(asked):
                options["num_predict"] = TOKENS_MAX
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
    """What each event says: the document has the schema of that, as OpenAI's own has. Whether the stream
    is well made is for `event_streams` to say."""
    try:
        return [event.value for event in server_sent(response.content) if event.data != DONE]
    except (AssertionError, ValueError):
        return []


@schemathesis.check
class event_streams:
    """Every stream is what its protocol says, and every operation that can stream did."""

    def __init__(self):
        self.streamed = set()
        self.documented = set()
        self.validators = {}

    def after_response(self, ctx, response, case):
        label = case.operation.label
        content = case.operation.definition.raw["responses"].get("200", {}).get("content", {})
        if EVENTS in content or LINES in content:
            self.documented.add(label)
        kind = response.headers.get("content-type", [""])[0].partition(";")[0]
        if response.status_code != 200 or kind not in (EVENTS, LINES):
            return
        self.streamed.add(label)
        assert not response.stream_cut_short, "the stream did not end in time"
        assert label in ORDERS, "nobody knows in which order its events come"
        found = server_sent(response.content) if kind == EVENTS else lines(response.content)
        if kind == LINES:
            for event in found:
                self.validator(case, content[LINES]["schema"]).validate(event.value)
        asked = case.body if isinstance(case.body, dict) else case.query or {}
        ORDERS[label](found, asked)

    def validator(self, case, schema):
        """Of a line: schemathesis has none for this media type."""
        label = case.operation.label
        if label not in self.validators:
            whole = {**schema, "components": case.operation.schema.raw_schema["components"]}
            self.validators[label] = jsonschema_rs.Draft202012Validator(whole)
        return self.validators[label]

    def after_run(self, ctx):
        silent = self.documented - self.streamed
        assert not silent, f"never streamed: {sorted(silent)}"


@schemathesis.check
class every_route:
    """Every documented operation was asked, and gave what it is there for."""

    def __init__(self):
        self.left = None

    def after_response(self, ctx, response, case):
        if self.left is None:
            paths = case.operation.schema.raw_schema["paths"]
            asked = [path for path in paths if not path.startswith(ELSEWHERE)]
            self.left = {f"{m.upper()} {path}" for path in asked for m in paths[path]} - UNSERVED
        if response.status_code in (200, 201):
            self.left.discard(case.operation.label)

    def after_run(self, ctx):
        assert not self.left, f"never answered well: {sorted(self.left)}"
