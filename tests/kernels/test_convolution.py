"""Convolution gives what eager PyTorch gives, in every form, on every instruction set."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from harness import refuse_op, run_op

# batch, in, out, height, width, kernel (h, w), stride, padding, dilation, groups
CASES = {
    "3x3": (1, 3, 8, 9, 11, 3, 3, 1, 1, 1, 1),
    "grouped, strided": (2, 4, 6, 12, 7, 3, 2, 2, 1, 1, 2),
    "depthwise": (1, 8, 8, 17, 33, 3, 3, 1, 1, 1, 8),
    "depthwise, two per channel": (2, 8, 16, 14, 14, 5, 3, 2, 2, 1, 8),
    "depthwise, dilated": (1, 6, 6, 15, 15, 3, 3, 3, 2, 2, 6),
    "pointwise": (1, 16, 20, 7, 7, 1, 1, 1, 0, 1, 1),
    "dilated": (1, 5, 7, 10, 10, 3, 3, 1, 2, 2, 1),
    "one pixel": (1, 32, 16, 1, 1, 1, 1, 1, 0, 1, 1),
    "padding beyond the input": (1, 4, 4, 2, 2, 3, 3, 1, 2, 1, 1),
}


def sample(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def check(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None, *args: Any) -> None:
    """Half precision is compared with the float result: PyTorch rounds inside some of its sums."""
    exact = [None if t is None else t.to(max(t.dtype, torch.float32, key=lambda d: d.itemsize))
             for t in (x, w, b)]  # fmt: skip
    want = torch.ops.aten.convolution(*exact, *args)
    layout = torch.ops.aten.convolution(x, w, b, *args)
    if want.shape[2:].numel() == 1:  # both memory orders at once: name one
        layout = torch.empty(want.shape, dtype=x.dtype)
    expected = torch.empty_like(layout).copy_(want)
    close = {torch.float16: 1e-3, torch.bfloat16: 1e-2, torch.float32: 1e-5}.get(x.dtype, 1e-11)
    run_op("aten::convolution", x, w, b, *args, outputs=[expected], rtol=close, atol=2 * close)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("channels_last", [False, True], ids=["contiguous", "channels_last"])
def test_two_dimensions(isa: str, case: tuple[int, ...], channels_last: bool) -> None:
    n, ci, co, h, w, kh, kw, s, p, d, g = case
    x, weight = sample(n, ci, h, w), sample(co, ci // g, kh, kw, seed=1)
    if channels_last:
        x, weight = (t.to(memory_format=torch.channels_last) for t in (x, weight))
    for bias in (None, sample(co, seed=2)):
        check(x, weight, bias, [s, s], [p, p], [d, d], False, [0, 0], g)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_transposed(isa: str, case: tuple[int, ...]) -> None:
    n, ci, co, h, w, kh, kw, s, p, d, g = case
    if (h - 1) * s - 2 * p + d * (kh - 1) + s < 1:
        p = 0
    weight = sample(ci, co // g, kh, kw, seed=1)
    check(sample(n, ci, h, w), weight, sample(co), [s, s], [p, p], [d, d], True, [s - 1, s - 1], g)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_dtypes(dtype: torch.dtype) -> None:
    for groups in (1, 8):
        x = sample(2, 8, 9, 10, dtype=dtype)
        w, b = sample(8, 8 // groups, 3, 3, dtype=dtype), sample(8, dtype=dtype)
        check(x, w, b, [1, 2], [1, 0], [1, 1], False, [0, 0], groups)


def test_one_and_three_dimensions(isa: str) -> None:
    check(sample(2, 3, 20), sample(4, 3, 5), None, [2], [1], [1], False, [0], 1)
    x, w = sample(2, 4, 6, 7, 8), sample(6, 2, 2, 3, 2)
    check(x, w, sample(6), [1, 2, 1], [1, 0, 1], [1, 1, 2], False, [0, 0, 0], 2)
    w = sample(4, 3, 2, 3, 2)
    check(x, w, sample(6), [1, 2, 1], [1, 0, 1], [1, 1, 1], True, [0, 1, 0], 2)


def test_wrong_arguments_are_refused() -> None:
    x, w, out = sample(1, 4, 5, 5), sample(4, 4, 3, 3), [torch.empty(1, 4, 3, 3)]
    rest: list[Any] = [[1, 1], [0, 0], [1, 1], False, [0, 0]]
    assert "groups" in refuse_op("aten::convolution", x, w, None, *rest, 3, out=out)
    assert "groups" in refuse_op(
        "aten::convolution", x, sample(4, 3, 3, 3), None, *rest, 1, out=out
    )
    assert "bias" in refuse_op("aten::convolution", x, w, sample(3), *rest, 1, out=out)
    rest[0] = [0, 1]
    assert "stride" in refuse_op("aten::convolution", x, w, None, *rest, 1, out=out)
    rest[0] = [2**62, 1]
    assert "stride" in refuse_op("aten::convolution", x, w, None, *rest, 1, out=out)
