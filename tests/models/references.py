"""Tiny random models of transformers, the oracle for architectures and checkpoint readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
}
LONG = [1.0 + 0.5 * i for i in range(4)]
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.1 * i for i in range(4)],
    "long_factor": LONG,
}
GEMMA: dict[str, Any] = {"head_dim": 16, "query_pre_attn_scalar": 24, "sliding_window": 8}

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama tied": ("Llama", {"tie_word_embeddings": True}),
    "llama with biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, rope llama3": ("Llama", {"rope_parameters": LLAMA3_ROPE}),
    "llama, rope linear": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}},
    ),
    "llama, rope yarn": ("Llama", {"rope_parameters": YARN_ROPE}),
    "llama, heads of another size": ("Llama", {"head_dim": 12}),
    "llama, all heads with keys": ("Llama", {"num_key_value_heads": 6}),
    "smollm3": ("SmolLM3", {}),
    "smollm3 with windows": ("SmolLM3", {"use_sliding_window": True, "sliding_window": 8}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 12}),
    "mistral with windows": ("Mistral", {"sliding_window": 8}),
    "qwen2": ("Qwen2", {}),
    "qwen2 with windows, yarn": (
        "Qwen2",
        {
            "use_sliding_window": True,
            "sliding_window": 8,
            "max_window_layers": 2,
            "rope_parameters": YARN_ROPE,
        },
    ),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3 tied, with biases": (
        "Qwen3",
        {"head_dim": 16, "tie_word_embeddings": True, "attention_bias": True},
    ),
    "phi3": ("Phi3", {"original_max_position_embeddings": 64, "sliding_window": 20}),
    "phi3, longrope within its length": (
        "Phi3",
        {"original_max_position_embeddings": 50, "rope_parameters": LONGROPE},
    ),
    "phi3, partial rotation, tied": (
        "Phi3",
        {
            "hidden_size": 96,
            "tie_word_embeddings": True,
            "original_max_position_embeddings": 50,
            "rope_parameters": {**LONGROPE, "partial_rotary_factor": 0.5},
        },
    ),
    "gemma2": ("Gemma2", {**GEMMA, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 5.0}),
    "gemma3": ("Gemma3Text", {**GEMMA, "num_hidden_layers": 7}),
    "gemma3, rope linear": (
        "Gemma3Text",
        {
            **GEMMA,
            "num_hidden_layers": 6,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
    ),
    "olmo2": ("Olmo2", {}),
}
CAUSAL_LM = {"Gemma3Text": "Gemma3ForCausalLM"}


def reference(family: str, changes: dict[str, Any]) -> Any:
    """A transformers model whose weights, norms and biases too, are all random."""
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **changes})
    torch.manual_seed(0)
    kind = getattr(transformers, CAUSAL_LM.get(family, f"{family}ForCausalLM"))
    model = kind._from_config(config, attn_implementation="eager").eval().float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name and not family.startswith("Gemma") else 0.0
            parameter.normal_(centre, 0.2)
    return model


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder
