"""From weights to the bytes the kernels read.

>>> data = b"".join(pack(codes, scales, None, "q4g32"))
>>> unpack(data, "q4g32", rows, inputs)              # float32 [rows, inputs], of edge.packed

`PackedSource` makes the bytes of a matrix when they are written: it asks for a few rows at a time,
so that no more of a matrix is ever in memory. The layout is described in
``runtime/kernels/packed.h``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from penlight.edge.packed import ROWS, Bytes, Codes, Floats, PackedFormat
from penlight.errors import UnsupportedError
from penlight.quantize.scheme import Quantized, quantize_rows

Item = TypeVar("Item", bound=np.generic)
_CHUNK_WEIGHTS = 1 << 19  # weights that are packed at a time by one thread: 2 MB as float32
_THREADS = 2


def pack(
    codes: Codes,
    scales: Floats,
    minimums: Floats | None,
    format: str,
    units: Floats | None = None,
    shifts: NDArray[np.int32] | None = None,
) -> Iterator[memoryview]:
    """The packed bytes of a quantised matrix, a few blocks of rows at a time.

    ``codes`` [rows, inputs] are unsigned (a weight is ``scale * (code - zero) + minimum``),
    ``scales`` and ``minimums`` [rows, groups] are rounded to what the format stores. ``q4g32c``
    takes whole scales, 0 to 255, its centres, -128 to 127, as ``minimums``, and the ``units`` and
    ``shifts`` [rows] of its rows. A format with ``.k`` takes whole scales and minimums, -128 to
    127, and ``units`` [rows, units of a row], those of scales before those of minimums. Raises
    `UnsupportedError` where shapes, minimums or units do not fit the format.
    """
    spec = PackedFormat.parse(format)
    rows, inputs = codes.shape
    expected = (rows, spec.groups(inputs))
    both = spec.minimum or spec.centred
    if scales.shape != expected or (minimums is not None) != both:
        raise UnsupportedError(
            f"[pack] expected scales {list(expected)} and "
            f"{'minimums' if both else 'no minimums'} for {format} but got "
            f"{list(scales.shape)} and {'no ' if minimums is None else ''}minimums"
        )
    if minimums is not None and minimums.shape != expected:
        raise UnsupportedError(
            f"[pack] expected minimums {list(expected)} but got {list(minimums.shape)}"
        )
    given = [None if array is None else list(array.shape) for array in (units, shifts)]
    wanted = "no units or shifts"
    shapes: list[list[int] | None] = [None, None]
    if spec.centred:
        wanted, shapes = f"units and shifts [{rows}]", [[rows], [rows]]
    elif spec.runs:
        shape = [rows, spec.units(inputs)]
        wanted, shapes = f"units {shape} and no shifts", [shape, None]
    if given != shapes:
        raise UnsupportedError(
            f"[pack] expected {wanted} for {format} but got {given[0]} and {given[1]}"
        )
    for first in range(0, rows, step := _rows_per_chunk(inputs)):
        part = slice(first, first + step)
        few = Quantized(
            codes[part],
            scales[part],
            None if minimums is None else minimums[part],
            None if units is None else units[part],
            None if shifts is None else shifts[part],
        )
        yield _pack_block(few, spec).data


def pack_values(values: Floats, format: str) -> memoryview:
    """Float weights [rows, inputs], quantised if the format is, as packed bytes."""
    spec = PackedFormat.parse(format)
    if not spec.quantized:
        return _pack_floats(values, spec).data
    missing = -values.shape[1] % spec.group
    if missing:
        values = np.pad(values, ((0, 0), (0, missing)))
    return _pack_block(quantize_rows(values, spec), spec).data


@dataclass
class PackedSource:
    """The packed bytes of a matrix whose float rows are read when they are needed.

    ``read(first, end)`` gives rows [first, end) as float32 [end - first, inputs]. It is called
    from several threads if ``threads`` is more than 1.
    """

    rows: int
    inputs: int
    format: str
    read: Callable[[int, int], Floats]
    threads: int = _THREADS

    @property
    def nbytes(self) -> int:
        """Size of all chunks together."""
        return PackedFormat.parse(self.format).nbytes(self.rows, self.inputs)

    def chunks(self) -> Iterator[memoryview]:
        """The bytes, in order, made a few blocks ahead."""

        def make(first: int, end: int) -> memoryview:
            return pack_values(self.read(first, end), self.format)

        yield from in_blocks(make, self.rows, self.inputs, self.threads)


def in_blocks(
    make: Callable[[int, int], memoryview], rows: int, inputs: int, threads: int = _THREADS
) -> Iterator[memoryview]:
    """``make(first, end)`` for consecutive rows, a few blocks at a time, in order.

    With more than one thread, as many are made ahead of the one that is given.
    """
    step = _rows_per_chunk(inputs)
    ranges = [(first, min(first + step, rows)) for first in range(0, rows, step)]
    if threads < 2 or len(ranges) < 2:
        for first, end in ranges:
            yield make(first, end)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead = deque(pool.submit(make, *part) for part in ranges[:threads])
        for part in ranges[threads:]:
            done = ahead.popleft().result()
            ahead.append(pool.submit(make, *part))
            yield done
        while ahead:
            yield ahead.popleft().result()


def _rows_per_chunk(inputs: int) -> int:
    return max(_CHUNK_WEIGHTS // max(inputs, 1) // ROWS, 1) * ROWS


def _fill(array: NDArray[Item], rows: int, columns: int) -> NDArray[Item]:
    """Zeros after the last row and column; the array itself where nothing is missing."""
    missing = (rows - array.shape[0], columns - array.shape[1])
    if missing == (0, 0):
        return array
    return np.pad(array, ((0, missing[0]), (0, missing[1])))


def _pack_block(q: Quantized, spec: PackedFormat) -> Bytes:
    rows, inputs = q.codes.shape
    blocks, groups = -(-rows // ROWS), spec.groups(inputs)
    whole = np.empty((blocks, spec.block_nbytes(inputs)), dtype=np.uint8)
    head = spec.head_nbytes(inputs)
    if q.units is not None and q.shifts is not None:
        half = head // 2
        for at, numbers in ((0, q.units), (half, q.shifts)):
            filled = np.pad(numbers, (0, blocks * ROWS - rows)).reshape(blocks, ROWS)
            whole[:, at : at + half].view(numbers.dtype)[...] = filled
    elif q.units is not None:
        whole[:, :head] = _scale_bytes(q.units, blocks, np.float16).reshape(blocks, head)
    out = whole[:, head:].reshape(blocks, groups, spec.group_nbytes)
    quants = ROWS * spec.group * spec.bits // 8
    # Codes past the last input or row have scale, minimum or activation zero: any code will do.
    full = _fill(q.codes, blocks * ROWS, groups * spec.group)
    words = _words_of(full.reshape(blocks, ROWS, groups, spec.group), spec)
    target = out[:, :, :quants].reshape(blocks, groups, -1, ROWS, 4)
    quads = np.ascontiguousarray(words).view(np.uint32)[..., 0]  # four bytes move as one
    out[:, :, :quants].view(np.uint32).reshape(target.shape[:-1])[...] = quads.transpose(0, 2, 3, 1)
    end = quants + ROWS * spec.scale_nbytes
    whole_numbers = spec.centred or spec.runs
    least = np.int8 if whole_numbers else np.float32 if spec.wide else np.float16
    out[:, :, quants:end] = _scale_bytes(q.scales, blocks, np.uint8 if spec.centred else least)
    if q.minimums is not None:
        out[:, :, end:] = _scale_bytes(q.minimums, blocks, least)
    return whole.reshape(-1)


def _words_of(codes: Codes, spec: PackedFormat) -> Codes:
    """[block, row, group, inputs of the group] to the bytes of each row, [..., words, 4]."""
    quads = codes.reshape(*codes.shape[:-1], -1, 4)
    if spec.bits == 8:
        return quads
    lower = quads & np.uint8(15) if spec.bits == 6 else quads
    lower = lower[..., ::2, :] | lower[..., 1::2, :] << np.uint8(4)
    if spec.bits == 4:
        return lower
    upper = quads >> np.uint8(4)
    fields = (upper[..., k::4, :] << np.uint8(2 * k) for k in range(4))
    return np.concatenate([lower, reduce(np.bitwise_or, fields)], axis=-2)


def _scale_bytes(scales: Floats, blocks: int, dtype: type[np.generic]) -> Bytes:
    """[rows, groups] to the bytes of [block, group, row]."""
    full = _fill(scales, blocks * ROWS, scales.shape[1])
    ordered = full.reshape(blocks, ROWS, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(ordered, dtype=dtype).view(np.uint8)


def _pack_floats(values: Floats, spec: PackedFormat) -> Bytes:
    rows, inputs = values.shape
    blocks = -(-rows // ROWS)
    full = _fill(values, blocks * ROWS, inputs).reshape(blocks, ROWS, inputs)
    ordered = np.ascontiguousarray(full.transpose(0, 2, 1), dtype=np.float32)
    if spec.text == "bf16":
        return _bfloat16(ordered).view(np.uint8).reshape(-1)
    return (
        ordered.astype(np.float16 if spec.text == "f16" else np.float32).view(np.uint8).reshape(-1)
    )


def _bfloat16(values: Floats) -> NDArray[np.uint16]:
    """The upper halves, rounded to nearest even; NaN stays NaN."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
