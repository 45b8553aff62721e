"""One operator for all reshapes: what moves no element becomes ``view_copy``, which costs nothing.

At most one size may be dynamic; it is written as -1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.sizes import is_static, same

aten = torch.ops.aten
_RESHAPES = (
    aten.unsqueeze_copy.default,
    aten.squeeze_copy.default,
    aten.squeeze_copy.dim,
    aten.squeeze_copy.dims,
)


def normalize_reshapes(graph: EdgeGraph) -> None:
    """Turn unsqueeze, squeeze, and permutes and selects of size-1 dimensions into views."""
    for node in graph.calls():
        source = node.args[0] if node.args else None
        if not isinstance(source, Node) or not _is_tensor(source) or not _is_tensor(node):
            continue
        if node.target in _RESHAPES or _moves_nothing(node, source):
            sizes = list(node.meta["val"].shape)
            dynamic = [index for index, size in enumerate(sizes) if not isinstance(size, int)]
            if len(dynamic) <= 1 and (not dynamic or 0 not in sizes):
                for index in dynamic:
                    sizes[index] = -1
                node.target = aten.view_copy.default
                node.args, node.kwargs = (source, sizes), {}
        if node.target is aten.view_copy.default:
            _skip_inner_view(node)


def _is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _moves_nothing(node: Node, source: Node) -> bool:
    shape = source.meta["val"].shape
    if node.target is aten.select_copy.int:
        dim: Any = node.args[1]
        return bool(shape) and same(shape[dim], 1)
    if node.target is aten.permute_copy.default:
        order: Any = node.args[1]
        order = [d % len(shape) for d in order]
    elif node.target is aten.transpose_copy.int and is_static(node.args[1:3]):
        order = list(range(len(shape)))
        pair: Any = node.args[1:3]
        first, second = pair
        order[first], order[second] = order[second], order[first]
    else:
        return False
    moved = [d for d in order if not same(shape[d], 1)]
    return moved == sorted(moved)


def _skip_inner_view(node: Node) -> None:
    inner = node.args[0]
    while isinstance(inner, Node) and inner.target is aten.view_copy.default:
        inner = inner.args[0]
    node.update_arg(0, inner)
