"""What is chosen of a result is computed alone.

select(f(x), 1, -1)  =  f(select(x, 1, -1))

where f is made of layers and sums that take each row by itself, and nobody reads its other rows. A
language model chooses its last token behind the last layer: of all that follows the last attention,
a prompt then needs one token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from penlight.edge.graph import EdgeGraph
from penlight.edge.sizes import same_shape
from penlight.passes.fusion import arguments, insert, operator

aten = torch.ops.aten


def choose_early(graph: EdgeGraph) -> None:
    """Move choices along a dimension other than the last in front of what is computed by rows."""
    for choice in graph.calls(aten.select_copy.int):
        given = arguments(choice)
        x, rank = given["self"], given["self"].meta["val"].dim()
        dim = given["dim"] % rank
        rows = _by_rows(graph, choice, dim)
        if dim == rank - 1 or not any(node.target is operator("linear") for node in rows):
            continue
        chosen = _recomputed(graph, rows, choice, dim, given["index"])
        graph.replace(choice, chosen[x])
        for node in reversed(rows):
            graph.fx.erase_node(node)


def _by_rows(graph: EdgeGraph, choice: Node, dim: int) -> list[Node]:
    """The calls before a choice that only it reads, and that take each row by itself."""
    readers = {choice}
    rows: list[Node] = []
    for node in reversed(graph.calls()):
        if node.users and readers.issuperset(node.users) and _takes_rows(node, dim):
            readers.add(node)
            rows.insert(0, node)
    return rows


def _takes_rows(node: Node, dim: int) -> bool:
    """Whether row i along `dim` of the result follows from row i of what `_operands` gives."""
    shape = node.meta["val"].shape if isinstance(node.meta.get("val"), torch.Tensor) else ()
    if dim >= len(shape) - 1 or any(isinstance(value, Node) for value in node.kwargs.values()):
        return False
    if node.target in (operator("linear"), operator("rms_norm")):
        others = [value for value in node.args[1:] if isinstance(value, Node)]
        return all(other.op == "placeholder" for other in others)
    if node.target in (operator("silu_mul"), operator("gelu_mul"), aten.add.Tensor):
        operands = [value for value in node.args if isinstance(value, Node)]
        return all(same_shape(value.meta["val"].shape, shape) for value in operands)
    return False


def _operands(node: Node) -> list[Node]:
    """The arguments of which a row makes a row of the result."""
    values = (
        node.args[:1] if node.target in (operator("linear"), operator("rms_norm")) else node.args
    )
    return [value for value in values if isinstance(value, Node)]


def _recomputed(
    graph: EdgeGraph, rows: list[Node], choice: Node, dim: int, index: Any
) -> dict[Node, Node]:
    """New calls in front of a choice that give the chosen row alone, by the old ones."""
    chosen: dict[Node, Node] = {}
    for node in rows:
        operands = _operands(node)
        for value in operands:
            if value not in chosen:
                chosen[value] = insert(
                    graph, choice, aten.select_copy.int, value, dim, index,
                    like=choice, value=_value(choice.target, value.meta["val"], dim, index),
                )  # fmt: skip
        args: list[Any] = [
            chosen[value] if isinstance(value, Node) and value in operands else value
            for value in node.args
        ]
        values = map_arg(args, lambda given: given.meta["val"])
        call = insert(
            graph, choice, node.target, *args, like=node, value=_value(node.target, *values)
        )
        call.kwargs = node.kwargs
        chosen[node] = call
    return chosen


def _value(target: Any, *args: Any) -> Any:
    """What a call gives, without data."""
    mode: Any = next(value for value in args if isinstance(value, torch.Tensor))
    with mode.fake_mode:
        return target(*args)
