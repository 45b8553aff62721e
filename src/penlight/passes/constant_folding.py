"""Compute at export what does not depend on the inputs.

Only results are computed that are small, or take the place of constants at least as large which
nothing else uses: a constant never makes the file much larger. Weights without data (fake, supplied
later) or beyond the limit are left alone, so memory stays bounded.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from penlight.edge.graph import EdgeGraph
from penlight.edge.sizes import is_static

_ALWAYS = 64 * 1024  # bytes of a result that is worth storing whatever it is made from
_NEVER = 256 * 1024 * 1024  # bytes of a result that is not worth the memory at export


def fold_constants(graph: EdgeGraph) -> None:
    """Replace calls whose arguments are all known by constants."""
    known: dict[Node, Any] = {}
    with torch.no_grad(), torch.utils._python_dispatch._disable_current_modes():
        for node in graph.fx.nodes:
            if node.op == "placeholder":
                tensor = graph.constant(node)
                if tensor is not None:
                    known[node] = tensor.detach()
            elif node.op == "call_function" and _foldable(node, known):
                target: Any = node.target
                args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), known.__getitem__)
                known[node] = target(*args, **kwargs)
    for node, value in known.items():
        if node.op != "placeholder" and isinstance(value, torch.Tensor):
            if any(user not in known for user in node.users):
                constant = graph.add_constant(value.contiguous(), "folded")
                node.replace_all_uses_with(constant)


def _foldable(node: Node, known: dict[Node, Any]) -> bool:
    if any(used not in known for used in node.all_input_nodes):
        return False
    target = node.target
    if isinstance(target, OpOverload):
        if target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags:
            return False
        if target.overloadpacket in (torch.ops.aten.empty, torch.ops.aten.new_empty):
            return False
        if target.namespace not in ("aten", "prims", "penlight"):
            return False
    elif target is not operator.getitem:
        return False
    results = [v for v in tree_leaves(node.meta.get("val")) if isinstance(v, torch.Tensor)]
    if not results or any(not is_static(v.shape) or v.device.type == "meta" for v in results):
        return False
    size = sum(v.numel() * v.dtype.itemsize for v in results)
    replaced = [known[used] for used in node.all_input_nodes if len(used.users) == 1]
    before = sum(v.nbytes for v in tree_leaves(replaced) if isinstance(v, torch.Tensor))
    return size <= min(_NEVER, max(_ALWAYS, before))
