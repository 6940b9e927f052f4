"""Makes the reference fixtures: tiny random models as GGUF files, and what `transformers` makes of
them. README.md says what is in a fixture.

Runs in a virtual environment of its own (Python 3.11 or later):

    python3 -m venv reference-env
    reference-env/bin/pip install torch==2.15.0 transformers==5.23.0 gguf==0.19.0 numpy==2.4.6
    reference-env/bin/python make_reference.py

Nothing is downloaded: the models are made here, from seeds. The same versions on the same kind of
machine give the same files.
"""

import json
import math
import zlib
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

import gguf_file
from architectures import Model, Text, models

FOLDER = Path(__file__).parent
# The first tokens of the vocabulary are special.
FIRST_PLAIN_TOKEN = 4
BOS = 1


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model in models():
        network = random_network(model)
        gguf_file.write(FOLDER / f"{model.name}.gguf", model, network.state_dict())
        for text in model.texts:
            fixture = run(model, text, network)
            (FOLDER / f"{text.name}.json").write_text(as_json(fixture))


def seed_of(name: str) -> int:
    """Differs between names and stays when others are added."""
    return zlib.crc32(name.encode())


def random_network(model: Model) -> PreTrainedModel:
    network = AutoModelForCausalLM.from_config(
        model.config, attn_implementation="eager", dtype=torch.float32
    )
    generator = torch.Generator().manual_seed(seed_of(model.name))
    with torch.no_grad():
        for name, weight in network.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(scaled(model, name, noise))
    return network.eval()


def scaled(model: Model, name: str, noise: torch.Tensor) -> torch.Tensor:
    """Weights so large that attention is decided, caps bite and every layer counts."""
    if name.endswith("norm.weight"):
        return noise * 0.3 + (0 if gguf_file.is_gemma(model) else 1)
    if name.endswith(".bias"):
        return noise * 0.5
    if "embed_tokens" in name:
        return noise * (0.3 if gguf_file.is_gemma(model) else 0.5)
    sharp = any(part in name for part in ("q_proj", "k_proj", "qkv_proj", "lm_head"))
    return noise * (1.6 if sharp else 1.0) / math.sqrt(noise.shape[1])


def run(model: Model, text: Text, network: PreTrainedModel) -> dict:
    """One pass over the text, without a cache."""
    tokens = random_tokens(text, model.config.vocab_size)
    with torch.no_grad():
        logits = network(torch.tensor([tokens]), use_cache=False).logits[0]
    return {
        "model": f"{model.name}.gguf",
        "context": text.context,
        "made": {
            "by": "make_reference.py",
            "attention": "eager",
            "dtype": "float32",
            "seed": seed_of(model.name),
            "seed_of_tokens": seed_of(text.name),
        }
        | {package: version(package) for package in ("transformers", "torch", "gguf")},
        "tokens": tokens,
        "logits": [
            {"position": position, "values": logits[position].tolist()}
            for position in text.positions
        ],
    }


def random_tokens(text: Text, vocab: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed_of(text.name))
    plain = torch.randint(FIRST_PLAIN_TOKEN, vocab, (text.length - 1,), generator=generator)
    return [BOS, *plain.tolist()]


def as_json(fixture: dict) -> str:
    """One line per field and per position, six significant digits."""
    rows = [
        f'    {{"position": {row["position"]}, "values": ['
        + ", ".join(f"{value:.6g}" for value in row["values"])
        + "]}"
        for row in fixture["logits"]
    ]
    head = [
        f"  {json.dumps(key)}: {json.dumps(value)}"
        for key, value in fixture.items()
        if key != "logits"
    ]
    body = ",\n".join([*head, '  "logits": [\n' + ",\n".join(rows) + "\n  ]"])
    return f"{{\n{body}\n}}\n"


if __name__ == "__main__":
    main()
