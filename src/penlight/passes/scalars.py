"""Numbers where the schema says tensor: ``x + 2`` is captured as ``add.Tensor(x, 2)``.

The ``Scalar`` overload takes them if it has a kernel; else they become 0-d constants (or, if they
are computed at run time, ``aten.full([], n)``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch._ops import OpOverload
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.kernels import available, kernel_name
from penlight.edge.operators import out_variant


def _is_number(value: Any) -> bool:
    if isinstance(value, Node):
        value = value.meta.get("val")
    return isinstance(value, int | float | bool | torch.SymInt | torch.SymFloat | torch.SymBool)


def scalars(graph: EdgeGraph) -> None:
    """Make every argument have the kind that its schema says."""
    for node in graph.calls():
        if not isinstance(node.target, OpOverload):
            continue
        for index, argument in enumerate(node.target._schema.arguments[: len(node.args)]):
            if isinstance(argument.type, torch.TensorType) and _is_number(node.args[index]):
                if not (index == 1 and _use_scalar_overload(node)):
                    _make_tensor(graph, node, index)


def _use_scalar_overload(node: Node) -> bool:
    target: Any = node.target
    names = {"Tensor": "Scalar", "Tensor_mode": "Scalar_mode", "Tensor_Tensor": "Tensor_Scalar"}
    scalar: Any = getattr(target.overloadpacket, names.get(target._overloadname, ""), None)
    variant = out_variant(scalar) if scalar is not None else None
    if variant is None or kernel_name(variant.name, variant.overload) not in available():
        return False
    node.target = scalar
    return True


def _make_tensor(graph: EdgeGraph, node: Node, index: int) -> None:
    value = node.args[index]
    dtype = _dtype_beside(node, value)
    if isinstance(value, Node):
        with graph.fx.inserting_before(node):
            made = graph.fx.call_function(
                torch.ops.aten.full.default, ([], value), {"dtype": dtype}
            )
        example = node.meta["val"]
        example = example[0] if isinstance(example, list | tuple) else example
        made.meta["val"] = example.new_empty((), dtype=dtype)
        made.meta["stack_trace"] = node.meta.get("stack_trace")
    else:
        made = graph.add_constant(torch.tensor(value, dtype=dtype), "scalar")
    node.update_arg(index, made)


def _dtype_beside(node: Node, value: Any) -> torch.dtype:
    """The dtype that PyTorch's promotion gives a number beside the node's other tensors."""
    number = value.meta["val"] if isinstance(value, Node) else value
    others = [
        used.meta["val"]
        for used in node.all_input_nodes
        if isinstance(used.meta.get("val"), torch.Tensor)
    ]
    if isinstance(number, bool | torch.SymBool):
        return torch.bool
    if isinstance(number, int | torch.SymInt):
        return next((t.dtype for t in others if t.dtype != torch.bool), torch.int64)
    floating = next((t.dtype for t in others if t.dtype.is_floating_point), None)
    return floating or torch.get_default_dtype()
