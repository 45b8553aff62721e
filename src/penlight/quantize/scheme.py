"""How float weights become codes, scales and minimums.

>>> codes, scales, minimums = quantize_rows(weight, PackedFormat.parse("q4g32"))

Scales are rounded to the precision they are stored in before the codes are chosen, so what the
codes mean is exactly what the kernels compute.
"""

from __future__ import annotations

import numpy as np

from penlight.edge.packed import Codes, Floats, PackedFormat
from penlight.errors import UnsupportedError

# What the largest weight of a group is mapped to, first guesses for the least-squares scale. -8
# uses the whole range of a signed 4-bit code; the smaller ones clip the largest weight a little.
_TARGETS_4_BIT = (-8.0, -7.0, -8.7, 7.4)


def quantize_rows(values: Floats, format: PackedFormat) -> tuple[Codes, Floats, Floats | None]:
    """Quantise ``values`` [rows, inputs], inputs a multiple of the group.

    Returns codes [rows, inputs], scales [rows, groups] and minimums [rows, groups] (None for a
    format without). 4 bits: the scale of least squared error; 8 bits: from the largest magnitude.
    Raises `UnsupportedError` for values that are not finite.
    """
    rows, inputs = values.shape
    if inputs % format.group:
        raise UnsupportedError(
            f"[quantize] expected a multiple of {format.group} inputs but got {inputs}; pad them"
        )
    grouped = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, format.group)
    largest = grouped.max(axis=1, initial=0), grouped.min(axis=1, initial=0)
    if not (np.isfinite(largest[0]).all() and np.isfinite(largest[1]).all()):
        raise UnsupportedError(
            "[quantize] expected finite weights but got infinity or NaN; keep this tensor in f32"
        )
    minimums: Floats | None = None
    if format.minimum:
        codes, scales, minimums = _affine(grouped, format)
    elif format.bits == 8:
        codes, scales = _by_magnitude(grouped, format)
    else:
        codes, scales = _by_least_squares(grouped, format)
    shape = (rows, inputs // format.group)
    return (
        codes.reshape(rows, inputs),
        scales.reshape(shape),
        None if minimums is None else minimums.reshape(shape),
    )


def _stored(scales: Floats, format: PackedFormat) -> Floats:
    """Scales as they will be read back."""
    if format.wide:
        return scales
    limit = np.float32(np.finfo(np.float16).max)
    return np.clip(scales, -limit, limit).astype(np.float16).astype(np.float32)


def _inverse(scales: Floats) -> Floats:
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scales
    inverse[~np.isfinite(inverse)] = 0
    return inverse


def _by_magnitude(grouped: Floats, format: PackedFormat) -> tuple[Codes, Floats]:
    largest = np.maximum(grouped.max(axis=1), -grouped.min(axis=1))
    scales = _stored(largest / np.float32(127), format)
    codes = grouped * _inverse(scales)[:, None]
    np.rint(codes, out=codes)
    np.clip(codes, -127, 127, out=codes)
    codes += format.zero
    return codes.astype(np.uint8), scales


def _by_least_squares(grouped: Floats, format: PackedFormat) -> tuple[Codes, Floats]:
    """For fixed codes q the best scale is sum(xq) / sum(qq), and it removes sum(xq)^2 / sum(qq)
    of the squared error: take the first guess whose codes remove the most."""
    high, low = grouped.max(axis=1), grouped.min(axis=1)
    extreme = np.where(high > -low, high, low)  # with its sign
    codes = np.empty_like(grouped)
    best_scale = np.zeros(len(grouped), dtype=np.float32)
    best_gain = np.zeros(len(grouped), dtype=np.float32)
    for target in _TARGETS_4_BIT:
        inverse = _inverse(extreme / np.float32(target))
        np.multiply(grouped, inverse[:, None], out=codes)
        np.rint(codes, out=codes)
        np.clip(codes, -8, 7, out=codes)
        product = np.einsum("ij,ij->i", grouped, codes)
        square = np.einsum("ij,ij->i", codes, codes)
        np.maximum(square, 1, out=square)
        gain = product * product / square
        better = gain > best_gain
        best_gain[better] = gain[better]
        best_scale[better] = (product / square)[better]
    scales = _stored(best_scale, format)
    np.multiply(grouped, _inverse(scales)[:, None], out=codes)
    np.rint(codes, out=codes)
    np.clip(codes, -8, 7, out=codes)
    codes += format.zero
    return codes.astype(np.uint8), scales


def _affine(grouped: Floats, format: PackedFormat) -> tuple[Codes, Floats, Floats]:
    """From the smallest weight to the largest. 8-bit codes are stored from the zero code up and
    use its upper half."""
    top = 15 if format.bits == 4 else 127
    minimums = _stored(grouped.min(axis=1), format)
    scales = _stored((grouped.max(axis=1) - minimums) / np.float32(top), format)
    codes = (grouped - minimums[:, None]) * _inverse(scales)[:, None]
    np.rint(codes, out=codes)
    np.clip(codes, 0, top, out=codes)
    codes += format.zero
    return codes.astype(np.uint8), scales, minimums
