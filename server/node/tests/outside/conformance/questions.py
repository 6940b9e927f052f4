"""Requests that have to work, beside those that are generated: above all streams of every kind.

Bodies and queries by operation, as the document names it. What is generated asks for a tool, a format or
a stream by chance only. Ids take the place of "here".
"""

from __future__ import annotations

from typing import Any

SMOL = "smollm2-135m-instruct"
MINILM = "all-minilm-l6-v2"

_DID = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
_ETHEREUM = "did:pkh:eip155:1:0xb9c5714089478a327f09197987f16f9e5d936e8a"
SAID = [{"role": "user", "content": "What is the moon?"}]
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}},
    "required": ["city"],
    "additionalProperties": False,
}
_FUNCTION = {"name": "weather", "parameters": _SCHEMA, "strict": True}
_TOOL = {"type": "function", "function": _FUNCTION}
_FLAT_TOOL = {"type": "function", **_FUNCTION}
_USAGE = {"include_usage": True}


def _with(common: dict[str, Any], *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    """Each body with what all have in common, streamed and whole."""
    return [{"model": SMOL, **common, **body, "stream": s} for body in bodies for s in (True, False)]


_RANKED = {"model": MINILM, "query": "moon", "documents": ["sun", {"text": "moon"}], "top_n": 1}

QUESTIONS: dict[str, list[Any]] = {
    "POST /v1/chat/completions": [
        *_with(
            {"messages": SAID, "max_tokens": 6, "seed": 1},
            {"n": 2, "logprobs": True, "top_logprobs": 2},
            {"stop": ["o"], "temperature": 0},
            {"max_tokens": 32, "tools": [_TOOL], "tool_choice": "required"},
            {"max_tokens": 32, "functions": [_FUNCTION], "function_call": {"name": "weather"}},
            {"max_tokens": 32, "response_format": {"type": "json_object"}},
        ),
        {
            "model": SMOL,
            "messages": SAID,
            "max_tokens": 3,
            "n": 2,
            "stream": True,
            "stream_options": _USAGE,
        },
    ],
    "POST /v1/conversations/{conversation_id}": [{"metadata": {"of": "moon"}}],
    # Their bodies are made for the one time (`people`).
    "POST /v1/auth/verify": [{}],
    "POST /v1/auth/capabilities/revoke": [{}],
    "POST /v1/credentials/status": [{}],
    "POST /v1/identity/credentials": [{}],
    "POST /v1/identity/links": [{}],
    "POST /v1/identity/succeed": [{}],
    "POST /v1/auth/capabilities": [{"scopes": ["inference", "storage"], "paths": ["/v1"]}],
    "POST /v1/auth/challenge": [{"account": _DID}, {"account": _ETHEREUM, "scopes": ["inference"]}],
    "POST /v1/auth/passkey/register/begin": [{"name": "moon"}],
    "POST /v1/credentials/issue": [{"credential": {"credentialSubject": {"id": _DID}}}],
    "POST /v1/identity/prepare": [{"next_key_sha256": "0" * 64, "recovery": _DID}],
    "POST /v1/credentials/present": [{"presentation": {}}],
    "POST /v1/credentials/presentations/verify": [{"verifiablePresentation": {}}],
    "POST /v1/credentials/verify": [{"verifiableCredential": {}}],
    "POST /v1/files": [{"file": b"moon", "purpose": "assistants"}],
    "POST /v1/privacy/erase": [{}],
    "POST /v1/privacy/export": [{}],
    "POST /v1/storage/blobs": [b"sun"],
    "POST /v1/vector_stores": [{"name": "moon"}],
    "POST /v1/vector_stores/{vector_store_id}": [{"metadata": {"of": "moon"}}],
    "POST /v1/vector_stores/{vector_store_id}/files/{file_id}": [{"attributes": {"of": "moon"}}],
    "PUT /v1/storage/databases/{db}/docs/{id}": [{"round": True}],
    "POST /v1/storage/databases": [{"name": "fresh", "mode": "public"}],
    "POST /v1/storage/databases/{db}/erase": [{"ids": ["moon", "nothing"]}],
    "POST /v1/storage/uploads": [{"bytes": 4}],
    "POST /v1/completions": [
        *_with(
            {"prompt": "One, two,", "max_tokens": 4, "seed": 1},
            {"n": 2, "logprobs": 2},
            {"prompt": ["One,", "Two,"], "echo": True},
            {"guided_choice": ["three", "four"]},
        ),
        {
            "model": SMOL,
            "prompt": [[1, 2, 3]],
            "max_tokens": 2,
            "stream": True,
            "stream_options": _USAGE,
        },
    ],
    "POST /v1/responses": _with(
        {"input": "What is the moon?", "max_output_tokens": 6},
        {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"background": True},
        {"store": False, "instructions": "Be brief.", "temperature": 0},
        {"max_output_tokens": 32, "tools": [_FLAT_TOOL], "tool_choice": "required"},
        {
            "max_output_tokens": 32,
            "text": {"format": {"type": "json_schema", "name": "place", "schema": _SCHEMA}},
        },
    ),
    "POST /v1/responses/input_tokens": [{"model": SMOL, "input": SAID, "tools": [_FLAT_TOOL]}],
    "POST /v1/messages": _with(
        {"messages": SAID, "max_tokens": 6},
        {"stop_sequences": ["o"]},
        {
            "max_tokens": 32,
            "tools": [{"name": "weather", "input_schema": _SCHEMA, "strict": True}],
            "tool_choice": {"type": "any"},
        },
    ),
    "POST /api/chat": _with(
        {"messages": SAID, "options": {"num_predict": 6}},
        {"logprobs": True, "top_logprobs": 2},
        {"messages": []},
        {"options": {"num_predict": 32}, "format": _SCHEMA},
    ),
    "POST /api/generate": _with(
        {"prompt": "One, two,", "options": {"num_predict": 6}},
        {"raw": True, "logprobs": True},
        {"prompt": ""},
    ),
    "POST /api/pull": _with({}, {}),
    "POST /api/show": [{"model": SMOL}, {"model": MINILM}],
    "POST /api/embed": [{"model": MINILM, "input": ["moon", "sun"]}],
    "POST /api/embeddings": [{"model": MINILM, "prompt": "moon"}],
    "POST /v1/embeddings": [
        {"model": MINILM, "input": ["moon", "sun"], "dimensions": 8},
        {"model": MINILM, "input": [101, 102], "encoding_format": "base64"},
    ],
    "POST /v1/rerank": [_RANKED],
    "POST /v2/rerank": [_RANKED],
    "POST /rerank": [{**_RANKED, "return_documents": True}],
    "POST /v1/tokenize": [
        {"model": SMOL, "prompt": "moon"},
        {"model": SMOL, "messages": SAID, "tools": [_TOOL]},
    ],
    "POST /v1/kwaai/route": [
        {"model": SMOL, "messages": SAID, "kwaai": {"prefer": "fast", "data_class": "confidential"}},
        {"model": MINILM, "input": "moon", "kwaai": {"tier_min": "t0"}},
    ],
    "POST /v1/detokenize": [{"model": SMOL, "tokens": [1, 2, 3]}],
    "POST /v1/conversations/{conversation_id}/items": [{"items": SAID}],
    "POST /v1/vector_stores/{vector_store_id}/file_batches": [{"file_ids": ["here"]}],
    "POST /v1/vector_stores/{vector_store_id}/files": [{"file_id": "here"}],
    "POST /v1/vector_stores/{vector_store_id}/search": [{"query": "moon"}],
    "POST /emissions/forecasts/batch": [[]],
    "POST /emissions/average-carbon-intensity/batch": [
        [{"location": "DE", "startTime": "2023-01-01", "endTime": "2023-02-01T00:00:00Z"}]
    ],
    "POST /v1/conversations": [{"items": [{"role": "user", "content": "moon"}], "metadata": {}}],
}

QUERIES: dict[str, list[dict[str, str]]] = {
    "GET /v1/responses/{response_id}/input_items": [{"limit": "2"}],
    "GET /v1/audit/proofs/consistency": [{"first": "1"}],
    "GET /v1/audit/proofs/inclusion": [{"entry": "0"}],
    "GET /v1/storage/blobs/{hash}/proof": [{"offset": "0"}, {"offset": "4"}],
    "GET /v1/responses/{response_id}": [
        {"stream": "true"},
        {"stream": "true", "starting_after": "1"},
        {"stream": "true", "starting_after": "9999"},
    ],
    "GET /v1/carbon/requests/{request_id}": [{}],
    "GET /v1/carbon/report": [{"format": "csv"}, {"format": "html"}, {"month": "2026-01"}],
    "GET /v1/carbon/best-window": [{"duration_minutes": "30"}],
    "GET /emissions/bylocation": [{"location": "DE"}],
    "GET /emissions/bylocations": [{"location": "DE"}],
    "GET /emissions/bylocations/best": [{"location": "DE"}],
    "GET /emissions/average-carbon-intensity": [
        {"location": "DE", "startTime": "2023-01-01T00:00:00Z", "endTime": "2023-02-01T00:00:00Z"}
    ],
}
