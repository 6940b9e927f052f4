"""A node that cannot start says why in one sentence, and leaves what it found as it was."""

from __future__ import annotations

import random
import socket
import sqlite3
from pathlib import Path

import pytest

from support.gguf import gguf
from support.node import SMOL_FILE, kwaainet, refused, running, succeeded


def serve(folder: Path, *args: str | Path, **options) -> str:
    """The sentence of a node that has to refuse to start."""
    args = args if "--listen" in args else ("--listen", "127.0.0.1:0", *args)
    args = args if "--data-dir" in args else ("--data-dir", folder / "data", *args)
    return refused(kwaainet(folder, "serve", *args, **options))


def test_a_port_in_use_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        sentence = serve(folder, "--listen", address)
    assert sentence.startswith(f"cannot listen on {address}: ")
    assert "another program" in sentence
    assert "--listen" in sentence


def test_an_address_that_is_not_ours_is_named(folder):
    assert "cannot listen on 192.0.2.1:1" in serve_with_key(folder, "192.0.2.1:1")


def serve_with_key(folder: Path, listen: str) -> str:
    succeeded(kwaainet(folder, "keys", "create", "--data-dir", folder / "data"))
    return serve(folder, "--listen", listen)


def test_a_door_that_strangers_can_reach_needs_a_key(folder):
    for listen in ("0.0.0.0:0", "[::]:0"):
        sentence = serve(folder, "--listen", listen)
        assert "can be reached from other machines" in sentence
        assert "kwaainet keys create" in sentence


def test_a_key_that_is_revoked_is_none(folder):
    data = ("--data-dir", folder / "data")
    key = succeeded(kwaainet(folder, "keys", "create", *data)).strip()
    succeeded(kwaainet(folder, "keys", "revoke", key, *data))
    assert "no valid API key" in serve(folder, "--listen", "0.0.0.0:0")


@pytest.mark.parametrize("below", ["data", "deep/er/data"])
def test_a_data_directory_that_cannot_be_made_is_named(folder, below):
    (folder / "file").write_text("in the way")
    path = folder / "file" / below
    sentence = serve(folder, "--data-dir", path)
    assert sentence.startswith(f"the data directory {path} cannot be used: ")


def test_a_data_directory_has_one_node(folder):
    with running(folder) as node:
        sentence = serve(folder, "--data-dir", node.data_dir)
        assert sentence == f"another node is running with the data directory {node.data_dir}"
        assert node.client().models.list().data


def test_a_database_of_a_newer_version_is_left_alone(folder):
    data = folder / "data"
    succeeded(kwaainet(folder, "keys", "list", "--data-dir", data))
    database = data / "node.db"
    count = "SELECT count(*) FROM _sqlx_migrations"
    with sqlite3.connect(database) as connection:
        (before,) = connection.execute(count).fetchone()
        connection.execute(
            "INSERT INTO _sqlx_migrations"
            " (version, description, success, checksum, execution_time)"
            " VALUES (9999, 'from the future', 1, x'00', 0)"
        )
    connection.close()
    sentence = serve(folder)
    assert f"{database} was written by a newer version of kwaainet" in sentence
    assert "9999" in sentence
    with sqlite3.connect(database) as connection:
        (after,) = connection.execute(count).fetchone()
    connection.close()
    assert after == before + 1


def test_what_is_no_database_is_left_alone(folder):
    garbage = random.Random(7).randbytes(8_192)
    (folder / "data").mkdir()
    database = folder / "data" / "node.db"
    database.write_bytes(garbage)
    sentence = serve(folder)
    assert str(database) in sentence
    assert "not a database" in sentence
    assert database.read_bytes() == garbage


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda: SMOL_FILE.read_bytes()[:1_000], "cut short"),
        (lambda: SMOL_FILE.read_bytes()[:100_000], "cut short"),
        (lambda: SMOL_FILE.read_bytes()[:-1], "cut short"),
        (lambda: random.Random(7).randbytes(100_000), "not a GGUF file"),
        (lambda: b"", "not a GGUF file"),
        (lambda: b"GGUF" + random.Random(7).randbytes(100_000), "malformed"),
        (lambda: gguf("rwkv9"), "unknown architecture 'rwkv9'"),
        (lambda: gguf("llama"), "malformed"),
        (lambda: gguf("llama")[:-1], "cut short"),
    ],
    ids=["cut-1k", "cut-100k", "cut-1", "random", "empty", "header", "unknown", "bare", "bare-cut"],
)
def test_a_model_file_that_cannot_be_used_is_explained(folder, content, says):
    file = folder / "bad.gguf"
    file.write_bytes(content())
    sentence = serve(folder, "--model", file)
    assert sentence.startswith("the model 'bad' cannot be loaded: ")
    assert says in sentence
    assert "\n" not in sentence


def test_a_name_that_is_neither_model_nor_file_is_answered_with_those_there_are(folder):
    sentence = serve(folder, "--model", "smollm3")
    assert sentence.startswith("'smollm3' is neither a file nor a model in the catalogue")
    assert "smollm2-135m-instruct" in sentence


def test_a_folder_that_is_no_embedder_is_explained(folder):
    (folder / "empty").mkdir()
    sentence = serve(folder, "--model", folder / "empty")
    assert sentence.startswith("the model 'empty' cannot be loaded: ")


def test_a_log_filter_that_is_none_is_named(folder):
    assert "log.filter 'a=b=c'" in serve(folder, "--log", "a=b=c")
