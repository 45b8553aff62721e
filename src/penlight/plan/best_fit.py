"""Offsets by best fit: each storage goes to the smallest gap that holds it for its whole life.

Placing the large ones first is the usual rule (Pisarchyk and Lee, "Efficient Memory Management for
Deep Neural Net Inference", 2020); on some graphs another order packs tighter, so several are tried
and the smallest arena wins.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from penlight.edge.linear import LinearMethod, Place
from penlight.plan.lifetimes import ALIGNMENT, Lifetime, largest_live_set, lifetimes
from penlight.plan.verify import verify_plan

Order = Callable[[Lifetime], tuple[int, ...]]

_ORDERS: tuple[Order, ...] = (
    lambda item: (-item.size, item.first),
    lambda item: (-item.size * (item.last - item.first + 1), item.first),
    lambda item: (item.first, -item.size),
    lambda item: (item.first - item.last, -item.size),
    lambda item: (-item.last, -item.size),
)


def plan_memory(method: LinearMethod) -> None:
    """Give every planned storage an offset; sets ``method.arena_sizes``.

    Activations share one arena, state has one of its own (which is all that must be kept between
    calls). Raises ProgramError if the plan does not hold, which would be a fault of this module.
    """
    items = lifetimes(method)
    offsets = best_plan(items)
    for item, offset in zip(items, offsets, strict=True):
        item.storage.offset = offset
    verify_plan(items)
    sizes = [0, max((o + i.size for o, i in zip(offsets, items, strict=True)), default=0)]
    end = 0
    for state in method.states:
        assert state.storage.place == Place.STATE
        state.storage.offset = end
        end += -(-state.storage.nbytes // ALIGNMENT) * ALIGNMENT
    method.arena_sizes = [*sizes, end] if method.states else sizes


def best_plan(items: list[Lifetime]) -> list[int]:
    """Offsets of the smallest arena found, in the order of `items`."""
    bound = largest_live_set(items)
    best: list[int] = []
    best_size = -1
    for order in _ORDERS:
        offsets = place(items, order)
        size = max((o + i.size for o, i in zip(offsets, items, strict=True)), default=0)
        if best_size < 0 or size < best_size:
            best, best_size = offsets, size
        if best_size <= bound:
            break
    return best


def place(items: list[Lifetime], order: Order) -> list[int]:
    """Best fit in the given order; gives each item's offset."""
    count = len(items)
    first, last, begin, end = (np.zeros(count, np.int64) for _ in range(4))
    offsets = [0] * count
    for placed, index in enumerate(sorted(range(count), key=lambda i: order(items[i]))):
        item = items[index]
        beside = (first[:placed] <= item.last) & (last[:placed] >= item.first)
        offset = _smallest_gap(begin[:placed][beside], end[:placed][beside], item.size)
        offsets[index] = offset
        first[placed], last[placed] = item.first, item.last
        begin[placed], end[placed] = offset, offset + item.size
    return offsets


def _smallest_gap(begin: np.ndarray, end: np.ndarray, size: int) -> int:
    """The offset of the smallest gap between occupied ranges, or where the last of them ends."""
    if len(begin) == 0:
        return 0
    by_begin = np.argsort(begin, kind="stable")
    reached = np.maximum.accumulate(end[by_begin])
    starts = np.concatenate(([0], reached[:-1]))
    gaps = begin[by_begin] - starts
    fits = gaps >= size
    if not fits.any():
        return int(reached[-1])
    return int(starts[fits][np.argmin(gaps[fits])])
