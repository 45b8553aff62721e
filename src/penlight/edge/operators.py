"""Operators: from a functional overload to the out variant that a kernel implements."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload

# Arguments that a factory or a cast has and its out variant takes from the out tensor instead.
_TAKEN_FROM_OUT = {"dtype", "layout", "device", "pin_memory", "memory_format", "dim_order"}

# Symbolic arithmetic on sizes, and the runtime primitive that computes it.
SYMBOLIC: dict[Any, tuple[str, str]] = {
    operator.add: ("executorch_prim::add", "Scalar"),
    operator.sub: ("executorch_prim::sub", "Scalar"),
    operator.mul: ("executorch_prim::mul", "Scalar"),
    operator.floordiv: ("executorch_prim::floordiv", "Scalar"),
    operator.truediv: ("executorch_prim::truediv", "Scalar"),
    operator.mod: ("executorch_prim::mod", "Scalar"),
    operator.neg: ("executorch_prim::neg", "Scalar"),
    operator.eq: ("executorch_prim::eq", "Scalar"),
    operator.gt: ("executorch_prim::gt", "Scalar"),
    operator.lt: ("executorch_prim::lt", "Scalar"),
    operator.ge: ("executorch_prim::ge", "Scalar"),
    operator.le: ("executorch_prim::le", "Scalar"),
    operator.not_: ("executorch_prim::sym_not", "Scalar"),
    operator.pow: ("executorch_prim::pow", "Scalar"),
    math.ceil: ("executorch_prim::ceil", "Scalar"),
    math.floor: ("executorch_prim::floor", "Scalar"),
    math.trunc: ("executorch_prim::trunc", "Scalar"),
    round: ("executorch_prim::round", "Scalar"),
    torch.sym_float: ("executorch_prim::sym_float", "Scalar"),
    torch.sym_int: ("executorch_prim::sym_int", "Scalar"),
    torch.sym_max: ("executorch_prim::sym_max", "Scalar"),
    torch.sym_min: ("executorch_prim::sym_min", "Scalar"),
    torch.sym_not: ("executorch_prim::sym_not", "Scalar"),
    torch.sym_ite: ("executorch_prim::sym_ite", "Scalar"),
    torch.ops.aten.sym_size.int: ("aten::sym_size", "int"),
    torch.ops.aten.sym_numel.default: ("aten::sym_numel", ""),
    torch.ops.aten._local_scalar_dense.default: ("aten::_local_scalar_dense", ""),
    torch.ops.aten.item.default: ("aten::_local_scalar_dense", ""),
}

# Results that share the memory of an argument if that is state which nobody reads later.
# A kernel that is listed here accepts its out tensor being that very argument.
IN_PLACE_CAPABLE: dict[str, int] = {"penlight::update_cache": 0}

# In-place forms of operators that leave most of their first argument as it is.
IN_PLACE_FORM: dict[Any, tuple[str, str]] = {
    torch.ops.aten.index_put.default: ("aten::index_put_", ""),
}

# Kernels that read element i of an equally shaped argument only to write element i.
ELEMENTWISE = frozenset(
    "abs add mul sub div neg clamp relu sigmoid tanh exp log sqrt rsqrt maximum minimum "
    "logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or".split()
)


@dataclass(frozen=True)
class Parameter:
    """One argument of a kernel: its name, its type in the schema, and its default."""

    name: str
    type: Any
    default: Any
    is_out: bool


@dataclass(frozen=True)
class OutVariant:
    """The kernel for a functional operator. Outs come last and are written by it."""

    name: str
    overload: str
    parameters: tuple[Parameter, ...]


def split_name(op: OpOverload) -> tuple[str, str]:
    """("aten::add", "Tensor"); the default overload is "" as in a program file."""
    overload = op._overloadname
    return op._schema.name, "" if overload == "default" else overload


@functools.cache
def out_variant(op: OpOverload) -> OutVariant | None:
    """The out variant of a functional overload; None if there is none.

    Of all overloads with out arguments it is the one whose other arguments are those of `op`, less
    those that an out tensor determines (dtype, layout, ...). A custom operator without a registered
    out variant gets ``ns::name.out``: its own arguments, then one out tensor per result.
    """
    functional = {argument.name: str(argument.type) for argument in op._schema.arguments}
    best: tuple[int, OpOverload] | None = None
    for name in op.overloadpacket.overloads():
        candidate = getattr(op.overloadpacket, name)
        arguments = candidate._schema.arguments
        outs = [argument for argument in arguments if argument.is_out]
        inputs = {a.name: str(a.type) for a in arguments if not a.is_out}
        if not outs or len(outs) != max(1, len(op._schema.returns)):
            continue
        missing = set(functional) - set(inputs)
        if missing - _TAKEN_FROM_OUT or any(
            functional.get(name) != type_ for name, type_ in inputs.items()
        ):
            continue
        if best is None or len(missing) < best[0]:
            best = (len(missing), candidate)
    if best is not None:
        return _from_schema(best[1])
    namespace = op._schema.name.split("::")[0]
    return _derived(op) if namespace not in ("aten", "prims") else None


def _parameter(argument: Any, is_out: bool = False) -> Parameter:
    default = argument.default_value if argument.has_default_value() else None
    return Parameter(argument.name, argument.type, default, is_out)


def _from_schema(op: OpOverload) -> OutVariant:
    name, overload = split_name(op)
    ordered = sorted(op._schema.arguments, key=lambda argument: bool(argument.is_out))
    return OutVariant(name, overload, tuple(_parameter(a, bool(a.is_out)) for a in ordered))


def _derived(op: OpOverload) -> OutVariant:
    name, overload = split_name(op)
    inputs = [_parameter(argument) for argument in op._schema.arguments]
    outs = [
        Parameter(f"out{index}", result.type, None, True)
        for index, result in enumerate(op._schema.returns)
    ]
    return OutVariant(name, f"{overload}_out" if overload else "out", tuple(inputs + outs))


def bound_arguments(op: OpOverload, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Argument name to the value given in a call; arguments left out are absent."""
    positional = [argument.name for argument in op._schema.arguments if not argument.kwarg_only]
    return {**dict(zip(positional, args, strict=False)), **kwargs}


def copy_of_view(op: OpOverload) -> OpOverload | None:
    """The ``*_copy`` form of a view operator (``permute`` to ``permute_copy``), else None."""
    namespace, name = op._schema.name.split("::")
    if namespace != "aten" or op.is_view is False:
        return None
    if not any(result.alias_info is not None for result in op._schema.returns):
        return None
    packet = getattr(torch.ops.aten, f"{name}_copy", None)
    return getattr(packet, op._overloadname, None)
