"""Say views as copies: in the edge graph every result owns its memory.

Which of the copies need not happen is decided later, when memory is known.
"""

from __future__ import annotations

import torch
from torch._ops import OpOverload

from penlight.edge.graph import EdgeGraph
from penlight.edge.operators import copy_of_view

aten = torch.ops.aten
_SAME_BY_VALUE = {
    aten._unsafe_view.default: aten.view_copy.default,
    aten.reshape.default: aten.view_copy.default,
    aten._reshape_alias.default: aten.view_copy.default,
    aten.contiguous.default: aten.clone.default,
}


def views_to_copies(graph: EdgeGraph) -> None:
    """``aten.permute`` becomes ``aten.permute_copy``, and so on for every view operator."""
    for node in graph.calls():
        if node.target in _SAME_BY_VALUE:
            if node.target is aten._reshape_alias.default:
                node.args = node.args[:2]
            node.target = _SAME_BY_VALUE[node.target]
        elif isinstance(node.target, OpOverload):
            node.target = copy_of_view(node.target) or node.target
