"""Packed weight formats: what a format string means, and how many bytes it takes.

>>> PackedFormat.parse("q4g32").nbytes(rows=32, inputs=64)
1152

A quantised format is ``q<bits>g<group>[m][.f32]``: 4 or 8 bits, groups of 16 or 32 inputs that
share a scale; ``m`` adds a minimum to each group; scales and minimums are fp16, or fp32 with
``.f32``. A weight is ``scale * (code - zero) + minimum``. ``f32``, ``f16`` and ``bf16`` are stored
as they are. The layout of the bytes is described in ``runtime/kernels/packed.h``, which parses the
same strings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from penlight.errors import UnsupportedError

ROWS = 32
"""Rows (outputs) of one block; the last block of a matrix is filled up."""

_FLOATS = {"f32": 4, "f16": 2, "bf16": 2}
_QUANTISED = re.compile(r"q(4|8)g(16|32)(m?)((?:\.f32)?)")


@dataclass(frozen=True)
class PackedFormat:
    """One format. For the float formats ``bits`` is their width and ``group`` is 1."""

    text: str
    bits: int
    group: int
    minimum: bool = False
    wide: bool = False

    @classmethod
    def parse(cls, text: str) -> PackedFormat:
        """The format that ``text`` names; `UnsupportedError` if there is none."""
        if text in _FLOATS:
            return cls(text, 8 * _FLOATS[text], 1)
        match = _QUANTISED.fullmatch(text)
        if match is None:
            raise UnsupportedError(
                f"[format] expected q4g32, q8g32, q4g32m, q8g16.f32 or the like, or f32, f16, bf16 "
                f"but got {text!r}; choose one of these"
            )
        bits, group, minimum, wide = match.groups()
        return cls(text, int(bits), int(group), bool(minimum), bool(wide))

    @property
    def quantized(self) -> bool:
        """Whether weights are codes with scales, rather than floats."""
        return self.text not in _FLOATS

    @property
    def zero(self) -> int:
        """The code whose weight is zero (or the minimum, where there is one)."""
        return 128 if self.bits == 8 else 0 if self.minimum else 8

    @property
    def scale_nbytes(self) -> int:
        """Bytes of one scale, and of one minimum."""
        return 4 if self.wide else 2

    @property
    def group_nbytes(self) -> int:
        """Bytes of one group of inputs of a block of rows."""
        quants = ROWS * self.group * self.bits // 8
        if not self.quantized:
            return quants
        return quants + ROWS * self.scale_nbytes * (2 if self.minimum else 1)

    def groups(self, inputs: int) -> int:
        """Groups of a row of ``inputs`` weights, the last one filled up."""
        return -(-inputs // self.group)

    def block_nbytes(self, inputs: int) -> int:
        """Bytes of one block of rows."""
        return self.groups(inputs) * self.group_nbytes

    def nbytes(self, rows: int, inputs: int) -> int:
        """Bytes of a matrix of ``rows`` outputs and ``inputs`` inputs."""
        return -(-rows // ROWS) * self.block_nbytes(inputs)
