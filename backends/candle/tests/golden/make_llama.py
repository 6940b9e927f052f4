"""Makes smollm2.json and gemma3.json: greedy continuations and tokenizations by llama.cpp.

Our engine is compared with these files. They hold what llama.cpp answers for the same GGUF
file, and how close each of its decisions was, so that a test can tell an error of ours from
a near tie that two correct implementations may break differently. The same build on the same
kind of CPU writes the same files, whatever the number of threads; other instruction sets
round differently, which moves the gaps a little and may turn a near tie.

Made with Python 3.11, llama-cpp-python 0.3.36 (built from its sdist), jinja2 3.1, numpy:

    pip install --no-binary llama-cpp-python llama-cpp-python==0.3.36 "jinja2>=3.1,<4"
    python make_llama.py --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf \\
        --gemma3 gemma-3-270m-q4_k_m.gguf --out .

What the fields mean:

- prompt_tokens: exactly what was evaluated, from an empty KV cache.
- tokens: the greedy continuation, at most 32. "ended" says that an end-of-generation token
  came next; that token is not in the list.
- gaps, seconds: for each choice, the ended one included, how much less likely the runner-up
  was (difference of log-probabilities) and which token it was.
- text: the pieces of tokens put together, control tokens left out. Bytes that are not UTF-8,
  such as half a character at the end, became U+FFFD.
- tokenizer: one entry per setting that changes the result; a flag that is true in no entry of
  a text changes nothing for it.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import llama_cpp
import numpy as np
from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prompts import GEMMA3, SMOLLM2, Chat, Completion
from tokenizer_texts import TEXTS

MAX_TOKENS = 32
CONTEXT = 3072
# Longer than any piece in the vocabularies; the binding's own detokenize stops at 32 bytes.
PIECE_BYTES_MAX = 512


class Reference:
    """A GGUF file as llama.cpp sees it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Other attention kernels and cache types round differently, so that the gaps would
        # move. The KV cache is f16, the default.
        self.llama = llama_cpp.Llama(
            model_path=str(path),
            n_ctx=CONTEXT,
            n_threads=2,
            n_threads_batch=2,
            n_gpu_layers=0,
            flash_attn=False,
            verbose=False,
        )
        self.vocab = llama_cpp.llama_model_get_vocab(self.llama.model)
        self.add_bos = llama_cpp.llama_vocab_get_add_bos(self.vocab)

    def tokenize(self, text: str, *, parse_special: bool, add_special: bool) -> list[int]:
        return self.llama.tokenize(text.encode(), add_bos=add_special, special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        buffer = ctypes.create_string_buffer(PIECE_BYTES_MAX)
        pieces = b""
        for token in tokens:
            length = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, PIECE_BYTES_MAX, 0, False)
            assert length >= 0, f"the piece of token {token} is longer than {PIECE_BYTES_MAX} bytes"
            pieces += buffer.raw[:length]
        return pieces.decode(errors="replace")

    def render(self, chat: Chat) -> str:
        """Renders the chat as Hugging Face's apply_chat_template does."""

        def raise_exception(message: str) -> NoReturn:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = raise_exception
        template = environment.from_string(self.llama.metadata["tokenizer.chat_template"])
        return template.render(
            messages=chat.messages,
            add_generation_prompt=True,
            bos_token=self.token_text(llama_cpp.llama_vocab_bos(self.vocab)),
            eos_token=self.token_text(llama_cpp.llama_vocab_eos(self.vocab)),
        )

    def token_text(self, token: int) -> str:
        return llama_cpp.llama_vocab_get_text(self.vocab, token).decode()

    def is_end(self, token: int) -> bool:
        return llama_cpp.llama_vocab_is_eog(self.vocab, token)

    def start(self, prompt: Sequence[int]) -> None:
        self.llama.reset()
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.llama.ctx), True)
        self.llama.eval(prompt)

    def best_two(self) -> tuple[int, int, float]:
        """The most likely next token, the runner-up, and the gap between them.

        The normaliser of the softmax cancels out, so that the gap between log-probabilities
        is the gap between logits. Of equal logits the lowest id comes first.
        """
        pointer = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)).astype(np.float64)
        best = int(np.argmax(logits))
        top = logits[best]
        logits[best] = -np.inf
        second = int(np.argmax(logits))
        return best, second, float(top - logits[second])


def greedy(reference: Reference, prompt: Sequence[int]) -> dict[str, Any]:
    tokens: list[int] = []
    gaps: list[float] = []
    seconds: list[int] = []
    ended = False
    reference.start(prompt)
    while len(tokens) < MAX_TOKENS:
        best, second, gap = reference.best_two()
        gaps.append(round(gap, 4))
        seconds.append(second)
        ended = reference.is_end(best)
        if ended:
            break
        tokens.append(best)
        reference.llama.eval([best])
    end = {"ended": True} if ended else {}
    return {
        "tokens": tokens,
        **end,
        "gaps": gaps,
        "seconds": seconds,
        "text": reference.detokenize(tokens),
    }


def case(reference: Reference, item: Completion | Chat) -> dict[str, Any]:
    if isinstance(item, Chat):
        # HF's convention: the rendered text already says everything, so a BOS is added only
        # where the file asks for one and the template did not write it.
        text = reference.render(item)
        bos = reference.token_text(llama_cpp.llama_vocab_bos(reference.vocab))
        add_special = reference.add_bos and not text.startswith(bos)
        given: dict[str, Any] = {"kind": "chat", "messages": item.messages, "rendered": text}
    else:
        text = item.prompt
        add_special = reference.add_bos
        given = {"kind": "completion", "prompt": text}
    prompt_tokens = reference.tokenize(text, parse_special=True, add_special=add_special)
    print(f"{reference.path.name}: {item.name}, {len(prompt_tokens)} prompt tokens")
    return {
        "name": item.name,
        **given,
        "prompt_tokens": prompt_tokens,
        **greedy(reference, prompt_tokens),
    }


def tokenizations(reference: Reference) -> Iterator[dict[str, Any]]:
    for text in TEXTS:
        plain = reference.tokenize(text, parse_special=False, add_special=False)
        parsed = reference.tokenize(text, parse_special=True, add_special=False)
        for parse_special, bare in [(False, plain)] + [(True, parsed)] * (parsed != plain):
            entry = {"text": text, "parse_special": parse_special}
            yield {**entry, "add_special": False, "tokens": bare}
            added = reference.tokenize(text, parse_special=parse_special, add_special=True)
            if added != bare:
                yield {**entry, "add_special": True, "tokens": added}


def write(path: Path, head: dict[str, Any], lists: dict[str, list[dict[str, Any]]]) -> None:
    """Writes JSON with one line per entry, in ASCII so that no tool can alter a character."""
    parts = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, entries in lists.items():
        lines = ",\n".join("  " + json.dumps(entry, separators=(",", ":")) for entry in entries)
        parts.append(f" {json.dumps(key)}: [\n{lines}\n ]")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="ascii")


def make(path: Path, model: str, items: Sequence[Completion | Chat], out: Path) -> None:
    reference = Reference(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    head = {
        "model": model,
        "file_sha256": digest,
        "made_with": f"llama-cpp-python {llama_cpp.__version__}",
    }
    lists = {
        "cases": [case(reference, item) for item in items],
        "tokenizer": list(tokenizations(reference)),
    }
    write(out, head, lists)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes smollm2.json and gemma3.json.")
    parser.add_argument("--smollm2", type=Path, required=True, help="the SmolLM2 GGUF file")
    parser.add_argument("--gemma3", type=Path, required=True, help="the Gemma 3 GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    make(args.smollm2, "smollm2-135m-instruct", SMOLLM2, args.out / "smollm2.json")
    make(args.gemma3, "gemma-3-270m", GEMMA3, args.out / "gemma3.json")


if __name__ == "__main__":
    main()
