"""Remove calls that give back what they were given."""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.sizes import same_shape

aten = torch.ops.aten

# These never change a value, only (perhaps) its layout in memory, which is ours to choose.
_IDENTITIES = (
    aten.clone.default,
    aten.alias_copy.default,
    aten.detach_copy.default,
    aten.detach.default,
    aten.lift_fresh_copy.default,
    aten.lift_fresh.default,
    aten.dropout.default,
)
# These change nothing if dtype and shape stay what they were.
_SAME_IF_SAME_TYPE = (
    aten._to_copy.default,
    aten.view_copy.default,
    aten.expand_copy.default,
    aten.slice_copy.Tensor,
    aten.repeat.default,
    aten.constant_pad_nd.default,
    aten.squeeze_copy.dims,
    aten.squeeze_copy.dim,
)


def remove_no_ops(graph: EdgeGraph) -> None:
    """Drop clones, casts to the same dtype, full slices, expands to the same shape, and so on."""
    for node in graph.calls():
        if _changes_nothing(node):
            graph.replace(node, node.args[0])
        elif node.target is aten.cat.default and len(node.args[0]) == 1:  # type: ignore[arg-type]
            graph.replace(node, node.args[0][0])  # type: ignore[index]


def _changes_nothing(node: Node) -> bool:
    if node.target in _IDENTITIES:
        return True
    if node.target is aten.permute_copy.default:
        order: Any = node.args[1]
        return [dim % max(1, len(order)) for dim in order] == list(range(len(order)))
    if node.target not in _SAME_IF_SAME_TYPE:
        return False
    before, after = node.args[0].meta["val"], node.meta["val"]  # type: ignore[union-attr]
    return before.dtype == after.dtype and same_shape(before.shape, after.shape)
