"""Writes a `transformers` model as the GGUF file that llama.cpp's converter would make of it.

Everything in F32, so that a reader has no rounding of weights to allow for.
"""

import math
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import TokenType

from architectures import Model

# From the names of `transformers` to those of GGUF, for the parts of a layer. Gemma's two norms
# around the feed-forward part go by other names; see `tensor_name`.
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    # Gate and up in one: GGUF has no name of its own for it.
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA_LAYER = LAYER | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
OUTSIDE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


def write(path: Path, model: Model, weights: dict[str, torch.Tensor]) -> None:
    """Writes the file, replacing what is there."""
    writer = gguf.GGUFWriter(path, model.architecture)
    # Not the model's own name: llama.cpp expects certain tokens of whatever is called Phi-3.
    writer.add_name("tiny reference model")
    add_shape(writer, model)
    add_rope(writer, model)
    add_tokenizer(writer, model.config.vocab_size)
    for name, tensor in (rope_tensors(model) | renamed(model, weights)).items():
        writer.add_tensor(name, tensor.contiguous().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_shape(writer: gguf.GGUFWriter, model: Model) -> None:
    config = model.config
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if getattr(config, "head_dim", None):
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
    if model.architecture in ("gemma2", "gemma3", "phi3"):
        # Phi-3 without a window says 0.
        writer.add_sliding_window(config.sliding_window or 0)
    if model.architecture == "gemma2":
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def add_rope(writer: gguf.GGUFWriter, model: Model) -> None:
    config, rope = model.config, global_rope(model)
    if model.architecture == "gemma3":
        writer.add_rope_freq_base_swa(config.rope_parameters["sliding_attention"]["rope_theta"])
    if model.architecture != "gemma2":
        # Gemma 2's files leave it to the default.
        writer.add_rope_freq_base(rope["rope_theta"])
    if model.architecture in ("llama", "phi3"):
        writer.add_rope_dimension_count(rotated_dims(model))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if model.architecture == "phi3":
        # No scaling type: the factors' tensors say that there is one.
        original = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        if rope["rope_type"] == "longrope":
            stretch = config.max_position_embeddings / original
            magnitude = math.sqrt(1 + math.log(stretch) / math.log(original))
            writer.add_rope_scaling_attn_factors(magnitude)


def global_rope(model: Model) -> dict:
    """The rotation of the layers that see everything."""
    rope = model.config.rope_parameters
    return rope.get("full_attention", rope)


def rotated_dims(model: Model) -> int:
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(head * global_rope(model).get("partial_rotary_factor", 1.0))


def rope_tensors(model: Model) -> dict[str, torch.Tensor]:
    """What the frequencies are divided by, where a model has such factors."""
    rope = global_rope(model)
    match rope["rope_type"]:
        case "llama3":
            return {"rope_freqs.weight": llama3_factors(rope, rotated_dims(model))}
        case "longrope":
            return {
                "rope_factors_long.weight": torch.tensor(rope["long_factor"]),
                "rope_factors_short.weight": torch.tensor(rope["short_factor"]),
            }
        case _:
            return {}


def llama3_factors(rope: dict, dims: int) -> torch.Tensor:
    """Llama 3.1's scaling: fast frequencies stay, slow ones are divided, a ramp lies between."""
    frequency = rope["rope_theta"] ** -(torch.arange(0, dims, 2, dtype=torch.float64) / dims)
    turns = rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return 1 / (kept + (1 - kept) / rope["factor"])


def renamed(model: Model, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under GGUF's names and in its conventions."""
    tied = model.config.tie_word_embeddings
    return {
        tensor_name(model, name): converted(model, name, tensor)
        for name, tensor in weights.items()
        if not (tied and name == "lm_head.weight")
    }


def tensor_name(model: Model, name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    if stem in OUTSIDE:
        return f"{OUTSIDE[stem]}.{suffix}"
    layer, _, part = stem.removeprefix("model.layers.").partition(".")
    parts = GEMMA_LAYER if is_gemma(model) else LAYER
    return f"blk.{layer}.{parts[part]}.{suffix}"


def converted(model: Model, name: str, tensor: torch.Tensor) -> torch.Tensor:
    if is_gemma(model) and name.endswith("norm.weight"):
        # Gemma multiplies by one more than its weight.
        return tensor + 1
    if model.architecture == "llama" and ".q_proj." in name:
        return neighbours(tensor, model.config.num_attention_heads)
    if model.architecture == "llama" and ".k_proj." in name:
        return neighbours(tensor, model.config.num_key_value_heads)
    return tensor


def neighbours(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Puts rows that are rotated together, i and i + half a head, next to each other."""
    first, second = tensor.unflatten(0, (heads, 2, -1)).unbind(1)
    return torch.stack((first, second), dim=2).reshape(tensor.shape)


def is_gemma(model: Model) -> bool:
    return model.architecture.startswith("gemma")


def add_tokenizer(writer: gguf.GGUFWriter, vocab: int) -> None:
    """A SentencePiece vocabulary of single characters and a few pairs, just enough to load."""
    space = "\u2581"
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    special = ["<unk>", "<s>", "</s>", "<0x0A>"]
    plain = [space, *map(chr, range(33, 127)), *(space + letter for letter in letters)]
    tokens = [*special, *plain, "th", "he", "in"]
    if len(tokens) != vocab:
        raise ValueError(f"{len(tokens)} tokens for a vocabulary of {vocab}")
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, TokenType.BYTE]
    kinds += [TokenType.NORMAL] * (vocab - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(rank) for rank in range(vocab)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
