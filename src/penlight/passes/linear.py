"""Multiply by a transposed matrix without transposing it.

mm(x, permute(w, [1, 0]))        =  linear(x, w)
addmm(b, x, permute(w, [1, 0]))  =  linear(x, w, b)
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.kernels import available

aten = torch.ops.aten


def use_linear(graph: EdgeGraph) -> None:
    """Rewrite products with a transposed matrix, if there is a kernel for linear layers."""
    if "aten::linear.out" not in available():
        return
    for node in graph.calls(aten.mm.default, aten.addmm.default):
        args: Any = node.args
        bias = args[0] if node.target is aten.addmm.default else None
        weight = _transposed(args[-1])
        if weight is None or node.kwargs or (bias is not None and bias.meta["val"].dim() != 1):
            continue
        if bias is not None and len(bias.meta["val"]) != node.meta["val"].shape[1]:
            continue
        node.target = aten.linear.default
        node.args = (args[-2], weight) if bias is None else (args[-2], weight, bias)


def _transposed(node: Any) -> Node | None:
    """The matrix that `node` is the transpose of, if it is one."""
    args: Any = node.args
    if node.target is aten.t_copy.default:
        dims = [1, 0]
    elif node.target is aten.permute_copy.default:
        dims = [dim % 2 for dim in args[1]] if len(args[1]) == 2 else []
    elif node.target is aten.transpose_copy.int:
        dims = [1, 0] if {dim % 2 for dim in args[1:3]} == {0, 1} else []
    else:
        return None
    source: Node = args[0]
    return source if dims == [1, 0] and source.meta["val"].dim() == 2 else None
