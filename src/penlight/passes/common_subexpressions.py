"""Compute equal things once."""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import Node

from penlight.edge.graph import EdgeGraph


def merge_common_subexpressions(graph: EdgeGraph) -> None:
    """Let the first of several equal calls stand for all. Random operators are left alone."""
    seen: dict[Any, Node] = {}
    for node in graph.calls():
        target: Any = node.target
        if isinstance(target, HigherOrderOperator):
            continue
        if isinstance(target, OpOverload) and torch.Tag.nondeterministic_seeded in target.tags:
            continue
        key = (target, _key(node.args), _key(node.kwargs))
        first = seen.setdefault(key, node)
        if first is not node:
            graph.replace(node, first)


def _key(value: Any) -> Any:
    """A hashable form that tells 1, 1.0, True and -0.0 apart."""
    if isinstance(value, list | tuple):
        return tuple(map(_key, value))
    if isinstance(value, dict):
        return tuple((name, _key(item)) for name, item in sorted(value.items()))
    if isinstance(value, Node):
        return value
    return type(value).__name__, repr(value)
