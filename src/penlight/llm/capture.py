"""Capturing a language model in the time that a few of its layers take.

`torch.export` is given the first layer and one of each kind; its graph is then written out with
all of them. Layers are of one kind if nothing but the names and values of their tensors tells them
apart. What comes out is what capturing the whole model gives, which is also what happens where
the graph does not have the form expected here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    TensorArgument,
)
from torch.fx import Graph, Node

import penlight.edge.ops  # noqa: F401  (registers torch.ops.penlight)
from penlight.models._layers import CausalLM

__all__ = ["capture", "capture_whole"]

_LAYER = re.compile(r"layers\.(\d+)(?=[.@]|$)")  # in the path of a module or tensor


def capture(model: CausalLM, prefill: int) -> ExportedProgram:
    """The graph of forward(tokens int64 [1, T], input_pos int64 [1]), T from 1 to prefill.

    Tensors of the meta device, in the model as in what is returned, become fake ones on the CPU;
    layers of one kind share those that stand for their results.
    """
    layers = list(model.layers)
    kinds = [_kind(layer) for layer in layers]
    first_of = {kind: i + 1 for i, kind in reversed([*enumerate(kinds[1:])])}
    # The first is no pattern for others: what it reads is not to be told from what all read.
    chosen = [0, *sorted(first_of.values())]
    if len(chosen) == len(layers):
        return capture_whole(model, prefill)
    mode = _make_fake(model)
    model.layers = nn.ModuleList(layers[i] for i in chosen)
    try:
        part = _export(model, prefill, mode)
    finally:
        model.layers = nn.ModuleList(layers)
    places = [0, *(chosen.index(first_of[kind]) for kind in kinds[1:])]
    try:
        return _Repetition(part, model, places).program()
    except _UnexpectedGraphError:
        return _export(model, prefill, mode)


def capture_whole(model: CausalLM, prefill: int) -> ExportedProgram:
    """The same without leaving out layers."""
    return _export(model, prefill, _make_fake(model))


def _export(model: nn.Module, prefill: int, mode: FakeTensorMode) -> ExportedProgram:
    with mode:
        tokens = torch.zeros(1, 2, dtype=torch.int64)
        position = torch.zeros(1, dtype=torch.int64)
    length = torch.export.Dim("length", min=1, max=prefill)
    static = torch.export.Dim.STATIC
    with torch.no_grad():
        return torch.export.export(
            model,
            (tokens, position),
            dynamic_shapes={"tokens": {0: static, 1: length}, "input_pos": {0: static}},
        )


def _make_fake(model: nn.Module) -> FakeTensorMode:
    """Give every tensor of the meta device a fake one on the CPU; shared ones stay shared."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    made: dict[int, Tensor] = {}

    def fake(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            empty = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(empty, requires_grad=False) if is_parameter else empty
        return made[id(tensor)]

    with mode:
        for module in model.modules():
            for registry in (module._parameters, module._buffers):
                for name, tensor in registry.items():
                    if tensor is not None and tensor.is_meta:
                        registry[name] = fake(tensor)  # type: ignore[assignment]
    return mode


def _kind(layer: nn.Module) -> tuple[object, ...]:
    """All that a layer's graph can depend on; objects of other types are as many kinds."""

    def settings(module: nn.Module) -> Iterator[object]:
        for name, value in sorted(vars(module).items()):
            if not name.startswith("_"):
                plain = isinstance(value, bool | int | float | str | torch.dtype | None)
                yield name, type(value), value if plain else id(value)

    return (
        *((path, type(m), *settings(m)) for path, m in layer.named_modules()),
        *((name, t.shape, t.dtype) for name, t in _tensors(layer).items()),
    )


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    named: dict[str, Tensor] = dict(module.named_parameters(remove_duplicate=False))
    return named | dict(module.named_buffers(remove_duplicate=False))


class _UnexpectedGraphError(Exception):
    """The graph is no chain of layers each of which hands one tensor to the next."""


@dataclass(frozen=True)
class _Block:
    """The calls of one layer, what it reads of the layer before, and what it gives to the next."""

    nodes: list[Node]
    before: Node | None
    after: Node


class _Repetition:
    """A graph of some layers, written out with as many as the model has.

    places: for each layer of the model, which one of the graph's it is like.
    """

    def __init__(self, part: ExportedProgram, model: CausalLM, places: list[int]) -> None:
        self.part, self.model, self.places = part, model, places
        nodes = part.graph.nodes
        self.inputs = {node.name: node for node in nodes if node.op == "placeholder"}
        self.specs = list(part.graph_signature.input_specs)
        self.paths = {self.inputs[spec.arg.name]: spec.target or "" for spec in self.specs}
        self.graph = Graph()
        self.copies: dict[Node, Node] = {}  # of what lies outside of layers
        self.tensors: dict[str, Node] = {}  # the new placeholders of layers, by path

    def program(self) -> ExportedProgram:
        """Raises _UnexpectedGraphError."""
        head, blocks, tail = self._divide()
        specs = self._copy_inputs()
        for node in head:
            self._copy(node, self.copies)
        stream = self._copy_layer(blocks[0], 0, 0, None)
        for layer, place in enumerate(self.places[1:], 1):
            stream = self._copy_layer(blocks[place], layer, place, stream)
        self.copies[blocks[-1].after] = stream
        for node in tail:
            self._copy(node, self.copies)
        return self._finish(specs)

    def _divide(self) -> tuple[list[Node], list[_Block], list[Node]]:
        """The calls before all layers, the layers, and the calls behind, with the output."""
        count = max(self.places) + 1
        parts: list[list[Node]] = [[] for _ in range(count + 2)]  # head, layers, tail
        at = 0
        for node in self.part.graph.nodes:
            if node.op == "placeholder":
                continue
            layer = _layer_of(node)
            now = layer + 1 if layer is not None else count + 1 if at else 0
            if node.op == "get_attr" or not (now == at or (now == at + 1 and parts[at]) or not at):
                raise _UnexpectedGraphError
            at = now
            parts[at].append(node)
        head, *layers, tail = parts
        given = [
            _only([node for node in part if set(after).intersection(node.users)])
            for part, after in zip(layers, [*layers[1:], tail], strict=True)
        ]
        taken = [None, *given[:-1]]
        for place, part in enumerate([*layers, tail]):
            seen = {*head, *part, *given[max(place - 1, 0) : place]}
            read = {other for node in part for other in node.all_input_nodes}
            for node in read - seen:
                if self._layer_of_input(node) not in (None, place):
                    raise _UnexpectedGraphError
        return head, [_Block(*each) for each in zip(layers, taken, given, strict=True)], tail

    def _layer_of_input(self, node: Node) -> int | None:
        """Of a placeholder. Raises _UnexpectedGraphError for any other node."""
        if node not in self.paths:
            raise _UnexpectedGraphError
        match = _LAYER.match(self.paths[node])
        return int(match[1]) if match else None

    def _copy_inputs(self) -> list[InputSpec]:
        """Makes the placeholders: where the first of some layers' was, those of all layers."""
        specs: list[InputSpec] = []
        done: set[InputKind] = set()
        for spec in self.specs:
            node = self.inputs[spec.arg.name]
            if self._layer_of_input(node) is None:
                specs.append(replace(spec, arg=_argument(self._copy(node, self.copies))))
            elif spec.kind not in done:
                done.add(spec.kind)
                for layer, place in enumerate(self.places):
                    specs += self._copy_inputs_of(layer, place, spec.kind)
        return specs

    def _copy_inputs_of(self, layer: int, place: int, kind: InputKind) -> Iterator[InputSpec]:
        for spec in self.specs:
            node = self.inputs[spec.arg.name]
            if spec.kind != kind or self._layer_of_input(node) != place:
                continue
            path = _LAYER.sub(f"layers.{layer}", self.paths[node], count=1)
            name = node.name.replace(f"layers_{place}_", f"layers_{layer}_", 1)
            made = self.graph.placeholder(name)
            made.meta = dict(node.meta)
            self.tensors[path] = made
            yield replace(spec, arg=_argument(made), target=path)

    def _copy_layer(self, block: _Block, layer: int, place: int, stream: Node | None) -> Node:
        """Gives what the layer hands on; stream: what the one before does."""
        copies = dict(self.copies)
        if block.before is not None and stream is not None:
            copies[block.before] = stream
        for node, path in self.paths.items():
            if self._layer_of_input(node) == place:
                copies[node] = self.tensors[_LAYER.sub(f"layers.{layer}", path, count=1)]
        for node in block.nodes:
            stack = node.meta["nn_module_stack"]
            self._copy(node, copies).meta["nn_module_stack"] = {
                _LAYER.sub(f"layers.{layer}", key): (_LAYER.sub(f"layers.{layer}", path), kind)
                for key, (path, kind) in stack.items()
            }
        return copies[block.after]

    def _copy(self, node: Node, copies: dict[Node, Node]) -> Node:
        copies[node] = self.graph.node_copy(node, copies.__getitem__)
        return copies[node]

    def _finish(self, inputs: list[InputSpec]) -> ExportedProgram:
        part = self.part
        nodes = {node.name: node for node in part.graph.nodes}
        outputs = []
        for spec in part.graph_signature.output_specs:
            if spec.kind != OutputKind.USER_OUTPUT or not isinstance(spec.arg, TensorArgument):
                raise _UnexpectedGraphError
            outputs.append(replace(spec, arg=_argument(self.copies[nodes[spec.arg.name]])))
        state: dict[str, Any] = _of_no_layer(part.state_dict)
        constants: dict[str, Any] = _of_no_layer(part.constants)
        tensors = _tensors(self.model)
        for spec in inputs:
            if spec.target and _LAYER.match(spec.target):
                stored = spec.kind == InputKind.PARAMETER or spec.persistent
                (state if stored else constants)[spec.target] = tensors[spec.target]
        program = ExportedProgram(
            root=part.graph_module,
            graph=self.graph,
            graph_signature=ExportGraphSignature(inputs, outputs),
            state_dict=state,
            range_constraints=part.range_constraints,
            module_call_graph=[e for e in part.module_call_graph if not _LAYER.match(e.fqn)],
            example_inputs=part.example_inputs,
            constants=constants,
            verifiers=part.verifiers,
        )
        program.graph_module.meta.update(part.graph_module.meta)
        return program


def _layer_of(node: Node) -> int | None:
    for path, _ in node.meta.get("nn_module_stack", {}).values():
        if match := _LAYER.match(path):
            return int(match[1])
    return None


def _only(nodes: list[Node]) -> Node:
    if len(nodes) != 1:
        raise _UnexpectedGraphError
    return nodes[0]


def _argument(node: Node) -> TensorArgument:
    return TensorArgument(node.name)


def _of_no_layer(tensors: Mapping[str, Any]) -> dict[str, Any]:
    return {path: tensor for path, tensor in tensors.items() if not _LAYER.match(path)}
