"""Embeddings through the official SDK, which asks for base64 unless told otherwise."""

from __future__ import annotations

import base64
import math
import struct

import pytest
from openai import BadRequestError

from support.node import MINILM, SMOL

CAT, KITTEN, MONEY = "The cat sleeps.", "A kitten is napping.", "Stocks fell sharply today."


def embed(client, given, **options):
    return client.embeddings.create(model=MINILM, input=given, **options)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_vectors_have_openais_shape_and_unit_length(client):
    answer = embed(client, CAT)
    assert (answer.object, answer.model) == ("list", MINILM)
    (one,) = answer.data
    assert (one.object, one.index, len(one.embedding)) == ("embedding", 0, 384)
    assert math.fsum(x * x for x in one.embedding) == pytest.approx(1, abs=1e-5)
    # [CLS] the cat sleeps . [SEP]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 6


def test_what_means_the_same_lies_close(client):
    cat, kitten, money = (one.embedding for one in embed(client, [CAT, KITTEN, MONEY]).data)
    assert cosine(cat, kitten) > 0.5 > 0.2 > cosine(cat, money)


def test_n15_base64_and_numbers_are_the_same_vector(client):
    raw = client.post(
        "/embeddings",
        body={"model": MINILM, "input": CAT, "encoding_format": "base64"},
        cast_to=dict,
    )
    packed = base64.b64decode(raw["data"][0]["embedding"], validate=True)
    floats = embed(client, CAT, encoding_format="float").data[0].embedding
    assert list(struct.unpack("<384f", packed)) == pytest.approx(floats, abs=1e-7)
    assert embed(client, CAT).data[0].embedding == pytest.approx(floats, abs=1e-7)


def test_n28_in_a_batch_each_is_what_it_is_alone(client):
    given = [CAT, "x", MONEY * 5, KITTEN]
    batch = embed(client, given)
    assert [one.index for one in batch.data] == [0, 1, 2, 3]
    alone = [embed(client, text) for text in given]
    for one, answer in zip(batch.data, alone, strict=True):
        assert one.embedding == answer.data[0].embedding
    assert batch.usage.prompt_tokens == sum(answer.usage.prompt_tokens for answer in alone)


def test_token_ids_are_a_text_too(client):
    body = {"model": MINILM, "prompt": CAT}
    ids = client.post("/tokenize", body=body, cast_to=dict)["tokens"]
    assert len(ids) == 6
    assert embed(client, ids).data[0].embedding == embed(client, CAT).data[0].embedding
    assert len(embed(client, [ids, ids]).data) == 2


def test_fewer_dimensions_are_the_first_ones_at_unit_length(client):
    whole = embed(client, CAT).data[0].embedding
    short = embed(client, CAT, dimensions=64).data[0].embedding
    length = math.sqrt(math.fsum(x * x for x in whole[:64]))
    assert short == pytest.approx([x / length for x in whole[:64]], abs=1e-6)


@pytest.mark.parametrize(
    ("given", "options", "param", "code"),
    [
        ([], {}, "input", "empty_array"),
        ("", {}, "input", "invalid_value"),
        ([CAT, ""], {}, "input[1]", "invalid_value"),
        (7, {}, "input", "invalid_type"),
        (CAT, {"dimensions": 0}, "dimensions", "integer_below_min_value"),
        (CAT, {"dimensions": 385}, "dimensions", "invalid_value"),
        (CAT, {"encoding_format": "hex"}, "encoding_format", "invalid_value"),
        ("word " * 400, {}, "input", "context_length_exceeded"),
        ([2**31], {}, "input", "invalid_value"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(client, given, options, param, code):
    with pytest.raises(BadRequestError) as refused:
        embed(client, given, **options)
    assert (refused.value.param, refused.value.code) == (param, code)


def test_a_model_that_writes_does_not_embed_and_the_other_way_round(client):
    with pytest.raises(BadRequestError) as refused:
        client.embeddings.create(model=SMOL, input=CAT)
    assert refused.value.param == "model"
    with pytest.raises(BadRequestError) as refused:
        client.completions.create(model=MINILM, prompt=CAT)
    assert refused.value.param == "model"
