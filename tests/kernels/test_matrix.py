"""Matrix products give what eager PyTorch gives, on every instruction set."""

from __future__ import annotations

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import given, settings
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
# rows, depth, columns: around tiles of 12 x 32, 6 x 16 and 4 x 2, dot products, nothing at all
SHAPES = [(1, 1, 1), (3, 5, 7), (1, 64, 100), (2, 0, 3), (0, 4, 2), (12, 33, 32), (13, 17, 65),
          (100, 50, 3), (40, 300, 4), (64, 128, 130)]  # fmt: skip


def sample(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    low = 0 if dtype == torch.uint8 else -5
    return torch.randint(low, 6, shape, generator=generator).to(dtype)


def transposed(x: torch.Tensor) -> torch.Tensor:
    return x.t().contiguous().t()


def tolerance(dtype: torch.dtype, depth: int) -> dict[str, float]:
    """Sums of `depth` products of normal numbers, in another order than PyTorch's."""
    if dtype == torch.float32:
        return {"atol": 1e-6 * max(depth, 1) ** 0.5}
    return {"atol": 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-12 * depth}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mm_of_every_shape_and_memory_order(isa: str, shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = sample(m, k), sample(k, n, seed=1)
    for x in (a, transposed(a)):
        for y in (b, transposed(b)):
            run_op("aten::mm", x, y, **tolerance(a.dtype, k))


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS, ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    a, b, c = sample(13, 40, dtype=dtype), sample(40, 21, dtype=dtype), sample(21, dtype=dtype)
    close = tolerance(dtype, 40)
    run_op("aten::mm", a, b, **close)
    beta, alpha = (0.5, 1.5) if dtype.is_floating_point else (2, 3)
    run_op("aten::addmm", c, a, b, beta=beta, alpha=alpha, **close)
    run_op("aten::bmm", a.expand(3, 13, 40).clone(), b.expand(3, 40, 21).clone(), **close)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 7), (5, 1), (5, 7)], ids=str)
def test_addmm_broadcasts_its_summand(isa: str, shape: tuple[int, ...]) -> None:
    run_op("aten::addmm", sample(*shape), sample(5, 9), sample(9, 7), beta=-2.0, atol=1e-5)


def test_addmm_ignores_nan_under_beta_zero() -> None:
    run_op(
        "aten::addmm", torch.full((7,), torch.nan), sample(5, 9), sample(9, 7), beta=0, atol=1e-5
    )


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 5), (200,)], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_linear_of_every_rank(isa: str, lead: tuple[int, ...], bias: bool) -> None:
    x, w = sample(*lead, 70), sample(33, 70, seed=1)
    run_op("aten::linear", x, w, sample(33, seed=2) if bias else None, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 40), st.integers(0, 70), st.integers(0, 40))
def test_bmm_of_any_shape(batch: int, m: int, k: int, n: int) -> None:
    run_op("aten::bmm", sample(batch, m, k), sample(batch, k, n), **tolerance(torch.float32, k))


def test_wrong_shapes_and_dtypes_are_refused() -> None:
    a, b = sample(3, 4), sample(5, 6)
    assert "inner sizes" in refuse_op("aten::mm", a, b, out=[torch.empty(3, 6)])
    assert "one numeric dtype" in refuse_op(
        "aten::mm", a, sample(4, 6).double(), out=[sample(3, 6)]
    )
    assert "bias" in refuse_op("aten::linear", a, sample(6, 4), sample(5), out=[sample(3, 6)])
    assert "broadcasts" in refuse_op("aten::addmm", sample(4), a, sample(4, 6), out=[sample(3, 6)])
