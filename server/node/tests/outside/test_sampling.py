"""How tokens are drawn: every parameter does what it says, through the official SDK."""

from __future__ import annotations

import pytest

from support.ask import chat, complete, never_ends, tokens


def texts(answer):
    return [choice.text for choice in answer.choices]


def test_n22_a_seed_fixes_the_draws_and_another_changes_them(client):
    def drawn(seed):
        return texts(complete(client, temperature=2, seed=seed))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(-1)
    assert drawn(-1) == drawn(-1)


def test_without_a_seed_the_draws_differ(client):
    first, second = (texts(complete(client, temperature=2, n=2)) for _ in range(2))
    assert len({*first, *second}) == 4


def test_n22_a_bias_forces_and_forbids_a_token(client):
    (word,) = tokens(client, " four")
    forced = complete(client, logit_bias={str(word): 100}, max_tokens=3)
    assert texts(forced) == [" four four four"]
    forbidden = complete(client, logit_bias={str(word): -100}, max_tokens=1)
    assert texts(forbidden) != [" four"]


def test_an_end_that_is_forbidden_does_not_come(client):
    answer = chat(client, logit_bias=never_ends(client), max_tokens=24)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 24


@pytest.mark.parametrize(
    "narrow", [{"top_p": 0}, {"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 1}}]
)
def test_the_narrowest_choice_is_the_greedy_one(client, narrow):
    greedy = texts(complete(client))
    assert texts(complete(client, temperature=1.5, seed=9, **narrow)) == greedy


def test_a_wide_choice_is_as_if_nothing_was_said(client):
    drawn = {"temperature": 1.2, "seed": 4}
    wide = {"top_k": 0, "min_p": 0, "repetition_penalty": 1}
    assert texts(complete(client, **drawn, extra_body=wide)) == texts(complete(client, **drawn))


@pytest.mark.parametrize(
    "penalty",
    [
        {"frequency_penalty": 2},
        {"presence_penalty": 2},
        {"extra_body": {"repetition_penalty": 5}},
    ],
)
def test_a_penalty_keeps_the_model_from_repeating_itself(client, penalty):
    options = {"prompt": "Yes" + 5 * " yes", "max_tokens": 6}
    assert texts(complete(client, **options)) == [" yes" * 6]
    (varied,) = texts(complete(client, **options, **penalty))
    assert varied.count(" yes") < 3
