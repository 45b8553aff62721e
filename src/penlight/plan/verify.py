"""The verifier of a memory plan: no two storages that live at the same time may overlap."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence
from typing import NoReturn

from penlight.errors import ExportError
from penlight.plan.lifetimes import ALIGNMENT, Lifetime


def verify_plan(items: Sequence[Lifetime]) -> None:
    """Sweep over time, holding the ranges in use in order of offset.

    Raises:
        ExportError: an offset is missing or misaligned, or two live storages overlap.
    """
    ending: list[tuple[int, int, int]] = []  # (last, begin, end)
    live: list[tuple[int, int]] = []  # (begin, end), sorted, disjoint
    for item in sorted(items, key=lambda item: item.first):
        while ending and ending[0][0] < item.first:
            _, begin, end = heapq.heappop(ending)
            live.pop(bisect.bisect_left(live, (begin, end)))
        offset = item.storage.offset
        if offset is None or offset < 0 or offset % ALIGNMENT:
            _fail(item, f"an offset that is a multiple of {ALIGNMENT}", str(offset))
        if item.size == 0:
            continue
        place = (offset, offset + item.size)
        position = bisect.bisect_left(live, place)
        for other in live[max(0, position - 1) : position + 1]:
            if other[0] < place[1] and place[0] < other[1]:
                _fail(item, f"free memory at {place}", f"{other}, which is in use")
        live.insert(position, place)
        heapq.heappush(ending, (item.last, *place))


def _fail(item: Lifetime, expected: str, got: str) -> NoReturn:
    raise ExportError(
        f"[memory plan, {item.storage.label}] expected {expected} but got {got}; "
        "this is a fault of the planner, report it with the model"
    )
