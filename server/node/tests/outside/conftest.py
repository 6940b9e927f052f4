"""One node for all tests that only ask it things, and folders for those that need their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from support.node import BINARY, SMOL_FILE, Node, running

# A word that stands in many prompts and must never stand in a log.
CANARY = "Kanarienvogel"


@pytest.fixture(scope="session", autouse=True)
def built_and_pulled() -> None:
    """Says what is missing in one line, instead of in every test."""
    if not BINARY.is_file():
        pytest.exit(f"there is no {BINARY}: run `make build` first", returncode=2)
    if not SMOL_FILE.is_file():
        pytest.exit(f"there is no {SMOL_FILE}: run `make models` first", returncode=2)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The shared node, with the default model. It logs all it can, so that its log is a test."""
    with running(tmp_path_factory.mktemp("node"), "--log", "debug") as node:
        yield node
    assert CANARY not in node.log, "a prompt or an answer is in the log"


@pytest.fixture(scope="session")
def client(node: Node) -> Iterator[OpenAI]:
    """The official client of the shared node."""
    with node.client() as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's home with nothing in it."""
    return tmp_path
