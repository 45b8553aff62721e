"""What a profile says an operator must move and multiply, against sizes worked out by hand."""

from __future__ import annotations

import pytest
import torch
from harness import build_program, make_call
from test_llm_ops import packed, sample

import penlight
import penlight.edge.ops
from penlight.runtime import Cost


def cost_of(overload: torch._ops.OpOverload, *args: object) -> Cost:
    """Of one run."""
    result = overload(*(a.clone() if isinstance(a, torch.Tensor) else a for a in args))
    data, inputs = build_program(make_call(overload, args, {}, [result]))
    with penlight.load(data, threads=1) as program:
        method = program.method("forward")
        with method.profile() as profile:
            method.execute(inputs)
    (cost,) = profile.instructions
    assert cost.runs == 1
    return cost


def test_products_multiply_every_pair() -> None:
    aten = torch.ops.aten
    assert cost_of(aten.mm.default, sample(3, 5), sample(5, 7)).multiply_adds == 3 * 5 * 7
    batched = cost_of(aten.bmm.default, sample(2, 3, 5), sample(2, 5, 7))
    assert batched.multiply_adds == 2 * 3 * 5 * 7
    added = cost_of(aten.addmm.default, sample(7), sample(3, 5), sample(5, 7))
    assert added.multiply_adds == 3 * 5 * 7
    assert added.nbytes == 4 * (7 + 15 + 35 + 21)


@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions_multiply_every_tap(transposed: bool) -> None:
    x, weight = sample(1, 4, 6, 6), sample(4, 2, 3, 3) if transposed else sample(8, 2, 3, 3)
    cost = cost_of(
        torch.ops.aten.convolution.default,
        *(x, weight, None, [1, 1], [0, 0], [1, 1], transposed, [0, 0], 2),
    )
    expected = x.numel() * 2 * 9 if transposed else 8 * 4 * 4 * 2 * 9
    assert cost.multiply_adds == expected


@pytest.mark.parametrize("format", ["q4g32", "q4g32m", "q8g32", "bf16"])
def test_a_packed_layer_reads_its_weight_once(format: str) -> None:
    weight = packed(sample(64, 96), format)
    cost = cost_of(torch.ops.penlight.linear.default, sample(1, 5, 96), weight, format, 64)
    assert cost.read_bytes == weight.numel() + 4 * 5 * 96
    assert cost.written_bytes == 4 * 5 * 64
    assert cost.multiply_adds == 5 * 64 * 96


def test_gathering_reads_the_rows_alone() -> None:
    weight = packed(sample(64, 96), "q8g32")
    tokens = torch.tensor([[3, 9]])
    cost = cost_of(torch.ops.penlight.embedding.default, tokens, weight, "q8g32", 96)
    assert cost.read_bytes == 2 * 8 + 2 * 3 * (32 + 2)  # each row: 3 groups and their scales
    assert cost.written_bytes == 4 * 2 * 96
    rows = cost_of(torch.ops.aten.embedding.default, sample(1000, 8), tokens)
    assert rows.read_bytes == 2 * 8 + 4 * 2 * 8
    assert cost_of(torch.ops.aten.select_copy.int, sample(9, 8), 0, 2).read_bytes == 4 * 8


# positions before, new tokens, window -> positions read, pairs of query and key
@pytest.mark.parametrize(
    ("start", "tokens", "window", "read", "pairs"),
    [(0, 1, 0, 1, 1), (9, 1, 0, 10, 10), (4, 3, 0, 7, 5 + 6 + 7), (9, 1, 4, 4, 4), (7, 2, 4, 5, 8)],
)
@pytest.mark.parametrize("operator", ["attention", "attention_bf16"])
def test_attention_reads_the_positions_in_use(
    operator: str, start: int, tokens: int, window: int, read: int, pairs: int
) -> None:
    cache = sample(1, 2, 16, 8).half()
    cost = cost_of(
        getattr(torch.ops.penlight, operator).default,
        *(sample(1, tokens, 4, 8), cache, cache.clone(), torch.tensor([start]), 1.0, window, 0.0),
    )
    row = 2 * 8 * 2
    assert cost.read_bytes == 2 * read * row + 4 * tokens * 4 * 8 + 8
    assert cost.multiply_adds == 2 * pairs * 4 * 8
