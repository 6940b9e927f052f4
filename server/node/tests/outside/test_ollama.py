"""Ollama's API through its official client."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import ollama
import pytest
from ollama import Client, ResponseError
from pydantic import BaseModel

from conftest import CANARY
from support.ask import COUNT, ECHO, ECHOED
from support.node import MINILM, SMOL, SMOL_FILE, Node, kwaainet, running, succeeded
from support.wire import ask

GREEDY = {"temperature": 0, "num_predict": 12}


@pytest.fixture(scope="module")
def llama(node: Node) -> Client:
    """The official client, told where to go and nothing else."""
    return Client(host=node.url, timeout=60)


def chat(llama: Client, **options: Any) -> Any:
    return llama.chat(**{"model": SMOL, "messages": ECHO, "options": GREEDY, **options})


def generate(llama: Client, **options: Any) -> Any:
    return llama.generate(**{"model": SMOL, "options": GREEDY, **options})


def test_a_chat_has_ollamas_shape_and_makes_sense(llama):
    answer = chat(llama)
    assert answer.model == SMOL
    assert (answer.message.role, answer.message.content) == ("assistant", ECHOED)
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.prompt_eval_count > 0
    assert answer.eval_count > 0
    parts = answer.load_duration + answer.prompt_eval_duration + answer.eval_duration
    assert answer.total_duration == parts


def test_a_chat_is_streamed_line_by_line(llama):
    pieces = list(chat(llama, stream=True))
    assert len(pieces) > 3
    assert "".join(piece.message.content for piece in pieces) == ECHOED
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].eval_count == chat(llama).eval_count


def test_a_name_may_have_the_default_tag(llama):
    answer = chat(llama, model=f"{SMOL}:latest")
    assert (answer.model, answer.message.content) == (f"{SMOL}:latest", ECHOED)


def test_options_do_what_they_say(llama):
    cut = chat(llama, options={**GREEDY, "num_predict": 2})
    assert (cut.done_reason, cut.eval_count) == ("length", 2)
    stopped = chat(llama, options={**GREEDY, "stop": [" two"]})
    assert (stopped.done_reason, stopped.message.content) == ("stop", "One,")
    drawn = {"seed": 7, "temperature": 1.5, "num_predict": 8}
    assert chat(llama, options=drawn).message == chat(llama, options=drawn).message


def test_a_text_is_answered_or_continued(llama):
    answered = generate(llama, system=ECHO[0]["content"], prompt=ECHO[1]["content"])
    assert answered.response == ECHOED
    continued = generate(llama, prompt=COUNT, raw=True)
    assert "four" in continued.response
    pieces = list(generate(llama, prompt=COUNT, raw=True, stream=True))
    assert "".join(piece.response for piece in pieces) == continued.response
    with pytest.raises(ResponseError) as gap:
        generate(llama, prompt="def f(", suffix="return 1")
    assert gap.value.status_code == 400, "this model has no tokens to fill in with"


def test_log_probabilities_come_when_asked_for(llama):
    answer = chat(llama, logprobs=True, top_logprobs=2)
    assert "".join(entry.token for entry in answer.logprobs) == ECHOED
    assert all(len(entry.top_logprobs) == 2 for entry in answer.logprobs)


def test_a_question_of_nothing_loads_the_model(llama):
    assert chat(llama, messages=[]).done_reason == "load"
    assert generate(llama, prompt="").done_reason == "load"


def test_a_function_is_offered_as_a_tool(llama):
    def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: The city's name.
        """
        return f"sunny in {city}"

    messages = [{"role": "user", "content": "What is the weather in Rome?"}]
    pieces = list(chat(llama, messages=messages, tools=[weather], stream=True))
    assert pieces[-1].done
    for call in (call for piece in pieces for call in piece.message.tool_calls or []):
        assert isinstance(call.function.arguments, dict)
    asked = {"function": {"name": "weather", "arguments": {"city": "Rome"}}}
    messages += [
        {"role": "assistant", "content": "", "tool_calls": [asked]},
        {"role": "tool", "content": weather("Rome"), "tool_name": "weather"},
    ]
    assert chat(llama, messages=messages, tools=[weather]).done


class Person(BaseModel):
    name: str
    age: int


def test_an_answer_follows_a_schema(llama):
    messages = [{"role": "user", "content": "Ann is 7 years old. Tell it as JSON."}]
    options = {"temperature": 0, "num_predict": 200}
    answer = chat(llama, messages=messages, format=Person.model_json_schema(), options=options)
    assert answer.done_reason == "stop"
    Person.model_validate_json(answer.message.content)


def test_texts_become_vectors(llama):
    texts = ["a cat", "a kitten", "a train"]
    both = llama.embed(model=MINILM, input=texts)
    assert len(both.embeddings) == 3
    alone = llama.embed(model=MINILM, input=texts[0])
    assert alone.embeddings[0] == both.embeddings[0]
    assert llama.embeddings(model=MINILM, prompt=texts[0]).embedding == both.embeddings[0]

    def dot(a: Any, b: Any) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    cat, kitten, train = both.embeddings
    assert dot(cat, kitten) > dot(cat, train)
    assert len(llama.embed(model=MINILM, input="x", dimensions=8).embeddings[0]) == 8


def test_models_are_listed_with_what_is_known_of_them(llama, node):
    listed = {model.model: model for model in llama.list().models}
    smol = listed[SMOL]
    assert smol.size == SMOL_FILE.stat().st_size
    assert smol.digest == hashlib.sha256(SMOL_FILE.read_bytes()).hexdigest()
    assert smol.details.family == "llama"
    assert smol.details.quantization_level == "Q4_1"
    chat(llama)
    (loaded,) = [model for model in llama.ps().models if model.model == SMOL]
    assert loaded.context_length == 8192
    shown = llama.show(SMOL)
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.capabilities == ["completion", "tools"]
    assert shown.license == "Apache-2.0"
    assert llama.show(MINILM).capabilities == ["embedding"]
    probe = ask(node, "HEAD", "/")
    assert (probe.status, probe.body) == (200, b"")
    assert ask(node, "GET", "/").body == b"Ollama is running"


def test_a_pull_of_what_is_here_succeeds_and_of_what_nobody_knows_does_not(llama):
    assert llama.pull(SMOL).status == "success"
    assert [line.status for line in llama.pull(SMOL, stream=True)][-1] == "success"
    with pytest.raises(ResponseError) as unknown:
        llama.pull("llama3")
    assert unknown.value.status_code == 404


def test_a_model_of_the_owners_catalogue_is_pulled_and_answers(tmp_path: Path):
    bytes_, digest = SMOL_FILE.stat().st_size, hashlib.sha256(SMOL_FILE.read_bytes()).hexdigest()
    (tmp_path / "mine.toml").write_text(
        f"""
        [[model]]
        name = "mine"
        architecture = "llama"
        kind = "generate"
        context = 8192
        licence = "Apache-2.0"
        description = "A copy"
        [[model.file]]
        name = "mine.Q4_1.gguf"
        sha256 = "{digest}"
        bytes = {bytes_}
        [[model.file.source]]
        path = "{SMOL_FILE}"
        """,
        encoding="utf-8",
    )
    config = f'catalogue = "{tmp_path / "mine.toml"}"\n'
    args = ("--cache-dir", tmp_path / "cache", "--model", SMOL_FILE)
    with running(tmp_path, *args, config=config) as node:
        llama = Client(host=node.url, timeout=60)
        assert "mine" not in [model.model for model in llama.list().models]
        lines = list(llama.pull("mine:latest", stream=True))
        assert lines[0].status == "pulling manifest"
        assert (lines[-3].completed, lines[-3].total) == (bytes_, bytes_)
        assert lines[-1].status == "success"
        assert chat(llama, model="mine").message.content == ECHOED


def test_what_cannot_be_honoured_is_refused(llama):
    for call, status in [
        (lambda: chat(llama, model="nobody"), 404),
        (lambda: chat(llama, think=True), 400),
        (lambda: chat(llama, options={"mirostat": 1}), 400),
        (lambda: generate(llama, prompt="x", images=["aGk="]), 400),
        (lambda: llama.show("nobody"), 404),
        (lambda: llama.create(model="mine", from_=SMOL), 404),
        (lambda: llama.copy(SMOL, "mine"), 404),
        (lambda: llama.push(SMOL), 404),
        (lambda: llama.delete(SMOL), 404),
    ]:
        with pytest.raises(ResponseError) as refused:
            call()
        assert refused.value.status_code == status, refused.value
        assert refused.value.error
    with pytest.raises(ResponseError) as streamed:
        list(chat(llama, model="nobody", stream=True))
    assert streamed.value.status_code == 404


def test_what_is_said_is_in_no_log(llama, node):
    chat(llama, messages=[{"role": "user", "content": f"Say {CANARY}."}])
    assert CANARY not in node.log


def test_a_key_needs_a_scope_to_pull(tmp_path: Path):
    with running(tmp_path) as node:

        def client(*scopes: str) -> Client:
            args = [arg for scope in scopes for arg in ("--scope", scope)]
            made = kwaainet(tmp_path, "keys", "create", *args, "--data-dir", node.data_dir)
            headers = {"Authorization": f"Bearer {succeeded(made).strip()}"}
            return Client(host=node.url, headers=headers)

        guest, owner = client("inference"), client("models")
        with pytest.raises(ResponseError) as refused:
            guest.pull(SMOL)
        assert refused.value.status_code == 403
        assert owner.pull(SMOL).status == "success"
        with pytest.raises(ResponseError) as stranger:
            ollama.Client(host=node.url).list()
        assert stranger.value.status_code == 401
