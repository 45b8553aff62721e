"""Pooling, resampling, distance and column kernels give what eager PyTorch gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import assume, given, settings
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def sample(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Numbers of both signs around 0, the same for the same shape."""
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(shape, generator=generator) * 3).to(dtype)


def channels_last(*shape: int) -> torch.Tensor:
    return sample(*shape).to(memory_format=torch.channels_last)


# ---- windows ----


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64, torch.uint8], ids=str)
def test_max_pool_of_every_dtype(dtype: torch.dtype) -> None:
    x = (sample(2, 3, 7, 8) * 9).abs().to(dtype)
    run_op("aten::max_pool2d_with_indices", x, [3, 2], [2, 1], [1, 1])


@pytest.mark.parametrize("dtype", [*FLOATS, torch.int64], ids=str)
def test_average_pool_of_every_dtype(dtype: torch.dtype) -> None:
    x = (sample(2, 3, 7, 8) * 9).abs().to(dtype)
    run_op("aten::avg_pool2d", x, [3, 2], [2, 1], [1, 1])


@st.composite
def windows(draw: Any) -> dict[str, Any]:
    """Sizes and windows that PyTorch accepts."""
    size = [draw(st.integers(1, 9)) for _ in range(2)]
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    return {
        "size": size,
        "kernel": kernel,
        "stride": draw(st.sampled_from([[], [1, 1], [2, 3], [4, 1]])),
        "padding": [draw(st.integers(0, k // 2)) for k in kernel],
        "dilation": draw(st.sampled_from([[1, 1], [2, 1], [3, 2]])),
        "ceil_mode": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans())
def test_max_pool_of_any_window(w: dict[str, Any], last: bool) -> None:
    x = sample(2, 3, *w["size"])
    x = x.to(memory_format=torch.channels_last) if last else x
    reach = [(k - 1) * d + 1 for k, d in zip(w["kernel"], w["dilation"], strict=True)]
    assume(all(n + 2 * p >= r for n, p, r in zip(w["size"], w["padding"], reach, strict=True)))
    args = w["kernel"], w["stride"], w["padding"], w["dilation"], w["ceil_mode"]
    values, places = torch.ops.aten.max_pool2d_with_indices(x.contiguous(), *args)
    assume(not last or min(values.shape) > 1)  # else its dim order has two names
    form = torch.channels_last if last else torch.contiguous_format
    outputs = [
        torch.empty(v.shape, dtype=v.dtype, memory_format=form).copy_(v) for v in (values, places)
    ]
    run_op("aten::max_pool2d_with_indices", x, *args, outputs=outputs)


@settings(max_examples=60, deadline=None)
@given(windows(), st.booleans(), st.sampled_from([None, 1, 3, -2]))
def test_average_pool_of_any_window(w: dict[str, Any], include: bool, divisor: int | None) -> None:
    sizes = zip(w["size"], w["padding"], w["kernel"], strict=True)
    assume(all(n + 2 * p >= k for n, p, k in sizes))
    args = w["kernel"], w["stride"], w["padding"], w["ceil_mode"], include, divisor
    run_op("aten::avg_pool2d", sample(2, 3, *w["size"]), *args)


def test_pools_of_other_ranks() -> None:
    run_op("aten::max_pool2d_with_indices", sample(3, 6, 6), [2], [], [0])
    run_op(
        "aten::max_pool3d_with_indices",
        sample(2, 3, 5, 6, 7),
        [2, 3, 2],
        [2, 1, 2],
        [1, 1, 0],
        1,
        True,
    )
    run_op("aten::avg_pool1d", sample(2, 3, 9), [3], [2], [1], True, False)
    run_op("aten::avg_pool1d", sample(3, 9), [4])
    run_op("aten::avg_pool3d", sample(2, 3, 5, 6, 7), [2, 3, 2], [2, 1, 2], [1, 1, 0], True, False)
    run_op("aten::avg_pool2d", channels_last(2, 3, 7, 7), [3, 3], [2, 2], [1, 1])
    run_op("aten::max_pool2d_with_indices", sample(0, 3, 6, 6), [2, 2])


def test_max_pool_takes_nan_as_greatest_and_minus_infinity_as_a_value() -> None:
    x = sample(1, 1, 6, 6)
    x[0, 0, 1, 1] = float("nan")
    x[0, 0, 4:, 4:] = -float("inf")
    run_op("aten::max_pool2d_with_indices", x, [2, 2])
    run_op("aten::max_pool2d_with_indices", x, [3, 3], [1, 1], [1, 1])


def test_pools_refuse_impossible_windows() -> None:
    x, out = sample(1, 2, 4, 4), [sample(1, 2, 2, 2)]
    both = [out[0], out[0].long()]
    for kernel, stride, padding in [
        ([0, 1], [1, 1], [0, 0]),
        ([2, 2], [0, 1], [0, 0]),
        ([2, 2], [1, 1], [2, 2]),
        ([5, 5], [1, 1], [0, 0]),
        ([2, 2, 2], [1], [0]),
        ([2**40, 1], [1, 1], [0, 0]),
        ([2, 2], [1, 1], [-1, 0]),
    ]:
        refuse_op("aten::avg_pool2d", x, kernel, stride, padding, out=out)
        refuse_op("aten::max_pool2d_with_indices", x, kernel, stride, padding, out=both)
    refuse_op("aten::avg_pool2d", x, [2, 2], [], [0, 0], False, True, 0, out=out)
    refuse_op("aten::avg_pool2d", sample(4, 4), [2, 2], out=[sample(2, 2)])
    refuse_op("aten::avg_pool2d", sample(1, 0, 4, 4), [2, 2], out=out)
    refuse_op("aten::avg_pool2d", x.int(), [2, 2], out=[out[0].int()])


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    ("size", "result"), [((7, 8), [1, 1]), ((7, 8), [3, 5]), ((2, 3), [4, 7]), ((5, 5), [5, 5])]
)
def test_adaptive_pools(size: tuple[int, int], result: list[int], dtype: torch.dtype) -> None:
    x = sample(2, 3, *size, dtype=dtype)
    run_op("aten::_adaptive_avg_pool2d", x, result)
    run_op("aten::adaptive_max_pool2d", x, result)


def test_adaptive_pools_of_other_ranks() -> None:
    run_op("aten::_adaptive_avg_pool2d", sample(3, 7, 7), [2, 3])
    run_op("aten::_adaptive_avg_pool2d", channels_last(2, 3, 7, 7), [2, 3])
    run_op("aten::_adaptive_avg_pool3d", sample(2, 3, 4, 5, 6), [2, 2, 4])
    run_op("aten::adaptive_max_pool3d", sample(2, 3, 4, 5, 6), [2, 2, 4])
    refuse_op(
        "aten::_adaptive_avg_pool2d", sample(1, 2, 3, 3), [2**40, 2**40], out=[sample(1, 2, 2, 2)]
    )
    refuse_op("aten::_adaptive_avg_pool2d", sample(1, 2, 3, 3), [-1, 2], out=[sample(1, 2, 2, 2)])


def test_max_pool_backward() -> None:
    x = sample(2, 3, 6, 6)
    values, places = torch.ops.aten.max_pool2d_with_indices(x, [3, 3], [1, 1], [1, 1])
    args = [3, 3], [1, 1], [1, 1], [1, 1], False
    run_op("aten::max_pool2d_with_indices_backward", sample(*values.shape), x, *args, places)
    refuse_op("aten::max_pool2d_with_indices_backward", values, x, *args, places + 36, out=[x])


# ---- resampling ----


@pytest.mark.parametrize("size", [[4, 6], [7, 3], [1, 1], [12, 18], [5, 13]])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_upsample_to_a_size(dtype: torch.dtype, size: list[int]) -> None:
    x = sample(2, 3, 4, 6, dtype=dtype)
    run_op("aten::upsample_nearest2d.vec", x, size, None)
    run_op("aten::upsample_nearest2d", x, size)
    for corners in (False, True):
        run_op("aten::upsample_bilinear2d.vec", x, size, corners, None)
        run_op("aten::upsample_bilinear2d", x, size, corners, 1.5, 0.7)


@pytest.mark.parametrize("factors", [[2.0, 2.0], [1.5, 0.6], [3.3, 1.0]])
def test_upsample_by_factors(factors: list[float]) -> None:
    x = sample(2, 3, 4, 6)
    run_op("aten::upsample_nearest2d.vec", x, None, factors)
    run_op("aten::upsample_bilinear2d.vec", x, None, False, factors)
    run_op("aten::upsample_nearest1d", sample(2, 3, 5), [9])
    run_op("aten::upsample_nearest2d.vec", sample(1, 2, 3, 3, dtype=torch.uint8), None, factors)
    run_op("aten::upsample_nearest2d.vec", channels_last(1, 3, 4, 4), None, factors)
    run_op("aten::upsample_bilinear2d.vec", channels_last(1, 3, 4, 4), None, True, factors)


@pytest.mark.parametrize("size", [[3, 2], [9, 14], [4, 6]])
def test_antialiased_bilinear(size: list[int]) -> None:
    for corners in (False, True):
        run_op("aten::_upsample_bilinear2d_aa", sample(1, 2, 8, 9), size, corners, atol=2e-6)


def test_upsample_refuses_impossible_sizes() -> None:
    x = sample(1, 1, 2, 2)
    for size, factors in [
        (None, None),
        ([4, 4], [2.0, 2.0]),
        ([0, 4], None),
        ([2**40, 2**40], None),
        (None, [1e300, 1.0]),
        (None, [float("nan"), 1.0]),
        (None, [2.0]),
    ]:
        refuse_op("aten::upsample_nearest2d.vec", x, size, factors, out=[sample(1, 1, 4, 4)])
    refuse_op("aten::upsample_bilinear2d", x.int(), [4, 4], False, out=[sample(1, 1, 4, 4).int()])


@pytest.mark.parametrize("factor", [1e-300, 1e-45, 1e300, -1.0, float("inf")])
def test_upsample_stays_inside_whatever_the_factor(factor: float) -> None:
    x = sample(1, 1, 3, 3)
    for op in ("upsample_bilinear2d", "_upsample_bilinear2d_aa"):
        run_op(
            f"aten::{op}",
            x,
            [4, 5],
            False,
            factor,
            factor,
            outputs=[sample(1, 1, 4, 5)],
            compare=False,
        )
    result = run_op(
        "aten::upsample_nearest2d",
        x,
        [4, 5],
        factor,
        factor,
        outputs=[sample(1, 1, 4, 5)],
        compare=False,
    )[0]
    assert torch.isin(result, x).all()


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("outside", [0, 1, 2])
@pytest.mark.parametrize("mode", [0, 1, 2])
def test_grid_sampler_2d(mode: int, outside: int, corners: bool) -> None:
    grid = sample(2, 5, 6, 2) / 2
    run_op(
        "aten::grid_sampler_2d",
        sample(2, 3, 4, 7),
        grid,
        mode,
        outside,
        corners,
        rtol=1e-4,
        atol=2e-5,
    )
    run_op(
        "aten::grid_sampler_2d", sample(2, 3, 4, 7).double(), grid.double(), mode, outside, corners
    )


def test_grid_sampler_2d_refuses_other_grids() -> None:
    x = sample(2, 3, 4, 4)
    refuse_op("aten::grid_sampler_2d", x, sample(1, 5, 6, 2), 0, 0, False, out=[sample(2, 3, 5, 6)])
    refuse_op("aten::grid_sampler_2d", x, sample(2, 5, 6, 3), 0, 0, False, out=[sample(2, 3, 5, 6)])
    refuse_op("aten::grid_sampler_2d", x, sample(2, 5, 6, 2), 3, 0, False, out=[sample(2, 3, 5, 6)])


def test_grid_sampler_2d_takes_coordinates_that_are_no_numbers() -> None:
    grid = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e30]).reshape(1, 2, 1, 2)
    for mode in (0, 1, 2):
        for outside in (0, 1, 2):
            run_op(
                "aten::grid_sampler_2d",
                sample(1, 1, 3, 3),
                grid,
                mode,
                outside,
                False,
                compare=False,
            )


# ---- distances and columns ----


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_distances(dtype: torch.dtype, p: float) -> None:
    x, y = sample(2, 1, 5, 7, dtype=dtype), sample(3, 4, 7, dtype=dtype) + 1
    run_op("aten::_cdist_forward", x, y, p, None, rtol=2e-5 if dtype == torch.float32 else None)
    run_op("aten::_pdist_forward", x[0, 0], p, rtol=2e-5 if dtype == torch.float32 else None)


def test_distances_of_nothing() -> None:
    run_op("aten::_cdist_forward", sample(0, 3), sample(2, 3), 2.0, None)
    run_op("aten::_cdist_forward", sample(3, 0), sample(2, 0), 2.0, None)
    run_op("aten::_pdist_forward", sample(1, 3), 2.0)
    refuse_op("aten::_cdist_forward", sample(2, 3), sample(2, 4), 2.0, None, out=[sample(2, 2)])
    refuse_op("aten::_cdist_forward", sample(2, 3), sample(2, 3), -1.0, None, out=[sample(2, 2)])


@pytest.mark.parametrize(
    ("kernel", "dilation", "padding", "stride"),
    [
        ([2, 3], [1, 1], [0, 0], [1, 1]),
        ([3, 2], [2, 1], [1, 2], [2, 1]),
        ([1, 1], [1, 1], [0, 0], [3, 2]),
    ],
)
def test_columns(
    kernel: list[int], dilation: list[int], padding: list[int], stride: list[int]
) -> None:
    for x in (sample(2, 3, 7, 8), sample(3, 7, 8)):
        columns = run_op("aten::im2col", x, kernel, dilation, padding, stride)[0]
        run_op("aten::col2im", columns, [7, 8], kernel, dilation, padding, stride)


def test_columns_refuse_what_does_not_fit() -> None:
    one = [1, 1]
    refuse_op("aten::im2col", sample(1, 2, 2), [3, 3], one, [0, 0], one, out=[sample(9, 1)])
    refuse_op("aten::im2col", sample(1, 2, 2), [2**40, 1], one, [0, 0], one, out=[sample(9, 1)])
    refuse_op("aten::col2im", sample(8, 5), [3, 3], [2, 2], one, [0, 0], one, out=[sample(2, 3, 3)])
    refuse_op("aten::col2im", sample(7, 4), [3, 3], [2, 2], one, [0, 0], one, out=[sample(2, 3, 3)])
