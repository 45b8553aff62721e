"""Tensors that a rewrite left as attributes of the module become constants of the program."""

from __future__ import annotations

from typing import Any

import torch

from penlight.edge.graph import EdgeGraph


def lift_constants(graph: EdgeGraph) -> None:
    """Replace ``get_attr`` nodes of tensors by constant placeholders."""
    module: Any = graph.program.graph_module
    for node in [node for node in graph.fx.nodes if node.op == "get_attr"]:
        value = module
        for name in str(node.target).split("."):
            value = getattr(value, name)
        if isinstance(value, torch.Tensor):
            graph.replace(node, graph.add_constant(value.detach(), "lifted"))
