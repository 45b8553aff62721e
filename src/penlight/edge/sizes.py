"""Symbolic sizes: comparing them without adding guards, and their upper bounds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._sympy.value_ranges import bound_sympy

from penlight.errors import ExportError

_LARGEST = 2**31 - 1  # sizes are stored in 32 bits


def is_static(sizes: Iterable[Any]) -> bool:
    """Whether all sizes are plain integers."""
    return all(isinstance(size, int) for size in sizes)


def same(left: Any, right: Any) -> bool:
    """Whether two sizes are equal by form; never adds a guard."""
    if isinstance(left, int) and isinstance(right, int):
        return left == right
    if isinstance(left, torch.SymInt) and isinstance(right, torch.SymInt):
        return bool(left.node.expr == right.node.expr)
    return False


def same_shape(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether two shapes are equal by form."""
    return len(left) == len(right) and all(map(same, left, right))


def upper_bound(size: Any, where: str, ranges: Mapping[Any, Any] | None = None) -> int:
    """The largest value a size can take.

    ranges: by symbol, what it lies in, where that is narrower than when it was captured.

    Raises:
        ExportError: the size has no upper bound.
    """
    if isinstance(size, int):
        return size
    expression = size.node.expr
    known = {**size.node.shape_env.var_to_range, **(ranges or {})}
    bound = bound_sympy(expression, known).upper
    try:
        value = math.floor(bound)
    except (TypeError, OverflowError, AttributeError):
        value = _LARGEST + 1
    if not 0 <= value <= _LARGEST:
        raise ExportError(
            f"[{where}] expected an upper bound for the dynamic size {expression} but got none; "
            "give it one with torch.export.Dim(name, max=...)"
        )
    return int(value)


def nbytes(dtype: torch.dtype, sizes: Sequence[int]) -> int:
    """Bytes of a dense tensor."""
    return math.prod(sizes) * dtype.itemsize
