"""How float weights become codes, scales and minimums.

>>> codes, scales, centres, units, shifts = quantize_rows(weight, PackedFormat.parse("q4g32c"))

Scales are rounded to the precision they are stored in before the codes are chosen, so what the
codes mean is exactly what the kernels compute.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from penlight.edge.packed import Codes, Floats, PackedFormat
from penlight.errors import UnsupportedError

# By bits, what the largest weight of a group is mapped to, first guesses for the least-squares
# scale. -8 uses the whole range of a signed 4-bit code; -8.7 clips the largest weight a little.
_TARGETS = {4: (-8.0, -7.0, -8.7, 7.4), 6: (-32.0, -31.0)}

# First guesses for a group with a minimum: its codes span so much of its range, about its middle.
_SPANS = (1.0, 0.88)
_FITS = 2  # least-squares fits from each guess
_REFITS = 1  # more of them once scales and minimums are rounded
_TILE = 1 << 18  # weights that are fitted at once: a few arrays of them fit into a core's cache


class Quantized(NamedTuple):
    """What `penlight.quantize.pack` takes: the fields of a format's weights.

    ``codes`` uint8 [rows, inputs]; ``scales`` and ``minimums`` (None for a format without) float32
    [rows, groups]. In ``q4g32c`` the minimums are centres; they and the scales are whole, and rows
    have ``units`` float32 [rows] and ``shifts`` int32 [rows]. With ``.k`` scales and minimums are
    whole, and ``units`` float32 [rows, units of a row].
    """

    codes: Codes
    scales: Floats
    minimums: Floats | None = None
    units: Floats | None = None
    shifts: NDArray[np.int32] | None = None


def quantize_rows(values: Floats, format: PackedFormat) -> Quantized:
    """Quantise ``values`` [rows, inputs], inputs a multiple of the group.

    With minimums or centres, or 4 or 6 bits: what a few steps of least squares find; 8 bits
    without: from the largest magnitude. Raises `UnsupportedError` for values that are not finite.
    """
    rows, inputs = values.shape
    if format.runs:
        raise UnsupportedError(
            f"[quantize] expected a format that floats are rounded to but got {format.text}, which "
            "only holds what GGUF files bring; choose q4g32c, q6g16 or the like"
        )
    if inputs % format.group:
        raise UnsupportedError(
            f"[quantize] expected a multiple of {format.group} inputs but got {inputs}; pad them"
        )
    grouped = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, format.group)
    limit = 1e38 if format.wide or format.centred else 65504.0  # of what the scales can hold
    largest = max(grouped.max(initial=0), -grouped.min(initial=0))
    if not largest <= limit:
        raise UnsupportedError(
            f"[quantize] expected finite weights up to {limit:g} but got {largest:g}; keep this "
            "tensor in f32"
        )
    if format.minimum or format.centred:
        return _affine(grouped.reshape(rows, inputs), format)
    if format.bits == 8:
        codes, scales = _by_magnitude(grouped, format)
    else:
        codes, scales = _by_least_squares(grouped, format)
    return Quantized(codes.reshape(rows, inputs), scales.reshape(rows, -1))


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
    half = 1 << (format.bits - 1)
    high, low = grouped.max(axis=1), grouped.min(axis=1)
    extreme = np.where(high > -low, high, low)  # with its sign
    codes = np.empty_like(grouped)
    best_scale = np.zeros(len(grouped), dtype=np.float32)
    best_gain = np.zeros(len(grouped), dtype=np.float32)
    for target in _TARGETS[format.bits]:
        inverse = _inverse(extreme / np.float32(target))
        np.multiply(grouped, inverse[:, None], out=codes)
        np.rint(codes, out=codes)
        np.clip(codes, -half, half - 1, out=codes)
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
    np.clip(codes, -half, half - 1, out=codes)
    codes += format.zero
    return codes.astype(np.uint8), scales


def _affine(values: Floats, format: PackedFormat) -> Quantized:
    """A few whole rows at a time. 8-bit codes are stored from the zero code up and use its upper
    half."""
    rows, inputs = values.shape
    codes = np.empty((rows, inputs), np.uint8)
    scales = np.empty((rows, inputs // format.group), np.float32)
    minimums = np.empty_like(scales)
    units, shifts = np.empty(rows, np.float32), np.empty(rows, np.int32)
    step = max(_TILE // max(inputs, 1), 1)
    space = np.empty((2, format.group, step * scales.shape[1]), np.float32)
    for first in range(0, rows, step):
        part = slice(first, first + step)
        groups = values[part].reshape(-1, format.group)
        tile = _Tile(groups, space[:, :, : len(groups)], len(values[part]), format)
        with np.errstate(over="ignore", invalid="ignore"):  # such fits are not taken
            tile.solve()
        codes[part] = tile.codes.astype(np.uint8).T.reshape(-1, inputs)
        scales[part], minimums[part] = tile.scales, tile.minimums
        units[part], shifts[part] = tile.units, tile.shifts
    if format.centred:
        return Quantized(codes, scales, minimums, units, shifts)
    if format.zero:
        codes += np.uint8(format.zero)
    return Quantized(codes, scales, minimums)


class _Fit(NamedTuple):
    """Of each group [groups]. gain: how much less squared error it leaves than the mean does."""

    scale: Floats
    mean_code: Floats
    gain: Floats


class _Tile:
    """Groups of a few rows, transposed, so that what is done to a group is done along vectors.

    For fixed codes q the best scale and minimum of weights x are those of linear regression,
    cov(q, x) / var(q) and mean(x) - scale * mean(q); for a fixed scale and minimum the best codes
    are the nearest ones. These two steps alternate. A centre is the minimum plus 8 scales.
    """

    def __init__(self, groups: Floats, space: Floats, rows: int, format: PackedFormat) -> None:
        self.format, self.rows = format, rows
        self.top = np.float32(127 if format.bits == 8 else (1 << format.bits) - 1)
        self.size = np.float32(format.group)
        self.x, self.codes = space  # [inputs of a group, groups]
        np.copyto(self.x, groups.T)
        self.mean = np.divide(self.x, self.size, out=self.codes).sum(axis=0)
        self.x -= self.mean
        self.units, self.shifts = np.zeros(rows, np.float32), np.zeros(rows, np.int32)

    def solve(self) -> None:
        fit = self._best_guess()
        self._round(*self._store(fit))
        for _ in range(_REFITS):
            new = self._fit()
            fit = _choose(np.isfinite(new.gain), new, fit)
            self._round(*self._store(fit))

    def _best_guess(self) -> _Fit:
        low, high = self.x.min(axis=0) + self.mean, self.x.max(axis=0) + self.mean
        step = high / self.top - low / self.top
        best = _Fit(step, (self.mean - low) * _inverse(step), np.full_like(low, -np.inf))
        for span in _SPANS:
            scale = step * np.float32(span)
            minimum = low + (step - scale) * (self.top / 2)
            for _ in range(_FITS):
                self._round(scale, minimum)
                fit = self._fit()
                scale, minimum = fit.scale, self._minimum(fit.scale, fit)
            better = (fit.gain > best.gain) & np.isfinite(fit.gain)
            best = _choose(better, fit, best)
        return best

    def _minimum(self, scale: Floats, fit: _Fit) -> Floats:
        """The best one for a fit's codes, if their scale is this one."""
        minimum: Floats = self.mean - scale * fit.mean_code
        return minimum

    def _store(self, fit: _Fit) -> tuple[Floats, Floats]:
        """Takes scales, then the minimums that suit what became of them; both as read back."""
        if not self.format.centred:
            scale = _stored(fit.scale, self.format)
            minimum = _stored(self._minimum(scale, fit), self.format)
            self.scales, self.minimums = (a.reshape(self.rows, -1) for a in (scale, minimum))
            return scale, minimum
        zero = np.float32(self.format.zero)
        centres = np.abs(self._minimum(fit.scale, fit) + zero * fit.scale)
        # A unit in which both the largest scale and, shifted, the largest centre have a number.
        most = centres.reshape(self.rows, -1).max(axis=1)
        unit = np.maximum(fit.scale.reshape(self.rows, -1).max(axis=1) / 255, most / (127 << 7))
        self.units = np.maximum(unit, np.float32(1e-38))
        _, exponents = np.frexp(most / (np.float32(127.5) * self.units))
        self.shifts = np.clip(exponents, 0, 7).astype(np.int32)
        step = np.ldexp(self.units, self.shifts)
        self.scales = self._whole(fit.scale, self.units, 0, 255)
        scale = (self.scales * self.units[:, None]).reshape(-1)
        self.minimums = self._whole(self._minimum(scale, fit) + zero * scale, step, -128, 127)
        return scale, (self.minimums * step[:, None]).reshape(-1) - zero * scale

    def _whole(self, values: Floats, units: Floats, least: int, most: int) -> Floats:
        """Numbers [groups] as multiples [rows, groups] of units [rows]."""
        numbers: Floats = np.rint(values.reshape(self.rows, -1) * _inverse(units)[:, None])
        return np.clip(numbers, least, most, out=numbers)

    def _round(self, scale: Floats, minimum: Floats) -> None:
        inverse = _inverse(scale)
        np.multiply(self.x, inverse, out=self.codes)
        self.codes += (self.mean - minimum) * inverse
        np.rint(self.codes, out=self.codes)
        np.clip(self.codes, 0, self.top, out=self.codes)

    def _fit(self) -> _Fit:
        product = np.einsum("ij,ij->j", self.codes, self.x)
        square = np.einsum("ij,ij->j", self.codes, self.codes)
        mean_code = self.codes.sum(axis=0) / self.size
        scale = product / np.maximum(square - self.size * mean_code * mean_code, 0.5)
        return _Fit(scale, mean_code, scale * product)


def _choose(where: NDArray[np.bool_], first: _Fit, second: _Fit) -> _Fit:
    return _Fit(*(np.where(where, a, b) for a, b in zip(first, second, strict=True)))
