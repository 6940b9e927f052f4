"""Makes the fixtures of the models that candle computes: tiny random models as GGUF files, and what
`transformers` makes of them.

What is in a fixture, and which packages this needs, is told by the README and by `make_reference.py` of
backends/decoder/tests/reference, whose functions are used here:

    reference-env/bin/python make_foreign.py

Nothing is downloaded, and made twice the files are equal to the byte.
"""

import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import Glm4Config, Lfm2Config, MixtralConfig, PhiConfig

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[2] / "decoder" / "tests" / "reference"))

import gguf_file  # noqa: E402
import make_reference  # noqa: E402
from architectures import SHARED, Model, one, rope  # noqa: E402

# From the names of `transformers` to those of GGUF; parts of a layer first.
ATTENTION = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
NAMES = {
    "phi2": OUTSIDE
    | {
        "model.final_layernorm": "output_norm",
        "self_attn.dense": "attn_output",
        "mlp.fc1": "ffn_up",
        "mlp.fc2": "ffn_down",
        "input_layernorm": "attn_norm",
    },
    "glm4": OUTSIDE
    | ATTENTION
    | {
        "mlp.gate_up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_self_attn_layernorm": "post_attention_norm",
        "post_attention_layernorm": "ffn_norm",
        "post_mlp_layernorm": "post_ffw_norm",
    },
    "lfm2": OUTSIDE
    | ATTENTION
    | {
        "model.embedding_norm": "token_embd_norm",
        "self_attn.out_proj": "attn_output",
        "self_attn.q_layernorm": "attn_q_norm",
        "self_attn.k_layernorm": "attn_k_norm",
        "conv.conv": "shortconv.conv",
        "conv.in_proj": "shortconv.in_proj",
        "conv.out_proj": "shortconv.out_proj",
        "feed_forward.w1": "ffn_gate",
        "feed_forward.w2": "ffn_down",
        "feed_forward.w3": "ffn_up",
        "operator_norm": "attn_norm",
        "ffn_norm": "ffn_norm",
    },
    "llama": OUTSIDE
    | ATTENTION
    | {
        "mlp.gate": "ffn_gate_inp",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    },
}
ROTATED = 8


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for model in (
        one("phi2", "phi2", phi2()),
        one("glm4", "glm4", glm4()),
        one("lfm2", "lfm2", lfm2()),
        one("mixtral", "llama", mixtral()),
    ):
        network = make_reference.random_network(model)
        write(FOLDER / f"{model.name}.gguf", model, network.state_dict())
        for text in model.texts:
            fixture = make_reference.run(model, text, network)
            fixture["made"]["by"] = Path(__file__).name
            (FOLDER / f"{text.name}.json").write_text(make_reference.as_json(fixture))


def phi2() -> PhiConfig:
    """Rotates half of a head, as the real one rotates 32 of 80 components."""
    return PhiConfig(
        **SHARED | {"num_key_value_heads": 4},
        layer_norm_eps=1e-3,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        max_position_embeddings=256,
        rope_parameters=rope(10_000.0, partial_rotary_factor=0.5),
    )


def glm4() -> Glm4Config:
    return Glm4Config(
        **SHARED,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        head_dim=16,
        max_position_embeddings=256,
        attention_bias=True,
        tie_word_embeddings=False,
        rope_parameters=rope(10_000.0, partial_rotary_factor=0.5),
    )


def lfm2() -> Lfm2Config:
    """Attention between two convolutions."""
    return Lfm2Config(
        **SHARED | {"norm_eps": SHARED["rms_norm_eps"]},
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        layer_types=["conv", "full_attention", "conv"],
        conv_L_cache=3,
        block_auto_adjust_ff_dim=False,
        max_position_embeddings=256,
        rope_parameters=rope(1_000_000.0),
    )


def mixtral() -> MixtralConfig:
    """Two of three experts."""
    return MixtralConfig(
        **SHARED,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        head_dim=8,
        num_local_experts=3,
        num_experts_per_tok=2,
        max_position_embeddings=256,
        sliding_window=None,
        tie_word_embeddings=False,
        rope_parameters=rope(1_000_000.0),
    )


def write(path: Path, model: Model, weights: dict[str, torch.Tensor]) -> None:
    """Writes the file as llama.cpp's converter would, in F32."""
    config = model.config
    writer = gguf.GGUFWriter(path, model.architecture)
    writer.add_name("tiny reference model")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    add_particulars(writer, model)
    gguf_file.add_tokenizer(writer, config.vocab_size)
    for name, tensor in converted(model, weights).items():
        writer.add_tensor(name, tensor.contiguous().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_particulars(writer: gguf.GGUFWriter, model: Model) -> None:
    config = model.config
    heads = config.num_key_value_heads
    if model.architecture == "phi2":
        writer.add_layer_norm_eps(config.layer_norm_eps)
    else:
        writer.add_layer_norm_rms_eps(SHARED["rms_norm_eps"])
    match model.architecture:
        case "phi2":
            writer.add_rope_dimension_count(ROTATED)
        case "glm4":
            writer.add_key_length(config.head_dim)
            writer.add_value_length(config.head_dim)
            writer.add_rope_dimension_count(ROTATED)
        case "lfm2":
            writer.add_shortconv_l_cache(config.conv_L_cache)
            heads = [heads if kind == "full_attention" else 0 for kind in config.layer_types]
        case "llama":
            writer.add_rope_dimension_count(config.head_dim)
            writer.add_expert_count(config.num_local_experts)
            writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_head_count_kv(heads)


def converted(model: Model, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, tensor in weights.items():
        stem, _, suffix = name.rpartition(".")
        part, prefix = stem, ""
        if stem.startswith("model.layers."):
            layer, _, part = stem.removeprefix("model.layers.").partition(".")
            prefix = f"blk.{layer}."
        if name == "lm_head.weight" and getattr(model.config, "tie_word_embeddings", False):
            continue
        if suffix == "gate_up_proj":
            gate, up = tensor.chunk(2, dim=1)
            tensors[f"{prefix}ffn_gate_exps.weight"] = gate
            tensors[f"{prefix}ffn_up_exps.weight"] = up
        elif suffix == "down_proj":
            tensors[f"{prefix}ffn_down_exps.weight"] = tensor
        elif model.architecture == "phi2" and part.endswith(("q_proj", "k_proj", "v_proj")):
            # One matrix, in this order.
            key = f"{prefix}attn_qkv.{suffix}"
            tensors[key] = torch.cat((tensors[key], tensor)) if key in tensors else tensor
        elif part == "conv.conv":
            tensors[f"{prefix}shortconv.conv.weight"] = tensor.squeeze(1)
        else:
            tensor = gguf_file.converted(model, name, tensor)
            tensors[f"{prefix}{NAMES[model.architecture][part]}.{suffix}"] = tensor
    return tensors


if __name__ == "__main__":
    main()
