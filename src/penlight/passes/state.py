"""Write mutable buffers where they lie, if nobody reads the old value afterwards.

A buffer's new value is a node. It is written straight into the buffer's memory
(``meta["in_place"]`` names the buffer's placeholder) if every other use of the old value comes
before it and the operator

- does not read the buffer at all, or
- reads element i only to write element i, or
- is made for it (``operators.IN_PLACE_CAPABLE``, ``operators.IN_PLACE_FORM``).

Otherwise the new value is copied into the buffer at the end of the method.
"""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.operators import ELEMENTWISE, IN_PLACE_CAPABLE, IN_PLACE_FORM
from penlight.edge.sizes import is_static, same_shape


def mark_in_place_state(graph: EdgeGraph) -> None:
    """Set ``meta["in_place"]`` on the nodes that may write into a mutable buffer."""
    order = {node: index for index, node in enumerate(graph.fx.nodes)}
    inputs = {s.target: s.arg.name for s in graph.specs.values() if s.target is not None}
    placeholders = {node.name: node for node in graph.fx.nodes if node.op == "placeholder"}
    taken: set[Node] = set()
    for name, node in graph.mutated_buffers().items():
        buffer = placeholders[inputs[name]]
        if node in taken or not _may_write(node, buffer, order):
            continue
        taken.add(node)
        node.meta["in_place"] = buffer


def _may_write(node: Node, buffer: Node, order: dict[Node, int]) -> bool:
    target: Any = node.target
    if node.op != "call_function" or not isinstance(target, OpOverload):
        return False
    value, old = node.meta["val"], buffer.meta["val"]
    if not isinstance(value, torch.Tensor) or not is_static(value.shape):
        return False
    if value.dtype != old.dtype or not same_shape(value.shape, old.shape):
        return False
    reads = _aliases(buffer)
    if any(user is not node and order[user] >= order[node] for user in reads):
        return False
    if node not in reads:
        return torch.Tag.inplace_view not in target.tags and target not in _MAY_ALIAS
    return _reads_in_step(node, buffer)


# A reshape of something else must not be written through: its result shares memory.
_MAY_ALIAS = (torch.ops.aten.view_copy.default,)


def _aliases(buffer: Node) -> set[Node]:
    """All nodes that read the buffer's memory, through views as well."""
    readers: set[Node] = set()
    pending = [buffer]
    while pending:
        for user in pending.pop().users:
            if user not in readers:
                readers.add(user)
                if user.target in _MAY_ALIAS:
                    pending.append(user)
    return readers


def _reads_in_step(node: Node, buffer: Node) -> bool:
    target: Any = node.target
    uses = [argument for argument in node.args if argument is buffer]
    # A reshape of the buffer shares its memory, one of another tensor does not.
    readers = _aliases(buffer)
    through_view = any(u in readers and u.target in _MAY_ALIAS for u in node.all_input_nodes)
    if buffer not in node.all_input_nodes or through_view:
        return False
    capable = IN_PLACE_CAPABLE.get(target._schema.name)
    if capable is not None:
        return len(uses) == 1 and node.args[capable] is buffer
    if target in IN_PLACE_FORM:
        return node.args[0] is buffer and len(uses) == 1
    name = target._schema.name.removeprefix("aten::")
    return name in ELEMENTWISE and bool(uses)
