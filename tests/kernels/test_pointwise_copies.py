"""Casts, copies and tensors made of numbers give what eager PyTorch gives."""

from __future__ import annotations

import executorch.exir.dim_order_utils  # noqa: F401  (registers dim_order_ops)
import pytest
import torch
from harness import refuse_op, run_op

DTYPES = [
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
]


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_casts(a: torch.dtype, b: torch.dtype) -> None:
    values = torch.tensor([0, 1, 2, 100, 0.5, 1.5, 2.999, -1.5, -100], dtype=torch.float64)
    x = (values.abs() if not a.is_signed else values).to(a)
    if a.is_floating_point and not b.is_signed and b != torch.bool:
        x = x.abs()  # the cast of a negative number to an unsigned one is not defined
    run_op("aten::_to_copy", x, dtype=b)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_is_read_and_rounded_exactly(dtype: torch.dtype) -> None:
    every = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16).view(dtype)
    run_op("aten::_to_copy", every, dtype=torch.float32, rtol=0, atol=0)
    # Between two neighbours, at them, and to either side of the middle.
    finite = every[every.float().abs() < torch.inf].float()
    ulp = finite.abs() * 2.0**-11
    values = torch.cat([finite + ulp * f for f in (-1, -0.75, 0, 0.5, 1, 1.25)])
    run_op("aten::_to_copy", values, dtype=dtype, rtol=0, atol=0)
    ends = torch.tensor([65519.9, 65520.0, 1e9, -1e9, 6e-8, 3e-8, 2.9e-8])
    run_op("aten::_to_copy", ends, dtype=dtype, rtol=0, atol=0)


def test_numbers_that_no_integer_can_hold_cast_without_a_crash() -> None:
    x = torch.tensor([float("nan"), float("inf"), -1e30, 1e30])
    for dtype in (torch.int64, torch.int8, torch.uint8, torch.uint64):
        run_op("aten::_to_copy", x, dtype=dtype, compare=False)


def test_copies() -> None:
    x = torch.randn(2, 3, 4, 5)
    last = x.to(memory_format=torch.channels_last)
    for t in (x, last, x.half(), x > 0, torch.empty(0, 2), torch.tensor(3)):
        run_op("aten::clone", t)
        run_op("aten::lift_fresh_copy", t)
        run_op("aten::_conj_physical", t, outputs=[t])
    run_op("aten::clone", x, memory_format=torch.channels_last)
    run_op("aten::clone", last, memory_format=torch.contiguous_format)


def test_copy_broadcasts_and_casts_its_source() -> None:
    x, row = torch.randn(3, 4), torch.arange(4)
    run_op("aten::copy", x, row)
    run_op("aten::copy_", x, row)
    run_op("aten::copy_", x.to(torch.int8), x * 10)
    run_op("aten::copy_", x, x + 1)
    assert "broadcast" in refuse_op("aten::copy", x, torch.ones(3), out=[x])


def test_dim_order_operators() -> None:
    x = torch.randn(2, 3, 4, 5)
    last = x.to(memory_format=torch.channels_last)
    to, clone = "dim_order_ops::_to_dim_order_copy", "dim_order_ops::_clone_dim_order"
    run_op(to, x, dtype=torch.float16, dim_order=[0, 2, 3, 1], outputs=[last.half()])
    run_op(to, last, dim_order=[0, 1, 2, 3], outputs=[x])
    run_op(clone, x, dim_order=[0, 2, 3, 1], outputs=[last])
    run_op(clone, last, dim_order=None, outputs=[last])
    assert "dim_order" in refuse_op(to, x, dim_order=[0, 2, 3, 1], out=[x])
    run_op("dim_order_ops::_empty_dim_order", [2, 3], compare=False, outputs=[torch.empty(2, 3)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_filled_tensors(dtype: torch.dtype) -> None:
    x = torch.ones(2, 3).to(dtype)
    for value in (3, True, 2.75):
        run_op("aten::full", [2, 3], value, dtype=dtype)
        run_op("aten::full_like", x, value)
        run_op("aten::fill.Scalar", x, value)
        run_op("aten::scalar_tensor", value, dtype=dtype)
    run_op("aten::fill.Tensor", x, torch.tensor(7.5))
    run_op("aten::zeros", [2, 0, 3], dtype=dtype)
    run_op("aten::ones", [], dtype=dtype)
    run_op("aten::empty.memory_format", [2, 3], dtype=dtype, compare=False)


def test_arange() -> None:
    run_op("aten::arange", 7)
    run_op("aten::arange", 6.5)
    run_op("aten::arange", 5, dtype=torch.float16)
    run_op("aten::arange.start_step", 3, 3)
    for start, end, step in ((2, 11, 3), (5, -4, -2), (0, 1, 0.1), (0.5, -1.0, -0.25)):
        run_op("aten::arange.start_step", start, end, step)
    out = [torch.empty(2)]
    assert "step" in refuse_op("aten::arange.start_step", 0, 1, 0, out=out)
    assert "step" in refuse_op("aten::arange.start_step", 0, 1, -1, out=out)
    assert "finite" in refuse_op("aten::arange", float("inf"), out=out)


def test_random_numbers_have_their_distribution() -> None:
    (uniform,) = run_op("aten::rand", [20000], compare=False)
    assert 0 <= uniform.min() and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.02
    (normal,) = run_op("aten::randn", [20000], compare=False)
    assert abs(normal.mean()) < 0.05 and abs(normal.std() - 1) < 0.05
    (again,) = run_op("aten::randn", [20000], compare=False)
    assert not torch.equal(normal, again)


def test_dropout() -> None:
    x = torch.randn(100, 100)
    run_op("aten::native_dropout", x, 0.5, False)
    out, mask = run_op("aten::native_dropout", x, 0.25, True, compare=False)
    assert torch.allclose(out, torch.where(mask, x / 0.75, torch.zeros(())))
    assert 0.7 < mask.float().mean() < 0.8
