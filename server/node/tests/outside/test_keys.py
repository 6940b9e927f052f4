"""API keys: made, used, limited, expired and revoked on a node that runs meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import AuthenticationError, PermissionDeniedError

from support.ask import complete
from support.node import Node, eventually, kwaainet, refused, running, succeeded
from support.wire import ask, post

PUBLIC = ["/healthz", "/readyz", "/openapi.json", "/docs/"]
PRIVATE = ["/v1/models", "/v1/models/x", "/metrics", "/v1/nowhere", "/"]


class Keys:
    """The `keys` command of a node that runs."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def run(self, *args: str):
        return kwaainet(self.node.folder, "keys", *args, "--data-dir", self.node.data_dir)

    def create(self, *args: str) -> str:
        key = succeeded(self.run("create", *args)).strip()
        assert key.startswith("kw_")
        return key

    def row(self, key: str) -> list[str]:
        """What `keys list` says of a key: id, state, created, expires, last used, scopes, name."""
        id = key.split("_")[1]
        rows = [line.split() for line in succeeded(self.run("list")).splitlines()]
        return next(row for row in rows if row[0] == id)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that was open until somebody made a key."""
    with running(tmp_path_factory.mktemp("keyed"), "--log", "debug") as node:
        assert ask(node, "GET", "/v1/models").status == 200
        Keys(node).create("--name", "the first")
        yield node


@pytest.fixture(scope="module")
def keys(keyed: Node) -> Keys:
    return Keys(keyed)


def test_from_the_first_key_on_nobody_comes_in_without_one(keyed):
    for path in PRIVATE:
        error = ask(keyed, "GET", path).error(401)
        assert error["code"] == "invalid_api_key"
        assert "keys create" in error["message"]
    for path in ("/v1/chat/completions", "/v1/embeddings", "/v1/tokenize"):
        reply = post(keyed, path, {})
        assert reply.error(401)["code"] == "invalid_api_key"
        assert reply.headers["www-authenticate"].startswith("Bearer")


def test_the_public_paths_need_no_key(keyed):
    for path in PUBLIC:
        assert ask(keyed, "GET", path).status == 200


def test_a_key_opens_the_door_from_any_name(keyed, keys):
    key = keys.create()
    assert complete(keyed.client(key), max_tokens=1).choices
    headers = {"Authorization": f"bearer {key}", "Host": "node.example", "Origin": "https://a.b"}
    assert ask(keyed, "GET", "/v1/models", headers=headers).status == 200


@pytest.mark.parametrize("spoil", ["", "kw_x_y", "sk-abc", "{key}x", "{start}0", "Basic {key}"])
def test_a_key_that_is_not_right_in_full_is_refused(keyed, keys, spoil):
    key = keys.create()
    last = "1" if key.endswith("0") else "0"
    wrong = spoil.format(key=key, start=key[:-1]) if spoil != "{start}0" else key[:-1] + last
    header = wrong if wrong.startswith("Basic") else f"Bearer {wrong}"
    error = ask(keyed, "GET", "/v1/models", headers={"Authorization": header}).error(401)
    assert error["code"] == "invalid_api_key"


def test_the_sdk_raises_what_it_raises_for_openai(keyed):
    with pytest.raises(AuthenticationError) as refusal:
        keyed.client("kw_no_" + "0" * 64).models.list()
    assert refusal.value.code == "invalid_api_key"


def test_a_key_does_what_its_scopes_say_and_no_more(keyed, keys):
    inference, metrics = keys.create(), keys.create("--scope", "metrics")
    both = keys.create("--scope", "metrics", "--scope", "inference")
    assert complete(keyed.client(inference), max_tokens=1).choices
    with pytest.raises(PermissionDeniedError) as refusal:
        complete(keyed.client(metrics), max_tokens=1)
    assert refusal.value.code == "insufficient_permissions"
    assert "inference" in refusal.value.message
    assert keyed.metrics(metrics)
    headers = {"Authorization": f"Bearer {inference}"}
    error = ask(keyed, "GET", "/metrics", headers=headers).error(403)
    assert "metrics" in error["message"]
    assert keyed.metrics(both)
    assert keyed.client(both).models.list().data


def test_an_expired_key_is_no_key(keyed, keys):
    key = keys.create("--expires", "2s")
    made = time.monotonic()
    client = keyed.client(key)
    assert client.models.list().data
    assert keys.row(key)[1] == "good"

    def is_refused():
        try:
            client.models.list()
        except AuthenticationError:
            return True
        return False

    eventually(is_refused, within=4)
    assert time.monotonic() - made > 1.5
    assert keys.row(key)[1] == "expired"


def test_a_revoked_key_is_no_key_at_once(keyed, keys):
    by_id, whole = keys.create(), keys.create()
    for key, named in ((by_id, by_id.split("_")[1]), (whole, whole)):
        client = keyed.client(key)
        assert client.models.list().data
        succeeded(keys.run("revoke", named))
        with pytest.raises(AuthenticationError):
            client.models.list()
        assert keys.row(key)[1] == "revoked"
    assert "no key with the id 'nobody'" in refused(keys.run("revoke", "nobody"))


def test_the_list_says_when_a_key_was_last_used(keyed, keys):
    key = keys.create("--name", "phone")
    row = keys.row(key)
    assert (row[1], row[3], row[4]) == ("good", "-", "-")
    assert row[-1] == "phone"
    complete(keyed.client(key), max_tokens=1)
    today = eventually(lambda: keys.row(key)[4] != "-" and keys.row(key)[4])
    assert today in {time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago)) for ago in (0, 60)}


def test_no_secret_is_kept_or_logged(keyed, keys):
    key = keys.create()
    complete(keyed.client(key), max_tokens=1)
    secret = key.split("_")[2]
    for file in keyed.data_dir.iterdir():
        assert secret.encode() not in file.read_bytes(), file
    assert secret not in keyed.log
    assert secret not in succeeded(keys.run("list"))


@pytest.mark.parametrize(
    "args", [["--scope", "admin"], ["--expires", "soon"], ["--expires", "0s"], ["--expires", "9"]]
)
def test_a_key_with_nonsense_is_not_made(folder: Path, args):
    made = kwaainet(folder, "keys", "create", *args, "--data-dir", folder / "data")
    assert made.returncode == 2
    assert "error: invalid value" in made.stderr
    assert not made.stdout


def test_keys_outlive_a_restart(folder: Path):
    with running(folder) as node:
        key = Keys(node).create()
    with running(folder) as node:
        assert node.client(key).models.list().data
        ask(node, "GET", "/v1/models").error(401)
