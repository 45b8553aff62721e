"""Give operators that want tensors of one dtype tensors of one dtype."""

from __future__ import annotations

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph

aten = torch.ops.aten
_OF_ONE_DTYPE = (aten.cat.default, aten.stack.default)


def promote_dtypes(graph: EdgeGraph) -> None:
    """Insert ``_to_copy`` before lists of mixed dtypes; PyTorch's promotion says to which."""
    for node in graph.calls(*_OF_ONE_DTYPE):
        items = list(node.args[0])  # type: ignore[arg-type]
        dtype = node.meta["val"].dtype
        cast = [_cast(graph, node, item, dtype) for item in items]
        if cast != items:
            node.update_arg(0, cast)


def _cast(graph: EdgeGraph, user: Node, node: Node, dtype: torch.dtype) -> Node:
    if node.meta["val"].dtype == dtype:
        return node
    with graph.fx.inserting_before(user):
        cast = graph.fx.call_function(aten._to_copy.default, (node,), {"dtype": dtype})
    cast.meta["val"] = node.meta["val"].to(dtype)
    cast.meta["stack_trace"] = user.meta.get("stack_trace")
    return cast
