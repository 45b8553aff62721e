"""Kernels that move elements give what eager PyTorch gives, for every dtype and memory order."""

from __future__ import annotations

import pytest
import torch
from harness import refuse_op, run_op
from hypothesis import given, settings
from hypothesis import strategies as st

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.bool,
]
SIZES = [torch.bool, torch.float16, torch.int32, torch.int64]  # one dtype for each item size


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """0, 1, 2, ... as far as the dtype counts."""
    count = torch.Size(shape).numel()
    if dtype == torch.bool:
        return torch.arange(count).remainder(3).eq(0).reshape(shape)
    return torch.arange(count).remainder(101).to(dtype).reshape(shape)


def channels_last(*shape: int) -> torch.Tensor:
    return numbers(*shape).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_moves(dtype: torch.dtype) -> None:
    x = numbers(3, 4, 5, dtype=dtype)
    run_op("aten::permute_copy", x, [2, 0, 1])
    run_op("aten::view_copy", x, [6, -1])
    run_op("aten::slice_copy.Tensor", x, 1, 1, 4, 2)
    run_op("aten::cat", [x, x], -1)
    run_op("aten::flip", x, [0, 2])
    run_op("aten::constant_pad_nd", x, [1, 2, 0, 1], 1)
    run_op("aten::repeat", x, [2, 1, 3, 2])


# ---- views ----


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((2, 6), [3, 4]),
        ((2, 6), [-1]),
        ((1,), []),
        ((), [1, 1]),
        ((), [-1]),
        ((0, 3), [3, 0]),
        ((0, 3), [-1, 3]),
        ((2, 3, 4), [2, 12]),
    ],
)
def test_view_copy(shape: tuple[int, ...], size: list[int]) -> None:
    run_op("aten::view_copy", numbers(*shape), size)
    run_op("aten::_unsafe_view", numbers(*shape), size)


def test_view_copy_reads_in_row_major_order_whatever_the_memory_order() -> None:
    x = channels_last(2, 3, 4, 5)
    run_op("aten::view_copy", x, [2, 60], outputs=[x.contiguous().view(2, 60)])
    z = torch.empty(3, 2, 4, 5).to(memory_format=torch.channels_last)
    run_op("aten::view_copy", x, [3, 2, 4, 5], outputs=[z.copy_(x.contiguous().view(3, 2, 4, 5))])


@pytest.mark.parametrize("size", [[5], [-1, 5], [-1, -1], [-2, 3], [2**62, 4], [2**40, 2**40]])
def test_view_copy_refuses_an_impossible_shape(size: list[int]) -> None:
    refuse_op("aten::view_copy", numbers(2, 3), size, out=[numbers(6)])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=5).flatmap(
        lambda s: st.tuples(st.just(s), st.permutations(range(len(s))))
    ),
    st.sampled_from(SIZES),
)
def test_permute_copy(shape_and_dims: tuple[list[int], list[int]], dtype: torch.dtype) -> None:
    shape, dims = shape_and_dims
    run_op("aten::permute_copy", numbers(*shape, dtype=dtype), dims)


@pytest.mark.parametrize("dtype", SIZES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 33), (130, 257)])
def test_transpose_of_tiles_and_their_rests(shape: tuple[int, int], dtype: torch.dtype) -> None:
    run_op("aten::t_copy", numbers(*shape, dtype=dtype))
    run_op("aten::transpose_copy.int", numbers(3, *shape, dtype=dtype), -1, -2)
    run_op("aten::transpose_copy.int", numbers(*shape, 3, dtype=dtype), 0, 1)


def test_permutes_of_few_dimensions() -> None:
    run_op("aten::t_copy", numbers(3))
    run_op("aten::t_copy", torch.tensor(3.0))
    run_op("aten::transpose_copy.int", torch.tensor(3.0), 0, -1)
    run_op("aten::permute_copy", torch.tensor(3.0), [])
    run_op("aten::permute_copy", channels_last(2, 3, 4, 5), [0, 2, 3, 1])
    run_op("aten::permute_copy", numbers(2, 3, 4), [-1, 0, -2])


def test_permute_copy_refuses_other_than_permutations() -> None:
    x = numbers(2, 3)
    assert "distinct" in refuse_op("aten::permute_copy", x, [0, 0], out=[x])
    assert "2 dims" in refuse_op("aten::permute_copy", x, [0], out=[x])
    assert "[-2, 1]" in refuse_op("aten::permute_copy", x, [0, 2], out=[x])


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 1), [3, 4]), ((1,), [2, 3, 4]), ((3,), [2, -1]), ((), [2, 2]), ((1, 0), [5, 0])],
)
def test_expand_copy(shape: tuple[int, ...], size: list[int]) -> None:
    run_op("aten::expand_copy", numbers(*shape), size)


def test_expand_copy_refuses_what_does_not_broadcast() -> None:
    refuse_op("aten::expand_copy", numbers(3), [4], out=[numbers(4)])
    refuse_op("aten::expand_copy", numbers(3), [-1, 3], out=[numbers(3, 3)])
    refuse_op("aten::expand_copy", numbers(2, 3), [3], out=[numbers(3)])


BOUNDS = st.one_of(st.none(), st.integers(-9, 9), st.sampled_from([2**61, -(2**61)]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), BOUNDS, BOUNDS, st.one_of(st.integers(1, 4), st.just(2**61)))
def test_slice_copy(size: int, start: int | None, end: int | None, step: int) -> None:
    run_op("aten::slice_copy.Tensor", numbers(3, size, 2), 1, start, end, step)


def test_slice_copy_of_other_memory_orders_and_dims() -> None:
    run_op("aten::slice_copy.Tensor", channels_last(2, 3, 4, 5), -1, 1, 5, 2)
    run_op("aten::slice_copy.Tensor", channels_last(2, 6, 4, 5), 1, 1, 5, 2)
    assert "step > 0" in refuse_op(
        "aten::slice_copy.Tensor", numbers(3), 0, 0, 3, 0, out=[numbers(3)]
    )
    refuse_op("aten::slice_copy.Tensor", torch.tensor(1.0), 0, 0, 1, 1, out=[numbers(1)])


def test_narrow_copy() -> None:
    run_op("aten::narrow_copy", numbers(4, 5), 1, 2, 3)
    run_op("aten::narrow_copy", numbers(4, 5), 0, -2, 2)
    run_op("aten::narrow_copy", numbers(4, 5), 0, 4, 0)
    for start, length in [(3, 2), (5, 0), (0, -1), (1, 2**63 - 1), (-5, 1)]:
        refuse_op("aten::narrow_copy", numbers(4, 5), 0, start, length, out=[numbers(4, 5)])


def test_select_copy() -> None:
    run_op("aten::select_copy.int", numbers(4, 5, 6), 1, -2)
    run_op("aten::select_copy.int", numbers(4), 0, 3)
    run_op("aten::select_copy.int", channels_last(2, 3, 4, 5), 1, 1)
    assert "[-4, 4) but got 4" in refuse_op(
        "aten::select_copy.int", numbers(4), 0, 4, out=[torch.tensor(1.0)]
    )
    refuse_op("aten::select_copy.int", torch.tensor(1.0), 0, 0, out=[torch.tensor(1.0)])


def test_squeeze_and_unsqueeze() -> None:
    x = numbers(1, 3, 1, 2, 1)
    run_op("aten::squeeze_copy", x)
    run_op("aten::squeeze_copy.dim", x, 2)
    run_op("aten::squeeze_copy.dim", x, 1)
    run_op("aten::squeeze_copy.dims", x, [0, -1, 1])
    run_op("aten::squeeze_copy.dim", torch.tensor(2.0), 0)
    run_op("aten::unsqueeze_copy", x, -1)
    run_op("aten::unsqueeze_copy", torch.tensor(2.0), 0)
    refuse_op("aten::unsqueeze_copy", x, 6, out=[x])


def test_alias_and_detach() -> None:
    run_op("aten::alias_copy", channels_last(2, 3, 4, 5))
    run_op("aten::detach_copy", numbers(0, 3))


# ---- splitting and joining ----


@pytest.mark.parametrize(("size", "dim"), [(2, 0), (3, 1), (7, 1), (1, -1)])
def test_split_copy(size: int, dim: int) -> None:
    run_op("aten::split_copy.Tensor", numbers(4, 7, 3), size, dim)


def test_split_with_sizes_copy() -> None:
    run_op("aten::split_with_sizes_copy", numbers(2, 7), [3, 0, 4], 1)
    run_op(
        "aten::split_with_sizes_copy",
        channels_last(2, 7, 3, 3),
        [3, 4],
        1,
        outputs=[t.contiguous() for t in channels_last(2, 7, 3, 3).split([3, 4], 1)],
    )
    for sizes in ([3, 3], [8, -1], [2**63 - 1, 2]):
        refuse_op("aten::split_with_sizes_copy", numbers(2, 7), sizes, 1, out=[numbers(2, 3)] * 2)
    assert "2 output tensors but got 1" in refuse_op(
        "aten::split_with_sizes_copy", numbers(2, 7), [3, 4], 1, out=[numbers(2, 3)]
    )


def test_unbind_copy() -> None:
    run_op("aten::unbind_copy.int", numbers(2, 3, 4), 1)
    run_op("aten::unbind_copy.int", numbers(3), 0)
    refuse_op("aten::unbind_copy.int", numbers(3), 0, out=[torch.tensor(0.0)] * 2)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(-3, 2), st.sampled_from(SIZES)
)
def test_cat_along_any_dim(lengths: list[int], dim: int, dtype: torch.dtype) -> None:
    parts = []
    for n in lengths:
        shape = [2, 3, 2]
        shape[dim] = n
        parts.append(numbers(*shape, dtype=dtype))
    run_op("aten::cat", parts, dim)


def test_cat_skips_empty_vectors_and_converts_dtypes() -> None:
    run_op("aten::cat", [numbers(0), numbers(2, 3), numbers(0)], 1)
    run_op("aten::cat", [numbers(0), numbers(0)], 0)
    run_op(
        "aten::cat",
        [numbers(2, 3, dtype=torch.int32), numbers(1, 3), numbers(2, 3, dtype=torch.bool)],
        0,
    )
    run_op("aten::cat", [numbers(2, 700, dtype=torch.float16), numbers(2, 3)], 1)
    run_op("aten::cat", [channels_last(2, 3, 4, 5), channels_last(2, 2, 4, 5)], 1)
    run_op(
        "aten::cat",
        [channels_last(2, 3, 4, 5), numbers(2, 2, 4, 5)],
        1,
        outputs=[torch.cat([channels_last(2, 3, 4, 5).contiguous(), numbers(2, 2, 4, 5)], 1)],
    )


def test_cat_refuses_shapes_that_do_not_join() -> None:
    out = [numbers(2, 4)]
    assert "tensors[1]" in refuse_op("aten::cat", [numbers(2, 2), numbers(3, 2)], 1, out=out)
    refuse_op("aten::cat", [numbers(2, 2), numbers(2, 2, 1)], 1, out=out)
    refuse_op("aten::cat", [torch.tensor(1.0)], 0, out=[numbers(1)])
    refuse_op("aten::cat", [numbers(2, 4)], 0, out=[numbers(2, 4, dtype=torch.int32)])


def test_stack() -> None:
    for dim in (0, 1, -1, -3):
        run_op("aten::stack", [numbers(2, 3), numbers(2, 3) + 9], dim)
    run_op("aten::stack", [torch.tensor(1.0), torch.tensor(2.0)], 0)
    refuse_op("aten::stack", [numbers(2), numbers(3)], 0, out=[numbers(2, 2)])


# ---- repeating, turning, striding ----


@pytest.mark.parametrize(
    ("shape", "repeats"),
    [
        ((2, 3), [2, 2]),
        ((3,), [2, 1, 4]),
        ((), [3]),
        ((2,), [0]),
        ((1, 4), [5, 1]),
        ((2, 3, 2), [1, 3, 1]),
    ],
)
def test_repeat(shape: tuple[int, ...], repeats: list[int]) -> None:
    run_op("aten::repeat", numbers(*shape), repeats)


def test_repeat_refuses_hostile_counts() -> None:
    for repeats in ([2**62, 4], [-1, 1], [1], [1000, 1000]):
        refuse_op("aten::repeat", numbers(2, 3), repeats, out=[numbers(4, 6)])


def test_repeat_interleave() -> None:
    repeats = torch.tensor([2, 0, 3])
    run_op("aten::repeat_interleave.Tensor", repeats)
    run_op("aten::repeat_interleave.Tensor", repeats.int(), output_size=5)
    refuse_op("aten::repeat_interleave.Tensor", -repeats, out=[torch.arange(5)])
    refuse_op("aten::repeat_interleave.Tensor", repeats, output_size=4, out=[torch.arange(5)])
    refuse_op("aten::repeat_interleave.Tensor", torch.tensor([2**62] * 4), out=[torch.arange(5)])


def test_flip_and_roll() -> None:
    x = numbers(3, 4, 5)
    run_op("aten::flip", x, [0, -1])
    run_op("aten::flip", x, [])
    run_op("aten::flip", torch.tensor(1.0), [0])
    run_op("aten::roll", x, [2], [1])
    run_op("aten::roll", x, [-7, 2**63 - 1], [0, 2])
    run_op("aten::roll", x, [1, 2], [1, 1])
    run_op("aten::roll", x, [17])
    run_op("aten::roll", numbers(0, 3), [1], [0])
    run_op("aten::roll", channels_last(2, 3, 4, 5), [1, 2], [1, 3])
    refuse_op("aten::roll", x, [1, 2], [0], out=[x])


@pytest.mark.parametrize("offset", [-9, -3, -1, 0, 2, 9])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (0, 2)])
def test_diagonals(shape: tuple[int, int], offset: int) -> None:
    run_op("aten::diagonal_copy", numbers(*shape), offset)
    run_op("aten::diagonal_copy", numbers(2, *shape), offset, 2, -2)
    source = torch.diagonal(numbers(*shape), offset) + 50
    run_op("aten::diagonal_scatter", numbers(*shape), source.contiguous(), offset)
    run_op("aten::tril", numbers(2, *shape), offset)
    run_op("aten::triu", numbers(2, *shape), offset)


def test_triangles_take_any_diagonal_and_memory_order() -> None:
    run_op("aten::tril", channels_last(2, 3, 4, 5), 1)
    run_op("aten::triu", numbers(3, 3), -(2**61))
    run_op("aten::tril", numbers(3, 3), 2**61)
    refuse_op("aten::tril", numbers(3), out=[numbers(3)])


def test_as_strided_copy() -> None:
    run_op("aten::as_strided_copy", numbers(12), [3, 4], [1, 3])
    run_op("aten::as_strided_copy", numbers(12), [2, 2], [0, 5], 3)
    run_op("aten::as_strided_copy", numbers(12), [0, 2], [100, 5], 3)
    for size, stride, offset in [
        ([13], [1], 0),
        ([2], [12], 0),
        ([1], [1], 12),
        ([2], [-1], 5),
        ([2**40, 2], [2**40, 1], 0),
        ([1], [1], -1),
    ]:
        refuse_op("aten::as_strided_copy", numbers(12), size, stride, offset, out=[numbers(12)])


def test_unfold_copy() -> None:
    run_op("aten::unfold_copy", numbers(3, 9, 2), 1, 4, 2)
    run_op("aten::unfold_copy", numbers(7), 0, 7, 2**62)
    run_op("aten::unfold_copy", torch.tensor(3.0), 0, 1, 1)
    refuse_op("aten::unfold_copy", numbers(7), 0, 8, 1, out=[numbers(7)])
    refuse_op("aten::unfold_copy", numbers(7), 0, 2, 0, out=[numbers(7)])


def test_slice_and_select_scatter() -> None:
    x = numbers(4, 6)
    run_op("aten::slice_scatter", x, -numbers(4, 2), 1, 1, 5, 2)
    run_op("aten::slice_scatter", x, -numbers(0, 6), 0, 4, 2)
    run_op("aten::select_scatter", x, -numbers(4), 1, -1)
    run_op("aten::select_scatter", channels_last(2, 3, 4, 5), -numbers(2, 4, 5), 1, 2)
    refuse_op("aten::slice_scatter", x, numbers(4, 3), 1, 1, 5, 2, out=[x])
    refuse_op("aten::select_scatter", x, numbers(6), 1, 0, out=[x])
    refuse_op("aten::select_scatter", x, numbers(4), 1, 6, out=[x])


# ---- padding and shuffling ----


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(-2, 3), min_size=0, max_size=3),
    st.lists(st.integers(-2, 3), min_size=3, max_size=3),
)
def test_constant_pad_nd(left: list[int], right: list[int]) -> None:
    pad = [p for pair in zip(left, right, strict=False) for p in pair]
    run_op("aten::constant_pad_nd", numbers(4, 4, 4), pad, 2.5)
    run_op("aten::constant_pad_nd", numbers(4, 4, 4, dtype=torch.int16), pad, 7)


def test_constant_pad_nd_of_nothing_and_of_channels_last() -> None:
    run_op("aten::constant_pad_nd", numbers(0, 2), [1, 1, 2, 1], 3)
    run_op("aten::constant_pad_nd", numbers(2), [-1, -1], 3)
    run_op("aten::constant_pad_nd", channels_last(2, 3, 4, 5), [1, 2, 3, 4], 3)
    for pad in ([1], [-2, -2], [1, 1, 1, 1], [2**63 - 1, 2**63 - 1], [2**40, 0]):
        refuse_op("aten::constant_pad_nd", numbers(3), pad, 0, out=[numbers(5)])


@pytest.mark.parametrize("kind", ["reflection", "replication"])
@pytest.mark.parametrize("pad", [[0, 0], [2, 3], [3, 0], [-1, 2], [-2, -1], [3, -2]])
def test_reflection_and_replication_pad(kind: str, pad: list[int]) -> None:
    run_op(f"aten::{kind}_pad1d", numbers(2, 4), pad)
    run_op(f"aten::{kind}_pad1d", numbers(2, 3, 4), pad)
    run_op(f"aten::{kind}_pad2d", numbers(2, 3, 5, 4), [*pad, 1, 2])
    run_op(f"aten::{kind}_pad2d", channels_last(2, 3, 5, 4), [*pad, 1, 2])
    run_op(f"aten::{kind}_pad3d", numbers(2, 3, 5, 4, 6), [1, 2, *pad, 0, 1])


def test_pads_refuse_more_than_there_is() -> None:
    out = [numbers(1, 9)]
    refuse_op("aten::reflection_pad1d", numbers(1, 3), [3, 0], out=out)
    refuse_op("aten::reflection_pad1d", numbers(1, 3), [-2, -1], out=out)
    refuse_op("aten::replication_pad1d", numbers(1, 0), [1, 1], out=out)
    refuse_op("aten::replication_pad1d", numbers(1, 3), [2**62, 2**62], out=out)
    refuse_op("aten::replication_pad1d", numbers(1, 3), [-(2**62), 2**62], out=out)
    refuse_op("aten::replication_pad1d", numbers(1, 3), [1], out=out)


@pytest.mark.parametrize("dtype", SIZES, ids=str)
def test_pixel_shuffle(dtype: torch.dtype) -> None:
    run_op("aten::pixel_shuffle", numbers(2, 8, 3, 4, dtype=dtype), 2)
    run_op("aten::pixel_shuffle", numbers(9, 3, 4, dtype=dtype), 3)
    run_op("aten::pixel_unshuffle", numbers(2, 2, 4, 6, dtype=dtype), 2)
    run_op("aten::pixel_unshuffle", numbers(1, 3, 6, dtype=dtype), 3)


def test_pixel_shuffle_refuses_what_does_not_divide() -> None:
    refuse_op("aten::pixel_shuffle", numbers(6, 2, 2), 2, out=[numbers(1, 4, 4)])
    refuse_op("aten::pixel_shuffle", numbers(4, 2, 2), 0, out=[numbers(1, 4, 4)])
    refuse_op("aten::pixel_shuffle", numbers(4, 2, 2), 2**32, out=[numbers(1, 4, 4)])
    refuse_op("aten::pixel_unshuffle", numbers(4, 3, 2), 2, out=[numbers(1, 4, 4)])
