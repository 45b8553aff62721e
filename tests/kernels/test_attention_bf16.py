"""`attention_bf16` is `attention`, less what rounding to bfloat16 takes from it, and only there."""

from __future__ import annotations

import pytest
import torch
from harness import refuse_op, run_op
from test_llm_ops import CACHES, cached, sample

UNIT = 2.0**-9  # the most that rounding to bfloat16 changes, as a share

# tokens, heads, cache heads, width, position, window, softcap: widths that fill no vector of pairs,
# odd numbers of tokens, of keys and of hidden keys, and more rows than one task takes
CASES = [(17, 1, 1, 16, 0, 0, 0.0), (33, 9, 3, 64, 0, 0, 0.0), (130, 2, 1, 16, 300, 0, 0.0),
         (19, 4, 4, 80, 130, 0, 0.0), (60, 4, 2, 128, 400, 71, 0.0), (40, 3, 3, 70, 130, 0, 20.0),
         (18, 2, 1, 33, 255, 0, 5.0), (201, 6, 2, 64, 10, 33, 0.0), (21, 2, 2, 1, 126, 4, 0.0),
         (20, 2, 1, 300, 125, 0, 0.0), (25, 7, 7, 96, 131, 2, 30.0)]  # fmt: skip


def arguments(case: tuple[float, ...], cache: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Queries, and caches of rows of other sizes, full to beyond the last position."""
    t, h, g, d, position, *_ = map(int, case)
    length = position + t + 3
    k, v = (
        sample(1, length, g, d, seed=i) * sample(1, length, g, 1, seed=i + 2).sigmoid()
        for i in (1, 2)
    )
    return sample(1, t, h, d), cached(k, cache), cached(v, cache), torch.tensor([position])


def settings(case: tuple[float, ...]) -> tuple[float, int, float]:
    return case[3] ** -0.5, int(case[5]), float(case[6])


def tolerance(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, at: torch.Tensor,
              scale: float, window: int, softcap: float) -> torch.Tensor:  # fmt: skip
    """The most that rounding every operand can change each result.

    Queries and keys: a score by 2 * UNIT of the sum of its products' magnitudes, which scale all
    weights by e to that, up or down, before and after they are divided by their sum; a weight by
    UNIT, and again as a part of the sum; a value by UNIT. Values weigh with their magnitudes.
    """
    k, v = (_floats(c).repeat_interleave(q.shape[2] // c.shape[1], 1) for c in (k, v))
    products = torch.einsum("bthd,bhsd->bhts", q.abs(), k.abs()).amax(-1) * scale
    shares = 2 * (2 * UNIT * products + UNIT) + UNIT  # [1, H, T]
    weighed = torch.ops.penlight.attention(q, k, v.abs(), at, scale, window, softcap)
    # A tenth more: squares of what is above, and float32's own roundings.
    return 1.1 * shares.transpose(1, 2)[..., None] * weighed + 1e-5


def _floats(rows: torch.Tensor) -> torch.Tensor:
    if rows.dtype != torch.int8:
        return rows.float()
    return rows[..., :-4] * rows[..., -4:].contiguous().view(torch.float32)


@pytest.mark.parametrize("cache", CACHES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rounded_operands_change_no_more_than_they_may(
    isa: str, case: tuple[float, ...], cache: torch.dtype
) -> None:
    args, rest = arguments(case, cache), settings(case)
    expected = torch.ops.penlight.attention(*args, *rest)
    limit = tolerance(*args, *rest)
    (y,) = run_op("penlight::attention_bf16", *args, *rest, rtol=0, atol=float(limit.max()))
    error = (y - expected).abs()
    assert (error <= limit).all()
    # Roundings up and down: far below the worst, a few times UNIT of what results are.
    assert error.square().mean() <= (4 * UNIT) ** 2 * expected.square().mean()


@pytest.mark.parametrize("cache", CACHES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_without_products_of_bfloat16_it_is_attention_to_the_bit(
    isa: str, case: tuple[float, ...], cache: torch.dtype
) -> None:
    q, *args = arguments(case, cache)
    for tokens in {16, 1, q.shape[1]} if isa != "avx512bf16" else {16, 1}:
        call = (q[:, :tokens].contiguous(), *args, *settings(case))
        (plain,) = run_op("penlight::attention", *call, rtol=1e-4, atol=2e-6)
        (y,) = run_op("penlight::attention_bf16", *call, rtol=1e-4, atol=2e-6)
        assert torch.equal(y, plain)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_bfloat16_holds_is_weighed_exactly(isa: str, case: tuple[float, ...]) -> None:
    """All keys alike, and values of 8 bits: means are those of float32."""
    q, k, v, at = arguments(case, torch.float32)
    k, v = torch.ones_like(k), (v * 60).round().clamp(-127, 127)
    run_op("penlight::attention_bf16", q, k, v, at, *settings(case), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_bfloat16_holds_is_scored_exactly(isa: str, case: tuple[float, ...]) -> None:
    """Scores so far apart that each result is the value of one key, or the mean of equal ones."""
    q, k, v, at = arguments(case, torch.float32)
    q, k, v = (q * 8).round(), (k * 32).round(), (v * 60).round().clamp(-127, 127)
    run_op("penlight::attention_bf16", q, k, v, at, 1e6, int(case[5]), 0.0, rtol=1e-5, atol=1e-5)


def test_the_mean_of_equal_values_is_that_value(isa: str) -> None:
    q, k, v, at = arguments((50, 2, 2, 64, 101, 0, 0.0), torch.float16)
    v = torch.full_like(v, 1.5)
    (y,) = run_op("penlight::attention_bf16", q, k, v, at, 0.5, 0, 0.0, rtol=2e-6, atol=0)
    assert (y > 1).all()


@pytest.mark.parametrize("tokens", [40, 41])
def test_what_no_query_sees_changes_nothing(isa: str, tokens: int) -> None:
    """Behind the last position, before the window, and what an earlier chunk leaves in memory."""
    q, k, v = sample(1, tokens, 4, 40), sample(1, 2, 150, 40), sample(1, 2, 150, 40, seed=1)
    rest = (torch.tensor([100]), 0.2, 20, 0.0)
    (expected,) = run_op("penlight::attention_bf16", q, k, v, *rest, rtol=0, atol=0.1)
    hidden = [*range(70), *range(100 + tokens, 150)]
    k[:, :, hidden], v[:, :, hidden] = torch.nan, torch.inf
    (y,) = run_op("penlight::attention_bf16", q, k, v, *rest, outputs=[expected])
    assert torch.equal(y, expected)


def test_bad_arguments_are_refused() -> None:
    q, cache, at = sample(1, 20, 4, 8), sample(1, 2, 40, 8), torch.tensor([0])
    rest, op = (1.0, 0, 0.0), "penlight::attention_bf16"
    assert "cache" in refuse_op(op, q, cache, cache, torch.tensor([21]), *rest, out=[q])
    assert "float32 queries" in refuse_op(op, q.half(), cache, cache, at, *rest, out=[q])
    assert "one shape" in refuse_op(op, q, cache, cache[:, :, 1:].clone(), at, *rest, out=[q])
    odd = sample(1, 3, 40, 8)
    assert "multiple of 3" in refuse_op(op, q, odd, odd, at, *rest, out=[q])
    assert "ranks" in refuse_op(op, q[0], cache, cache, at, *rest, out=[q])
