"""Lowering: cut the tagged parts out of a graph and put calls of delegates in their place."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.exported_program import ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    SymBoolArgument,
    SymFloatArgument,
    SymIntArgument,
    TensorArgument,
)
from torch.fx import Graph, GraphModule, Node
from torch.utils import _pytree as pytree

from penlight.backends.base import (
    DelegationSpec,
    LoweredBackendModule,
    Partitioner,
    executorch_call_delegate,
    find_backend,
)
from penlight.edge.graph import EdgeGraph, copy_program, user_line
from penlight.edge.verify import verify
from penlight.errors import BackendError

_TAG = "delegation_tag"


def lower_partitions(program: ExportedProgram, partitioner: Partitioner) -> ExportedProgram:
    """The program with the parts that `partitioner` tags replaced by delegates.

    Raises:
        BackendError: the partitioner changed the graph, a tag has no meaning, a partition cannot be
            cut out because what follows it also feeds it, or the backend is unknown or refused.
    """
    name = type(partitioner).__name__
    result = partitioner(copy_program(program))
    graph = EdgeGraph.copy_of(result.tagged_exported_program)
    before = [(node.op, str(node.target)) for node in program.graph.nodes]
    if before != [(node.op, str(node.target)) for node in graph.fx.nodes]:
        raise BackendError(
            f"[{name}] expected tags only but the partitioner changed the graph; "
            "change it with EdgeProgramManager.transform before to_backend"
        )
    tags = dict.fromkeys(n.meta[_TAG] for n in graph.calls() if n.meta.get(_TAG) is not None)
    for tag in tags:
        if tag not in result.partition_tags:
            raise BackendError(
                f"[{name}] expected a DelegationSpec for every tag but {tag!r} has none; "
                "add it to partition_tags"
            )
        _lower_tag(graph, tag, result.partition_tags[tag])
    for node in graph.fx.nodes:
        node.meta.pop(_TAG, None)
    verify(graph, name)
    graph.finish()
    return graph.program


def _lower_tag(graph: EdgeGraph, tag: str, spec: DelegationSpec) -> None:
    nodes = [node for node in graph.calls() if node.meta.get(_TAG) == tag]
    inside = set(nodes)
    for node in list(nodes):  # a tuple cannot cross the border, its items can
        if isinstance(node.meta.get("val"), list | tuple):
            inside.update(user for user in node.users if user.target is operator.getitem)
    nodes = [node for node in graph.fx.nodes if node in inside]
    after = _nodes_after(graph, nodes, inside, tag)
    inputs = [
        node
        for node in dict.fromkeys(u for n in nodes for u in n.all_input_nodes)
        if node not in inside
    ]
    constants = [node for node in inputs if graph.constant_name(node) is not None]
    inputs = [node for node in inputs if node not in constants]
    outputs = [node for node in nodes if any(user not in inside for user in node.users)]
    part = _cut_out(graph, nodes, constants, inputs, outputs)
    backend = find_backend(spec.backend_id)
    processed = backend.preprocess(copy_program(part), spec.compile_specs).processed_bytes
    lowered = LoweredBackendModule(part, spec.backend_id, processed, spec.compile_specs)
    _insert_call(graph, lowered, nodes, inputs, outputs, after)


def _nodes_after(graph: EdgeGraph, nodes: list[Node], inside: set[Node], tag: str) -> list[Node]:
    """Nodes that need the partition's results but stand before its last node."""
    after: dict[Node, None] = {}
    for node in graph.fx.nodes:
        feeds = any(used in after for used in node.all_input_nodes)
        if node in inside:
            if feeds:
                raise BackendError(
                    f"[partition {tag}] expected a part that nothing outside of it comes between, "
                    f"but {node.name} ({user_line(node)}) needs a result that was made outside "
                    "from the part's own results; split the tag in two"
                )
        elif feeds or any(used in inside for used in node.all_input_nodes):
            after[node] = None
        if node is nodes[-1]:
            break
    return list(after)


def _argument(node: Node) -> Any:
    value = node.meta.get("val")
    for type_, argument in (
        (torch.SymInt, SymIntArgument),
        (torch.SymFloat, SymFloatArgument),
        (torch.SymBool, SymBoolArgument),
    ):
        if isinstance(value, type_):
            return argument(name=node.name)
    return TensorArgument(name=node.name)


def _cut_out(
    graph: EdgeGraph,
    nodes: list[Node],
    constants: list[Node],
    inputs: list[Node],
    outputs: list[Node],
) -> ExportedProgram:
    """The partition as a program of its own; constants go with it, state stays outside."""
    whole = graph.program
    new = Graph()
    copies: dict[Node, Node] = {}
    input_specs: list[InputSpec] = []
    for node in [*constants, *inputs]:
        copies[node] = new.placeholder(node.name)
        copies[node].meta = dict(node.meta)
        old = graph.specs.get(node.name)
        if node in constants and old is not None:
            argument = TensorArgument(copies[node].name)
            input_specs.append(InputSpec(old.kind, argument, old.target, old.persistent))
        else:
            input_specs.append(InputSpec(InputKind.USER_INPUT, _argument(copies[node]), None))
    for node in nodes:
        copies[node] = new.node_copy(node, copies.__getitem__)
        copies[node].meta.pop(_TAG, None)
    new.output(tuple(copies[node] for node in outputs))
    results = [OutputSpec(OutputKind.USER_OUTPUT, _argument(copies[n]), None) for n in outputs]
    names = {graph.constant_name(node) for node in constants}
    _, in_spec = pytree.tree_flatten((tuple(0 for _ in inputs), {}))
    _, out_spec = pytree.tree_flatten(tuple(0 for _ in outputs))
    call = ModuleCallSignature(inputs=[], outputs=[], in_spec=in_spec, out_spec=out_spec)
    root = GraphModule(torch.nn.Module(), new)
    return ExportedProgram(
        root=root,
        graph=new,
        graph_signature=ExportGraphSignature(input_specs, results),
        state_dict={k: v for k, v in whole.state_dict.items() if k in names},
        range_constraints=dict(whole.range_constraints),
        module_call_graph=[ModuleCallEntry(fqn="", signature=call)],
        constants={k: v for k, v in whole.constants.items() if k in names},
        verifiers=[whole.verifier],
    )


def _insert_call(
    graph: EdgeGraph,
    lowered: LoweredBackendModule,
    nodes: list[Node],
    inputs: list[Node],
    outputs: list[Node],
    after: list[Node],
) -> None:
    module = graph.program.graph_module
    number = sum(isinstance(child, LoweredBackendModule) for child in module.children())
    name = f"lowered_module_{number}"
    setattr(module, name, lowered)
    with graph.fx.inserting_after(nodes[-1]):
        attribute = graph.fx.get_attr(name)
    with graph.fx.inserting_after(attribute):
        call = graph.fx.call_function(executorch_call_delegate, (attribute, *inputs))
    call.meta["val"] = tuple(node.meta["val"] for node in outputs)
    call.meta["stack_trace"] = nodes[0].meta.get("stack_trace")
    anchor = call
    for index, node in enumerate(outputs):
        with graph.fx.inserting_after(anchor):
            anchor = graph.fx.call_function(operator.getitem, (call, index))
        anchor.meta.update(val=node.meta["val"], stack_trace=node.meta.get("stack_trace"))
        node.replace_all_uses_with(anchor, delete_user_cb=lambda user: user not in nodes)
    for node in after:
        anchor.append(node)
        anchor = node
    for node in reversed(nodes):
        graph.fx.erase_node(node)
