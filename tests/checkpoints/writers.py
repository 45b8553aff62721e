"""Writes transformers models in the other two forms, after the converters of llama.cpp and Meta.

These go the opposite way to the readers and share nothing with them: names of GGUF tensors come
from the `gguf` package.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

Weights = dict[str, np.ndarray]

GGUF_ARCHITECTURES = {
    "Llama": "llama",
    "Mistral": "llama",
    "SmolLM3": "smollm3",
    "Qwen2": "qwen2",
    "Qwen3": "qwen3",
    "Phi3": "phi3",
    "Gemma2": "gemma2",
    "Gemma3Text": "gemma3",
    "Olmo2": "olmo2",
}


def weights_of(model: Any) -> Weights:
    tied = model.config.tie_word_embeddings
    return {
        name: value.detach().numpy()
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in the order in which Meta rotates them."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def write_gguf(
    path: Path,
    model: Any,
    family: str,
    quantise: Callable[[str, np.ndarray], gguf.GGMLQuantizationType | None] = lambda _, __: None,
    extra: Callable[[gguf.GGUFWriter], None] = lambda _: None,
    encode: Callable[[np.ndarray, gguf.GGMLQuantizationType], np.ndarray] = gguf.quantize,
) -> Path:
    """quantise: the kind of a matrix, by its GGUF name; None leaves it float32.

    encode: makes the blocks of a matrix of a kind.
    """
    arch = GGUF_ARCHITECTURES[family]
    c = model.config
    writer = gguf.GGUFWriter(path, arch)
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    if getattr(c, "sliding_window", None):
        writer.add_sliding_window(c.sliding_window)
    if family == "Gemma2":
        writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
        writer.add_final_logit_softcapping(c.final_logit_softcapping)
    tensors = _add_rope(writer, c, head_dim)
    extra(writer)

    number = next(n for n, text in gguf.MODEL_ARCH_NAMES.items() if text == arch)
    names = gguf.get_tensor_name_map(number, c.num_hidden_layers)
    for name, value in weights_of(model).items():
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored, name
        if arch in ("llama", "smollm3") and ".q_proj." in name:
            value = interleave(value, c.num_attention_heads)
        if arch in ("llama", "smollm3") and ".k_proj." in name:
            value = interleave(value, c.num_key_value_heads)
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            value = value + np.float32(1)
        tensors[stored] = value
    for name, value in tensors.items():
        kind = quantise(name, value) if value.ndim == 2 else None
        if kind is None:
            writer.add_tensor(name, np.ascontiguousarray(value, np.float32))
        else:
            writer.add_tensor(name, encode(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_rope(writer: gguf.GGUFWriter, config: Any, head_dim: int) -> Weights:
    """The rotation as metadata, and as tensors where GGUF has it so."""
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    dims = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(dims)
    tensors: Weights = {}
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] in ("yarn", "longrope"):
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "longrope":
        tensors["rope_factors_long.weight"] = np.array(rope["long_factor"], np.float32)
        tensors["rope_factors_short.weight"] = np.array(rope["short_factor"], np.float32)
    if rope["rope_type"] == "llama3":
        plain = rope["rope_theta"] ** (-np.arange(0, dims, 2) / dims)
        from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        tensors["rope_freqs.weight"] = (plain / scaled.numpy()).astype(np.float32)
    return tensors


META_NAMES = {
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "embed_tokens": "tok_embeddings",
    "lm_head": "output",
}


def write_meta(
    folder: Path,
    model: Any,
    *,
    shards: int = 1,
    embedding_axis: int = 0,
    dtype: torch.dtype = torch.float32,
    head_copied: bool = True,
    **params: Any,
) -> Path:
    """A Llama in Meta's form, cut into shards as its model parallelism does."""
    c = model.config
    folder.mkdir(exist_ok=True)
    parts: list[dict[str, torch.Tensor]] = [{} for _ in range(shards)]
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and not head_copied:
            continue
        stored = name.removeprefix("model.")
        for ours, theirs in META_NAMES.items():
            stored = stored.replace(f"{ours}.", f"{theirs}.")
        if ".q_proj." in name:
            value = torch.from_numpy(interleave(value.numpy(), c.num_attention_heads))
        if ".k_proj." in name:
            value = torch.from_numpy(interleave(value.numpy(), c.num_key_value_heads))
        axis = 1 if stored.endswith((".wo.weight", ".w2.weight")) else 0
        axis = embedding_axis if "tok_embeddings" in stored else axis
        cut = [value] * shards if "norm" in stored else value.chunk(shards, axis)
        for part, piece in zip(parts, cut, strict=True):
            part[stored] = piece.to(dtype).clone()
    for i, part in enumerate(parts):
        part["rope.freqs"] = torch.zeros(4)
        torch.save(part, folder / f"consolidated.{i:02}.pth")
    values = {
        "dim": c.hidden_size,
        "n_layers": c.num_hidden_layers,
        "n_heads": c.num_attention_heads,
        "n_kv_heads": c.num_key_value_heads,
        "norm_eps": c.rms_norm_eps,
        "rope_theta": c.rope_parameters["rope_theta"],
        "vocab_size": -1,
        **params,
    }
    (folder / "params.json").write_text(json.dumps(values))
    return folder
