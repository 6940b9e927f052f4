"""Runs every fixture through llama.cpp and compares: a second opinion on the GGUF files.

Runs in a virtual environment of its own (Python 3.11 or later):

    python3 -m venv llama-env
    llama-env/bin/pip install llama-cpp-python==0.3.36 numpy==2.4.6
    llama-env/bin/python check_llama_cpp.py

Prints, for each fixture, the largest difference of a logit with the KV cache in F32 and in F16, and
fails where the first is above its bound.
"""

import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np

FOLDER = Path(__file__).parent
# llama.cpp looks up Gemma's GELU in a table of F16; everything else is F32 throughout.
BOUND, GELU_BOUND = 2e-4, 1e-2
# llama.cpp has switched Phi-3's window off, so it can only agree up to the last position whose
# window still reaches back to the first token.
NO_WINDOW = {"phi3_window": 7}


def main() -> int:
    failed = False
    for path in sorted(FOLDER.glob("*.json")):
        fixture = json.loads(path.read_text())
        rows = [
            row
            for row in fixture["logits"]
            if row["position"] <= NO_WINDOW.get(path.stem, row["position"])
        ]
        exact = difference(fixture, rows, llama_cpp.GGML_TYPE_F32)
        usual = difference(fixture, rows, llama_cpp.GGML_TYPE_F16)
        bound = GELU_BOUND if path.stem.startswith("gemma") else BOUND
        failed |= not exact <= bound
        size = max(abs(value) for row in rows for value in row["values"])
        print(f"{path.stem:22} F32 {exact:.1e}  F16 {usual:.1e}  largest logit {size:.1f}")
    return int(failed)


def difference(fixture: dict, rows: list[dict], cache: int) -> float:
    model = llama_cpp.Llama(
        str(FOLDER / fixture["model"]),
        n_ctx=fixture["context"],
        n_threads=1,
        n_threads_batch=1,
        logits_all=True,
        flash_attn=False,
        type_k=cache,
        type_v=cache,
        verbose=False,
    )
    model.eval(fixture["tokens"])
    return max(
        float(np.abs(model.scores[row["position"]] - np.array(row["values"])).max()) for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
