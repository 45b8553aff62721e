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


@dataclass(frozen=True)
class Quantised:
    """Rows of integers; a value is ``code * scale + minimum`` of its group, in float32.

    codes: int8 [rows, columns], within ``low`` to ``high``. scales: float32 [rows, groups].
    minimums: float32 [rows, groups], or None for symmetric kinds. group: columns per group.
    Scales of the 32-value kinds are exact in float16; those of the K kinds are the product of a
    float16 and a small integer, exact in float32 only.
    """

    codes: npt.NDArray[np.int8]
    scales: Floats
    minimums: Floats | None
    group: int
    low: int
    high: int

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
        codes, scales, minimums = take_apart(blocks)
    return Quantised(
        codes.reshape(rows, -1),
        scales.reshape(rows, -1),
        None if minimums is None else minimums.reshape(rows, -1),
        group,
        low,
        high,
    )


_Parts = tuple[npt.NDArray[np.int8], Floats, Floats | None]


def _half(blocks: Bytes, at: int) -> Floats:
    """The float16 at a byte of each block, float32 [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


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
    return _signed(_bits(b[:, 2:], 16, [0, 4]), 8), _half(b, 0), None


def _q4_1(b: Bytes) -> _Parts:
    return _signed(_bits(b[:, 4:], 16, [0, 4]), 0), _half(b, 0), _half(b, 2)


def _high_bits(packed: Bytes) -> Bytes:
    """One bit per value in order, moved to bit 4: [blocks, 8 * bytes]."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _q5_0(b: Bytes) -> _Parts:
    codes = _bits(b[:, 6:], 16, [0, 4]) | _high_bits(b[:, 2:6])
    return _signed(codes, 16), _half(b, 0), None


def _q5_1(b: Bytes) -> _Parts:
    codes = _bits(b[:, 8:], 16, [0, 4]) | _high_bits(b[:, 4:8])
    return _signed(codes, 0), _half(b, 0), _half(b, 2)


def _q8_0(b: Bytes) -> _Parts:
    return np.ascontiguousarray(b[:, 2:]).view(np.int8), _half(b, 0), None


def _q2_k(b: Bytes) -> _Parts:
    codes = _bits(b[:, 16:80], 32, [0, 2, 4, 6])
    scales = _half(b, 80) * (b[:, :16] & 15).astype(np.float32)
    minimums = -(_half(b, 82) * (b[:, :16] >> 4).astype(np.float32))
    return _signed(codes, 0), scales, minimums


def _q3_k(b: Bytes) -> _Parts:
    low = _bits(b[:, 32:96], 32, [0, 2, 4, 6])
    high = _bits(b[:, :32], 32, list(range(8)))
    packed = b[:, 96:108]
    scales = _bits(packed[:, :8], 8, [0, 4]) | _bits(packed[:, 8:], 4, [0, 2, 4, 6]) << np.uint8(4)
    codes = low | high << np.uint8(2)  # a set high bit means: no 4 to subtract
    return _signed(codes, 4), _half(b, 108) * _signed(scales, 32).astype(np.float32), None


def _scales_and_minimums(b: Bytes) -> tuple[Floats, Floats]:
    """Those of q4_k and q5_k, float32 [blocks, 8] each: 6-bit integers times d and dmin."""
    first, second, third = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    scales = np.hstack([first & 63, third & 15 | first >> 6 << 4])
    minimums = np.hstack([second & 63, third >> 4 | second >> 6 << 4])
    return _half(b, 0) * scales.astype(np.float32), -(_half(b, 2) * minimums.astype(np.float32))


def _q4_k(b: Bytes) -> _Parts:
    return _signed(_bits(b[:, 16:], 32, [0, 4]), 0), *_scales_and_minimums(b)


def _q5_k(b: Bytes) -> _Parts:
    high = _bits(b[:, 16:48], 32, list(range(8))) << np.uint8(4)
    return _signed(_bits(b[:, 48:], 32, [0, 4]) | high, 0), *_scales_and_minimums(b)


def _q6_k(b: Bytes) -> _Parts:
    codes = _bits(b[:, :128], 64, [0, 4]) | _bits(b[:, 128:192], 32, [0, 2, 4, 6]) << np.uint8(4)
    scales = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float32)
    return _signed(codes, 32), _half(b, 208) * scales, None


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
