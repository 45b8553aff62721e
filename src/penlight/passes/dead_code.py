"""Remove what nobody uses."""

from __future__ import annotations

from penlight.edge.graph import EdgeGraph


def remove_dead_code(graph: EdgeGraph) -> None:
    """Erase unused calls, last first. The graph is functional, so an unused call has no effect."""
    for node in reversed(graph.fx.nodes):
        if node.op in ("call_function", "get_attr") and not node.users:
            graph.fx.erase_node(node)
