"""Log-probabilities in both of OpenAI's shapes, through the official SDK."""

from __future__ import annotations

import math

import pytest

from support.ask import chat, complete


def test_chat_gives_each_token_with_its_alternatives(client):
    answer = chat(client, logprobs=True, top_logprobs=3, max_tokens=4)
    choice = answer.choices[0]
    content = choice.logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert b"".join(bytes(token.bytes) for token in content).decode() == choice.message.content
    assert choice.logprobs.refusal is None
    for token in content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3
        tops = [top.logprob for top in token.top_logprobs]
        assert tops == sorted(tops, reverse=True)
        # Greedy, so the chosen one is the best.
        assert token.token == token.top_logprobs[0].token
        assert token.logprob == pytest.approx(tops[0], abs=1e-6)
        assert sum(math.exp(top) for top in tops) <= 1 + 1e-4


def test_chat_without_alternatives_gives_the_tokens_alone(client):
    answer = chat(client, logprobs=True, max_tokens=3)
    assert [token.top_logprobs for token in answer.choices[0].logprobs.content] == [[]] * 3


def test_streamed_chat_gives_the_same(client):
    options = {"logprobs": True, "top_logprobs": 2, "max_tokens": 6}
    whole = chat(client, **options).choices[0].logprobs.content
    pieces = []
    for chunk in chat(client, stream=True, **options):
        (choice,) = chunk.choices
        if choice.logprobs:
            pieces += choice.logprobs.content
            text = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
            assert text.decode() == choice.delta.content
    assert pieces == whole


def test_a_continuation_gives_four_lists(client):
    answer = complete(client, logprobs=2)
    choice = answer.choices[0]
    lists = choice.logprobs
    assert "".join(lists.tokens) == choice.text
    count = answer.usage.completion_tokens
    assert [len(lists.tokens), len(lists.token_logprobs)] == [count, count]
    assert [len(lists.top_logprobs), len(lists.text_offset)] == [count, count]
    for token, logprob, top, offset in zip(
        lists.tokens, lists.token_logprobs, lists.top_logprobs, lists.text_offset, strict=True
    ):
        assert choice.text[offset:].startswith(token)
        assert len(top) == 2
        assert top[token] == pytest.approx(logprob, abs=1e-6) == pytest.approx(max(top.values()))


def test_a_drawn_token_has_the_probability_that_the_model_gave_it(client):
    """Bias and temperature change what is drawn, not what the model thought of it."""
    greedy = complete(client, logprobs=0, max_tokens=1).choices[0].logprobs
    hot = complete(client, logprobs=0, max_tokens=1, temperature=2, top_p=0).choices[0].logprobs
    assert hot.tokens == greedy.tokens
    assert hot.token_logprobs == pytest.approx(greedy.token_logprobs, abs=1e-5)
