"""What every architecture needs to know of a model, in one normalised form.

Checkpoint readers fill these from config.json, params.json or GGUF metadata; `penlight.models`
builds from them. Pure Python and numpy: no torch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from penlight.errors import CheckpointError

RopeKind = Literal["default", "linear", "llama3", "yarn", "longrope"]
MOST_LAYERS = 4096
# Beyond any model, so a corrupt number; and so small that no product of them overflows.
_MOST = {
    "vocab_size": 1 << 24,
    "hidden_size": 1 << 20,
    "intermediate_size": 1 << 22,
    "layers": MOST_LAYERS,
    "heads": 1 << 14,
    "kv_heads": 1 << 14,
    "head_dim": 1 << 14,
    "context_length": 1 << 30,
}


@dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding: how fast each pair of dimensions turns.

    Pair ``i`` of ``dims / 2`` turns ``theta ** (-2i / dims)`` radians per position (Su et al.,
    2021), changed by ``kind``:

    - linear: all slower by ``factor``.
    - llama3: wavelengths above ``original_context / low_freq_factor`` slower by ``factor``, below
      ``original_context / high_freq_factor`` unchanged, interpolated between (Llama 3.1).
    - yarn: by parts between ``beta_slow`` and ``beta_fast`` turns (Peng et al., 2023).
    - longrope: each pair slower by its own factor; a second list applies once a text is longer than
      ``original_context`` (Ding et al., 2024). With one list only, it is always used.

    ``attention_factor`` multiplies cosine and sine; None means the scheme's own default.
    """

    theta: float
    dims: int
    kind: RopeKind = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float | None = None
    short_factors: tuple[float, ...] = ()
    long_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.dims <= 0 or self.dims % 2:
            raise _bad("rope dimensions", "a positive even number", self.dims)
        if not (math.isfinite(self.theta) and self.theta > 1):
            raise _bad("rope theta", "a number above 1", self.theta)
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise _bad("rope factor", "a positive number", self.factor)
        for name in ("beta_fast", "beta_slow", "attention_factor"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise _bad(f"rope {name}", "a positive number", value)
        if self.kind in ("llama3", "yarn") and self.original_context <= 0:
            raise _bad("rope original context", "a positive number", self.original_context)
        if self.kind == "llama3" and not 0 < self.low_freq_factor < self.high_freq_factor:
            raise _bad(
                "rope frequency factors",
                "0 < low < high",
                (self.low_freq_factor, self.high_freq_factor),
            )
        for factors in (self.short_factors, self.long_factors):
            positive = all(math.isfinite(f) and f > 0 for f in factors)
            if factors and not (positive and len(factors) == self.dims // 2):
                raise _bad("rope factors", f"{self.dims // 2} positive numbers", len(factors))
        if self.kind == "longrope" and not self.short_factors:
            raise _bad("rope factors", "a list of factors", "none")

    @property
    def switches(self) -> bool:
        """Whether texts longer than ``original_context`` turn at other frequencies."""
        return self.kind == "longrope" and bool(self.long_factors) and self.original_context > 0

    def without_switch(self, context: int) -> RopeConfig:
        """The same frequencies for every length of text: the short ones, unless texts of
        ``context`` tokens go beyond ``original_context``.

        Keys that were cached before a switch would be of the wrong frequencies after it."""
        if not self.switches or context <= self.original_context:
            return replace(self, long_factors=())
        return replace(self, short_factors=self.long_factors, long_factors=())

    def frequencies(self, *, long: bool = False) -> npt.NDArray[np.float32]:
        """Radians per position, float32 [dims / 2]. long: for texts above ``original_context``."""
        exponent = np.arange(0, self.dims, 2, dtype=np.float64) / self.dims
        turns: npt.NDArray[np.float64] = np.power(self.theta, -exponent)
        if self.kind == "linear":
            turns = turns / self.factor
        elif self.kind == "llama3":
            turns = self._llama3(turns)
        elif self.kind == "yarn":
            turns = self._yarn(turns)
        elif self.kind == "longrope":
            turns = turns / np.array(self.long_factors if long else self.short_factors)
        return turns.astype(np.float32)

    def scaling(self, context_length: int) -> float:
        """What cosine and sine are multiplied by, for a model trained for context_length."""
        if self.attention_factor is not None:
            return self.attention_factor
        if self.kind == "yarn":
            return 0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0
        if self.kind == "longrope" and self.original_context > 1:
            ratio = self.factor if self.factor != 1.0 else context_length / self.original_context
            if ratio > 1:
                return math.sqrt(1 + math.log(ratio) / math.log(self.original_context))
        return 1.0

    def _llama3(self, turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        wavelength = 2 * math.pi / turns
        low, high = self.low_freq_factor, self.high_freq_factor
        smooth = (self.original_context / wavelength - low) / (high - low)
        smooth = np.clip(smooth, 0.0, 1.0)  # 0: slowed by factor; 1: unchanged
        slowed: npt.NDArray[np.float64] = (1 - smooth) * turns / self.factor + smooth * turns
        return slowed

    def _yarn(self, turns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        def pair_with(rotations: float) -> float:  # that turns so often over the original context
            length = self.original_context / (rotations * 2 * math.pi)
            return self.dims * math.log(length) / (2 * math.log(self.theta))

        first, last = pair_with(self.beta_fast), pair_with(self.beta_slow)
        if self.truncate:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, self.dims - 1)
        if first == last:
            last += 0.001
        ramp = np.clip((np.arange(self.dims // 2) - first) / (last - first), 0.0, 1.0)
        slowed: npt.NDArray[np.float64] = turns / self.factor * ramp + turns * (1 - ramp)
        return slowed


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only transformer. Sizes are in elements, positions in tokens."""

    architecture: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_eps: float
    context_length: int
    rope: RopeConfig
    tied: bool = False
    """The output head is the embedding."""
    qkv_bias: bool = False
    output_bias: bool = False
    """Of the attention's output projection."""
    mlp_bias: bool = False
    windows: tuple[int, ...] = ()
    """For each layer, how many positions it sees, its own included; 0: all. Empty: all see all."""
    rope_layers: tuple[bool, ...] = ()
    """For each layer, whether positions are rotated. Empty: in all."""
    local_rope: RopeConfig | None = None
    """Used instead of rope in layers with a window."""
    attention_scale: float | None = None
    """What scores are multiplied by; None: ``head_dim ** -0.5``."""
    attention_softcap: float = 0.0
    logit_softcap: float = 0.0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and 0 < value <= most):
                raise _bad(name, f"a whole number from 1 to {most}", value)
        if self.heads % self.kv_heads:
            raise _bad("kv_heads", f"a divisor of heads, {self.heads}", self.kv_heads)
        if self.head_dim % 2:
            raise _bad("head_dim", "an even number", self.head_dim)
        if not (math.isfinite(self.norm_eps) and self.norm_eps >= 0):
            raise _bad("norm_eps", "a number of 0 or more", self.norm_eps)
        for rope in (self.rope, self.local_rope):
            if rope is not None and rope.dims > self.head_dim:
                raise _bad("rope dimensions", f"at most head_dim, {self.head_dim}", rope.dims)
        for name in ("windows", "rope_layers"):
            if len(getattr(self, name)) not in (0, self.layers):
                raise _bad(name, f"one per layer, {self.layers}", len(getattr(self, name)))

    @property
    def scale(self) -> float:
        return self.head_dim**-0.5 if self.attention_scale is None else self.attention_scale

    def window(self, layer: int) -> int:
        """Positions that a layer sees, 0 for all."""
        return self.windows[layer] if self.windows else 0

    def uses_rope(self, layer: int) -> bool:
        return self.rope_layers[layer] if self.rope_layers else True

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model card; `from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`; raises CheckpointError on unknown or missing fields."""
        known = {f.name for f in fields(cls)}
        if unknown := set(values) - known:
            raise _bad("field", f"one of {', '.join(sorted(known))}", sorted(unknown)[0])
        try:
            values = _with_tuples(values)
            for name in ("rope", "local_rope"):
                if isinstance(rope := values.get(name), dict):
                    values[name] = RopeConfig(**_with_tuples(rope))
            return cls(**values)
        except TypeError as error:
            raise _bad("fields", "a complete model configuration", error) from None


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _bad(what: str, expected: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"[model config, {what}] expected {expected} but got {got}; check the model's configuration"
    )
