"""From the functional graph to instructions: out variants, views, state, outputs.

    %y = aten.add.Tensor(%x, %b)      →   aten::add.out(x, b, 1, y, y)        y: a storage to plan
    %v = aten.view_copy(%y, [2, 8])   →   nothing: v is y's storage with other sizes
    %n = aten.sym_size.int(%x, 0)     →   aten::sym_size.int(x, 0, n)
    return %c (a buffer's new value)  →   aten::copy_(buffer, c), or nothing if c was written there

Every tensor is dense in row-major order; an input that is channels last is converted on entry.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    OutputKind,
    SymBoolArgument,
    SymFloatArgument,
    SymIntArgument,
    TensorArgument,
)
from torch.fx import GraphModule, Node

from penlight.edge import sizes as shapes
from penlight.edge.containers import encode, leaf_names
from penlight.edge.graph import EdgeGraph, user_line
from penlight.edge.kernels import kernel_name
from penlight.edge.linear import (
    Call,
    DelegateCall,
    JumpFalse,
    LinearMethod,
    ListValue,
    Literal,
    Place,
    Storage,
    Symbol,
    TensorValue,
    Value,
)
from penlight.edge.operators import (
    IN_PLACE_FORM,
    SYMBOLIC,
    bound_arguments,
    out_variant,
    split_name,
)
from penlight.errors import ExportError, UnsupportedError
from penlight.passes.arguments import literal, to_value

aten = torch.ops.aten
_CHANNELS_LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}
_SYMBOL_ARGUMENTS = (SymIntArgument, SymFloatArgument, SymBoolArgument)
_VIEW = ("executorch_prim::et_view", "default")


class Linearizer:
    """Turns one graph into a `LinearMethod`.

    Args:
        graph: a graph that went through all rewrites.
        name: the method's name.
        reuse_views: let reshapes share memory instead of copying.
        plan_inputs: give inputs memory in the arena (the runtime copies them in) instead of
            borrowing the caller's.
    """

    def __init__(
        self, graph: EdgeGraph, name: str, *, reuse_views: bool = True, plan_inputs: bool = False
    ) -> None:
        self.graph = graph
        self.method = LinearMethod(name)
        self.values: dict[Node, Any] = {}
        self.reuse_views = reuse_views
        self.plan_inputs = plan_inputs
        self._states: dict[str, TensorValue] = {}

    def run(self) -> LinearMethod:
        """The method's instructions and values."""
        for node in self.graph.fx.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node)
            elif node.op == "call_function":
                self.values[node] = self._call_function(node, self.graph.program.graph_module)
        self._outputs()
        spec = self.graph.program.call_spec
        self.method.encoded_inputs = encode(spec.in_spec)
        self.method.encoded_outputs = encode(spec.out_spec)
        self.method.output_names = leaf_names(spec.out_spec, "output", len(self.method.outputs))
        return self.method

    # ---- inputs ----

    def _placeholder(self, node: Node) -> Value:
        spec = self.graph.specs[node.name]
        if spec.kind == InputKind.USER_INPUT:
            value = self._user_input(node, spec.arg)
            self.method.inputs.append(value)
            self.method.input_names.append(node.name)
            return self._to_row_major(value, node)
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
            raise UnsupportedError(
                f"[export of {self.method.name}] expected tensors as parameters but got "
                f"{spec.kind.name} ({spec.arg.name}); replace it by tensors or plain numbers"
            )
        assert spec.target is not None
        tensor = self.graph.tensor(spec.target)
        mutable = self.graph.constant_name(node) is None
        value = self._new_tensor(node.meta["val"], node.name)
        value.storage.place = Place.STATE if mutable else Place.CONSTANT
        value.storage.name, value.storage.data = spec.target, tensor
        if mutable:
            self.method.states.append(value)
            self._states[spec.target] = value
        return value

    def _user_input(self, node: Node, argument: Any) -> Value:
        if isinstance(argument, ConstantArgument):
            return literal(argument.value, f"input {node.name}")
        example: Any = node.meta.get("val")
        if isinstance(argument, _SYMBOL_ARGUMENTS):
            return _symbol(example)
        if not isinstance(argument, TensorArgument):
            raise UnsupportedError(
                f"[input {node.name}] expected a tensor or a number but got {argument}; "
                "pass it as one of those"
            )
        value = self._new_tensor(example, node.name)
        value.storage.place = Place.ARENA if self.plan_inputs else Place.CALLER
        order = _CHANNELS_LAST.get(len(value.sizes))
        if order and not value.dynamic and not example.is_contiguous():
            layout = torch.channels_last if len(order) == 4 else torch.channels_last_3d
            if example.is_contiguous(memory_format=layout):
                value.dim_order = order
        return value

    def _to_row_major(self, value: Value, node: Node) -> Value:
        if not isinstance(value, TensorValue) or value.dim_order == tuple(range(len(value.sizes))):
            return value
        if not any(user.op != "output" for user in node.users):
            return value
        out = self._new_tensor(node.meta["val"], node.name)
        order = ListValue("int", tuple(Literal("int", d) for d in range(len(value.sizes))))
        args: list[Value] = [value, Literal("bool", False), order, out, out]
        self._emit("dim_order_ops::_clone_dim_order", "out", args, user_line(node))
        return out

    # ---- calls ----

    def _call_function(self, node: Node, root: GraphModule) -> Any:
        target: Any = node.target
        if target is operator.getitem:
            return self.values[node.args[0]][node.args[1]]  # type: ignore[index]
        if target in SYMBOLIC:
            return self._symbolic(node)
        if target is aten.view_copy.default:
            return self._view(node)
        if isinstance(target, OpOverload):
            return self._operator(node)
        if target is torch.ops.higher_order.cond:
            return self._cond(node, root)
        if getattr(target, "is_penlight_delegate", False):
            return self._delegate(node, root)
        raise UnsupportedError(
            f"[{user_line(node)}] expected operators but got {target}; "
            "write it with tensor operations or torch.cond"
        )

    def _symbolic(self, node: Node) -> Value:
        example = node.meta.get("val")
        if isinstance(example, int | float | bool):
            return literal(example, node.name)
        name, overload = SYMBOLIC[node.target]
        result = _symbol(example)
        args = [to_value(argument, None, self.values, node) for argument in node.args]
        self._emit(name, overload, [*args, result], user_line(node))
        return result

    def _operator(self, node: Node) -> Any:
        target: Any = node.target
        variant = out_variant(target)
        if variant is None:
            self._emit(*split_name(target), [], user_line(node))
            return self._new_results(node)
        if target in IN_PLACE_FORM and "in_place" in node.meta:
            return self._in_place_form(node)
        buffer = node.meta.get("in_place")
        results = self.values[buffer] if buffer is not None else self._new_results(node)
        outs = list(results) if isinstance(results, list) else [results]
        given = bound_arguments(target, node.args, dict(node.kwargs))
        given.pop("memory_format", None)  # every tensor is row-major
        args: list[Value] = []
        remaining = iter(outs)
        for parameter in variant.parameters:
            if not parameter.is_out:
                argument = given.get(parameter.name, parameter.default)
                args.append(to_value(argument, parameter.type, self.values, node))
            elif isinstance(parameter.type, torch.ListType):
                args.append(ListValue("tensor", tuple(outs)))
            else:
                args.append(next(remaining))
        single_list = isinstance(args[-1], ListValue)
        args.append(args[-1] if single_list or len(outs) == 1 else ListValue("tensor", tuple(outs)))
        self._emit(variant.name, variant.overload, args, user_line(node))
        return results

    def _in_place_form(self, node: Node) -> Value:
        target: Any = node.target
        name, overload = IN_PLACE_FORM[target]
        given = bound_arguments(target, node.args, dict(node.kwargs))
        args = [
            to_value(given.get(a.name, a.default_value), a.type, self.values, node)
            for a in target._schema.arguments
        ]
        result: Value = self.values[node.meta["in_place"]]
        self._emit(name, overload, [*args, result], user_line(node))
        return result

    def _view(self, node: Node) -> Value:
        base: TensorValue = self.values[node.args[0]]  # type: ignore[index]
        leaves_method = any(user.op == "output" for user in node.users)
        if leaves_method or not self.reuse_views:
            return self._operator(node)  # type: ignore[no-any-return]
        value = self._new_tensor(node.meta["val"], node.name)
        needed = value.storage.nbytes
        value.storage = base.storage
        base.storage.nbytes = max(base.storage.nbytes, needed)
        if not value.dynamic and not base.dynamic and base.storage.place != Place.CALLER:
            return value
        size = to_value(node.args[1], torch.ListType.ofInts(), self.values, node)
        self._emit(*_VIEW, [base, size, value], user_line(node))
        return value

    def _delegate(self, node: Node, root: GraphModule) -> Any:
        lowered = getattr(root, node.args[0].target)  # type: ignore[union-attr,arg-type]
        inputs = [to_value(argument, None, self.values, node) for argument in node.args[1:]]
        results = self._new_results(node)
        outs = results if isinstance(results, list) else [results]
        self.method.instructions.append(DelegateCall(lowered, [*inputs, *outs]))
        return results

    def _cond(self, node: Node, root: GraphModule) -> list[Value]:
        """Jump over one of two branches; each copies its results to where both leave them."""
        predicate, on_true, on_false, operands = node.args
        results = self._new_results(node)
        condition = to_value(predicate, None, self.values, node)
        to_false = JumpFalse(condition)
        self.method.instructions.append(to_false)
        self._branch(on_true, operands, results, root)
        to_end = JumpFalse(Literal("bool", False))
        self.method.instructions.append(to_end)
        to_false.target = len(self.method.instructions)
        self._branch(on_false, operands, results, root)
        to_end.target = len(self.method.instructions)
        return results  # type: ignore[no-any-return]

    def _branch(self, branch: Any, operands: Any, results: Any, root: GraphModule) -> None:
        module = getattr(root, branch.target)
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        for placeholder, operand in zip(placeholders, operands, strict=True):
            self.values[placeholder] = to_value(operand, None, self.values, placeholder)
        for node in module.graph.nodes:
            if node.op == "call_function":
                self.values[node] = self._call_function(node, module)
        for result, item in zip(results, module.graph.output_node().args[0], strict=True):
            self._copy_into(result, self.values[item], branch)

    # ---- outputs ----

    def _outputs(self) -> None:
        writes: list[tuple[TensorValue, TensorValue, Node]] = []
        left: set[Storage] = set()
        specs = self.graph.program.graph_signature.output_specs
        for spec, node in zip(specs, self.graph.outputs, strict=True):
            if spec.kind == OutputKind.USER_OUTPUT:
                self.method.outputs.append(self._user_output(node, left))
            elif spec.kind in (OutputKind.BUFFER_MUTATION, OutputKind.USER_INPUT_MUTATION):
                target = self._mutated(spec)
                if self.values[node] is not target:
                    writes.append((target, self.values[node], node))
            else:
                raise UnsupportedError(
                    f"[export of {self.method.name}] expected outputs and buffer updates but got "
                    f"{spec.kind.name}; export the inference graph"
                )
        ready = [(target, self._settled(value, node), node) for target, value, node in writes]
        for target, value, node in ready:
            self._copy_into(target, value, node)

    def _mutated(self, spec: Any) -> TensorValue:
        if spec.kind == OutputKind.BUFFER_MUTATION:
            return self._states[spec.target]
        index = self.method.input_names.index(spec.target)
        value = self.method.inputs[index]
        assert isinstance(value, TensorValue)
        return value

    def _settled(self, value: TensorValue, node: Node) -> TensorValue:
        """A value that does not change while state is written back."""
        return value if value.storage.place == Place.ARENA else self._clone(value, node)

    def _user_output(self, node: Any, left: set[Storage]) -> Value:
        value: Value = to_value(node, None, self.values, None)
        if isinstance(value, TensorValue):
            if (
                value.storage.place != Place.ARENA
                or value.storage in left
                or value in (self.method.inputs)
            ):
                value = self._clone(value, node)
            left.add(value.storage)
        return value

    def _clone(self, value: TensorValue, node: Node) -> TensorValue:
        out = self._new_tensor(node.meta["val"], node.name)
        if value.dim_order != out.dim_order:
            order = ListValue("int", tuple(Literal("int", d) for d in out.dim_order))
            args: list[Value] = [value, Literal("bool", False), order, out, out]
            self._emit("dim_order_ops::_clone_dim_order", "out", args, user_line(node))
        else:
            self._emit("aten::clone", "out", [value, Literal("none"), out, out], user_line(node))
        return out

    def _copy_into(self, target: TensorValue, value: Value, node: Node) -> None:
        args: list[Value] = [target, value, Literal("bool", False), target]
        self._emit("aten::copy_", "", args, user_line(node))

    # ---- values ----

    def _emit(self, name: str, overload: str, args: list[Value], source: str) -> None:
        self.method.instructions.append(Call(name, overload, args, source))

    def _new_results(self, node: Node) -> Any:
        example = node.meta["val"]
        if isinstance(example, list | tuple):
            return [self._new_result(item, node) for item in example]
        return self._new_result(example, node)

    def _new_result(self, example: Any, node: Node) -> Value:
        if isinstance(example, torch.Tensor):
            return self._new_tensor(example, node.name)
        if isinstance(example, torch.SymInt | torch.SymFloat | torch.SymBool | int | float | bool):
            return _symbol(example)
        raise ExportError(
            f"[{user_line(node)}] expected {node.target} to give tensors but got "
            f"{type(example).__name__}; rewrite it with operators that return tensors"
        )

    def _new_tensor(self, example: torch.Tensor, label: str) -> TensorValue:
        if example.layout != torch.strided:
            raise UnsupportedError(
                f"[{label}] expected a dense tensor but got layout {example.layout}; "
                "make it dense with .to_dense()"
            )
        ranges = self.graph.program.range_constraints
        bounds = tuple(shapes.upper_bound(size, label, ranges) for size in example.shape)
        storage = Storage(shapes.nbytes(example.dtype, bounds), label=label)
        dynamic = not shapes.is_static(example.shape)
        return TensorValue(example.dtype, bounds, storage, dynamic)


def _symbol(example: Any) -> Symbol:
    if isinstance(example, torch.SymBool | bool):
        return Symbol(False)
    return Symbol(0.0 if isinstance(example, torch.SymFloat | float) else 0)


def missing_kernels(method: LinearMethod, kernels: frozenset[str]) -> dict[str, str]:
    """Operators that have no kernel, each with the first line of the user's code that used it."""
    missing: dict[str, str] = {}
    for instruction in method.instructions:
        if isinstance(instruction, Call):
            name = kernel_name(instruction.name, instruction.overload)
            if name not in kernels:
                missing.setdefault(name, instruction.source)
    return missing
