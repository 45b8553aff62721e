"""config.json of the Hugging Face hub, in its present and earlier spellings, as a ModelConfig."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from penlight import models
from penlight.errors import CheckpointError
from penlight.models.config import MOST_LAYERS, ModelConfig, RopeConfig

Json = Mapping[str, Any]

_MOST_NUMBER = 1e30  # more is no size and no constant of a model

# What a config.json may leave out, because the architecture's own default holds.
_COMMON: Json = {
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
}
_GEMMA: Json = {
    "vocab_size": 256000,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 8192,
    "num_hidden_layers": 26,
    "hidden_size": 2304,
    "intermediate_size": 9216,
}
_DEFAULTS: Mapping[str, Json] = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"max_position_embeddings": 131072},
    "qwen2": {"max_position_embeddings": 32768},
    "qwen3": {"max_position_embeddings": 32768, "head_dim": 128},
    "phi3": {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
    "olmo2": {"max_position_embeddings": 2048, "rms_norm_eps": 1e-5},
    "smollm3": {
        "max_position_embeddings": 32768,
        "rope_theta": 2000000.0,
        "tie_word_embeddings": True,
        "no_rope_layer_interval": 4,
    },
    "gemma2": {**_GEMMA, "final_logit_softcapping": 30.0, "attn_logit_softcapping": 50.0},
    "gemma3": {
        **_GEMMA,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        "sliding_window_pattern": 6,
    },
}
_SAME_AS = {"gemma3_text": "gemma3"}


class Fields:
    """A JSON object whose values are checked as they are taken."""

    def __init__(self, values: Json, where: str) -> None:
        self.values, self.where = values, where

    def has(self, name: str) -> bool:
        return self.values.get(name) is not None

    def number(self, name: str, default: float | None = None) -> float:
        value = self.values.get(name)
        if value is None:
            value = default
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(name, "a number", value)
        if not abs(value) < _MOST_NUMBER:  # NaN too
            raise self.bad(name, "a finite number", value)
        return float(value)

    def size(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if value != int(value):
            raise self.bad(name, "a whole number", value)
        return int(value)

    def layers(self, name: str) -> int:
        """A number of layers, small enough to make a list of."""
        value = self.size(name)
        if not 0 < value <= MOST_LAYERS:
            raise self.bad(name, f"a number of layers from 1 to {MOST_LAYERS}", value)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.values.get(name)
        return default if value is None else bool(value)

    def numbers(self, name: str) -> tuple[float, ...]:
        value = self.values.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            isinstance(v, int | float) and abs(v) < _MOST_NUMBER for v in value
        ):
            raise self.bad(name, "a list of numbers", value)
        return tuple(float(v) for v in value)

    def section(self, name: str) -> Fields:
        value = self.values.get(name)
        if value is not None and not isinstance(value, dict):
            raise self.bad(name, "an object", value)
        return Fields(value or {}, f"{self.where}, {name}")

    def bad(self, name: str, expected: str, value: object) -> CheckpointError:
        got = "nothing" if value is None else repr(value)[:80]
        return CheckpointError(
            f"[{self.where}] expected {name} to be {expected} but got {got}; "
            "check the checkpoint's configuration"
        )


def architecture_error(where: str, name: object) -> CheckpointError:
    """The error for a model that Penlight does not know; it lists those that it knows."""
    return CheckpointError(
        f"[{where}] expected a model of a known architecture "
        f"({', '.join(models.architectures())}) but got {str(name)[:60]!r}; "
        "use a checkpoint of one of these, or add the architecture"
    )


def config_from_json(values: Json, where: str) -> ModelConfig:
    """Normalises the content of a config.json; where names the file in errors."""
    if values.get("model_type") == "gemma3" and isinstance(values.get("text_config"), dict):
        values = {**values["text_config"], "model_type": "gemma3"}
    name = values.get("model_type")
    name = _SAME_AS.get(str(name), str(name))
    if name not in _DEFAULTS:
        raise architecture_error(where, values.get("model_type"))
    given = {k: v for k, v in values.items() if v is not None}
    fields = Fields({**_COMMON, **_DEFAULTS[name], **given}, where)
    _refuse_what_is_not_built(fields, name)

    heads, hidden = fields.size("num_attention_heads"), fields.size("hidden_size")
    head_dim = fields.size("head_dim", hidden // heads if heads > 0 else 0)
    layers = fields.layers("num_hidden_layers")
    bias = fields.flag("attention_bias")
    scale = None
    if "gemma" in name:
        if (scalar := fields.number("query_pre_attn_scalar")) <= 0:
            raise fields.bad("query_pre_attn_scalar", "a positive number", scalar)
        scale = scalar**-0.5
    rope, local_rope = _ropes(fields, name, head_dim)
    return ModelConfig(
        architecture=name,
        vocab_size=fields.size("vocab_size"),
        hidden_size=hidden,
        intermediate_size=fields.size("intermediate_size"),
        layers=layers,
        heads=heads,
        kv_heads=fields.size("num_key_value_heads", heads),
        head_dim=head_dim,
        norm_eps=fields.number("rms_norm_eps"),
        context_length=fields.size("max_position_embeddings"),
        rope=rope,
        local_rope=local_rope,
        tied=fields.flag("tie_word_embeddings"),
        qkv_bias=bias or name == "qwen2",
        output_bias=bias and name != "qwen2",
        mlp_bias=fields.flag("mlp_bias"),
        windows=_windows(fields, name, layers),
        rope_layers=_rope_layers(fields, layers) if name == "smollm3" else (),
        attention_scale=scale,
        attention_softcap=fields.number("attn_logit_softcapping", 0.0),
        logit_softcap=fields.number("final_logit_softcapping", 0.0),
    )


def _refuse_what_is_not_built(fields: Fields, name: str) -> None:
    if fields.has("quantization_config"):
        method = fields.section("quantization_config").values.get("quant_method", "unknown")
        raise CheckpointError(
            f"[{fields.where}] expected float weights but got weights quantised by {method!r}; "
            "use the original checkpoint, or a GGUF file"
        )
    expected = "gelu_pytorch_tanh" if "gemma" in name else "silu"
    activation = fields.values.get("hidden_activation" if "gemma" in name else "hidden_act")
    if activation not in (None, expected):
        raise fields.bad("hidden_act", expected, activation)
    if fields.flag("use_bidirectional_attention"):
        raise fields.bad("use_bidirectional_attention", "false", True)


def _windows(fields: Fields, name: str, layers: int) -> tuple[int, ...]:
    """Positions that each layer sees, 0 for all; empty where no layer has a window."""
    if not fields.has("sliding_window") or name in ("llama", "olmo2"):
        return ()
    if name in ("qwen2", "qwen3", "smollm3") and not fields.flag("use_sliding_window"):
        return ()
    window = fields.size("sliding_window")
    if name in ("mistral", "phi3"):
        return (window,) * layers
    kinds = fields.values.get("layer_types")
    if kinds is not None:
        if not isinstance(kinds, list) or len(kinds) != layers:
            raise fields.bad("layer_types", f"a list of {layers}", kinds)
        local = [kind == "sliding_attention" for kind in kinds]
    elif name in ("qwen2", "qwen3"):
        local = [i >= fields.size("max_window_layers", 28) for i in range(layers)]
    elif name == "smollm3":
        local = [not rotates for rotates in _rope_layers(fields, layers)]
    else:
        pattern = 2 if name == "gemma2" else max(fields.size("sliding_window_pattern"), 1)
        local = [(i + 1) % pattern != 0 for i in range(layers)]
    return tuple(window if is_local else 0 for is_local in local)


def _rope_layers(fields: Fields, layers: int) -> tuple[bool, ...]:
    given = fields.numbers("no_rope_layers")  # despite its name, 1 marks a layer that rotates
    if given:
        return tuple(bool(v) for v in given[:layers])
    interval = max(fields.size("no_rope_layer_interval"), 1)
    return tuple((i + 1) % interval != 0 for i in range(layers))


def _ropes(fields: Fields, name: str, head_dim: int) -> tuple[RopeConfig, RopeConfig | None]:
    """The rotation of all layers, and that of layers with a window where it differs."""
    now = fields.section("rope_parameters")
    if name != "gemma3":
        before = fields.section("rope_scaling")
        return _rope(now if now.values else before, fields, head_dim, "rope_theta"), None
    if "full_attention" in now.values or "sliding_attention" in now.values:
        full, local = now.section("full_attention"), now.section("sliding_attention")
    else:
        full, local = fields.section("rope_scaling"), Fields({}, fields.where)
    return (
        _rope(full, fields, head_dim, "rope_theta"),
        _rope(local, fields, head_dim, "rope_local_base_freq"),
    )


def _rope(rope: Fields, fields: Fields, head_dim: int, theta: str) -> RopeConfig:
    """rope: the object that states a scaling, possibly empty; theta: the field for its base."""
    kind = rope.values.get("rope_type") or rope.values.get("type") or "default"
    kind = {"su": "longrope"}.get(str(kind), str(kind))
    if kind not in ("default", "linear", "llama3", "yarn", "longrope"):
        known = "default, linear, llama3, yarn or longrope"
        raise rope.bad("rope_type", known, kind)
    part = rope.number("partial_rotary_factor", fields.number("partial_rotary_factor", 1.0))
    original = fields.size("original_max_position_embeddings", 0) or rope.size(
        "original_max_position_embeddings", fields.size("max_position_embeddings")
    )
    factor = rope.number("factor", 1.0)
    attention = rope.number("attention_factor") if rope.has("attention_factor") else None
    if kind == "yarn" and attention is None and rope.flag("mscale") and rope.flag("mscale_all_dim"):
        attention = _mscale(factor, rope.number("mscale"))
        attention /= _mscale(factor, rope.number("mscale_all_dim"))
    return RopeConfig(
        theta=rope.number("rope_theta", fields.number(theta)),
        dims=int(head_dim * part),
        kind=kind,  # type: ignore[arg-type]
        factor=factor,
        low_freq_factor=rope.number("low_freq_factor", 1.0),
        high_freq_factor=rope.number("high_freq_factor", 4.0),
        original_context=original if kind in ("llama3", "yarn", "longrope") else 0,
        beta_fast=rope.number("beta_fast", 32.0),
        beta_slow=rope.number("beta_slow", 1.0),
        truncate=rope.flag("truncate", True),
        attention_factor=attention,
        short_factors=rope.numbers("short_factor"),
        long_factors=rope.numbers("long_factor"),
    )


def _mscale(factor: float, scale: float) -> float:
    """The magnitude correction of YaRN as DeepSeek writes it."""
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
