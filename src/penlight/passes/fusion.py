"""What the passes that fuse language-model operators share: reading calls, and proving uses.

An edge graph is functional: a value never changes after its call, so a call may move to any place
behind its arguments. What is left to prove is that nobody else needs the value between two calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.kernels import available
from penlight.edge.operators import bound_arguments


@dataclass(frozen=True)
class LinearCall:
    """The arguments of a call of ``penlight::linear``."""

    node: Node
    x: Node
    weight: Node
    format: str
    out_features: int
    bias: Node | None

    @property
    def constant(self) -> bool:
        """Whether weight and bias are inputs of the graph, known before any call."""
        operands = (self.weight, self.bias)
        return all(node is None or node.op == "placeholder" for node in operands)


def operator(name: str) -> Any:
    """The overload of ``penlight::<name>``, or None where no kernel computes it.

    A graph can only hold operators that are registered, so the module that does so is not imported
    before one is there.
    """
    packet = getattr(torch.ops.penlight, name, None)
    return packet.default if packet and f"penlight::{name}.out" in available() else None


def linear_call(node: Any, *, used_once: bool = False) -> LinearCall | None:
    """A node as a linear layer, if it is one (and if used_once, with one use)."""
    if not isinstance(node, Node) or node.target is not operator("linear"):
        return None
    if used_once and not is_used_once(node):
        return None
    given = arguments(node)
    return LinearCall(
        node,
        given["x"],
        given["weight"],
        given["format"],
        given["out_features"],
        given.get("bias"),
    )


def arguments(node: Node) -> dict[str, Any]:
    """The arguments of a call, by name; those left out are absent."""
    target: Any = node.target
    return bound_arguments(target, node.args, dict(node.kwargs))


def is_used_once(node: Node) -> bool:
    """Whether a value is read by one call, in one of its arguments."""
    if len(node.users) != 1:
        return False
    (user,) = node.users
    return user.op == "call_function" and _occurrences(user.args, node) == 1


def _occurrences(value: Any, node: Node) -> int:
    if isinstance(value, list | tuple):
        return sum(_occurrences(item, node) for item in value)
    return int(value is node)


def is_float32(node: Any) -> bool:
    """Whether a node's value is a float32 tensor."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    return isinstance(value, torch.Tensor) and value.dtype == torch.float32


def insert(graph: EdgeGraph, before: Node, target: Any, *args: Any, like: Node, value: Any) -> Node:
    """A new call of `target`, whose place in the user's source is that of `like`."""
    with graph.fx.inserting_before(before):
        node = graph.fx.call_function(target, args)
    node.meta.update({key: like.meta[key] for key in ("stack_trace",) if key in like.meta})
    node.meta["val"] = value
    return node
