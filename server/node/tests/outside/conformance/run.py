"""Starts a node with real models and has schemathesis check every route against `/openapi.json`.

Ends with 0 if nothing is wrong. The seed and the number of examples are printed, and given again they
repeat the requests, but for the ids that the node made.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.node import BINARY, SMOL_FILE, running  # noqa: E402

SEED = 1
QUICK = ("--phases", "examples,fuzzing")
QUICK_EXAMPLES = 12
FULL = ("--phases", "examples,coverage,fuzzing,stateful")
FULL_EXAMPLES = 100


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all phases, and many examples")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--examples", type=int, help="generated requests of each operation")
    asked, more = parser.parse_known_args()
    for file, target in ((BINARY, "build"), (SMOL_FILE, "models")):
        if not file.is_file():
            print(f"there is no {file}: run `make {target}` first")
            return 2
    examples = asked.examples or (FULL_EXAMPLES if asked.full else QUICK_EXAMPLES)
    print(f"conformance: --seed {asked.seed} --examples {examples}{' --full' * asked.full}")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as node:
        command = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"]
        command += ["run", f"{node.url}/openapi.json", "--url", node.url]
        command += ["--seed", asked.seed, "--max-examples", examples]
        command += [*(FULL if asked.full else QUICK), *more]
        # The hooks' module finds its neighbours, and nothing is written beside the sources.
        env = {**os.environ, "NODE_URL": node.url, "SCHEMATHESIS_HOOKS": "hooks"}
        env["PYTHONPATH"] = str(HERE)
        ended = subprocess.run([str(part) for part in command], cwd=folder, env=env, check=False)
    print(f"took {time.monotonic() - begun:.0f} s")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
