"""A real node as a child process: started, watched and ended as its owner would.

Owns every process that the tests start; none outlives its test. The models come from the user's
cache, everything else lies in a folder that the test gives.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

ROOT = Path(__file__).resolve().parents[5]
BINARY = Path(os.environ.get("KWAAINET_BINARY") or ROOT / "target" / "debug" / "kwaainet")
CACHE_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")

SMOL = "smollm2-135m-instruct"
GEMMA = "gemma3-270m"
MINILM = "all-minilm-l6-v2"
SMOL_FILE = CACHE_HOME / "kwaainet" / "models" / SMOL / "SmolLM2-135M-Instruct.Q4_1.gguf"

READY_SECONDS = 60
STOP_SECONDS = 40
READY = re.compile(r"is ready on http://([0-9.]+):(\d+) ")
T = TypeVar("T")


def environment(folder: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a user who has the models and nothing else."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KWAAINET_", "XDG_")) and not name.lower().endswith("_proxy")
    }
    ours = {"HOME": str(folder), "XDG_CACHE_HOME": str(CACHE_HOME), "RUST_BACKTRACE": "1"}
    return {**kept, **ours, **(extra or {})}


def kwaainet(
    folder: Path,
    *args: str | Path,
    env: dict[str, str] | None = None,
    stdin: str = "",
    seconds: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, with `folder` as the user's home."""
    return subprocess.run(
        [str(BINARY), *map(str, args)],
        env=environment(folder, env),
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )


def succeeded(result: subprocess.CompletedProcess[str]) -> str:
    """The output of a command that has to work."""
    assert result.returncode == 0, result.stderr
    assert_no_crash(result.stderr)
    return result.stdout


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The sentence of a command that has to fail, and to fail well."""
    assert result.returncode == 1, (result.returncode, result.stdout, result.stderr)
    assert_no_crash(result.stderr)
    log, found, sentence = result.stderr.partition("error: ")
    assert found, result.stderr
    assert not re.search(r"\bERROR\b", log), "what ends the command is said once, at the end"
    debug_format = re.search(r"\b(Os|Err|Some|None|Error) ?[({]|\w+ \{ \w+:", sentence)
    assert not debug_format, sentence
    clauses = [clause for clause in re.split(r": |\n", sentence.strip()) if len(clause) > 12]
    assert len(clauses) == len(set(clauses)), f"a reason is given twice: {sentence}"
    return sentence.strip()


def assert_no_crash(text: str) -> None:
    for sign in ("panicked", "stack backtrace", "RUST_BACKTRACE"):
        assert sign not in text, text


def eventually(look: Callable[[], T], *, within: float = 10.0) -> T:
    """Looks again and again until it sees something true, and gives that."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.05)


class Node:
    """A running node. Use it through `running`, which ends it whatever happens."""

    def __init__(
        self,
        folder: Path,
        *args: str | Path,
        config: str = "",
        env: dict[str, str] | None = None,
        data_dir: Path | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data_dir = data_dir or folder / "data"
        self.log_file = folder / "node.log"
        # What stands before it runs it somewhere else, in its place.
        command: list[str | Path] = [*prefix, BINARY, "serve", "--data-dir", self.data_dir]
        if "--listen" not in args:
            command += ["--listen", "127.0.0.1:0"]
        if config:
            (folder / "node.toml").write_text(config, encoding="utf-8")
            command += ["--config", folder / "node.toml"]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in (*command, *args)],
                env=environment(folder, env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.said: list[str] = []
        lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()
        try:
            self.host, self.port = self._wait_until_ready(lines)
        except BaseException:
            self.kill()
            raise

    def _read(self, lines: queue.Queue[str | None]) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            text = line.decode("utf-8").rstrip("\n")
            self.said.append(text)
            lines.put(text)
        lines.put(None)

    def _wait_until_ready(self, lines: queue.Queue[str | None]) -> tuple[str, int]:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not ready in time:\n{self.log}") from None
            assert line is not None, f"it ended before it was ready:\n{self.log}"
            if found := READY.search(line):
                return found[1], int(found[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def client(self, key: str = "none", **options: Any) -> OpenAI:
        """The official client, told where to go and nothing else. It must not hide a failure."""
        from openai import OpenAI  # the conformance check does without

        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60, **options)

    def async_client(self, key: str = "none") -> AsyncOpenAI:
        from openai import AsyncOpenAI

        return AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def metrics(self, key: str | None = None) -> dict[str, float]:
        """Each line of /metrics, its labels part of its name."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers=headers)
            reply = connection.getresponse()
            text = reply.read().decode("utf-8")
        assert reply.status == 200, text
        lines = (line for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    def is_idle(self) -> bool:
        """Whether no job is anywhere inside, and no sequence holds memory."""
        metrics = self.metrics()
        names = ("jobs_running", "jobs_waiting", "engine_sequences_running")
        names += ("engine_sequences_queued", "engine_sequences_parked", "engine_kv_tokens")
        return all(metrics[f"kwaainet_{name}"] == 0 for name in names)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit code, once the process has ended by itself."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def stop(self) -> None:
        """Asks it to end, and checks that it ends well and had nothing to complain about."""
        self.signal(signal.SIGTERM)
        code = self.wait()
        log = self.log
        assert code == 0, log
        assert_no_crash(log)
        assert not re.search(r"\bERROR\b", log), log

    def kill(self) -> None:
        """Ends it at once, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def running(folder: Path, *args: str | Path, **options: Any) -> Iterator[Node]:
    """A node for the length of a block, which has to end well unless the block ended it."""
    node = Node(folder, *args, **options)
    try:
        yield node
        if node.process.poll() is None:
            node.stop()
    finally:
        node.kill()
