"""Kernels that index, scatter, select and sort give what eager PyTorch gives."""

from __future__ import annotations

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import given, settings
from hypothesis import strategies as st

FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
DTYPES = [*FLOATS, *INTEGERS, torch.bool]


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """0, 1, 2, ... as far as the dtype counts."""
    count = torch.Size(shape).numel()
    if dtype == torch.bool:
        return torch.arange(count).remainder(3).eq(0).reshape(shape)
    return torch.arange(count).remainder(101).to(dtype).reshape(shape)


def shuffled(*shape: int, seed: int = 0) -> torch.Tensor:
    """Different numbers in a mixed order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(torch.Size(shape).numel(), generator=generator).reshape(shape)


def indices(limit: int, *shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, limit, shape, generator=generator)


# ---- index and index_put ----

CASES = {
    "one": [torch.tensor([2, 0, -1])],
    "two together": [torch.tensor([2, 0]), torch.tensor([[1], [-2]])],
    "second alone": [None, torch.tensor([[1, 2], [3, 0]])],
    "two apart": [torch.tensor([2, 0, 1]), None, torch.tensor([0, 4, -5])],
    "last two": [None, torch.tensor([0, 3]), torch.tensor([4, 1])],
    "int32": [None, None, torch.tensor([4, 1], dtype=torch.int32)],
    "all, broadcast": [torch.tensor([[0], [2]]), torch.tensor([1, 3]), torch.tensor(4)],
    "0-d": [torch.tensor(1)],
    "empty": [torch.tensor([], dtype=torch.int64)],
    "mask of one dim": [torch.tensor([True, False, True])],
    "mask of two dims": [numbers(3, 4, dtype=torch.bool)],
    "mask of the last dims": [None, numbers(4, 5, dtype=torch.bool)],
    "mask and index": [torch.tensor([True, False, True]), torch.tensor([1, 2])],
    "mask of nothing": [torch.zeros(3, 4, dtype=torch.bool)],
}


@pytest.mark.parametrize("case", CASES)
def test_index(case: str) -> None:
    run_op("aten::index.Tensor", numbers(3, 4, 5), CASES[case])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_index_of_every_dtype(dtype: torch.dtype) -> None:
    run_op("aten::index.Tensor", numbers(3, 4, 5, dtype=dtype), [None, torch.tensor([3, 1])])
    run_op("aten::index.Tensor", numbers(3, 4, 5, dtype=dtype), [torch.tensor([2, 1])] * 2)


def test_index_of_channels_last() -> None:
    x = numbers(2, 3, 4, 5).to(memory_format=torch.channels_last)
    result = x[:, torch.tensor([2, 0])].contiguous()
    run_op("aten::index.Tensor", x, [None, torch.tensor([2, 0])], outputs=[result])


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("case", [c for c in CASES if c != "empty"])
def test_index_put(case: str, accumulate: bool) -> None:
    x = numbers(3, 4, 5)
    values = -1.0 - numbers(
        *x[
            tuple(
                slice(None) if i is None else i
                for i in (
                    i.long() if i is not None and i.dtype == torch.int32 else i for i in CASES[case]
                )
            )
        ].shape
    )
    run_op("aten::index_put", x, CASES[case], values, accumulate)
    run_op("aten::index_put", x, CASES[case], torch.tensor(-7.0), accumulate)


def test_index_put_adds_up_what_falls_on_one_place() -> None:
    where = [torch.tensor([1, 1, 0, 1])]
    for dtype in (torch.float32, torch.float64, torch.int64, torch.int8, torch.float16):
        values = torch.tensor([1, 2, 3, 100]).to(dtype)
        run_op("aten::index_put", numbers(3, dtype=dtype), where, values, True)


def test_index_put_in_place_writes_a_row_of_a_cache() -> None:
    cache, row = numbers(1, 2, 8, 3), -numbers(1, 2, 2, 3)
    run_op("aten::index_put_", cache, [None, None, torch.tensor([5, 6])], row)


def test_index_names_the_index_and_the_size() -> None:
    x = numbers(3, 4)
    for bad in (3, -4, 2**62):
        message = refuse_op("aten::index.Tensor", x, [torch.tensor([0, bad])], out=[x])
        assert "[-3, 3)" in message
        assert str(bad) in message
    refuse_op("aten::index.Tensor", x, [None] * 3, out=[x])
    refuse_op("aten::index.Tensor", x, [torch.tensor([0])] * 3, out=[x])
    refuse_op("aten::index.Tensor", x, [torch.tensor([0, 1]), torch.tensor([0, 1, 2])], out=[x])
    refuse_op("aten::index.Tensor", x, [torch.tensor([True, False])], out=[x])
    refuse_op("aten::index.Tensor", x, [torch.tensor([0.5])], out=[x])
    refuse_op("aten::index_put", x, [torch.tensor([1])], numbers(3), out=[x])
    refuse_op("aten::index_put", x, [torch.tensor([5])], numbers(4), out=[x])


# ---- selecting along a dimension ----


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_index_select(shape: list[int], data: st.DataObject) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    chosen = data.draw(st.lists(st.integers(0, shape[dim] - 1), min_size=1, max_size=6))
    dtype = data.draw(st.sampled_from(DTYPES))
    run_op(
        "aten::index_select",
        numbers(*shape, dtype=dtype),
        dim,
        torch.tensor(chosen, dtype=torch.int64),
    )


def test_index_select_of_other_forms() -> None:
    run_op("aten::index_select", torch.tensor(3.0), 0, torch.tensor([0]))
    run_op("aten::index_select", numbers(4), 0, torch.tensor(2))
    run_op("aten::index_select", numbers(4, 2), 0, torch.empty(0, dtype=torch.int64))
    run_op("aten::index_select", numbers(4, 3), 0, torch.tensor([2], dtype=torch.int32))
    x = numbers(2, 3, 4, 5).to(memory_format=torch.channels_last)
    run_op("aten::index_select", x, 1, torch.tensor([2, 0]), outputs=[x[:, [2, 0]].contiguous()])
    for bad in (4, -1):
        message = refuse_op(
            "aten::index_select", numbers(4), 0, torch.tensor([bad]), out=[numbers(1)]
        )
        assert f"[0, 4) but got {bad}" in message


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_embedding(dtype: torch.dtype) -> None:
    table = numbers(10, 7, dtype=dtype)
    run_op("aten::embedding", table, indices(10, 3, 5))
    run_op("aten::embedding", table, torch.tensor(4, dtype=torch.int32), 2)
    run_op("aten::embedding", table, torch.empty(0, 2, dtype=torch.int64))


def test_embedding_names_the_index_and_the_size() -> None:
    for bad in (10, -1):
        message = refuse_op(
            "aten::embedding", numbers(10, 2), torch.tensor([bad]), out=[numbers(1, 2)]
        )
        assert f"[0, 10) but got {bad}" in message


# ---- gather and scatter ----


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gather_and_scatter(dtype: torch.dtype, dim: int) -> None:
    x, index = numbers(4, 4, 4, dtype=dtype), indices(4, 3, 2, 4)
    source = numbers(4, 3, 4, dtype=dtype)
    run_op("aten::gather", x, dim, index)
    run_op("aten::gather", x, dim, index.int(), outputs=[x.gather(dim, index)])
    unique = shuffled(4).reshape([4 if d == dim % 3 else 1 for d in range(3)])
    wide = unique.expand([4 if d == dim % 3 else 2 for d in range(3)]).contiguous()
    run_op("aten::scatter.src", x, dim, wide, numbers(4, 4, 4, dtype=dtype))
    run_op("aten::scatter.value", x, dim, index, 1)
    run_op("aten::scatter_add", x, dim, index[:, :, :3].contiguous(), source)


def test_gather_of_other_forms() -> None:
    run_op("aten::gather", torch.tensor(3.0), 0, torch.tensor(0))
    run_op("aten::gather", numbers(3), 0, torch.empty(0, dtype=torch.int64))
    x = numbers(2, 3, 4, 5).to(memory_format=torch.channels_last)
    run_op("aten::gather", x, 1, indices(3, 2, 2, 4, 5))
    run_op("aten::scatter.value", x, 1, indices(3, 2, 2, 4, 5), 7.5)


@pytest.mark.parametrize("op", ["gather", "scatter.value", "scatter_add"])
def test_gather_and_scatter_check_indices_and_shapes(op: str) -> None:
    x = numbers(3, 4)
    rest = {"gather": [], "scatter.value": [1.0], "scatter_add": [numbers(3, 4)]}[op]
    for bad in (4, -1):
        message = refuse_op(f"aten::{op}", x, 1, torch.tensor([[0, bad]]), *rest, out=[x])
        assert f"[0, 4) but got {bad}" in message
    refuse_op(f"aten::{op}", x, 1, indices(2, 4, 4), *rest, out=[x])
    refuse_op(f"aten::{op}", x, 1, indices(2, 3), *rest, out=[x])
    refuse_op(f"aten::{op}", x, 2, indices(2, 3, 4), *rest, out=[x])
    refuse_op("aten::scatter_add", x, 1, indices(2, 3, 4), numbers(3, 3), out=[x])


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.int32, torch.int64, torch.uint8], ids=str
)
def test_scatter_reduce(dtype: torch.dtype, reduce: str, include_self: bool) -> None:
    x, index = numbers(4, 5, dtype=dtype), indices(4, 6, 5)
    source = (shuffled(6, 5).remainder(7) + 1).to(dtype)
    run_op("aten::scatter_reduce.two", x, 0, index, source, reduce, include_self=include_self)
    if dtype.is_floating_point:
        source[2, 3] = float("nan")
        run_op("aten::scatter_reduce.two", x, 0, index, source, reduce, include_self=include_self)


def test_scatter_reduce_of_negative_integers_rounds_means_down() -> None:
    x, source = -numbers(2, dtype=torch.int64), -torch.tensor([1, 3, 3, 6])
    run_op("aten::scatter_reduce.two", x, 0, torch.tensor([0, 0, 1, 1]), source, "mean")


def test_scatter_with_a_named_reduction() -> None:
    x, index = numbers(3, 4), indices(3, 2, 4)
    for reduce in ("add", "multiply"):
        run_op("aten::scatter.reduce", x, 0, index, numbers(2, 4), reduce=reduce)
        run_op("aten::scatter.value_reduce", x, 0, index, 3.0, reduce=reduce)
    assert '"median"' in refuse_op(
        "aten::scatter.value_reduce", x, 0, index, 3.0, reduce="median", out=[x]
    )


# ---- masks ----


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_masked_select_and_scatter(dtype: torch.dtype) -> None:
    x, mask = numbers(3, 4, dtype=dtype), numbers(3, 4, dtype=torch.bool)
    run_op("aten::masked_select", x, mask)
    run_op("aten::masked_select", x, mask[0])
    run_op("aten::masked_scatter", x, mask, numbers(12, dtype=dtype))
    run_op("aten::masked_scatter", x, mask[:, :1].contiguous(), numbers(20, dtype=dtype))


def test_masks_are_checked() -> None:
    x = numbers(3, 4)
    refuse_op("aten::masked_select", x, torch.ones(3, dtype=torch.bool), out=[numbers(12)])
    refuse_op("aten::masked_select", x, x, out=[numbers(12)])
    refuse_op("aten::masked_scatter", x, x > 0, numbers(3), out=[x])
    refuse_op("aten::masked_select", x, x >= 0, out=[numbers(11)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_nonzero(dtype: torch.dtype) -> None:
    run_op("aten::nonzero", numbers(3, 4, dtype=dtype))
    run_op("aten::nonzero", torch.zeros(3, 4, dtype=dtype))
    run_op("aten::nonzero", torch.tensor(1).to(dtype))
    run_op("aten::nonzero", torch.empty(2, 0, 3, dtype=dtype))


def test_nonzero_counts_nan_but_not_minus_zero() -> None:
    run_op("aten::nonzero", torch.tensor([float("nan"), -0.0, 1e-45, 0.0]))


# ---- sort and topk ----


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_stable_sort(dtype: torch.dtype, descending: bool) -> None:
    x = shuffled(3, 67, 2).remainder(50).sub(0 if dtype == torch.uint8 else 20).to(dtype)
    for dim in (0, 1, -1):
        run_op("aten::sort.stable", x, stable=True, dim=dim, descending=descending)
    run_op("aten::argsort.stable", x, stable=True, dim=1, descending=descending)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32), max_size=70), st.booleans())
def test_sort_of_any_floats(values: list[float], descending: bool) -> None:
    x = torch.tensor(values)
    run_op("aten::sort.stable", x, stable=True, dim=0, descending=descending)
    run_op(
        "aten::sort",
        x.double(),
        0,
        descending,
        outputs=torch.sort(x.double(), stable=True, dim=0, descending=descending),
    )


def test_sort_of_other_forms() -> None:
    run_op("aten::sort.stable", torch.tensor(3.0), stable=True, dim=0)
    run_op("aten::sort.stable", torch.empty(3, 0), stable=True, dim=1)
    run_op("aten::sort.stable", torch.tensor([2**63 - 1, -(2**63), 0, -1]), stable=True)
    x = shuffled(2, 3, 4, 5).float().to(memory_format=torch.channels_last)
    run_op("aten::sort.stable", x, stable=True, dim=1)
    refuse_op("aten::sort", x, 4, out=[x, x.long()])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("dtype", [d for d in DTYPES if d != torch.bool], ids=str)
def test_topk(dtype: torch.dtype, largest: bool) -> None:
    x = (
        shuffled(2, 50, 3)
        .sub(0 if dtype == torch.uint8 else 100)
        .clamp(0 if dtype == torch.uint8 else -128, 127)
    )
    x = x.to(dtype)
    for k in (1, 7, 50):
        values, places = run_op("aten::topk", x, k, 1, largest, compare=False)
        expected = torch.topk(x.double(), k, 1, largest).values.to(dtype)
        assert torch.equal(values, expected)
        assert torch.equal(x.gather(1, places), values)
        assert all(len(set(row)) == k for row in places.transpose(1, 2).reshape(-1, k).tolist())


def test_topk_orders_nan_as_greatest_and_ties_by_place() -> None:
    x = torch.tensor([1.0, float("nan"), 3.0, float("inf"), 3.0, -float("inf")])
    run_op(
        "aten::topk",
        x,
        4,
        outputs=[torch.tensor([float("nan"), float("inf"), 3.0, 3.0]), torch.tensor([1, 3, 2, 4])],
    )
    run_op(
        "aten::topk",
        x,
        6,
        0,
        False,
        outputs=[x[[5, 0, 2, 4, 3, 1]], torch.tensor([5, 0, 2, 4, 3, 1])],
    )
    run_op("aten::topk", torch.tensor(2.0), 1, 0)
    run_op("aten::topk", torch.ones(3, 2), 0, 0)


def test_topk_refuses_more_than_there_is() -> None:
    for k in (4, -1, 2**62):
        assert f"[0, 3] but got {k}" in refuse_op(
            "aten::topk", numbers(3), k, out=[numbers(3), torch.arange(3)]
        )
