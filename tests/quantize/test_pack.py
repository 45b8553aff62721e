"""Packing is exact, streams, and quantises as well as it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penlight.errors import UnsupportedError
from penlight.quantize import (
    PackedFormat,
    PackedSource,
    pack,
    pack_values,
    quantize_rows,
    unpack,
)

QUANTISED = [f"q{b}g{g}{w}" for b in (4, 6, 8) for g in (16, 32)
             for w in ("", ".f32", "m", "m.f32")] + ["q4g32c"]  # fmt: skip
KEPT = ["q4g32m.k", "q4g16.k", "q6g32m.k", "q6g16.k", "q8g16m.k"]  # what no float is rounded to


def weights(rows: int, inputs: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, inputs), dtype=np.float32)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(QUANTISED + KEPT), st.integers(1, 70), st.integers(1, 20))
def test_codes_and_scales_come_back(text: str, rows: int, groups: int) -> None:
    spec, random = PackedFormat.parse(text), np.random.default_rng(rows)
    codes = random.integers(0, 1 << spec.bits, (rows, groups * spec.group), dtype=np.uint8)
    scales, lows = random.standard_normal((2, rows, groups)).astype(np.float16).astype(np.float32)
    units = shifts = None
    if spec.centred:
        scales = random.integers(0, 256, (rows, groups)).astype(np.float32)
        lows = random.integers(-128, 128, (rows, groups)).astype(np.float32)
        units = random.standard_normal(rows, np.float32)
        shifts = random.integers(0, 8, rows, np.int32)
    of_scale = of_low = np.ones((rows, groups), np.float32)
    if spec.runs:
        scales, lows = random.integers(-128, 128, (2, rows, groups)).astype(np.float32)
        units = random.standard_normal((rows, spec.units(codes.shape[1]))).astype(np.float16)
        units = units.astype(np.float32)
        by_run = np.repeat(units.reshape(rows, 1 + spec.minimum, -1), 256 // spec.group, axis=2)
        of_scale, of_low = by_run[:, 0, :groups], by_run[:, -1, :groups]
    both = spec.minimum or spec.centred
    data = b"".join(pack(codes, scales, lows if both else None, text, units, shifts))
    assert len(data) == spec.nbytes(rows, codes.shape[1])
    if shifts is not None:
        lows = lows * np.exp2(shifts, dtype=np.float32)[:, None]
    values = (codes.astype(np.float32) - spec.zero) * np.repeat(scales * of_scale, spec.group, 1)
    if both:
        values += np.repeat(lows * of_low, spec.group, 1)
    if spec.centred and units is not None:
        values *= units[:, None]
    np.testing.assert_array_equal(unpack(data, text, rows, codes.shape[1]), values)


@pytest.mark.parametrize(("text", "bits"), [("f32", 24), ("f16", 11), ("bf16", 8)])
def test_floats_are_rounded_to_nearest(text: str, bits: int) -> None:
    w = weights(33, 50)
    back = unpack(pack_values(w, text), text, 33, 50)
    assert np.all(np.abs(back - w) <= np.abs(w) * 2.0**-bits)


@pytest.mark.parametrize("text", ["q4g32", "q8g16m.f32", "q4g32c", "bf16"])
def test_streaming_gives_the_same_bytes(text: str) -> None:
    w = weights(1000, 1100)
    source = PackedSource(1000, 1100, text, lambda first, end: w[first:end])
    chunks = list(source.chunks())
    assert len(chunks) > 1
    assert b"".join(chunks) == bytes(pack_values(w, text))
    assert source.nbytes == sum(len(c) for c in chunks)


def test_least_squares_beats_the_largest_magnitude() -> None:
    w = weights(64, 512).reshape(-1, 32)
    scale = np.abs(w).max(1, keepdims=True) / 7
    plain = np.square(np.clip(np.rint(w / scale), -8, 7) * scale - w).mean()
    back = unpack(pack_values(w.reshape(64, 512), "q4g32"), "q4g32", 64, 512)
    assert np.square(back.reshape(-1, 32) - w).mean() < 0.9 * plain


def error(w: np.ndarray, text: str) -> float:
    """Squared error, relative to the weights' squares."""
    back = unpack(pack_values(w, text), text, *w.shape).astype(np.float64)
    return float(np.square(back - w).sum() / np.square(w.astype(np.float64)).sum())


def test_centres_in_bytes_beat_symmetric_levels_and_cost_little() -> None:
    """Of normal weights, and of such that 4 bits with a minimum once held."""
    w = weights(64, 512) * np.exp(weights(64, 512)[:, :1])
    assert error(w, "q4g32c") < 0.8 * error(w, "q4g32")
    assert error(w, "q4g32c") < 1.01 * error(w, "q4g32m.f32")
    grouped = w.reshape(-1, 32)
    low = grouped.min(1, keepdims=True)
    step = (grouped.max(1, keepdims=True) - low) / 15
    gridded = (np.rint((grouped - low) / step) * step + low).reshape(w.shape)
    assert error(gridded, "q4g32m.f32") < 1e-9
    assert error(gridded, "q4g32c") < 1e-4 < 50 * error(gridded, "q4g32")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([text for text in QUANTISED if "m" in text or "c" in text]),
    st.integers(0, 1 << 30),
    st.floats(-4, 4),
    st.floats(-3, 3),
)
def test_fitting_is_never_worse_than_from_the_smallest_to_the_largest(
    text: str, seed: int, offset: float, size: float
) -> None:
    """Whatever the sign and the size of the weights, as near as the stored scales allow."""
    spec, random = PackedFormat.parse(text), np.random.default_rng(seed)
    w = (random.standard_t(3, (3, 4, spec.group)) + offset) * 10**size
    w = w.astype(np.float32)
    low = w.min(2)
    top = 127 if spec.bits == 8 else (1 << spec.bits) - 1
    plain = np.square((w.max(2) - low) / top) / 12 * spec.group  # expected of rounding to levels
    back = unpack(pack_values(w.reshape(3, -1), text), text, 3, 4 * spec.group).reshape(w.shape)
    # The largest centre takes 64 to 127 steps.
    stored = np.abs(w).max((1, 2)) * (1 / 127 if spec.centred else 1e-3)
    assert (np.square(back - w).sum((1, 2)) <= 4 * plain.sum(1) + w[0].size * stored**2).all()


def test_groups_of_one_sign_and_extreme_sizes_are_kept() -> None:
    w = np.stack([np.abs(weights(1, 64)[0]), -np.abs(weights(1, 64)[0]) - 7, np.zeros(64)])
    w[2, :32] = 3
    for size in (1e-30, 1.0, 1e30):
        assert error((w * size).astype(np.float32)[:2] / 8, "q4g32c") < 6e-3
        assert error((w * size).astype(np.float32)[2:], "q4g32c") < 1e-6


def test_zero_and_constant_groups_are_kept() -> None:
    w = np.zeros((32, 64), np.float32)
    w[1] = 0.5
    w[2] = -0.5
    for text in QUANTISED:
        back = unpack(pack_values(w, text), text, 32, 64)
        assert not back[0].any()
        np.testing.assert_allclose(back[1], 0.5, rtol=1e-2)
        np.testing.assert_allclose(back[2], -0.5, rtol=1e-2)


def test_bad_input_is_one_clear_error() -> None:
    unknown = ("", "q5g32", "q4g64", "q4g32mm", "q4g32.f16", "Q4G32", "q4g32.a8", "q4g32.a16.f32")
    for text in unknown:
        with pytest.raises(UnsupportedError, match="expected"):
            PackedFormat.parse(text)
    spec = PackedFormat.parse("q4g32")
    with pytest.raises(UnsupportedError, match="multiple of 32"):
        quantize_rows(weights(2, 33), spec)
    with pytest.raises(UnsupportedError, match="finite"):
        quantize_rows(np.full((1, 32), np.inf, np.float32), spec)
    for value, text in (
        (np.nan, "q4g32c"),
        (2e38, "q4g32c"),
        (1e5, "q8g32"),
        (1e5, "q4g32m"),
    ):
        with pytest.raises(UnsupportedError, match="finite"):
            pack_values(np.full((1, 32), value, np.float32), text)
    with pytest.raises(UnsupportedError, match="bytes"):
        unpack(b"123", "q4g32", 32, 32)
    codes = np.zeros((32, 32), np.uint8)
    with pytest.raises(UnsupportedError, match="minimums"):
        list(pack(codes, np.ones((32, 1), np.float32), None, "q4g32m"))
    with pytest.raises(UnsupportedError, match="scales"):
        list(pack(codes, np.ones((32, 2), np.float32), None, "q4g32"))
    ones, units, shifts = (
        np.ones((32, 1), np.float32),
        np.ones(32, np.float32),
        np.ones(32, np.int32),
    )
    for wrong in ((), (units,), (units, shifts[:1])):
        with pytest.raises(UnsupportedError, match="units and shifts"):
            list(pack(codes, ones, ones, "q4g32c", *wrong))
    with pytest.raises(UnsupportedError, match="minimums"):
        list(pack(codes, ones, None, "q4g32c", units, shifts))
    with pytest.raises(UnsupportedError, match=r"units \[32, 2\] and no shifts"):
        list(pack(codes, ones, ones, "q4g32m.k", units))
    with pytest.raises(UnsupportedError, match="only holds what GGUF files bring"):
        pack_values(weights(32, 32), "q4g32m.k")
    with pytest.raises(UnsupportedError, match="no units"):
        list(pack(codes, ones, ones, "q4g32m", units, shifts))
