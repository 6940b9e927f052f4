"""The tiny models: one entry per kind of decoder that the engine computes.

Each shape is as small as its point allows, and each has something that a mistake would show in: a
head that is not width / heads, a window that the text crosses, caps that bite, factors that turn.
"""

from dataclasses import dataclass

from transformers import (
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

VOCAB = 128

SHARED = {
    "vocab_size": VOCAB,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    # Large enough to be missed where it is forgotten.
    "rms_norm_eps": 1e-3,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Text:
    """One sequence to run: the fixture is named after it."""

    name: str
    length: int
    # What logits are kept after.
    positions: tuple[int, ...]
    # The context in tokens that the model has to be opened with: it decides between Phi-3's long
    # and short rope factors.
    context: int = 256


@dataclass(frozen=True)
class Model:
    """A model and the texts that are run through it."""

    name: str
    # What GGUF calls it.
    architecture: str
    config: PreTrainedConfig
    texts: tuple[Text, ...]


def short_text(name: str) -> Text:
    """Forty tokens; a window of eight ends between the positions 7 and 8."""
    return Text(name, 40, (0, 7, 8, 20, 39))


def rope(theta: float, kind: str = "default", **more) -> dict:
    return {"rope_theta": theta, "rope_type": kind, **more}


def models() -> list[Model]:
    return [
        one("llama", "llama", llama()),
        one("llama3", "llama", llama3()),
        one("mistral", "llama", mistral()),
        one("qwen2", "qwen2", qwen2()),
        one("qwen3", "qwen3", qwen3()),
        one("gemma2", "gemma2", gemma2()),
        one("gemma3", "gemma3", gemma3()),
        one("phi3", "phi3", phi3()),
        one("phi3_window", "phi3", phi3_window()),
        Model(
            "phi3_longrope",
            "phi3",
            phi3_longrope(),
            (
                short_text("phi3_longrope_short"),
                Text("phi3_longrope_long", 300, (0, 20, 150, 299), context=512),
            ),
        ),
    ]


def one(name: str, architecture: str, config: PreTrainedConfig) -> Model:
    return Model(name, architecture, config, (short_text(name),))


def llama() -> LlamaConfig:
    return LlamaConfig(
        **SHARED,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        head_dim=16,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        rope_parameters=rope(10_000.0),
    )


def llama3() -> LlamaConfig:
    """Of the eight frequencies one stays, one lies between and six are divided by the factor."""
    return LlamaConfig(
        **SHARED,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        head_dim=16,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        rope_parameters=rope(
            500_000.0,
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=64,
        ),
    )


def mistral() -> MistralConfig:
    """Without a window: GGUF knows Mistral as a llama, which has none."""
    return MistralConfig(
        **SHARED | {"num_key_value_heads": 1},
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        head_dim=16,
        max_position_embeddings=256,
        sliding_window=None,
        tie_word_embeddings=False,
        rope_parameters=rope(1_000_000.0),
    )


def qwen2() -> Qwen2Config:
    return Qwen2Config(
        **SHARED,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        rope_parameters=rope(1_000_000.0),
    )


def qwen3() -> Qwen3Config:
    return Qwen3Config(
        **SHARED,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        head_dim=32,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        rope_parameters=rope(1_000_000.0),
    )


def gemma2() -> Gemma2Config:
    return Gemma2Config(
        **SHARED,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        head_dim=16,
        query_pre_attn_scalar=16,
        max_position_embeddings=256,
        sliding_window=8,
        attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0,
        rope_parameters=rope(10_000.0),
    )


def gemma3() -> Gemma3TextConfig:
    """Seven layers, of which the sixth sees everything; it alone has the scaled rope."""
    return Gemma3TextConfig(
        **SHARED | {"num_key_value_heads": 1},
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=7,
        head_dim=16,
        query_pre_attn_scalar=16,
        max_position_embeddings=256,
        sliding_window=8,
        rope_parameters={
            "full_attention": rope(100_000.0, "linear", factor=4.0),
            "sliding_attention": rope(5_000.0),
        },
    )


def phi3() -> Phi3Config:
    """As many key heads as query heads, like the smallest real one."""
    return Phi3Config(
        **SHARED | {"num_attention_heads": 2},
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        max_position_embeddings=256,
        original_max_position_embeddings=256,
        tie_word_embeddings=False,
        rope_parameters=rope(10_000.0),
    )


def phi3_window() -> Phi3Config:
    return Phi3Config(
        **SHARED | {"num_attention_heads": 2, "num_key_value_heads": 1},
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        max_position_embeddings=256,
        original_max_position_embeddings=256,
        sliding_window=8,
        tie_word_embeddings=True,
        rope_parameters=rope(10_000.0),
    )


def phi3_longrope() -> Phi3Config:
    """Rotates 12 of the 16 components of a head."""
    return Phi3Config(
        **SHARED,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=2,
        max_position_embeddings=1024,
        original_max_position_embeddings=256,
        tie_word_embeddings=True,
        rope_parameters=rope(
            10_000.0,
            "longrope",
            partial_rotary_factor=0.75,
            short_factor=[1.0, 1.1, 1.25, 1.4, 1.7, 2.0],
            long_factor=[1.2, 1.9, 3.1, 4.6, 6.2, 8.5],
        ),
    )
