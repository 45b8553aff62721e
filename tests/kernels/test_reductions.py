"""Reductions give what eager PyTorch gives, over every set of dims, dtype and memory order."""

from __future__ import annotations

import itertools

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import given
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
DTYPES = [*FLOATS, *INTEGERS, torch.bool]
DIMS = [d for n in range(4) for d in itertools.combinations((0, 1, -1), n)]


def sample(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if dtype == torch.bool:
        return values > 0
    return (values.abs() if dtype == torch.uint8 else values).mul(3).to(dtype)


@pytest.mark.parametrize("dims", DIMS, ids=str)
@pytest.mark.parametrize("keepdim", [False, True])
def test_every_set_of_dims(dims: tuple[int, ...], keepdim: bool) -> None:
    x = sample((5, 6, 7), torch.float32)
    for name in ("sum.dim_IntList", "mean.dim", "amax", "amin", "any.dims", "all.dims"):
        run_op(f"aten::{name}", x, list(dims), keepdim)
    run_op("aten::var.correction", x, list(dims), correction=1, keepdim=keepdim)
    run_op("aten::var.dim", x, list(dims), False, keepdim)
    run_op("aten::var_mean.correction", x, list(dims), correction=0, keepdim=keepdim)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [False, True])
def test_one_dim(dim: int, keepdim: bool) -> None:
    x = sample((5, 6, 7), torch.float32)
    for name in ("max.dim", "min.dim", "argmax", "argmin", "any.dim", "all.dim", "prod.dim_int"):
        run_op(f"aten::{name}", x, dim, keepdim)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    x = sample((9, 70), dtype)
    run_op("aten::sum.dim_IntList", x, [0])
    run_op("aten::sum.dim_IntList", x, None)
    # PyTorch rounds a product of half precision at every step.
    few, wide = x[:, :5].clone(), x.double() if dtype.is_floating_point else x
    kept = dtype if dtype.is_floating_point else torch.int64
    run_op("aten::prod.dim_int", few, 1, outputs=[wide[:, :5].prod(1).to(kept)])
    run_op("aten::prod", few, outputs=[wide[:, :5].prod().to(kept)])
    for name in ("amax", "amin"):
        run_op(f"aten::{name}", x, [1])
    for name in ("max", "min", "any", "all"):
        run_op(f"aten::{name}", x)
        run_op(f"aten::{name}.dim", x, 0)
    if dtype != torch.bool:
        run_op("aten::argmax", x, 1)
        run_op("aten::argmin", x, None)
    if dtype.is_floating_point:
        run_op("aten::mean", x)
        run_op("aten::var.correction", x, [1], correction=1)
    run_op("aten::cumsum", x, 1)


@pytest.mark.parametrize("order", [0, 1, 2, 2.0, float("inf"), float("-inf")])
def test_norms(order: float) -> None:
    for dtype in FLOATS:
        x = sample((9, 70), dtype)
        for dims in ([0], [1], None):
            exact = torch.linalg.vector_norm(x.double(), order, dims).to(dtype)
            run_op("aten::linalg_vector_norm", x, order, dims, outputs=[exact])
    nan = torch.tensor([1.0, float("nan"), 2.0])
    if order != 0:
        run_op("aten::linalg_vector_norm", nan, order)


def test_a_norm_of_another_order_is_refused() -> None:
    x = torch.ones(3)
    assert "ord" in refuse_op("aten::linalg_vector_norm", x, 3.5, out=[torch.empty(())])


def test_cumprod() -> None:
    run_op("aten::cumprod", sample((5, 6), torch.float32), 1)
    run_op("aten::cumprod", sample((5, 6), torch.int32), 0)
    run_op("aten::cumprod", sample((5, 6), torch.float32), 0, dtype=torch.float64)


def test_the_dtype_argument_is_the_dtype_of_accumulation() -> None:
    x = sample((40, 40), torch.int32)
    run_op("aten::sum.dim_IntList", x, [0], dtype=torch.float32)
    run_op("aten::sum.dim_IntList", x, [0], dtype=torch.int8)
    run_op("aten::mean.dim", x, [0], dtype=torch.float64)
    run_op("aten::cumsum", x, 0, dtype=torch.float16)
    message = refuse_op(
        "aten::sum.dim_IntList", x, [0], dtype=torch.float32, out=[torch.empty(40).double()]
    )
    assert "float32" in message


def test_nan_wins_and_its_first_index_is_given() -> None:
    x = sample((4, 50), torch.float32)
    x[1, 7] = x[1, 20] = x[3, 49] = float("nan")
    for name in ("amax", "amin"):
        run_op(f"aten::{name}", x, [1])
    for name in ("max.dim", "min.dim", "argmax", "argmin"):
        run_op(f"aten::{name}", x, 1)
        run_op(f"aten::{name}", x, 0)
    run_op("aten::any.dim", torch.full((1, 2), float("nan")), 1)


def test_the_first_of_equal_extremes_is_given() -> None:
    x = torch.tensor([[1.0, 3.0, 3.0, 1.0], [2.0, 2.0, 2.0, 2.0]])
    for name in ("max.dim", "min.dim"):
        run_op(f"aten::{name}", x, 1)
    run_op("aten::argmax", x)


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (0, 3)], ids=str)
def test_degenerate_shapes(shape: tuple[int, ...]) -> None:
    x = sample(shape, torch.float32)
    run_op("aten::sum.dim_IntList", x, [])
    run_op("aten::sum.dim_IntList", x, [-1])
    run_op("aten::mean.dim", x, [-1])
    run_op("aten::prod", x)
    run_op("aten::any", x)
    run_op("aten::all", x)
    run_op("aten::cumsum", x, 0)
    run_op("aten::var.correction", x.reshape(-1), [0], correction=0)
    if x.numel():
        run_op("aten::max.dim", x, -1)
        run_op("aten::amin", x, [])


def test_a_maximum_of_nothing_is_an_error() -> None:
    x = torch.empty(2, 0)
    assert "at least one" in refuse_op("aten::amax", x, [1], out=[torch.empty(2)])
    assert "at least one" in refuse_op("aten::max", x, out=[torch.empty(())])


def test_bad_dims_are_errors() -> None:
    x = torch.ones(2, 3)
    assert "2" in refuse_op("aten::sum.dim_IntList", x, [2], out=[torch.empty(2)])
    assert "twice" in refuse_op("aten::sum.dim_IntList", x, [0, -2], out=[torch.empty(3)])
    assert "floating" in refuse_op("aten::mean", x.int(), out=[torch.empty(()).int()])


def test_channels_last() -> None:
    x = sample((2, 3, 4, 5), torch.float32).to(memory_format=torch.channels_last)
    for dims in ([1], [2, 3], [0, 2, 3], [3]):
        run_op("aten::sum.dim_IntList", x, dims, True)
        run_op("aten::amax", x, dims, False, outputs=[x.contiguous().amax(dims)])
    run_op("aten::argmax", x, None)
    run_op("aten::cumsum", x, 1)


def test_sums_stay_exact_over_many_elements() -> None:
    x = torch.full((1 << 20,), 0.1)
    run_op("aten::sum.dim_IntList", x, [0], outputs=[x.double().sum().float()], rtol=1e-7)
    run_op("aten::mean", x, outputs=[x.double().mean().float()], rtol=1e-7)
    run_op("aten::var.correction", x + 1e4, [0], outputs=[(x + 1e4).double().var().float()])


def test_work_large_enough_for_threads() -> None:
    x = sample((300, 5, 70), torch.float32)
    for dims in ([0], [1], [2], [0, 2]):
        run_op("aten::sum.dim_IntList", x, dims, outputs=[x.double().sum(dims).float()])
        run_op("aten::amax", x, dims)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_any_shape(shape: list[int], data: st.DataObject) -> None:
    dims = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True))
    x = sample(tuple(shape), torch.float32)
    run_op("aten::sum.dim_IntList", x, dims)
    run_op("aten::amin", x, dims)
    run_op("aten::argmin", x, dims[0] if dims else None)
    run_op("aten::cumsum", x, dims[0] if dims else 0)
