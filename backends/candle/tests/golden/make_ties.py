"""Makes ties.json: where llama.cpp disagrees with itself.

smollm2.json and gemma3.json hold one greedy text for each prompt, by one way of computing.
llama.cpp has several that are equally right: a prompt in one batch or token by token, keys and
values in f16 or f32, flash attention or not. Each rounds differently, and the gap between two
tokens moves by some 0.2 nats from one to the next. This script walks each golden text in each of
these ways and writes down, for each of its tokens, which other tokens came within 0.3 nats of the
most likely one in any of them. An engine that parts from the golden text at such a token is as
right as llama.cpp is.

Made with the same packages as the golden texts:

    python make_ties.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf \\
        --gemma3 gemma-3-270m-q4_k_m.gguf --out .

The file maps a golden file's name to its cases, and each case to a list for each of its tokens,
the end token included.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

TIE = 0.3
CONTEXT = 3072
GGML_TYPE_F32 = 0
F32_CACHE = {"type_k": GGML_TYPE_F32, "type_v": GGML_TYPE_F32}
# How a text is computed: options of llama.cpp, and tokens given to it at once.
WAYS: list[tuple[dict[str, Any], int]] = [
    ({"flash_attn": False}, 512),
    ({"flash_attn": False}, 1),
    ({"flash_attn": False, **F32_CACHE}, 512),
    ({"flash_attn": False, **F32_CACHE}, 1),
    ({"flash_attn": True}, 512),
]


def rows(llama: llama_cpp.Llama, case: dict[str, Any], at_once: int) -> np.ndarray:
    """The logits from which each token of a case, the end included, was chosen."""
    llama.reset()
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(llama.ctx), True)
    tokens = case["prompt_tokens"] + case["tokens"]
    for start in range(0, len(tokens), at_once):
        llama.eval(tokens[start : start + at_once])
    first = len(case["prompt_tokens"]) - 1
    return llama.scores[first : first + len(case["gaps"])]


def ties(model: Path, cases: list[dict[str, Any]]) -> dict[str, list[list[int]]]:
    found: dict[str, list[set[int]]] = {c["name"]: [set() for _ in c["gaps"]] for c in cases}
    for options, at_once in WAYS:
        llama = llama_cpp.Llama(
            model_path=str(model),
            n_ctx=CONTEXT,
            n_threads=2,
            n_threads_batch=2,
            n_gpu_layers=0,
            logits_all=True,
            verbose=False,
            **options,
        )
        for case in cases:
            print(f"{model.name}: {case['name']}, {options}, {at_once} at once")
            for logits, close in zip(rows(llama, case, at_once), found[case["name"]]):
                close.update(np.flatnonzero(logits > logits.max() - TIE).tolist())
        llama.close()
    for case in cases:
        for token, close in zip(case["tokens"], found[case["name"]]):
            close.discard(token)
    return {name: [sorted(close) for close in lists] for name, lists in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes ties.json.")
    parser.add_argument("--smollm2", type=Path, required=True, help="the SmolLM2 GGUF file")
    parser.add_argument("--gemma3", type=Path, required=True, help="the Gemma 3 GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the golden texts")
    args = parser.parse_args()
    result = {}
    for name, model in [("smollm2", args.smollm2), ("gemma3", args.gemma3)]:
        golden = json.loads((args.out / f"{name}.json").read_text())
        result[name] = ties(model, golden["cases"])
    parts = []
    for name, cases in result.items():
        lines = ",\n".join(
            f"  {json.dumps(case)}: {json.dumps(close, separators=(',', ':'))}"
            for case, close in cases.items()
        )
        parts.append(f' "{name}": {{\n{lines}\n }}')
    (args.out / "ties.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="ascii")


if __name__ == "__main__":
    main()
