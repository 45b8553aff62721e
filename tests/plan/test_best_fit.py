"""Memory plans: tight, verified, and broken ones are found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penlight import to_edge
from penlight.edge.linear import Storage
from penlight.errors import ExportError
from penlight.plan.best_fit import best_plan
from penlight.plan.lifetimes import Lifetime, largest_live_set, lifetimes
from penlight.plan.verify import verify_plan

sys.path.insert(0, str(Path(__file__).parent.parent))

from models_zoo import ZOO


@pytest.mark.parametrize("name", ["mobilenet_v2", "transformer", "dynamic_transformer", "lstm"])
def test_the_arena_is_within_a_tenth_of_the_largest_live_set(name: str) -> None:
    model = next(model for model in ZOO if model.name == name)
    method = to_edge(model.programs()).to_executorch().linear_method()
    bound = largest_live_set(lifetimes(method))
    assert bound <= method.arena_sizes[1] <= 1.1 * bound


def items(*spans: tuple[int, int, int]) -> list[Lifetime]:
    return [Lifetime(Storage(size, label=f"t{n}"), a, b) for n, (a, b, size) in enumerate(spans)]


SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 12), st.integers(0, 5000)), max_size=40
)


@given(SPANS)
def test_any_plan_keeps_live_storages_apart(spans: list[tuple[int, int, int]]) -> None:
    planned = items(*((a, a + length, size) for a, length, size in spans))
    offsets = best_plan(planned)
    for item, offset in zip(planned, offsets, strict=True):
        item.storage.offset = offset
    verify_plan(planned)
    ranges = [(i, o, o + i.size) for i, o in zip(planned, offsets, strict=True) if i.size]
    for index, (left, begin, end) in enumerate(ranges):
        for right, other_begin, other_end in ranges[:index]:
            together = left.first <= right.last and right.first <= left.last
            assert not (together and begin < other_end and other_begin < end)


def test_storages_that_follow_each_other_share_memory() -> None:
    assert best_plan(items((0, 1, 640), (2, 3, 640), (4, 5, 64))) == [0, 0, 0]


@pytest.mark.parametrize(
    ("offsets", "message"),
    [((0, 0), "in use"), ((0, 32), "multiple of 64"), ((0, None), "multiple of 64")],
)
def test_a_broken_plan_is_found(offsets: tuple[int | None, ...], message: str) -> None:
    planned = items((0, 2, 100), (1, 3, 100))
    for item, offset in zip(planned, offsets, strict=True):
        item.storage.offset = offset
    with pytest.raises(ExportError, match=message):
        verify_plan(planned)


def test_a_range_inside_another_is_found() -> None:
    planned = items((0, 5, 640), (1, 1, 64), (2, 3, 64))
    for item, offset in zip(planned, (0, 640, 128), strict=True):
        item.storage.offset = offset
    with pytest.raises(ExportError, match="in use"):
        verify_plan(planned)
