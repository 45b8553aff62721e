"""Operators without a kernel are opened up into ones that have one, and still give eager's results.

All cases go through one export, which keeps the file quick.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import penlight

torch.manual_seed(0)
X, Y = torch.randn(4, 6), torch.randn(4, 6)
HOLED = X.clone()  # NaN and infinities among numbers
HOLED[0, 1], HOLED[1, 2], HOLED[2, 0], HOLED[2, 3] = torch.nan, torch.inf, torch.nan, -torch.inf
SORTED = Y.sort(1)[0]
COUNTS = torch.tensor([[3, -1, 2, 2], [0, 5, -7, 1]])
TABLE = torch.randn(10, 4)
WORDS = torch.tensor([1, 9, 0, 3, 3, 2])
STARTS = torch.tensor([0, 2, 2, 5])  # the second bag is empty
BILINEAR = nn.Bilinear(6, 6, 3)

CASES: dict[str, Callable[[], Tensor | tuple[Tensor, ...]]] = {
    "searchsorted": lambda: torch.searchsorted(SORTED, HOLED),
    "searchsorted right": lambda: torch.searchsorted(SORTED, SORTED, side="right"),
    "searchsorted row": lambda: torch.searchsorted(SORTED[0], X, out_int32=True),
    "searchsorted sorter": lambda: torch.searchsorted(Y, X, sorter=Y.argsort(1)),
    "bucketize": lambda: torch.bucketize(HOLED, SORTED[0], right=True),
    "angle": lambda: torch.angle(HOLED),
    "angle of integers": lambda: torch.angle(COUNTS),
    "fmax": lambda: torch.fmax(HOLED, Y),
    "fmin": lambda: torch.fmin(Y, HOLED),
    "ldexp": lambda: torch.ldexp(X, COUNTS[0, :1]),
    "dist": lambda: torch.dist(X, Y, 3),
    "addmv": lambda: torch.addmv(X[:, 0], Y, X[0], beta=0.5, alpha=2),
    "addmv without the sum": lambda: torch.addmv(HOLED[:, 0], Y, X[0], beta=0),
    "round to decimals": lambda: torch.round(X, decimals=2),
    "round to tens": lambda: torch.round(X * 100, decimals=-1),
    "rrelu": lambda: F.rrelu(X),
    "bilinear": lambda: BILINEAR(X, Y),
    "median": lambda: torch.median(X),
    "median with NaN": lambda: torch.median(HOLED),
    "median of integers": lambda: torch.median(COUNTS),
    "median of rows": lambda: tuple(torch.median(HOLED, 1)),
    "median of columns": lambda: tuple(torch.median(X, 0, keepdim=True)),
    "kthvalue": lambda: tuple(torch.kthvalue(X, 5, 1)),
    "kthvalue kept": lambda: tuple(torch.kthvalue(X, 1, 0, keepdim=True)),
    "bags summed": lambda: F.embedding_bag(WORDS, TABLE, STARTS, mode="sum"),
    "bags weighted": lambda: F.embedding_bag(
        WORDS, TABLE, STARTS, mode="sum", per_sample_weights=X.flatten()[:6]
    ),
    "bags averaged": lambda: F.embedding_bag(WORDS, TABLE, STARTS, mode="mean", padding_idx=3),
    "largest in bags": lambda: F.embedding_bag(WORDS.view(2, 3), TABLE, mode="max"),
    "bags with an end": lambda: F.embedding_bag(
        WORDS, TABLE, torch.tensor([0, 4, 6]), mode="sum", include_last_offset=True
    ),
    "shifted left": lambda: COUNTS << 2,
    "shifted right": lambda: COUNTS >> COUNTS.abs(),
}

NAMES = ("X", "Y", "HOLED", "SORTED", "COUNTS", "TABLE", "WORDS", "STARTS")


class EveryCase(nn.Module):
    """All cases over given tensors, so that nothing is a constant that folding could compute."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = BILINEAR

    def forward(self, *inputs: Tensor) -> dict[str, Tensor | tuple[Tensor, ...]]:
        kept = {name: globals()[name] for name in NAMES}
        globals().update(zip(NAMES, inputs, strict=True))
        try:
            return {name: case() for name, case in CASES.items()}
        finally:
            globals().update(kept)


@pytest.fixture(scope="module")
def results() -> dict[str, list[Tensor]]:
    captured = torch.export.export(EveryCase().eval(), tuple(globals()[name] for name in NAMES))
    program = penlight.load(penlight.to_edge(captured).to_executorch().buffer)
    flat = program.method("forward").execute([globals()[name] for name in NAMES])
    values = iter(torch.as_tensor(value) for value in flat)
    counts = {name: len(_as_tuple(case())) for name, case in CASES.items()}
    return {name: [next(values) for _ in range(count)] for name, count in counts.items()}


def _as_tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (value,) if isinstance(value, Tensor) else value


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_eager(name: str, results: dict[str, list[Tensor]]) -> None:
    for got, wanted in zip(results[name], _as_tuple(CASES[name]()), strict=True):
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)
