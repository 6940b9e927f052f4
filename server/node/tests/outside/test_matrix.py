"""Every route of identity, storage, carbon, rewards and audit, asked by whoever may not, about what is not his, with
what is too large or malformed: the exact error, and nothing is changed.

The routes are those of the node's own document; a new one needs a row in `support/routes.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support import routes
from support.matrix import BY_OR_ABOUT_HIM, OWN, ROOTS, World, filled, refusals
from support.routes import ROUTES


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with filled(tmp_path_factory.mktemp("matrix")) as world:
        yield world


@pytest.fixture(scope="module")
def documented(world: World) -> dict[str, set[str]]:
    """The node's routes of these parts, each with the media types of its body."""
    paths = world.http.get("/openapi.json").json()["paths"]
    ours = {path: routes for path, routes in paths.items() if path.startswith(ROOTS)}
    return {
        f"{method.upper()} {path}": set(route.get("requestBody", {}).get("content", {}))
        for path, routes in ours.items()
        for method, route in routes.items()
    }


def test_every_route_has_a_row(documented: dict[str, set[str]]) -> None:
    new = sorted(set(documented) - set(ROUTES))
    assert not new, f"add a row for each of {new} to {routes.__file__}"
    gone = sorted(set(ROUTES) - set(documented))
    assert not gone, f"there is no such route any more: {gone}"


@pytest.mark.parametrize("label", ROUTES)
def test_what_is_refused_changes_nothing(world: World, documented: dict[str, set[str]], label: str) -> None:
    row = ROUTES[label]
    before = world.state()
    for wrong, by, changed, refusal in refusals(label, row, documented[label]):
        by = changed.pop("by", by)
        reply = world.send(by, label, **changed)
        try:
            refusal.check(label.split(" ")[1], reply)
        except AssertionError as error:
            raise AssertionError(f"{label}, {wrong}: {reply.status_code} {reply.text}") from error
    if row.public == "all":
        assert world.send(None, label).status_code == 200
    if row.foreign is OWN:
        other = world.send("other_session" if row.by == "session" else "other", label, row.body)
        assert other.status_code == 200, other.text
        for name in world.of_the_owner():
            assert name not in other.text, f"{label} tells another one of {name}"
    if row.foreign is BY_OR_ABOUT_HIM:
        listed = world.send("other", label)
        assert listed.status_code == 200, listed.text
        lines = listed.text.splitlines() if "export" in label else map(json.dumps, listed.json()["data"])
        said = [entry["said"] for entry in map(json.loads, lines) if "said" in entry]
        him = f"key:{world.keys['other'].split('_')[1]}"
        assert said and all(him in (entry["actor"], entry["subject"]) for entry in said)
    after = world.state()
    assert after.keys() == before.keys()
    changed_tables = [name for name in before if before[name] != after[name]]
    assert not changed_tables, f"{label} was refused and changed {changed_tables}"
