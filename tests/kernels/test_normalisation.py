"""Softmax and the normalisations give what eager PyTorch gives."""

from __future__ import annotations

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import given, settings
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INFINITY = float("inf")


def sample(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """Numbers of both signs around 0, the same for the same arguments."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 3).to(dtype)


# ---- softmax ----


def check_softmax(op: str, x: torch.Tensor, dim: int) -> torch.Tensor:
    """Against eager PyTorch; halves against float32, as eager rounds their sums on the way."""
    exact = torch.softmax if op == "_softmax" else torch.log_softmax
    half = x.dtype in (torch.float16, torch.bfloat16)
    expected = [exact(x.float(), dim).to(x.dtype)] if half else None
    return run_op(f"aten::{op}", x, dim, False, outputs=expected)[0]


@pytest.mark.parametrize("op", ["_softmax", "_log_softmax"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (5, 0), (3, 7), (4, 700), (2, 300, 5), (2, 3, 400)])
def test_softmax(shape: tuple[int, ...], dtype: torch.dtype, op: str) -> None:
    x = sample(*shape, dtype=dtype)
    for dim in {-1, 0, len(shape) // 2}:
        check_softmax(op, x, dim)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-60, 60, width=32), min_size=1, max_size=40),
    st.sampled_from([0.0, 80.0, 1e30]),
)
def test_softmax_of_any_row_sums_to_one(values: list[float], shift: float) -> None:
    x = torch.tensor(values) + shift
    result = run_op("aten::_softmax", x, 0, False)[0]
    torch.testing.assert_close(result.sum(), torch.tensor(1.0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_softmax_of_masked_and_broken_rows(dtype: torch.dtype, dim: int) -> None:
    x = sample(6, 40, dtype=dtype)
    x[0, 3:] = -INFINITY
    x[1] = -INFINITY
    x[2, 39] = float("nan")
    x[3, 0] = INFINITY
    x[4] = 6e4
    x[5, 1:] = -6e4
    x = x if dim == 1 else x.t().contiguous()
    check_softmax("_log_softmax", x, dim)
    result = check_softmax("_softmax", x, dim)
    row = result[0] if dim == 1 else result[:, 0]
    assert row[3:].eq(0).all(), "a masked place has no weight at all"


def test_softmax_of_channels_last() -> None:
    x = sample(2, 5, 3, 4).to(memory_format=torch.channels_last)
    for dim in range(4):
        run_op("aten::_softmax", x, dim, False)
        run_op("aten::_log_softmax", x, dim, False)


def test_softmax_of_halves_to_float32() -> None:
    x = sample(3, 70, dtype=torch.float16)
    run_op("aten::_softmax", x, 1, True, outputs=[x.float().softmax(1)])
    run_op("aten::_log_softmax", x, 1, True, outputs=[x.float().log_softmax(1)])


def test_softmax_refuses_integers_and_other_dims() -> None:
    x = torch.arange(3)
    refuse_op("aten::_softmax", x, 0, False, out=[x])
    refuse_op("aten::_softmax", x.float(), 1, False, out=[x.float()])


# ---- layer and group norm ----


@pytest.mark.parametrize("affine", ["both", "weight", "bias", "neither"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("shape", "last"), [((4, 9), 1), ((2, 3, 5, 7), 2), ((6,), 1), ((3, 600), 1), ((0, 4), 1)]
)
def test_layer_norm(shape: tuple[int, ...], last: int, dtype: torch.dtype, affine: str) -> None:
    x, normalised = sample(*shape, dtype=dtype) + 4, list(shape[-last:])
    weight = sample(*normalised, dtype=dtype, seed=1) if affine in ("both", "weight") else None
    bias = sample(*normalised, dtype=dtype, seed=2) if affine in ("both", "bias") else None
    loose = {torch.float32: 1e-5, torch.float64: 1e-13}.get(dtype, 8e-3)
    run_op("aten::native_layer_norm", x, normalised, weight, bias, 1e-5, atol=loose)


def test_layer_norm_of_a_large_mean_keeps_its_digits() -> None:
    x = sample(3, 512) + 1000
    exact = torch.nn.functional.layer_norm(x.double(), [512]).float()
    result = run_op("aten::native_layer_norm", x, [512], None, None, 1e-5, compare=False)[0]
    torch.testing.assert_close(result, exact, rtol=1e-4, atol=1e-4)


def test_layer_norm_refuses_other_shapes() -> None:
    x = sample(3, 4)
    out = [x, sample(3, 1), sample(3, 1)]
    refuse_op("aten::native_layer_norm", x, [3], None, None, 1e-5, out=out)
    refuse_op("aten::native_layer_norm", x, [], None, None, 1e-5, out=out)
    refuse_op("aten::native_layer_norm", x, [4], sample(3), None, 1e-5, out=out)
    refuse_op("aten::native_layer_norm", x, [4], None, torch.arange(4), 1e-5, out=out)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups: int, dtype: torch.dtype) -> None:
    x = sample(2, 6, 5, 7, dtype=dtype) + 2
    weight, bias = sample(6, dtype=dtype, seed=1), sample(6, dtype=dtype, seed=2)
    loose = {torch.float32: 1e-5, torch.float64: 1e-13}.get(dtype, 2e-2)
    run_op("aten::native_group_norm", x, weight, bias, 2, 6, 35, groups, 1e-5, atol=loose)
    run_op("aten::native_group_norm", x, None, None, 2, 6, 35, groups, 1e-5, atol=loose)


def test_group_norm_refuses_what_does_not_fit() -> None:
    x = sample(2, 6, 5)
    for n, c, area, groups in [
        (2, 6, 4, 2),
        (2, 5, 6, 5),
        (2, 6, 5, 4),
        (2, 6, 5, 0),
        (2, 6, 5, -2),
    ]:
        out = [x, sample(2, 2), sample(2, 2)]
        refuse_op("aten::native_group_norm", x, None, None, n, c, area, groups, 1e-5, out=out)


# ---- batch norm ----


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    "shape", [(4, 3), (2, 3, 5), (2, 3, 5, 7), (1, 1, 4), (2, 300, 2), (0, 3, 2)]
)
def test_batch_norm_with_statistics(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    c = shape[1]
    x, mean, variance = (sample(*s, dtype=dtype, seed=i) for i, s in enumerate([shape, (c,), (c,)]))
    weight, bias = sample(c, dtype=dtype, seed=3), sample(c, dtype=dtype, seed=4)
    variance = variance.abs() + 1
    loose = {torch.float32: 1e-5, torch.float64: 1e-13}.get(dtype, 4e-2)
    for w, b in ((weight, bias), (None, None), (weight, None)):
        args = x, w, b, mean, variance, 0.1, 1e-5
        run_op("aten::_native_batch_norm_legit_no_training", *args, atol=loose)


def test_batch_norm_of_channels_last() -> None:
    x = sample(2, 3, 5, 7).to(memory_format=torch.channels_last)
    args = sample(3, seed=1), sample(3, seed=2), sample(3, seed=3), sample(3, seed=4).abs() + 1
    run_op("aten::_native_batch_norm_legit_no_training", x, *args, 0.1, 1e-5)


def test_batch_norm_by_the_batch() -> None:
    x, weight, bias = sample(4, 3, 5), sample(3, seed=1), sample(3, seed=2)
    run_op("aten::_native_batch_norm_legit.no_stats", x, weight, bias, True, 0.1, 1e-5)
    run_op("aten::_native_batch_norm_legit.no_stats", x, None, None, True, 0.1, 1e-5)


def test_batch_norm_refuses_other_sizes() -> None:
    x, out = sample(2, 3, 4), [sample(2, 3, 4), sample(0), sample(0)]
    args = sample(3), sample(3), sample(3), sample(3).abs()
    for wrong in range(4):
        bad = [sample(2) if i == wrong else a for i, a in enumerate(args)]
        refuse_op("aten::_native_batch_norm_legit_no_training", x, *bad, 0.1, 1e-5, out=out)
    refuse_op(
        "aten::_native_batch_norm_legit_no_training",
        x.long(),
        *args,
        0.1,
        1e-5,
        out=[x.long(), *out[1:]],
    )
