"""The list of models, and models that are loaded when they are first asked for."""

from __future__ import annotations

import time

import pytest
from openai import NotFoundError

from support.node import GEMMA, MINILM, SMOL, eventually


def test_what_lies_in_the_cache_is_listed(client):
    # What is said of a model is looked up twice a second.
    eventually(lambda: client.models.retrieve(SMOL).loaded)
    models = {model.id: model for model in client.models.list()}
    assert {SMOL, GEMMA, MINILM} <= set(models)
    for model in models.values():
        assert model.object == "model"
        assert model.owned_by == "local"
        assert 1_600_000_000 < model.created <= time.time()
    assert models[SMOL].context_length == 8192
    assert (models[SMOL].kind, models[MINILM].kind) == ("generate", "embed")


def test_one_model_is_shown(client):
    model = client.models.retrieve(SMOL)
    assert model == next(m for m in client.models.list() if m.id == SMOL)


def test_a_model_that_is_not_here_is_not_found_and_not_replaced(client):
    with pytest.raises(NotFoundError) as refused:
        client.models.retrieve("gpt-9")
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")


def test_another_model_in_the_cache_is_loaded_when_asked_for(client):
    answer = client.completions.create(
        model=GEMMA, prompt="Monday, Tuesday,", temperature=0, max_tokens=3
    )
    assert answer.model == GEMMA
    assert answer.choices[0].text == " Wednesday, Thursday"
    eventually(lambda: client.models.retrieve(GEMMA).loaded)
    assert client.models.retrieve(GEMMA).context_length == 32768
    # And the first one still answers.
    again = client.completions.create(
        model=SMOL, prompt="One, two, three,", max_tokens=1, temperature=0
    )
    assert again.choices[0].text == " four"
