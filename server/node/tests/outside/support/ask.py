"""Questions in as few words as possible, through the official client."""

from __future__ import annotations

from typing import Any

from openai import OpenAI, Stream
from openai.types.chat import ChatCompletionChunk

from support.node import SMOL

# Few tokens in, few tokens out, and an answer that even the smallest model gets right.
ECHO = [
    {"role": "system", "content": "Repeat what the user says."},
    {"role": "user", "content": "One, two, three."},
]
ECHOED = "One, two, three."
COUNT = "One, two, three,"


def chat(client: OpenAI, **options: Any) -> Any:
    """A short chat, greedy unless told otherwise."""
    defaults = {"model": SMOL, "messages": ECHO, "temperature": 0, "max_tokens": 12}
    return client.chat.completions.create(**{**defaults, **options})


def streaming(client: OpenAI, **options: Any) -> Stream[ChatCompletionChunk]:
    """The rest of a chat that goes on until its limit of tokens and has begun to say something."""
    options = {"max_tokens": 4_000, "logit_bias": never_ends(client), **options}
    stream = chat(client, stream=True, **options)
    while not next(stream).choices[0].delta.content:
        pass
    return stream


def complete(client: OpenAI, **options: Any) -> Any:
    """A short continuation, greedy unless told otherwise."""
    defaults = {"model": SMOL, "prompt": COUNT, "temperature": 0, "max_tokens": 8}
    return client.completions.create(**{**defaults, **options})


def tokens(client: OpenAI, text: str, **options: Any) -> list[int]:
    """The model's token ids of a text, with no start token put before it."""
    body = {"model": SMOL, "prompt": text, "add_special_tokens": False, **options}
    return client.post("/tokenize", body=body, cast_to=dict)["tokens"]


def never_ends(client: OpenAI) -> dict[str, int]:
    """A bias under which the model cannot end its answer."""
    ends = (tokens(client, name) for name in ("<|im_end|>", "<|endoftext|>"))
    return {str(id): -100 for (id,) in ends}
