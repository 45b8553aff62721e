"""The method that checks drafts: `forward`, with the logits of every token, not of the last alone.

It is made from forward's graph, by leaving out the choice of the last token, so that its tokens get
the very numbers that forward gives them one at a time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._sympy.value_ranges import ValueRanges

from penlight.edge.graph import EdgeGraph
from penlight.errors import ExportError

__all__ = ["VERIFY_LENGTH", "verify_program"]

VERIFY_LENGTH = 16  # most tokens of one call: one that was drawn, and the draft after it


def verify_program(forward: ExportedProgram, length: int = VERIFY_LENGTH) -> ExportedProgram:
    """The edge program of verify(tokens int64 [1, T], input_pos int64 [1]) -> float32 [1, T, V].

    Args:
        forward: the edge program of forward(tokens [1, T], input_pos [1]) -> [1, V]. It is not
            changed, and the two share the tensors of their weights and buffers.
        length: the bound of T, at most forward's own.

    Raises:
        ExportError: forward does not choose the last of its tokens as language models do.
    """
    graph = EdgeGraph.copy_of(forward)
    choices = [
        node
        for node in graph.calls(torch.ops.aten.select_copy.int)
        if node.args[1:] == (1, -1) and node.meta["val"].dim() == 2
    ]
    if len(choices) != 1:
        raise ExportError(
            "[verify] expected a model that chooses its last token once, x[:, -1], but got "
            f"{len(choices)} such places; export it without verify"
        )
    stream: Any = choices[0].args[0]
    after = _after(choices[0])
    graph.replace(choices[0], stream)
    for node in after:
        _infer(node)
    ranges = graph.program.range_constraints
    for symbol, bounds in ranges.items():
        ranges[symbol] = ValueRanges(bounds.lower, min(bounds.upper, length))
    graph.finish()
    return graph.program


def _after(node: Node) -> list[Node]:
    """The calls that depend on a node, in graph order."""
    found = {node}
    ordered = []
    for other in node.graph.nodes:
        if other.op == "call_function" and found.intersection(other.all_input_nodes):
            found.add(other)
            ordered.append(other)
    return ordered


def _infer(node: Node) -> None:
    """Set what a call gives, from what it is given."""
    args, kwargs = map_arg((node.args, node.kwargs), lambda argument: argument.meta["val"])
    target: Any = node.target
    with node.meta["val"].fake_mode:
        node.meta["val"] = target(*args, **kwargs)
