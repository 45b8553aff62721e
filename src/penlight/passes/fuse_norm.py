"""An RMS norm in the call of the linear layers that read it.

gated_linear(rms_norm(x, n), ...)  =  gated_linear(x, ..., norm=n)      and linears, and linear

where nobody else reads the normed value: it is made right before it is rounded to few bits, and
takes no memory of the plan.
"""

from __future__ import annotations

from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.passes.fuse_linears import gather
from penlight.passes.fusion import arguments, is_float32, is_used_once, linear_call, operator


def fuse_norm(graph: EdgeGraph) -> None:
    """Move norms into the linear layers behind them."""
    if operator("rms_norm") is None:
        return
    for node in graph.calls(operator("rms_norm")):
        given = arguments(node)
        if not is_used_once(node) or not is_float32(given["x"]) or not is_float32(given["weight"]):
            continue
        (user,) = node.users
        if (reader := _reader(graph, node, user)) is None:
            continue
        reader.kwargs = {"norm": given["weight"], "eps": given["eps"], "offset": given["offset"]}
        reader.replace_input_with(node, given["x"])
        graph.fx.erase_node(node)


def _reader(graph: EdgeGraph, norm: Node, user: Node) -> Node | None:
    """The call that reads the norm as its input, in a form that can take it in."""
    if (linear := linear_call(user)) is not None and linear.x is norm and linear.constant:
        return gather(graph, [linear]) if operator("linears") is not None else None
    if user.target not in (operator("linears"), operator("gated_linear")):
        return None
    given = arguments(user)
    return user if given["x"] is norm and given.get("norm") is None else None
