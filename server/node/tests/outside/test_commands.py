"""The commands besides `serve`, as a person at a terminal or a script meets them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from support.ask import ECHO, ECHOED
from support.node import GEMMA, MINILM, SMOL, SMOL_FILE, kwaainet, refused, running, succeeded

SYSTEM, PROMPT = (message["content"] for message in ECHO)
GREEDY = ("--temperature", "0", "--max-tokens", "12", "--system", SYSTEM)


def test_the_version_is_one_line(folder):
    assert succeeded(kwaainet(folder, "version")) == succeeded(kwaainet(folder, "--version"))
    name, version = succeeded(kwaainet(folder, "version")).split()
    assert name == "kwaainet"
    assert len(version.split(".")) == 3


def test_without_a_command_it_helps(folder):
    helped = kwaainet(folder)
    assert helped.returncode == 2
    for command in ("serve", "run", "pull", "models", "keys", "config", "openapi", "bench"):
        assert f"  {command} " in helped.stderr


def test_the_catalogue_says_what_is_here(folder):
    rows = [line.split() for line in succeeded(kwaainet(folder, "models")).splitlines()]
    here = {row[0]: row[5] for row in rows[1:]}
    assert here == {SMOL: "yes", GEMMA: "yes", MINILM: "yes"}
    empty = succeeded(kwaainet(folder, "models", "--cache-dir", folder / "empty"))
    assert {line.split()[5] for line in empty.splitlines()[1:]} == {"no"}


def test_what_is_here_is_not_pulled_again(folder):
    pulled = kwaainet(folder, "pull", SMOL)
    succeeded(pulled)
    assert pulled.stderr == f"{SMOL} is ready in {SMOL_FILE.parent}\n"


def test_a_name_that_is_not_in_the_catalogue_cannot_be_pulled(folder):
    sentence = refused(kwaainet(folder, "pull", SMOL, "gpt-9"))
    assert sentence.startswith("'gpt-9' is not in the catalogue")
    assert MINILM in sentence


def test_one_prompt_is_answered_as_the_api_answers_it(folder):
    answered = kwaainet(folder, "run", PROMPT, *GREEDY)
    assert succeeded(answered) == f"{ECHOED}\n"


def test_a_prompt_may_come_from_a_pipe(folder):
    assert succeeded(kwaainet(folder, "run", *GREEDY, stdin=PROMPT)) == f"{ECHOED}\n"


def test_raw_text_is_continued_up_to_the_limit(folder):
    args = ("run", "--raw", "--temperature", "0", "--max-tokens", "3", "One, two, three,")
    continued = kwaainet(folder, *args)
    assert succeeded(continued) == " four, five\n"
    assert "the limit of tokens is reached" in continued.stderr


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--temperature", "9", "x"], "--temperature must be between 0 and 2"),
        (["--model", "gpt-9", "x"], "'gpt-9' is neither a file nor a model in the catalogue"),
        (["--max-tokens", "9000", "x"], "the model's context is 8192 tokens"),
    ],
)
def test_a_run_that_cannot_be_done_says_why(folder, args, says):
    assert says in refused(kwaainet(folder, "run", *args))


def test_a_run_beside_a_node_shares_its_data(folder):
    """The database takes two processes; only one of them may be a node."""
    with running(folder) as node:
        args = ("run", PROMPT, *GREEDY, "--data-dir", node.data_dir)
        assert succeeded(kwaainet(folder, *args)) == f"{ECHOED}\n"


def entry(name: str, source: Path, digest: str, size: int) -> str:
    """A catalogue of one's own, of one entry and the name of its file."""
    return f"""
default = "{name}"

[[model]]
name = "{name}"
architecture = "llama"
kind = "generate"
context = 8192
licence = "Apache-2.0"
description = "of my own"

[[model.file]]
name = "model.gguf"
sha256 = "{digest}"
bytes = {size}

[[model.file.source]]
path = "{source}"
"""


@pytest.fixture
def own(folder: Path):
    """Writes a catalogue of one's own over a copy of the small model, and gives its flags."""

    def write(digest: str = "") -> list[str | Path]:
        data = SMOL_FILE.read_bytes()
        digest = digest or hashlib.sha256(data).hexdigest()
        shutil.copy(SMOL_FILE, folder / "mine.gguf")
        # Relative, so from the catalogue's own folder.
        text = entry("mine-1", Path("mine.gguf"), digest, len(data))
        (folder / "catalogue.toml").write_text(text)
        config = f"catalogue = '{folder / 'catalogue.toml'}'\n"
        (folder / "node.toml").write_text(config)
        return ["--config", folder / "node.toml", "--cache-dir", folder / "cache"]

    return write


def test_a_catalogue_of_ones_own_extends_the_one_that_ships(folder, own):
    flags = own()
    before = succeeded(kwaainet(folder, "models", *flags))
    assert SMOL in before
    assert [line.split()[5] for line in before.splitlines() if "mine-1" in line] == ["no"]
    # Its default is the default now, and `run` fetches it.
    assert succeeded(kwaainet(folder, "run", PROMPT, *GREEDY, *flags)) == f"{ECHOED}\n"
    after = succeeded(kwaainet(folder, "models", *flags))
    assert [line.split()[5] for line in after.splitlines() if "mine-1" in line] == ["yes"]


def test_a_file_that_is_not_what_the_catalogue_says_never_becomes_a_model(folder, own):
    flags = own(digest="0" * 64)
    sentence = refused(kwaainet(folder, "pull", "mine-1", *flags))
    assert "mine.gguf" in sentence
    left = [path for path in (folder / "cache").rglob("*") if path.is_file()]
    assert all(path.stat().st_size == 0 for path in left), left
    assert "mine-1" in refused(kwaainet(folder, "run", "x", *flags))


def test_a_catalogue_that_makes_no_sense_is_named_with_its_line(folder, own):
    flags = own()
    catalogue = folder / "catalogue.toml"
    text = catalogue.read_text()
    catalogue.write_text(f"{text}colour = 'red'\n")
    sentence = refused(kwaainet(folder, "models", *flags))
    assert f"{catalogue}, line {text.count(chr(10)) + 1}" in sentence
    assert "colour" in sentence


def test_a_model_file_by_its_path_needs_no_catalogue(folder):
    file = folder / "My.Own.gguf"
    file.symlink_to(SMOL_FILE)
    with running(folder, "--model", file) as node:
        client = node.client()
        assert client.models.retrieve("My.Own").owned_by == "local"
        answer = client.chat.completions.create(
            model="My.Own", messages=ECHO, temperature=0, max_tokens=12
        )
    assert answer.choices[0].message.content == ECHOED
