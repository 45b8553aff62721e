"""`EdgeGraph`: an exported program with what every pass asks of it.

    graph = EdgeGraph.copy_of(exported_program)
    for node in graph.calls(torch.ops.aten.clone.default):
        graph.replace(node, node.args[0])
    graph.finish()

Passes change ``graph.fx`` and the signature in place. The tensors of parameters, buffers and
constants are shared with the model, never copied.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, OutputKind, TensorArgument
from torch.fx import GraphModule, Node

_CONSTANT_KINDS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


class EdgeGraph:
    """One method's graph, with its signature and tensors."""

    def __init__(self, program: ExportedProgram) -> None:
        self.program = program
        self.specs: dict[str, InputSpec] = {
            spec.arg.name: spec for spec in program.graph_signature.input_specs
        }
        self._mutable = frozenset(program.graph_signature.buffers_to_mutate.values())

    @classmethod
    def copy_of(cls, program: ExportedProgram) -> EdgeGraph:
        """A graph of its own for passes to change; tensors and lowered modules are shared."""
        return cls(copy_program(program))

    @property
    def fx(self) -> torch.fx.Graph:
        """The torch.fx graph."""
        graph: torch.fx.Graph = self.program.graph_module.graph
        return graph

    @property
    def outputs(self) -> list[Any]:
        """What the graph returns: nodes and constants, in the order of the output specs."""
        returned: Any = self.fx.output_node().args[0]
        return list(returned)

    def calls(self, *targets: Any) -> list[Node]:
        """The calls of any of `targets`, in graph order; all calls if none is given."""
        return [
            node
            for node in self.fx.nodes
            if node.op == "call_function" and (not targets or node.target in targets)
        ]

    def mutated_buffers(self) -> dict[str, Node]:
        """Each mutated buffer's name, and the node whose value it has after the call."""
        specs = self.program.graph_signature.output_specs
        return {
            spec.target: node
            for spec, node in zip(specs, self.outputs, strict=True)
            if spec.kind == OutputKind.BUFFER_MUTATION and spec.target is not None
        }

    def constant_name(self, node: Node) -> str | None:
        """The fully qualified name of a parameter, buffer or constant that is never written."""
        spec = self.specs.get(node.name) if node.op == "placeholder" else None
        if spec is None or spec.kind not in _CONSTANT_KINDS or spec.target is None:
            return None
        return None if spec.target in self._mutable else spec.target

    def tensor(self, name: str) -> torch.Tensor | None:
        """The tensor of a parameter, buffer or constant by its fully qualified name."""
        for table in (self.program.state_dict, self.program.constants):
            if name in table and isinstance(table[name], torch.Tensor):
                return table[name]  # type: ignore[no-any-return]
        return None

    def constant(self, node: Any) -> torch.Tensor | None:
        """The real (not fake) tensor behind an immutable placeholder, or None."""
        name = self.constant_name(node) if isinstance(node, Node) else None
        tensor = self.tensor(name) if name is not None else None
        return None if tensor is None or is_fake(tensor) else tensor

    def add_constant(self, tensor: torch.Tensor, hint: str) -> Node:
        """A new constant placeholder with the value `tensor`."""
        number = len(self.program.constants)
        while f"_{hint}_{number}" in self.program.constants:
            number += 1
        target = f"_{hint}_{number}"
        first = next(
            node
            for node in self.fx.nodes
            if node.op != "placeholder" or self.specs[node.name].kind not in _CONSTANT_KINDS
        )
        with self.fx.inserting_before(first):
            node = self.fx.placeholder(f"c_{target}")
        node.meta["val"] = self._fake(tensor)
        spec = InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(node.name), target)
        inputs = self.program.graph_signature.input_specs
        inputs.insert(
            next((i for i, s in enumerate(inputs) if s.kind not in _CONSTANT_KINDS), len(inputs)),
            spec,
        )
        self.specs[node.name] = spec
        self.program.constants[target] = tensor
        return node

    def _fake(self, tensor: torch.Tensor) -> torch.Tensor:
        for node in self.fx.nodes:
            value = node.meta.get("val")
            if is_fake(value):
                return value.fake_mode.from_tensor(tensor, static_shapes=True)  # type: ignore[no-any-return]
        return tensor.to("meta")

    def replace(self, node: Node, by: Any) -> None:
        """Let all users of `node` use `by` instead, and drop `node`."""
        node.replace_all_uses_with(by)
        self.fx.erase_node(node)
        if isinstance(by, Node):
            for spec in self.program.graph_signature.output_specs:
                if getattr(spec.arg, "name", None) == node.name:
                    spec.arg.name = by.name

    def finish(self) -> None:
        """Make the signature and the generated code agree with the changed graph."""
        specs = self.program.graph_signature.output_specs
        for spec, node in zip(specs, self.outputs, strict=True):
            if isinstance(node, Node):
                spec.arg.name = node.name
        self.program.graph_module.recompile()


def is_fake(value: Any) -> bool:
    """Whether a tensor has no data (fake or meta)."""
    return isinstance(value, torch.Tensor) and (
        isinstance(value, torch._subclasses.FakeTensor) or value.is_meta
    )


def copy_program(
    program: ExportedProgram, graph_module: GraphModule | None = None
) -> ExportedProgram:
    """The same program over a copy of its graph (or over `graph_module`). Tensors are shared."""
    root = graph_module or program.graph_module
    graph = root.graph
    if graph_module is None:
        graph = copy.deepcopy(program.graph_module.graph)
        for old, new in zip(program.graph_module.graph.nodes, graph.nodes, strict=True):
            new.name = old.name  # copying renames what is called as a builtin, such as "input"
        root = GraphModule(program.graph_module, graph)
        root.meta.update(program.graph_module.meta)
    return ExportedProgram(
        root=root,
        graph=root.graph,
        graph_signature=copy.deepcopy(program.graph_signature),
        state_dict=program.state_dict,
        range_constraints=dict(program.range_constraints),
        module_call_graph=program.module_call_graph,
        example_inputs=program.example_inputs,
        constants=dict(program.constants),
        verifiers=[program.verifier],
    )


def user_line(node: Node) -> str:
    """Where in the user's source a node comes from: ``model.py:12: x = torch.foo(y)``."""
    frames = list(_frames(str(node.meta.get("stack_trace") or "")))
    inside_torch = ("/torch/", "\\torch\\")
    own = [frame for frame in frames if not any(part in frame[0] for part in inside_torch)]
    if not (own or frames):
        return "line unknown"
    filename, line, text = (own or frames)[-1]
    return f"{filename}:{line}: {text}" if text else f"{filename}:{line}"


def _frames(stack_trace: str) -> Iterator[tuple[str, str, str]]:
    lines = stack_trace.splitlines()
    for position, line in enumerate(lines):
        if line.strip().startswith('File "'):
            _, filename, rest = line.split('"', 2)
            number = rest.removeprefix(", line ").split(",")[0].strip()
            text = lines[position + 1].strip() if position + 1 < len(lines) else ""
            yield filename, number, "" if text.startswith('File "') else text


class Subgraph(EdgeGraph):
    """A branch of ``torch.cond``: a graph without parameters, constants or state of its own."""

    def __init__(self, parent: EdgeGraph, module: GraphModule) -> None:
        super().__init__(parent.program)
        self.specs = {}
        self._module = module

    @property
    def fx(self) -> torch.fx.Graph:
        """The branch's graph."""
        return self._module.graph

    def add_constant(self, tensor: torch.Tensor, hint: str) -> Node:
        """A 0-d constant, made by ``aten.full``."""
        first = next(node for node in self.fx.nodes if node.op != "placeholder")
        with self.fx.inserting_before(first):
            node = self.fx.call_function(
                torch.ops.aten.full.default, ([], tensor.item()), {"dtype": tensor.dtype}
            )
        node.meta["val"] = self._fake(tensor)
        return node

    def replace(self, node: Node, by: Any) -> None:
        """Let all users of `node` use `by` instead, and drop `node`."""
        node.replace_all_uses_with(by)
        self.fx.erase_node(node)
