"""Linear layers that read the same value in one call, such as queries, keys and values.

linear(x, a), linear(x, b), ...  =  linears(x, [a, b, ...])

where their weights have one format. The weights stay apart, in memory and in the file.
"""

from __future__ import annotations

import operator as python
from collections import defaultdict

from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.passes.fusion import LinearCall, insert, linear_call, operator

MOST = 8
"""Weights of one call, at most; the kernel's limit."""


def fuse_linears(graph: EdgeGraph) -> None:
    """Gather linear layers by their input and format, where there are two or more."""
    fused = operator("linears")
    if fused is None:
        return
    groups: dict[tuple[Node, str], list[LinearCall]] = defaultdict(list)
    for node in graph.calls(operator("linear")):
        call = linear_call(node)
        if call is not None and call.constant:
            groups[call.x, call.format].append(call)
    for members in groups.values():
        for start in range(0, len(members), MOST):
            if len(part := members[start : start + MOST]) > 1:
                gather(graph, part)


def gather(graph: EdgeGraph, members: list[LinearCall]) -> Node:
    """Replace linear layers of one input and format, in graph order, by one call."""
    first = members[0]
    weights, rows = [m.weight for m in members], [m.out_features for m in members]
    values = [m.node.meta["val"] for m in members]
    call = insert(
        graph, first.node, operator("linears"), first.x, weights, first.format, rows,
        [m.bias for m in members], like=first.node, value=values,
    )  # fmt: skip
    results = [
        insert(graph, first.node, python.getitem, call, index, like=member.node, value=value)
        for index, (member, value) in enumerate(zip(members, values, strict=True))
    ]
    for member, result in zip(members, results, strict=True):
        graph.replace(member.node, result)
    return call
