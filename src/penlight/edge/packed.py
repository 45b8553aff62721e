"""Packed weights: what a format string means, how many bytes it takes, and what they hold.

>>> PackedFormat.parse("q4g32").nbytes(rows=32, inputs=64)
1152
>>> unpack(data, "q4g32", rows, inputs)              # float32 [rows, inputs]

A quantised format is ``q<bits>g<group>[m][.f32|.k][.a16]``: 4, 6 or 8 bits, groups of 16 or 32
inputs that share a scale; ``m`` adds a minimum to each group; scales and minimums are fp16, or fp32
with ``.f32``. With ``.k``, as in GGUF's K kinds, both are whole numbers from -128 to 127 of fp16
units, which 256 inputs of a row share. A weight is ``scale * (code - zero) + minimum``. ``.a16``
changes no byte: it asks for activations of twice the bits, for weights whose own error is so small
that activations of 8 bits would add more to it. In ``q4g32c`` a group has a centre instead, and all
numbers but one of a row are whole: a weight is ``unit * (scale * (code - 8) + centre * 2 **
shift)``, with scales of 0 to 255 and centres of -128 to 127, and an fp32 unit and a shift of 0 to 7
for each row. ``f32``, ``f16`` and ``bf16`` are stored as they are. The layout of the bytes is
described in ``runtime/kernels/packed.h``, which parses the same strings; `penlight.quantize.pack`
makes the bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from penlight.errors import UnsupportedError

Bytes: TypeAlias = NDArray[np.uint8]
Codes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]

ROWS = 32
"""Rows (outputs) of one block; the last block of a matrix is filled up."""

RUN = 256
"""Inputs that share a unit of scales, and one of minimums, with ``.k``."""

_FLOATS = {"f32": 4, "f16": 2, "bf16": 2}
_QUANTISED = re.compile(r"q(4|6|8)g(16|32)(m?)(\.f32|\.k)?(\.a16)?")
_CENTRED = "q4g32c"


@dataclass(frozen=True)
class PackedFormat:
    """One format. For the float formats ``bits`` is their width and ``group`` is 1."""

    text: str
    bits: int
    group: int
    minimum: bool = False
    wide: bool = False
    runs: bool = False
    """Whether scales and minimums are whole numbers of units of their run (``.k``)."""
    centred: bool = False
    """Whether groups have centres, and whole numbers of a unit of their row (``q4g32c``)."""
    activation_bits: int = 7
    """Of the magnitude of a rounded activation: 7, or 14 with ``.a16``."""

    @classmethod
    def parse(cls, text: str) -> PackedFormat:
        """The format that ``text`` names; `UnsupportedError` if there is none."""
        if text in _FLOATS:
            return cls(text, 8 * _FLOATS[text], 1)
        if text == _CENTRED:
            return cls(text, 4, 32, centred=True)
        match = _QUANTISED.fullmatch(text)
        if match is None:
            raise UnsupportedError(
                f"[format] expected q4g32c, q4g32, q8g32.a16, q8g16.f32 or the like, or f32, "
                f"f16, bf16 but got {text!r}; choose one of these"
            )
        bits, group, minimum, scales, double = match.groups()
        return cls(
            text,
            int(bits),
            int(group),
            minimum=bool(minimum),
            wide=scales == ".f32",
            runs=scales == ".k",
            activation_bits=14 if double else 7,
        )

    @property
    def exact_activations(self) -> bool:
        """Whether the largest activation of a group is 127 units, whatever a unit then is."""
        return self.centred or (self.bits > 4 and self.activation_bits == 7)

    @property
    def activation_group(self) -> int:
        """Inputs whose activations share a scale."""
        return 2 * self.group if self.centred else self.group

    @property
    def quantized(self) -> bool:
        """Whether weights are codes with scales, rather than floats."""
        return self.text not in _FLOATS

    @property
    def zero(self) -> int:
        """The code whose weight is zero (or the minimum, where there is one)."""
        return 128 if self.bits == 8 else 0 if self.minimum else 1 << (self.bits - 1)

    @property
    def scale_nbytes(self) -> int:
        """Bytes of one scale, and of one minimum or centre."""
        return 1 if self.centred or self.runs else 4 if self.wide else 2

    def units(self, inputs: int) -> int:
        """With ``.k``, the units of a row: of scales by runs of inputs, then of minimums."""
        return -(-inputs // RUN) * (2 if self.minimum else 1) if self.runs else 0

    def head_nbytes(self, inputs: int) -> int:
        """Bytes of a block of rows before its groups: the units, of ``q4g32c`` and the shifts."""
        return ROWS * (8 if self.centred else 2 * self.units(inputs))

    @property
    def group_nbytes(self) -> int:
        """Bytes of one group of inputs of a block of rows."""
        quants = ROWS * self.group * self.bits // 8
        if not self.quantized:
            return quants
        return quants + ROWS * self.scale_nbytes * (2 if self.minimum or self.centred else 1)

    def groups(self, inputs: int) -> int:
        """Groups of a row of ``inputs`` weights, the last one filled up."""
        return -(-inputs // self.group)

    def block_nbytes(self, inputs: int) -> int:
        """Bytes of one block of rows."""
        return self.head_nbytes(inputs) + self.groups(inputs) * self.group_nbytes

    def nbytes(self, rows: int, inputs: int) -> int:
        """Bytes of a matrix of ``rows`` outputs and ``inputs`` inputs."""
        return -(-rows // ROWS) * self.block_nbytes(inputs)


def unpack(data: bytes | memoryview, format: str, rows: int, inputs: int) -> Floats:
    """The weights [rows, inputs] that packed bytes hold, exactly as the kernels read them.

    Raises `UnsupportedError` if the size is wrong.
    """
    spec = PackedFormat.parse(format)
    flat = np.frombuffer(data, dtype=np.uint8)
    if flat.size != spec.nbytes(rows, inputs):
        raise UnsupportedError(
            f"[unpack] expected {spec.nbytes(rows, inputs)} bytes but got {flat.size}"
        )
    groups, blocks = spec.groups(inputs), -(-rows // ROWS)
    if not spec.quantized:
        grouped = _from_floats(flat, spec).reshape(blocks, inputs, ROWS)
        return np.ascontiguousarray(grouped.transpose(0, 2, 1)).reshape(-1, inputs)[:rows]
    flat = flat.reshape(blocks, spec.block_nbytes(inputs))
    split = spec.head_nbytes(inputs)
    head = np.ascontiguousarray(flat[:, :split])
    flat = flat[:, split:].reshape(blocks, groups, spec.group_nbytes)
    quants = ROWS * spec.group * spec.bits // 8
    end = quants + ROWS * spec.scale_nbytes
    values = _codes_of(flat[:, :, :quants], spec).astype(np.float32)
    values -= spec.zero
    scales = _scales_of(flat[:, :, quants:end], spec)
    minimums = _scales_of(flat[:, :, end:], spec) if spec.minimum else None
    if spec.runs:
        runs = head.view(np.float16).reshape(blocks, -1, -(-inputs // RUN), ROWS)
        # to [1 or 2, block, row, group]
        by_group = runs.astype(np.float32).transpose(1, 0, 3, 2).repeat(RUN // spec.group, axis=3)
        scales *= by_group[0, :, :, :groups]
        if minimums is not None:
            minimums *= by_group[1, :, :, :groups]
    values *= scales[..., None]
    if minimums is not None:
        values += minimums[..., None]
    if spec.centred:  # whole numbers below 2^24: exact until the unit
        units, shifts = np.split(head.reshape(blocks, 2, ROWS, 4), 2, axis=1)
        powers = np.ldexp(np.float32(1), shifts.view(np.int32).reshape(blocks, ROWS, 1) & 7)
        centres = _scales_of(flat[:, :, end:].view(np.int8), spec) * powers
        values += centres[..., None]
        values *= units.view(np.float32).reshape(blocks, ROWS, 1, 1)
    return values.reshape(blocks * ROWS, -1)[:rows, :inputs]


def _codes_of(quants: Bytes, spec: PackedFormat) -> Codes:
    """[block, group, bytes] to [block, row, group, inputs of the group]."""
    blocks, groups = quants.shape[:2]
    words = quants.reshape(blocks, groups, -1, ROWS, 4)
    if spec.bits == 8:
        fields = words[..., None, :]
    else:  # [block, group, word, row, field, 4]
        lower = words[:, :, : spec.group // 8]
        fields = np.stack([lower & 15, lower >> 4], axis=4)
    codes = fields.transpose(0, 3, 1, 2, 4, 5).reshape(blocks, ROWS, groups, spec.group)
    if spec.bits != 6:
        return codes
    upper = words[:, :, spec.group // 8 :]
    fields = np.stack([upper >> shift & 3 for shift in (0, 2, 4, 6)], axis=4)
    return codes | fields.transpose(0, 3, 1, 2, 4, 5).reshape(codes.shape) << np.uint8(4)


def _scales_of(data: NDArray[np.uint8 | np.int8], spec: PackedFormat) -> Floats:
    """[block, group, bytes] to [block, row, group]."""
    scales = np.ascontiguousarray(data)
    if spec.runs:
        scales = scales.view(np.int8)
    elif not spec.centred:
        scales = scales.view(np.float32 if spec.wide else np.float16)
    return scales.transpose(0, 2, 1).astype(np.float32)


def _from_floats(flat: Bytes, spec: PackedFormat) -> Floats:
    if spec.text == "bf16":
        return (flat.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return flat.view(np.float16 if spec.text == "f16" else np.float32).astype(np.float32)
