"""A shorter way for graphs of fused operators, in which there is nothing to decompose.

Decomposing traces the whole graph twice more, which for a language model takes longer than all else
together. Its graph holds ``penlight::`` operators and a few core ones, and its only side effects
are whole buffers that get a new value; those become outputs, as decomposing would have it.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, OutputSpec, TensorArgument
from torch.fx import Node

from penlight.edge.graph import copy_program

_COPY = torch.ops.aten.copy_.default


def functional_if_fused(
    program: ExportedProgram, decomposable: Container[Any]
) -> ExportedProgram | None:
    """The program with mutated buffers as outputs, or None if it is to be decomposed as usual.

    decomposable: the operators that decomposing would open up.
    """
    calls = [node for node in program.graph.nodes if node.op not in ("placeholder", "output")]
    if not any(_is_fused(node) for node in calls):
        return None
    buffers = {
        spec.arg.name: spec.target
        for spec in program.graph_signature.input_specs
        if spec.kind == InputKind.BUFFER
    }
    order = {node: index for index, node in enumerate(program.graph.nodes)}
    for node in calls:
        simple = _is_fused(node) or _is_core(node, decomposable)
        if not (simple or _renews(node, buffers, order)):
            return None
    result = copy_program(program)
    _mutations_to_outputs(result, buffers)
    return result


def _is_fused(node: Node) -> bool:
    target: Any = node.target
    return isinstance(target, OpOverload) and target.namespace == "penlight"


def _is_core(node: Node, decomposable: Container[Any]) -> bool:
    target: Any = node.target
    return (
        isinstance(target, OpOverload)
        and torch.Tag.core in target.tags
        and target not in decomposable
        and not target._schema.is_mutable
        # A view of what is written later would see the new value.
        and all(argument.op != "placeholder" for argument in node.all_input_nodes)
    ) or (target is torch.ops.aten.sym_size.int)


def _renews(node: Node, buffers: dict[str, str | None], order: dict[Node, int]) -> bool:
    """Whether this writes a whole buffer once, to be read no more."""
    if node.target is not _COPY or node.users or node.kwargs or len(node.args) != 2:
        return False
    buffer, value = node.args
    if not (isinstance(buffer, Node) and isinstance(value, Node) and buffer.name in buffers):
        return False
    old, new = buffer.meta["val"], value.meta["val"]
    same = old.dtype == new.dtype and old.shape == new.shape
    return same and all(order[user] <= order[node] for user in buffer.users)


def _mutations_to_outputs(program: ExportedProgram, buffers: dict[str, str | None]) -> None:
    graph = program.graph_module.graph
    values, specs = [], []
    for node in graph.find_nodes(op="call_function", target=_COPY):
        buffer, value = node.args
        values.append(value)
        kind, argument = OutputKind.BUFFER_MUTATION, TensorArgument(value.name)
        specs.append(OutputSpec(kind, argument, buffers[buffer.name]))
        graph.erase_node(node)
    output = graph.output_node()
    returned: Any = output.args[0]
    output.args = ((*values, *returned),)
    program.graph_signature.output_specs[:0] = specs
    program.graph_module.recompile()
