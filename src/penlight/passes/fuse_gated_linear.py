"""The first half of a gated feed-forward layer in one call.

silu_mul(linear(x, gate), linear(x, up))  =  gated_linear(x, gate, up, "silu")      and gelu_mul

where nobody else reads the two products, and both weights have one format and one shape.
"""

from __future__ import annotations

from penlight.edge.graph import EdgeGraph
from penlight.passes.fusion import insert, linear_call, operator


def fuse_gated_linear(graph: EdgeGraph) -> None:
    """Rewrite gates of two linear layers."""
    fused = operator("gated_linear")
    if fused is None:
        return
    for activation in ("silu", "gelu"):
        for node in graph.calls(operator(f"{activation}_mul")):
            gate, up = (linear_call(argument, used_once=True) for argument in node.args)
            if gate is None or up is None or node.kwargs:
                continue
            if (gate.x, gate.format, gate.out_features) != (up.x, up.format, up.out_features):
                continue
            call = insert(
                graph, node, fused, gate.x, gate.weight, up.weight, gate.format,
                gate.out_features, activation, gate.bias, up.bias,
                like=node, value=node.meta["val"],
            )  # fmt: skip
            graph.replace(node, call)
            graph.fx.erase_node(gate.node)
            graph.fx.erase_node(up.node)
