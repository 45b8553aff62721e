"""Runs one operator twice, in eager PyTorch and in Penlight, and compares.

    from harness import run_op, refuse_op

    run_op("aten::add.Tensor", x, y, alpha=2)          # the functional overload
    run_op(torch.ops.aten.sum.dim_IntList, x, [0], keepdim=True, rtol=1e-6)
    run_op("aten::copy_", x, y)                        # in place: compares the new value of x
    run_op("penlight::rms_norm", x, w, 1e-6, 0.0)      # custom: its kernel is "<name>.out"
    message = refuse_op("aten::add.Tensor", x, z, out=[torch.empty(2)])    # must be a clean error

The kernel is found by the schema of the out variant that belongs to the overload; the outputs get
the shape, dtype and dim order of what eager PyTorch returns. Tensors are inputs of a program of one
instruction, in the memory order that they have (any permutation of dense dimensions, such as
channels last; other strides do not exist in programs, and raise ValueError).

`run_op` returns Penlight's outputs, and raises AssertionError where they differ: in dtype, shape or
dim order at all, in values by more than the tolerance of the dtype (`TOLERANCES`, or `rtol` and
`atol`; integers and bool never). `compare=False` compares everything but the values, for operators
of random numbers. `outputs=` gives the expected tensors, where eager PyTorch is not the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

import penlight
from penlight.errors import PenlightError
from penlight.passes.arguments import SCALAR_TYPES
from penlight.program import schema
from penlight.program.write import Blob, ProgramBuilder

TOLERANCES: dict[torch.dtype, tuple[float, float]] = {  # (relative, absolute)
    torch.float64: (1e-11, 1e-13),
    torch.float32: (1e-5, 1e-6),
    torch.float16: (1e-3, 1e-6),
    torch.bfloat16: (8e-3, 1e-6),
}
_FACTORY = ("dtype", "layout", "device", "pin_memory")  # obeyed when a graph is captured
_MEMORY_FORMATS = {
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.channels_last_3d: 3,
}


@dataclass
class Call:
    """One kernel call: values in the order of its schema, and the tensors that it is to fill."""

    name: str  # "aten::add"
    overload: str  # "out"
    arguments: list[tuple[str, Any]]  # (type in the schema, value)
    outputs: list[torch.Tensor]  # templates: dtype, shape and dim order
    in_place: bool = False  # the first argument is the output
    out_list: bool = False  # the outputs are one argument, a list


# Called with each call that agreed with eager PyTorch: (call, Penlight's outputs, rtol, atol).
OBSERVERS: list[Callable[[Call, list[torch.Tensor], float, float], None]] = []


def run_op(
    op: str | torch._ops.OpOverload,
    *args: Any,
    rtol: float | None = None,
    atol: float | None = None,
    compare: bool = True,
    outputs: Sequence[torch.Tensor] | None = None,
    **kwargs: Any,
) -> list[torch.Tensor]:
    """Compare one call with eager PyTorch; see the module's text. Gives Penlight's outputs."""
    overload = _overload(op)
    if outputs is None:
        result = overload(*(_copy(a) for a in args), **kwargs)
        outputs = [result] if isinstance(result, torch.Tensor) else list(result)
    call = make_call(overload, args, kwargs, outputs)
    actual = execute(call)
    assert len(actual) == len(outputs)
    for ours, theirs in zip(actual, outputs, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert ours.dim_order() == theirs.dim_order()
        if compare:
            close = TOLERANCES.get(theirs.dtype, (0.0, 0.0))
            torch.testing.assert_close(
                ours,
                theirs,
                rtol=close[0] if rtol is None else rtol,
                atol=close[1] if atol is None else atol,
                equal_nan=True,
                msg=lambda text: f"{overload}{_describe(args)}: {text}",
            )
    for observe in OBSERVERS if compare else ():
        close = TOLERANCES.get(outputs[0].dtype, (0.0, 0.0))
        observe(
            call, actual, close[0] if rtol is None else rtol, close[1] if atol is None else atol
        )
    return actual


def refuse_op(
    op: str | torch._ops.OpOverload, *args: Any, out: Sequence[torch.Tensor], **kwargs: Any
) -> str:
    """The message with which the kernel refuses a call whose outputs are like `out`."""
    try:
        execute(make_call(_overload(op), args, kwargs, out))
    except PenlightError as error:
        message = str(error)
        assert "expected" in message, f"no expectation is named: {message}"
        return message
    raise AssertionError(f"{op}{_describe(args)} was expected to be refused but ran")


def make_call(
    overload: torch._ops.OpOverload,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    outputs: Sequence[torch.Tensor],
) -> Call:
    """The call of the out variant that belongs to a functional (or in-place) overload."""
    functional = overload._schema
    given = dict(zip((a.name for a in functional.arguments), args, strict=False)) | kwargs
    in_place = functional.name.endswith("_") and functional.arguments[0].alias_info is not None
    out_schema = functional if in_place else _out_schema(overload)
    arguments = []
    for a in out_schema.arguments:
        if a.is_out:
            continue
        value = given.get(a.name, a.default_value)
        arguments.append((_type(a), value))
    listed = any(a.is_out and str(a.type) == "List[Tensor]" for a in out_schema.arguments)
    if out_schema is functional and not in_place:  # a custom operator's list is one out argument
        listed = [str(r.type) for r in functional.returns] == ["List[Tensor]"]
    default = "" if in_place else "out"
    name = out_schema.overload_name or default
    return Call(out_schema.name, name, arguments, list(outputs), in_place, listed)


def execute(call: Call) -> list[torch.Tensor]:
    """Run a call in Penlight."""
    data, inputs = build_program(call)
    with penlight.load(data, threads=2) as program:
        outputs = program.method("forward").execute(inputs)
    return [_as_torch(o, t.dtype) for o, t in zip(outputs, call.outputs, strict=True)]


def build_program(call: Call) -> tuple[bytes, list[torch.Tensor]]:
    """The bytes of a program with this one instruction, and the tensors to run it on."""
    values: list[schema.EValue] = []
    inputs: list[int] = []
    tensors: list[torch.Tensor] = []
    builder = ProgramBuilder()
    used = 0

    def add(value: Any) -> int:
        values.append(schema.EValue(val=value))
        return len(values) - 1

    def plan(t: torch.Tensor, initial: torch.Tensor | None = None) -> int:
        nonlocal used
        place = schema.AllocationDetails.at(1, used)
        used += -(-max(1, t.numel() * t.element_size()) // 64) * 64
        index = 0 if initial is None else builder.add_mutable_initial(Blob(_bytes(initial)))
        return add(_tensor(t, place, index))

    def argument(kind: str, value: Any) -> int:
        if value is None:
            return add(schema.Null())
        if isinstance(value, torch.Tensor):
            tensors.append(value)
            inputs.append(add(_tensor(value, None, 0)))
            return inputs[-1]
        if kind.startswith("Tensor"):
            items = [argument("Tensor?", v) for v in value]
            optional = kind == "Tensor?[]"
            return add((schema.OptionalTensorList if optional else schema.TensorList)(items))
        return _constant(add, kind, value)

    if call.in_place:
        first = plan(call.outputs[0], initial=call.arguments[0][1])
        args = [first] + [argument(k, v) for k, v in call.arguments[1:]]
        outs, result = [first], first
    else:
        args = [argument(k, v) for k, v in call.arguments]
        outs = [plan(t) for t in call.outputs]
        args += [add(schema.TensorList(outs))] if call.out_list else outs
        result = outs[0] if len(outs) == 1 and not call.out_list else add(schema.TensorList(outs))
    kernel = schema.KernelCall(op_index=0, args=[*args, result])
    builder.add_plan(
        schema.ExecutionPlan(
            name="forward",
            values=values,
            inputs=inputs,
            outputs=outs,
            chains=[schema.Chain(inputs, outs, [schema.Instruction(kernel)])],
            operators=[schema.Operator(call.name, call.overload)],
            non_const_buffer_sizes=[0, max(64, used)],
        )
    )
    return builder.to_bytes(), tensors


def _constant(add: Any, kind: str, value: Any) -> int:
    """A value of the table which is no tensor; lists of integers refer to further values."""
    if isinstance(value, torch.dtype):
        value = SCALAR_TYPES[value]
    elif isinstance(value, torch.memory_format):
        value = _MEMORY_FORMATS[value]
    base = kind.rstrip("?")
    if base in ("int[]", "float[]", "bool[]") and not isinstance(value, list | tuple):
        value = [value]
    if base == "int[]":
        return int(add(schema.IntList([add(schema.Int(v)) for v in value])))
    if base == "float[]":
        return int(add(schema.DoubleList([float(v) for v in value])))
    if base == "bool[]":
        return int(add(schema.BoolList(list(value))))
    if isinstance(value, str):
        return int(add(schema.String(value)))
    if isinstance(value, bool):
        return int(add(schema.Bool(value)))
    if isinstance(value, float) or base == "float":
        return int(add(schema.Double(float(value))))
    return int(add(schema.Int(value)))


def _tensor(
    t: torch.Tensor, place: schema.AllocationDetails | None, data_index: int
) -> schema.Tensor:
    return schema.Tensor(
        scalar_type=schema.ScalarType(SCALAR_TYPES[t.dtype]),
        sizes=list(t.shape),
        dim_order=_dim_order(t),
        data_buffer_idx=data_index,
        allocation_info=place,
    )


def _dim_order(t: torch.Tensor) -> list[int]:
    order = list(t.dim_order())
    stride = 1
    for d in reversed(order):
        if t.shape[d] != 1 and t.stride(d) != stride and t.numel() > 0:
            raise ValueError(f"strides {t.stride()} of shape {list(t.shape)} are not dense")
        stride *= max(1, t.shape[d])
    return order


def _as_torch(output: Any, dtype: torch.dtype) -> torch.Tensor:
    """Outputs are numpy arrays where no input was a tensor; numpy has no bfloat16."""
    tensor = output if isinstance(output, torch.Tensor) else torch.from_numpy(output)
    return tensor.view(dtype) if tensor.dtype == torch.uint16 else tensor


def _bytes(t: torch.Tensor) -> bytes:
    """The elements in memory order."""
    dense = t.permute(_dim_order(t)).contiguous()
    return bytes(dense.reshape(-1).view(torch.uint8).numpy().tobytes())


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


def _overload(op: str | torch._ops.OpOverload) -> torch._ops.OpOverload:
    if not isinstance(op, str):
        return op
    namespace, _, rest = op.partition("::")
    name, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), name)
    found: torch._ops.OpOverload = getattr(packet, overload or "default")
    return found


def _out_schema(overload: torch._ops.OpOverload) -> Any:
    """The schema whose inputs are those of the overload and which has out arguments."""
    own = [(a.name, str(a.type)) for a in overload._schema.arguments]
    bare = [a for a in own if a[0] not in _FACTORY]
    packet = overload.overloadpacket
    for name in packet.overloads():
        candidate = getattr(packet, name)._schema
        if not any(a.is_out for a in candidate.arguments):
            continue
        inputs = [(a.name, str(a.type)) for a in candidate.arguments if not a.is_out]
        if inputs in (own, bare):
            return candidate
    return overload._schema  # a custom operator: outs follow its arguments


def signature(out_schema: Any) -> str:
    """Argument types as the runtime writes them: "Tensor, int[]?, bool, Tensor!".

    A number that an operator returns is one more argument, which the kernel writes.
    """
    parts = []
    for a in out_schema.arguments:
        written = a.alias_info is not None and a.alias_info.is_write
        parts.append(_type(a) + ("!" if written else ""))
    if out_schema.returns and "Tensor" not in str(out_schema.returns[0].type):
        parts.append("Scalar!")
    return ", ".join(parts)


def _type(argument: Any) -> str:
    return _type_text(str(argument.real_type))


def _type_text(text: str) -> str:
    """PyTorch's "Optional[List[number]]" as "Scalar[]?"; what is stored as integers, as "int"."""
    for prefix, suffix in (("Optional[", "?"), ("List[", "[]")):
        if text.startswith(prefix):
            return _type_text(text[len(prefix) : -1]) + suffix
    stored_as_int = ("SymInt", "ScalarType", "MemoryFormat", "Layout")
    return {"number": "Scalar", **dict.fromkeys(stored_as_int, "int")}.get(text, text)


def _describe(args: Sequence[Any]) -> str:
    parts = []
    for a in args:
        tensor = isinstance(a, torch.Tensor)
        parts.append(f"{a.dtype}{list(a.shape)}" if tensor else repr(a))
    return "(" + ", ".join(parts) + ")"
