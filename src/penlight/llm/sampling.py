"""How the next token is chosen, and when an answer ends."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from penlight.errors import RuntimeFailure
from penlight.llm import abi

__all__ = ["Sampling"]

_WHOLE_NUMBERS = ("top_k", "penalty_window", "max_new_tokens")
_NUMBERS = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "penalty_window",
)


@dataclass(frozen=True)
class Sampling:
    """Settings of one answer. They apply in this order: penalties, temperature, top_k, typical_p,
    top_p, min_p.

    temperature: 0 takes the likeliest token. top_k, penalty_window, max_new_tokens: 0 is no limit.
    top_p, typical_p, repetition_penalty: 1 is off. min_p, frequency_penalty, presence_penalty: 0 is
    off. seed: None draws one. stop: texts that end the answer and are not part of it. stop_ids:
    tokens that do, besides the model's own, which ignore_eos overrides.

    speculation: "auto" guesses tokens from the text so far, and checks several at once, where that
    is faster; "always" where it can be done; "off" never. It changes the speed and not the answer.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int = 0
    seed: int | None = None
    max_new_tokens: int = 0
    stop: Sequence[str] = ()
    stop_ids: Sequence[int] = ()
    ignore_eos: bool = False
    speculation: str = "auto"

    def changed(self, settings: Mapping[str, Any]) -> Sampling:
        """With some settings replaced. Raises RuntimeFailure on an unknown name."""
        known = [field.name for field in fields(self)]
        for name in settings:
            if name not in known:
                raise RuntimeFailure(
                    f"[sampling] expected one of {', '.join(known)} but got {name!r}; "
                    "correct the name"
                )
        return replace(self, **settings)

    def native(self) -> abi.Sampling:
        """As the C layer takes it. Raises RuntimeFailure where a value has the wrong type."""
        seed = int.from_bytes(os.urandom(8)) if self.seed is None else self._seed()
        native = abi.Sampling(seed=seed)
        for name in _NUMBERS:
            setattr(native, name, self._number(name))
        return native

    def _number(self, name: str) -> float:
        value = getattr(self, name)
        whole = name in _WHOLE_NUMBERS
        number = isinstance(value, int) if whole else isinstance(value, (int, float))
        if not number or isinstance(value, bool) or not math.isfinite(value):
            raise self._wrong(name, "a whole number" if whole else "a number", value)
        if whole and not 0 <= value < 1 << 32:
            raise self._wrong(name, "a number from 0 to 2^32 - 1", value)
        return float(value) if not whole else int(value)

    def drafting(self) -> abi.Speculation:
        """speculation as the C layer takes it. Raises RuntimeFailure on another word."""
        words = {mode.name.lower(): mode for mode in abi.Speculation}
        if not isinstance(self.speculation, str) or self.speculation not in words:
            raise self._wrong("speculation", f"one of {', '.join(words)}", self.speculation)
        return words[self.speculation]

    def length(self) -> int:
        """max_new_tokens, checked as `native` checks."""
        return int(self._number("max_new_tokens"))

    def stop_texts(self) -> list[bytes]:
        """stop in UTF-8. Raises RuntimeFailure unless it is a list of texts."""
        if isinstance(self.stop, str) or not all(isinstance(text, str) for text in self.stop):
            raise self._wrong("stop", "a list of texts", self.stop)
        if any("\0" in text for text in self.stop):
            raise self._wrong("stop", "texts without NUL characters", self.stop)
        return [text.encode(errors="replace") for text in self.stop]

    def _seed(self) -> int:
        if not isinstance(self.seed, int) or not 0 <= self.seed < 1 << 64:
            raise self._wrong("seed", "a number from 0 to 2^64 - 1", self.seed)
        return self.seed

    @staticmethod
    def _wrong(name: str, expected: str, got: object) -> RuntimeFailure:
        return RuntimeFailure(
            f"[sampling] expected {name} to be {expected} but got {got!r}; correct the setting"
        )
