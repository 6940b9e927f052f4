"""Writes model files that are well made and still not what the node can use."""

from __future__ import annotations

import struct

STRING = 8
F32 = 0


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf(architecture: str) -> bytes:
    """A GGUF file (version 3) with one small tensor and nothing but its architecture's name."""
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    metadata = _text("general.architecture") + struct.pack("<I", STRING) + _text(architecture)
    tensor = _text("token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 4, F32, 0)
    data = head + metadata + tensor
    padding = -len(data) % 32
    return data + b"\0" * padding + struct.pack("<16f", *range(16))
