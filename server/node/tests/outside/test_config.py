"""Where the configuration comes from, and what is said of one that makes no sense."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.node import kwaainet, refused, succeeded

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def config(folder: Path, *args: str | Path, **options):
    return kwaainet(folder, "config", *args, **options)


def file(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_beat_the_environment_beats_the_file_beats_defaults(folder):
    path = file(folder, "listen = '127.0.0.1:1'\n[limits]\nslots = 2\nwaiting = 2\n")
    env = {"KWAAINET_LISTEN": "127.0.0.1:3", "KWAAINET_LIMITS_SLOTS": "3"}

    def effective(*args, env=None):
        return tomllib.loads(succeeded(config(folder, *args, env=env)))

    assert effective()["listen"] == "127.0.0.1:11435"
    assert effective()["data_dir"] == str(folder / ".local/share/kwaainet")
    with_file = effective("--config", path)
    assert (with_file["listen"], with_file["limits"]["slots"]) == ("127.0.0.1:1", 2)
    with_env = effective("--config", path, env=env)
    assert (with_env["listen"], with_env["limits"]["slots"]) == ("127.0.0.1:3", 3)
    assert with_env["limits"]["waiting"] == 2
    with_flag = effective("--config", path, "--listen", "127.0.0.1:4", env=env)
    assert (with_flag["listen"], with_flag["limits"]["slots"]) == ("127.0.0.1:4", 3)
    by_variable = effective(env={"KWAAINET_CONFIG": str(path)})
    assert by_variable["listen"] == "127.0.0.1:1"


def test_it_says_where_each_value_came_from(folder):
    path = file(folder, "[limits]\nslots = 2\n")
    env = {"KWAAINET_LOG_FORMAT": "json"}
    said = succeeded(config(folder, "--config", path, "--model", "a", env=env))
    lines = said.splitlines()
    assert f"slots = 2  # file {path}" in lines
    assert 'format = "json"  # environment KWAAINET_LOG_FORMAT' in lines
    assert 'models = ["a"]  # flag --model' in lines
    assert 'listen = "127.0.0.1:11435"' in lines


def test_secrets_are_not_in_it(folder):
    path = file(
        folder,
        "[[upstream]]\nid = 'up'\nbase_url = 'http://127.0.0.1:1/v1'\napi_key_env = 'UP_KEY'\n",
    )
    said = succeeded(config(folder, "--config", path, env={"UP_KEY": "sk-very-secret"}))
    assert "UP_KEY" in said
    assert "very-secret" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nlistne = 'x'\n", ["line 2", "listne"]),
        ("[limits]\nslots = 1\nslot = 1\n", ["line 3", "slot"]),
        ("[limits]\nslots = 'many'\n", ["line 2", "many"]),
        ("[limits]\nslots = -1\n", ["line 2"]),
        ("[limits]\nslots = 0\n", ["limits.slots", "at least 1"]),
        ("listen = 'here'\n", ["line 1"]),
        ("listen = \n", ["line 1"]),
        ("[[upstream]]\nid = 'a'\nurl = 'b'\n", ["line 3", "url"]),
        ("[[upstream]]\nid = 'local'\nbase_url = 'http://127.0.0.1:1'\n", ["local"]),
    ],
)
def test_a_file_that_makes_no_sense_is_named_with_its_line(folder, text, words):
    path = file(folder, text)
    for command in ("config", "serve", "models"):
        sentence = refused(kwaainet(folder, command, "--config", path))
        for word in words:
            assert word in sentence
        assert str(path) in sentence or "limits.slots" in sentence or "upstream" in sentence


def test_a_file_that_is_not_there_is_named(folder):
    sentence = refused(config(folder, "--config", folder / "none.toml"))
    assert str(folder / "none.toml") in sentence


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KWAAINET_LISTNE", "127.0.0.1:1"),
        ("KWAAINET_LIMITS_SLOTS", "many"),
        ("KWAAINET_LIMITS_SLOTS", "0"),
        ("KWAAINET_LISTEN", "here"),
        ("KWAAINET_LOG_FORMAT", "xml"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(folder, name, value):
    sentence = refused(config(folder, env={name: value}))
    key = {"KWAAINET_LIMITS_SLOTS": "limits.slots"}.get(name, name)
    assert name in sentence or key in sentence


def test_a_flag_that_makes_no_sense_is_explained(folder):
    assert "--listen" in refused(config(folder, "--listen", "here"))
    unknown = config(folder, "--lisen", "127.0.0.1:1")
    assert unknown.returncode == 2
    assert "--listen" in unknown.stderr, "it guesses what was meant"


def test_without_a_home_it_asks_for_one(folder):
    sentence = refused(config(folder, env={"HOME": ""}))
    assert "--data-dir" in sentence
