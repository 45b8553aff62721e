"""GGUF files, as llama.cpp and its tools write them.

Values are those of the file: quantised tensors stay as they are until asked for. Three things
differ from the form that `penlight.models` reads and are undone here: names; the order of the rows
of queries and keys in Llama's kin; norm weights of Gemma, stored with one added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from penlight.checkpoints._config import Fields, architecture_error
from penlight.checkpoints._gguf_file import GGUFFile, read_gguf
from penlight.checkpoints._tokenizers import CONTROL, NORMAL, SentencePiece, byte_level_json
from penlight.checkpoints.huggingface import unfuse
from penlight.checkpoints.source import (
    Checkpoint,
    LazyTensor,
    Provenance,
    RowsTensor,
    ShiftedTensor,
    SourceFile,
    TokenizerSpec,
    interleaved_to_halves,
)
from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig, RopeConfig

_ARCHITECTURES = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "olmo2", "smollm3")
_INTERLEAVED = ("llama", "smollm3")  # rotate neighbours, so rows of queries and keys are reordered
_FREQUENCIES = {
    "short": ("rope_freqs.weight", "rope_factors_short.weight"),
    "long": ("rope_factors_long.weight",),
}
_OUTER = {"token_embd": "embed_tokens", "output_norm": "norm", "output": "lm_head"}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_norm": "post_attention_layernorm",
}
_INNER_OF: Mapping[str, Mapping[str, str]] = {
    "phi3": {"ffn_up": "mlp.gate_up_proj"},
    "olmo2": {
        "post_attention_norm": "post_attention_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
    "gemma2": {
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
}
_SAMPLING = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "penalty_repeat": "repetition_penalty",
}
# Texts of tokens that end a turn, whatever the metadata says of them.
_STOPS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "</s>",
)


def open_gguf(path: Path, name: str | None = None) -> Checkpoint:
    """Opens a GGUF file. name: what the model card calls it; the file's name if None."""
    file = SourceFile(path)
    gguf = read_gguf(file)
    fields = Fields(gguf.metadata, str(path))
    architecture = str(gguf.metadata.get("general.architecture", ""))
    if architecture not in _ARCHITECTURES:
        raise architecture_error(str(path), architecture or "nothing")
    if fields.has("split.count") and fields.size("split.count") > 1:
        raise fields.bad("split.count", "1: merge the parts with llama-gguf-split", "a split file")
    config = _config(gguf, fields, architecture)
    licence = gguf.metadata.get("general.license")
    provenance = Provenance(
        name or path.name, (file,), licence if isinstance(licence, str) else None
    )
    tokenizer = _tokenizer(gguf, fields, config)
    generation = {
        name: fields.number(f"general.sampling.{key}")
        for key, name in _SAMPLING.items()
        if fields.has(f"general.sampling.{key}")
    }
    return Checkpoint(config, _tensors(gguf, config, path), provenance, tokenizer, generation)


def _config(gguf: GGUFFile, fields: Fields, arch: str) -> ModelConfig:
    def key(name: str) -> str:
        return f"{arch}.{name}"

    heads = _per_layer(fields, key("attention.head_count"))
    kv_heads = _per_layer(fields, key("attention.head_count_kv"), heads)
    hidden, layers = fields.size(key("embedding_length")), fields.layers(key("block_count"))
    head_dim = fields.size(key("attention.key_length"), hidden // max(heads, 1))
    if fields.size(key("attention.value_length"), head_dim) != head_dim:
        raise fields.bad(key("attention.value_length"), f"{head_dim}, as keys", "another size")
    embedding = gguf.tensors.get("token_embd.weight")
    if embedding is None:
        raise CheckpointError(
            f"[{fields.where}] expected a tensor token_embd.weight but got none; "
            "use a GGUF file of a whole language model"
        )
    context = fields.size(key("context_length"))
    local_rope = None
    if arch == "gemma3":
        local_rope = RopeConfig(fields.number(key("rope.freq_base_swa"), 10000.0), head_dim)
    rope = _rope(gguf, fields, arch, head_dim, context)
    scale = None
    if arch in ("gemma2", "gemma3") and (arch, layers) in (("gemma2", 46), ("gemma3", 62)):
        scale = max(hidden / max(heads, 1), 1.0) ** -0.5  # the 27B models; GGUF has no field for it
    caps = ("attn_logit_softcapping", "final_logit_softcapping")
    softcap = [fields.number(key(c), 0.0) for c in caps] if arch == "gemma2" else [0.0, 0.0]
    return ModelConfig(
        architecture=arch,
        vocab_size=embedding.rows,
        hidden_size=hidden,
        intermediate_size=_per_layer(fields, key("feed_forward_length")),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        norm_eps=fields.number(key("attention.layer_norm_rms_epsilon")),
        context_length=context,
        rope=rope,
        local_rope=local_rope,
        tied="output.weight" not in gguf.tensors,
        qkv_bias="blk.0.attn_q.bias" in gguf.tensors,
        output_bias="blk.0.attn_output.bias" in gguf.tensors,
        mlp_bias="blk.0.ffn_up.bias" in gguf.tensors,
        windows=_windows(fields, arch, layers),
        rope_layers=tuple((i + 1) % 4 != 0 for i in range(layers)) if arch == "smollm3" else (),
        attention_scale=scale,
        attention_softcap=softcap[0],
        logit_softcap=softcap[1],
    )


def _per_layer(fields: Fields, name: str, default: int | None = None) -> int:
    """A size that GGUF may state once or for every layer; layers that differ are refused."""
    value = fields.values.get(name)
    if value is None or isinstance(value, int):
        return fields.size(name, default)
    sizes = set(value.tolist()) if hasattr(value, "tolist") else set()
    if len(sizes) != 1:
        raise fields.bad(name, "the same in all layers", value)
    return int(sizes.pop())


def _windows(fields: Fields, arch: str, layers: int) -> tuple[int, ...]:
    """Which layers have a window; unless stated, a constant of each architecture in llama.cpp."""
    window = fields.size(f"{arch}.attention.sliding_window", 0)
    if window <= 0:
        return ()
    if arch == "olmo2":
        raise fields.bad("olmo2.attention.sliding_window", "absent (OLMo 3 is not built)", window)
    pattern = {"gemma2": 2, "gemma3": 6, "phi3": 0}.get(arch)
    if pattern is None:
        return ()
    stated = f"{arch}.attention.sliding_window_pattern"
    if isinstance(fields.values.get(stated), int):
        pattern = fields.size(stated)
    return tuple(window if not pattern or (i + 1) % pattern else 0 for i in range(layers))


def _rope(gguf: GGUFFile, fields: Fields, arch: str, head_dim: int, context: int) -> RopeConfig:
    def key(name: str) -> str:
        return f"{arch}.rope.{name}"

    def factors(which: str) -> tuple[float, ...]:
        found = [gguf.tensors[n] for n in _FREQUENCIES[which] if n in gguf.tensors]
        return tuple(float(v) for v in found[0].read()) if found else ()

    short, long = factors("short"), factors("long")
    kind = str(fields.values.get(key("scaling.type"), "none"))
    factor = fields.number(key("scaling.factor"), 1.0)
    if fields.has(key("scale_linear")):  # how files of 2023 spelt it
        kind, factor = "linear", fields.number(key("scale_linear"))
    original = fields.size(key("scaling.original_context_length"), context)
    if kind == "linear" and factor == 1.0:
        kind = "none"
    if short:  # one slowing for each pair: Llama 3.1's, computed at conversion, or LongRoPE's
        kind = "longrope"
    elif kind in ("none", "longrope"):
        kind, factor = "default", 1.0
    elif kind not in ("linear", "yarn"):
        raise fields.bad(key("scaling.type"), "none, linear, yarn or longrope", kind)
    rope = RopeConfig(
        theta=fields.number(key("freq_base"), 10000.0),
        dims=fields.size(key("dimension_count"), head_dim),
        kind=kind,  # type: ignore[arg-type]
        factor=factor,
        original_context=original if kind in ("yarn", "longrope") else 0,
        beta_fast=fields.number(key("scaling.yarn_beta_fast"), 32.0),
        beta_slow=fields.number(key("scaling.yarn_beta_slow"), 1.0),
        short_factors=short,
        long_factors=long,
    )
    if kind == "longrope" and not long:
        return replace(rope, attention_factor=1.0)
    if fields.has(attention := key("scaling.attn_factor")):
        stated = fields.number(attention)
        own = rope.scaling(context) if kind == "yarn" else 1.0  # llama.cpp multiplies YaRN's
        return replace(rope, attention_factor=stated * own)
    return rope


def _tensors(gguf: GGUFFile, config: ModelConfig, path: Path) -> dict[str, LazyTensor]:
    arch = config.architecture
    inner = {**_INNER, **_INNER_OF.get("gemma2" if arch == "gemma3" else arch, {})}
    skipped = {name for names in _FREQUENCIES.values() for name in names}
    tensors: dict[str, LazyTensor] = {}
    for stored, tensor in gguf.tensors.items():
        if stored in skipped:
            continue
        name = _name(stored, inner)
        if name is None:
            raise CheckpointError(
                f"[{path}] expected tensors of a {arch} model but got {stored!r}; "
                "this variant of the architecture is not supported"
            )
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            tensors[name] = ShiftedTensor(name, tensor, -1.0)
            continue
        for part_name, part in unfuse(name, tensor, config):
            tensors[part_name] = _halves(part_name, part, config)
    return tensors


def _name(stored: str, inner: Mapping[str, str]) -> str | None:
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", stored):
        layer, part, kind = match.groups()
        return f"layers.{int(layer)}.{inner[part]}.{kind}" if part in inner else None
    outer, _, kind = stored.rpartition(".")
    return f"{_OUTER[outer]}.{kind}" if outer in _OUTER else None


def _halves(name: str, tensor: LazyTensor, config: ModelConfig) -> LazyTensor:
    """Queries and keys with the rows of each head in the order that rotation of halves needs."""
    heads = {"q_proj": config.heads, "k_proj": config.kv_heads}.get(name.split(".")[-2])
    if heads is None or config.architecture not in _INTERLEAVED:
        return tensor
    if tensor.rows != heads * config.head_dim:
        return tensor  # of the wrong shape: reported with all others when the model is filled
    return RowsTensor(name, tensor, interleaved_to_halves(tensor.rows, heads))


def _tokenizer(gguf: GGUFFile, fields: Fields, config: ModelConfig) -> TokenizerSpec | None:
    data = gguf.metadata
    tokens = data.get("tokenizer.ggml.tokens")
    if tokens is None:
        return None
    model = data.get("tokenizer.ggml.model")
    if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
        raise fields.bad("tokenizer.ggml.tokens", "a list of texts", type(tokens).__name__)
    kinds = _array(fields, "tokenizer.ggml.token_type", len(tokens), NORMAL)
    if model == "gpt2":
        pre = str(data.get("tokenizer.ggml.pre", "default"))
        if pre == "default":  # files from before the field existed
            pre = {"qwen2": "qwen2", "llama": "llama-bpe"}.get(config.architecture, pre)
        merges = data.get("tokenizer.ggml.merges", [])
        text = byte_level_json(tokens, kinds, merges, pre, fields.where)
        adds_bos = pre in ("llama-bpe", "llama3", "llama-v3", "falcon3", "tekken")
    elif model == "llama":
        scores = _array(fields, "tokenizer.ggml.scores", len(tokens), 0.0)
        prefix = fields.flag("tokenizer.ggml.add_space_prefix", True)
        text = SentencePiece(tokens, scores, kinds, add_space_prefix=prefix).to_json()
        adds_bos = True
    else:
        raise fields.bad("tokenizer.ggml.model", "gpt2 or llama", model)
    bos, eos, eot, eom = (
        _token_id(fields, f"tokenizer.ggml.{which}_token_id", len(tokens))
        for which in ("bos", "eos", "eot", "eom")
    )
    known = [i for i, token in enumerate(tokens) if kinds[i] == CONTROL and token in _STOPS]
    stops = [i for i in (eos, eot, eom, *known) if i is not None]
    template = data.get("tokenizer.chat_template")
    named = {"bos_token": bos, "eos_token": eos}
    return TokenizerSpec(
        tokenizer_json=text,
        bos_id=bos,
        eos_id=eos,
        stop_ids=tuple(dict.fromkeys(stops)),
        add_bos=bos is not None and fields.flag("tokenizer.ggml.add_bos_token", adds_bos),
        chat_template=template if isinstance(template, str) else None,
        special_tokens={name: tokens[i] for name, i in named.items() if i is not None},
    )


def _array(fields: Fields, name: str, length: int, default: float) -> list[Any]:
    values = fields.values.get(name)
    if values is None:
        return [default] * length
    if not hasattr(values, "tolist") or len(values) != length:
        raise fields.bad(name, f"{length} numbers, one per token", type(values).__name__)
    return list(values.tolist())


def _token_id(fields: Fields, name: str, vocab: int) -> int | None:
    if not fields.has(name):
        return None
    token = fields.size(name)
    return token if 0 <= token < vocab else None
