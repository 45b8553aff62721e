"""Drop run-time assertions: the program's shapes are checked when it is loaded and run."""

from __future__ import annotations

import torch

from penlight.edge.graph import EdgeGraph

aten = torch.ops.aten
_ASSERTIONS = (
    aten._assert_scalar.default,
    aten._assert_tensor_metadata.default,
    aten._assert_async.default,
    aten._assert_async.msg,
    aten.sym_constrain_range.default,
    aten.sym_constrain_range_for_size.default,
    torch._check,
)


def remove_asserts(graph: EdgeGraph) -> None:
    """Erase assertion nodes and, with `remove_dead_code`, what only they used."""
    for node in reversed(graph.calls(*_ASSERTIONS)):
        graph.fx.erase_node(node)
