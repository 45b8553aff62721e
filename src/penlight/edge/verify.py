"""The verifier of the edge graph; it runs between all passes."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload
from torch.fx import Node

from penlight.edge.graph import EdgeGraph
from penlight.edge.operators import SYMBOLIC
from penlight.errors import ExportError


def verify(graph: EdgeGraph, where: str) -> None:
    """Check what every pass must keep true.

    Nodes are used after they are defined; calls are of functional operators, symbolic arithmetic,
    ``getitem`` or delegates; every value carries its shape; inputs and outputs match the signature.

    Raises:
        ExportError: naming the pass (`where`) and the node.
    """
    seen: set[Node] = set()
    signature = graph.program.graph_signature
    placeholders = [node.name for node in graph.fx.nodes if node.op == "placeholder"]
    expected = [spec.arg.name for spec in signature.input_specs]
    if placeholders != expected:
        _fail(where, f"inputs {expected}", f"{placeholders}")
    for node in graph.fx.nodes:
        for used in node.all_input_nodes:
            if used not in seen:
                _fail(where, f"{used.name} before its use in {node.name}", "it later or not at all")
        seen.add(node)
        if node.op == "call_function":
            _check_call(node, where)
        elif node.op not in ("placeholder", "get_attr", "output"):
            _fail(where, "placeholders, calls and an output", f"a node {node.op} ({node.name})")
    outputs = graph.fx.output_node().args[0]
    if not isinstance(outputs, list | tuple) or len(outputs) != len(signature.output_specs):
        _fail(where, f"{len(signature.output_specs)} outputs", f"{outputs}")


def _check_call(node: Node, where: str) -> None:
    target: Any = node.target
    if isinstance(target, OpOverload):
        if target._schema.is_mutable and target not in SYMBOLIC:
            _fail(where, "functional operators", f"{target} at {node.name}, which writes")
    elif not isinstance(target, HigherOrderOperator) and target not in SYMBOLIC:
        if target is not operator.getitem:
            _fail(where, "operators", f"the function {target} at {node.name}")
    if "val" not in node.meta and target is not operator.getitem:
        _fail(where, f"a shape for {node.name}", "none (meta['val'] is missing)")
    if isinstance(target, OpOverload) and target.namespace == "aten":
        value = node.meta.get("val")
        if isinstance(value, torch.Tensor) and value.layout != torch.strided:
            _fail(where, "dense tensors", f"layout {value.layout} at {node.name}")


def _fail(where: str, expected: str, got: str) -> None:
    raise ExportError(
        f"[{where}] expected {expected} but got {got}; this pass broke the graph, leave it out or "
        "repair it"
    )
