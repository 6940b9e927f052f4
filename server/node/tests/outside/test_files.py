"""Files, vector stores and rankings through the official client, with a real embedding model."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai import BadRequestError, NotFoundError

from support.node import MINILM, eventually
from support.wire import post

CATS = "Cats sleep for most of the day and hunt mice at night."
BREAD = "Bread is baked from flour, water, salt and yeast in a hot oven."
STARS = "A star shines because hydrogen is fused to helium in its core."


def test_a_file_comes_back_and_goes_away(client, tmp_path: Path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"line\n" * 100_000)
    made = client.files.create(
        file=path, purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.filename == "notes.txt"
    assert made.bytes == 500_000
    assert made.expires_at == made.created_at + 3600
    assert client.files.retrieve(made.id) == made
    assert client.files.wait_for_processing(made.id).id == made.id
    assert client.files.content(made.id).content == path.read_bytes()
    assert made.id in [file.id for file in client.files.list(purpose="user_data", limit=1)]
    assert client.files.delete(made.id).deleted
    with pytest.raises(NotFoundError) as refused:
        client.files.retrieve(made.id)
    assert refused.value.code == "file_not_found"
    with pytest.raises(BadRequestError) as refused:
        client.files.create(file=b"x", purpose="fine-tune")
    assert refused.value.param == "purpose"


def test_texts_are_found_by_what_they_mean(client):
    texts = {"cats.txt": CATS, "bread.md": BREAD, "stars.html": f"<h1>Stars</h1><p>{STARS}</p>"}
    store = client.vector_stores.create(name="facts")
    assert store.status == "completed"
    batch = client.vector_stores.file_batches.upload_and_poll(
        store.id, files=[(name, text.encode()) for name, text in texts.items()], poll_interval_ms=50
    )
    assert batch.status == "completed"
    assert batch.file_counts.completed == 3
    for query, name in [
        ("a pet that catches mice", "cats.txt"),
        ("how to make a loaf", "bread.md"),
        ("nuclear fusion in the sun", "stars.html"),
    ]:
        found = client.vector_stores.search(store.id, query=query).data
        assert found[0].filename == name
        assert found[0].score > 0.3 > found[1].score
        assert found[0].content[0].text
    files = client.vector_stores.files.list(store.id).data
    bread = next(file for file in files if client.files.retrieve(file.id).filename == "bread.md")
    client.vector_stores.files.update(bread.id, vector_store_id=store.id, attributes={"food": True})
    foods = {"type": "eq", "key": "food", "value": True}
    found = client.vector_stores.search(store.id, query="pets", filters=foods).data
    assert [(piece.filename, piece.attributes) for piece in found] == [("bread.md", {"food": True})]
    assert client.vector_stores.delete(store.id).deleted
    for file in files:
        client.files.delete(file.id)


def test_a_long_text_is_cut_into_pieces_that_the_model_can_take(client):
    store = client.vector_stores.create()
    filler = " ".join(f"Sentence number {i} says nothing of interest." for i in range(100))
    text = f"{filler} {CATS} {filler}"
    file = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("long.txt", text.encode()), poll_interval_ms=100
    )
    assert file.status == "completed", file.last_error
    found = client.vector_stores.search(store.id, query="hunting mice", max_num_results=1).data
    assert CATS in found[0].content[0].text
    image = client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("x.png", b"x"), poll_interval_ms=50
    )
    assert image.last_error.code == "unsupported_file"
    client.vector_stores.delete(store.id)
    for file in (file, image):
        client.files.delete(file.id)


def test_documents_are_ranked(node):
    body = {"model": MINILM, "query": "what do cats eat?", "documents": [BREAD, CATS, STARS]}
    answer = post(node, "/v1/rerank", body).json
    scores = [result["relevance_score"] for result in answer["results"]]
    assert answer["results"][0]["index"] == 1
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.3 > scores[1]
    eventually(node.is_idle)
