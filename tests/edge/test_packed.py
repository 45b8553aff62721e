"""Packed bytes mean what runtime/kernels/packed.h says of them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from penlight.edge.packed import ROWS, RUN, PackedFormat, unpack
from penlight.errors import UnsupportedError


def weight_at(data: bytes, spec: PackedFormat, inputs: int, row: int, column: int) -> float:
    """One weight, by the layout's own words."""
    block, r = divmod(row, ROWS)
    group, i = divmod(column, spec.group)
    start = block * spec.block_nbytes(inputs)
    at = start + spec.head_nbytes(inputs) + group * spec.group_nbytes
    if spec.bits == 8:
        code = data[at + (i // 4 * ROWS + r) * 4 + i % 4]
    else:
        byte = data[at + (i // 8 * ROWS + r) * 4 + i % 4]
        code = byte & 15 if i % 8 < 4 else byte >> 4
    if spec.bits == 6:
        byte = data[at + ROWS * spec.group // 2 + (i // 16 * ROWS + r) * 4 + i % 4]
        code += 16 * (byte >> i % 16 // 4 * 2 & 3)
    at += ROWS * spec.group * spec.bits // 8
    if spec.centred:
        scale, centre = struct.unpack_from("B31xb", data, at + r)
        unit, shift = struct.unpack_from("f124xi", data, start + r * 4)
        whole = scale * (code - 8) + (centre << (shift & 7))
        return float(np.float32(unit) * np.float32(whole))
    letter = "f" if spec.wide else "b" if spec.runs else "e"
    runs = -(-inputs // RUN)

    def number(which: int) -> np.float32:
        size = struct.calcsize(letter)
        (found,) = struct.unpack_from(letter, data, at + (which * ROWS + r) * size)
        if not spec.runs:
            return np.float32(found)
        unit = start + ((which * runs + column // RUN) * ROWS + r) * 2
        return np.float32(found) * np.float32(struct.unpack_from("e", data, unit)[0])

    product = number(0) * np.float32(code - spec.zero)
    return float(product + number(1) if spec.minimum else product)


@pytest.mark.parametrize(
    "format",
    ["q4g32", "q4g32m", "q4g16.f32", "q6g16", "q6g32m.f32", "q8g16m.f32.a16", "q4g32c",
     "q4g32m.k", "q6g16.k.a16"],
)  # fmt: skip
def test_unpack_reads_the_layout(format: str) -> None:
    spec, rows, inputs = PackedFormat.parse(format), 70, 600
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 256, spec.nbytes(rows, inputs), dtype=np.uint8)
    blocks = codes.reshape(3, -1)
    if spec.centred:
        units = blocks[:, : 4 * ROWS].view(np.float32)  # any 32 bits are a shift
        units[...] = rng.standard_normal(units.shape)
    elif spec.runs:
        halves = blocks[:, : spec.head_nbytes(inputs)].view(np.float16)
        halves[...] = rng.standard_normal(halves.shape)
    else:  # any eight bits are a scale there, but not any 16 or 32
        groups = blocks.reshape(3, spec.groups(inputs), -1)
        scales = groups[:, :, ROWS * spec.group * spec.bits // 8 :]
        dtype = np.float32 if spec.wide else np.float16
        numbers = rng.standard_normal((*scales.shape[:2], scales.shape[2] // spec.scale_nbytes))
        scales[...] = numbers.astype(dtype).view(np.uint8)
    data = codes.tobytes()
    values = unpack(data, format, rows, inputs)
    for row, column in [
        (0, 0),
        (31, 99),
        (32, 5),
        (69, 31),
        (69, 96),
        (40, 15),
        (7, 256),
        (9, 599),
    ]:
        assert values[row, column] == weight_at(data, spec, inputs, row, column)


def test_a_row_s_units_take_64_bits() -> None:
    assert PackedFormat.parse("q4g32c").nbytes(64, 64) == 2 * (256 + 2 * 576)


@pytest.mark.parametrize(
    "format",
    [
        "q4g32.u8",
        "q4g32m.u8",
        "q4g32mc",
        "q4g16c",
        "q8g32c",
        "q4g32c.a16",
        "q4g32c.f32",
        "q4g32c.k",
        "q4g32.f32.k",
    ],
)
def test_formats_that_do_not_exist_are_refused(format: str) -> None:
    with pytest.raises(UnsupportedError, match="expected q4g32"):
        PackedFormat.parse(format)
