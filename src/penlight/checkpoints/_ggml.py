"""GGML's block formats, taken apart into integers, scales and minimums.

A row is a run of blocks; each holds 32 values (256 for the K kinds), packed low nibbles first:

    q4_0  d f16, 16 bytes of 2 codes
    q4_1  d, m f16, 16 bytes
    q5_0  d f16, 32 high bits, 16 bytes
    q5_1  d, m f16, 32 high bits, 16 bytes
    q8_0  d f16, 32 signed bytes
    q2_k  16 bytes of scale and minimum, 64 bytes of 4 codes, d, dmin f16
    q3_k  32 bytes of high bits, 64 bytes of 4 codes, 16 scales of 6 bits, d f16
    q4_k  d, dmin f16, 8 scales and 8 minimums of 6 bits, 128 bytes of 2 codes
    q5_k  as q4_k, with 32 bytes of high bits before the codes
    q6_k  128 bytes of low bits, 64 of high bits, 16 signed scales, d f16

The layouts are those of llama.cpp's ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# kind: values in a block, bytes of a block
BLOCKS: dict[str, tuple[int, int]] = {
    "q4_0": (32, 18),
    "q4_1": (32, 20),
    "q5_0": (32, 22),
    "q5_1": (32, 24),
    "q8_0": (32, 34),
    "q2_k": (256, 84),
    "q3_k": (256, 110),
    "q4_k": (256, 144),
    "q5_k": (256, 176),
    "q6_k": (256, 210),
}


class Factors(NamedTuple):
    """What the scales and minimums of a K kind are products of.

    units: exact in float16, float32 [rows, blocks], or [rows, 2 * blocks] with those of minimums
    behind those of scales. scales, minimums: whole numbers within int8, float32 [rows, groups].
    """

    units: Floats
    scales: Floats
    minimums: Floats | None


@dataclass(frozen=True)
class Quantised:
    """Rows of integers; a value is ``code * scale + minimum`` of its group, in float32.

    codes: int8 [rows, columns], within ``low`` to ``high``. scales: float32 [rows, groups].
    minimums: float32 [rows, groups], or None for symmetric kinds. group: columns per group.
    Scales of the 32-value kinds are exact in float16; those of the K kinds are products, exact in
    float32 only, whose factors are kept beside them.
    """

    codes: npt.NDArray[np.int8]
    scales: Floats
    minimums: Floats | None
    group: int
    low: int
    high: int
    factors: Factors | None = None

    def dequantise(self) -> Floats:
        """float32 [rows, columns]."""
        rows, columns = self.codes.shape
        values = self.codes.reshape(rows, -1, self.group).astype(np.float32)
        values *= self.scales[:, :, None]
        if self.minimums is not None:
            values += self.minimums[:, :, None]
        return values.reshape(rows, columns)


def unpack(raw: Bytes, kind: str) -> Quantised:
    """Takes rows of blocks apart. raw: uint8 [rows, bytes of a row]; kind: a key of BLOCKS."""
    rows = raw.shape[0]
    blocks = np.ascontiguousarray(raw).reshape(-1, BLOCKS[kind][1])  # [blocks, bytes]
    group, low, high, take_apart = _KINDS[kind]
    with np.errstate(invalid="ignore"):  # a damaged scale may be infinite; times zero it is NaN
        codes, unit, low_unit, whole_scales, whole_lows = take_apart(blocks)
        scales = unit if whole_scales is None else unit * whole_scales
        lows = low_unit
        if low_unit is not None and whole_lows is not None:
            lows = low_unit * whole_lows

    def by_row(numbers: Floats | None) -> Floats | None:
        return None if numbers is None else numbers.reshape(rows, -1)

    factors = None
    if whole_scales is not None:
        units = [each.reshape(rows, -1) for each in (unit, low_unit) if each is not None]
        factors = Factors(np.hstack(units), whole_scales.reshape(rows, -1), by_row(whole_lows))
    codes, scales = codes.reshape(rows, -1), scales.reshape(rows, -1)
    return Quantised(codes, scales, by_row(lows), group, low, high, factors)


class _Parts(NamedTuple):
    """Of blocks: codes [blocks, values], and the rest float32 [blocks, 1] or [blocks, groups]. A
    scale is a unit times a whole number, or the unit itself; a minimum likewise."""

    codes: npt.NDArray[np.int8]
    unit: Floats
    low_unit: Floats | None = None
    scales: Floats | None = None
    lows: Floats | None = None


def _half(blocks: Bytes, at: int) -> Floats:
    """The float16 at a byte of each block, float32 [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _floats(numbers: npt.NDArray[np.integer[Any]]) -> Floats:
    return numbers.astype(np.float32)


def _bits(packed: Bytes, width: int, shifts: list[int]) -> Bytes:
    """Fields of each byte: [blocks, chunks * len(shifts) * width] from [blocks, chunks * width].

    Bytes come in chunks of width; a chunk's fields at the first shift precede those at the second.
    """
    chunks = packed.reshape(len(packed), -1, 1, width)
    mask = np.uint8((1 << (shifts[1] - shifts[0])) - 1)
    fields = (chunks >> np.array(shifts, np.uint8)[:, None]) & mask
    return fields.reshape(len(packed), -1)


def _signed(codes: Bytes, zero: int) -> npt.NDArray[np.int8]:
    return codes.view(np.int8) - np.int8(zero)


def _q4_0(b: Bytes) -> _Parts:
    return _Parts(_signed(_bits(b[:, 2:], 16, [0, 4]), 8), _half(b, 0))


def _q4_1(b: Bytes) -> _Parts:
    return _Parts(_signed(_bits(b[:, 4:], 16, [0, 4]), 0), _half(b, 0), _half(b, 2))


def _high_bits(packed: Bytes) -> Bytes:
    """One bit per value in order, moved to bit 4: [blocks, 8 * bytes]."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _q5_0(b: Bytes) -> _Parts:
    codes = _bits(b[:, 6:], 16, [0, 4]) | _high_bits(b[:, 2:6])
    return _Parts(_signed(codes, 16), _half(b, 0))


def _q5_1(b: Bytes) -> _Parts:
    codes = _bits(b[:, 8:], 16, [0, 4]) | _high_bits(b[:, 4:8])
    return _Parts(_signed(codes, 0), _half(b, 0), _half(b, 2))


def _q8_0(b: Bytes) -> _Parts:
    return _Parts(np.ascontiguousarray(b[:, 2:]).view(np.int8), _half(b, 0))


def _q2_k(b: Bytes) -> _Parts:
    codes = _bits(b[:, 16:80], 32, [0, 2, 4, 6])
    scales, lows = b[:, :16] & 15, b[:, :16] >> 4
    return _Parts(_signed(codes, 0), _half(b, 80), -_half(b, 82), _floats(scales), _floats(lows))


def _q3_k(b: Bytes) -> _Parts:
    low = _bits(b[:, 32:96], 32, [0, 2, 4, 6])
    high = _bits(b[:, :32], 32, list(range(8)))
    packed = b[:, 96:108]
    scales = _bits(packed[:, :8], 8, [0, 4]) | _bits(packed[:, 8:], 4, [0, 2, 4, 6]) << np.uint8(4)
    codes = low | high << np.uint8(2)  # a set high bit means: no 4 to subtract
    return _Parts(_signed(codes, 4), _half(b, 108), scales=_floats(_signed(scales, 32)))


def _q4_or_5(codes: npt.NDArray[np.int8], b: Bytes) -> _Parts:
    """Of q4_k and q5_k: 8 scales and 8 minimums in a block, 6-bit integers times d and dmin."""
    first, second, third = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scales = np.hstack([first & 63, third & 15 | first >> 6 << 4])
    lows = np.hstack([second & 63, third >> 4 | second >> 6 << 4])
    return _Parts(codes, _half(b, 0), -_half(b, 2), _floats(scales), _floats(lows))


def _q4_k(b: Bytes) -> _Parts:
    return _q4_or_5(_signed(_bits(b[:, 16:], 32, [0, 4]), 0), b)


def _q5_k(b: Bytes) -> _Parts:
    high = _bits(b[:, 16:48], 32, list(range(8))) << np.uint8(4)
    return _q4_or_5(_signed(_bits(b[:, 48:], 32, [0, 4]) | high, 0), b)


def _q6_k(b: Bytes) -> _Parts:
    codes = _bits(b[:, :128], 64, [0, 4]) | _bits(b[:, 128:192], 32, [0, 2, 4, 6]) << np.uint8(4)
    scales = np.ascontiguousarray(b[:, 192:208]).view(np.int8)
    return _Parts(_signed(codes, 32), _half(b, 208), scales=_floats(scales))


# kind: columns per group, lowest and highest code, how a block is taken apart
_KINDS: dict[str, tuple[int, int, int, Callable[[Bytes], _Parts]]] = {
    "q4_0": (32, -8, 7, _q4_0),
    "q4_1": (32, 0, 15, _q4_1),
    "q5_0": (32, -16, 15, _q5_0),
    "q5_1": (32, 0, 31, _q5_1),
    "q8_0": (32, -128, 127, _q8_0),
    "q2_k": (16, 0, 3, _q2_k),
    "q3_k": (16, -4, 3, _q3_k),
    "q4_k": (32, 0, 15, _q4_k),
    "q5_k": (32, 0, 31, _q5_k),
    "q6_k": (16, -32, 31, _q6_k),
}
