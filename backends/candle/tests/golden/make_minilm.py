"""Makes minilm.json: sentence embeddings by sentence-transformers.

Our embedder is compared with this file: the word pieces must be equal, the embeddings close.

Made with Python 3.11, sentence-transformers 3.4.1, transformers 4.46.3, torch 1.13.1 (an
old release, because newer ones bring far larger downloads), on the CPU:

    pip install torch==1.13.1 sentence-transformers==3.4.1 transformers==4.46.3 "numpy<2"
    python make_minilm.py --model all-minilm-l6-v2 --out .

Each text is embedded alone, so that no padding takes part. Special tokens written out in a
text, such as [MASK], are read as special tokens. No text reaches the model's max_seq_length.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer

PARAGRAPH = (
    "The orchard behind the mill had been planted in rows, but nobody had kept to the rows since. "
    "Pear trees leaned on plum trees, a walnut had come up by itself in the middle of the path, and "
    "the goats had made a second path around it. In spring the whole of it hummed; you could hear "
    "the bees from the road, and strangers stopped to ask what kind of engine was kept there. "
)

TEXTS = (
    "a",
    "Hello",
    "HELLO WORLD",
    "This is an example sentence.",
    "Each sentence is converted into a vector of 384 numbers!",
    "The cat sits on the mat; the dog doesn't.",
    "  Leading spaces,\ttabs\nand newlines   are all one to a word-piece tokenizer.\r\n",
    "Crème brûlée, naïve façade, Zażółć gęślą jaźń, Übergrößenträger",
    "cafe\u0301 and caf\u00e9 are written differently",
    "今天天气很好，我们去公园吧。日本語のテキストです。",
    "Привет, мир! Γειά σου Κόσμε. مرحبا بالعالم हिन्दी 한국어",
    "I ❤\ufe0f Rust 🦀 and 👩\u200d🚀 too 😀",
    'fn main() { println!("{}", vec![1u8, 2, 3].iter().map(|x| x * 2).sum::<u8>()); }',
    "Order no. 1234567890 of 2024-02-29: 3.14 kg at 1,999.99 EUR, see https://example.com/a?b=c#d",
    PARAGRAPH,
    PARAGRAPH + "Antidisestablishmentarianism " + PARAGRAPH.upper() + "supercalifragilistic [MASK] [SEP] end",
)


def entry(model: SentenceTransformer, text: str) -> dict[str, object]:
    tokens = model.tokenize([text])["input_ids"][0].tolist()
    embedding = model.encode(text, convert_to_numpy=True).tolist()
    return {
        "text": text,
        "tokens": tokens,
        "embedding": [round(value, 6) for value in embedding],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes minilm.json.")
    parser.add_argument("--model", type=Path, required=True, help="the folder of the model")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    args = parser.parse_args()
    # More threads may split sums differently; one keeps the last digits the same everywhere.
    torch.set_num_threads(1)
    model = SentenceTransformer(str(args.model.resolve()), device="cpu", local_files_only=True)
    made_with = f"sentence-transformers {sentence_transformers.__version__}"
    lines = ",\n".join("  " + json.dumps(entry(model, text), separators=(",", ":")) for text in TEXTS)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "minilm.json").write_text(
        f'{{\n "model": "all-minilm-l6-v2",\n "made_with": {json.dumps(made_with)},\n'
        f' "texts": [\n{lines}\n ]\n}}\n',
        encoding="ascii",
    )


if __name__ == "__main__":
    main()
