"""Arguments of a call as values of a program, by what the operator's schema says they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Node

from penlight.edge.graph import user_line
from penlight.edge.linear import ListValue, Literal, Value
from penlight.errors import UnsupportedError

# The codes of c10::ScalarType; the file stores dtypes as integers.
SCALAR_TYPES: dict[torch.dtype, int] = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
    torch.uint16: 27,
    torch.uint32: 28,
    torch.uint64: 29,
}
_MEMORY_FORMATS = {torch.contiguous_format: 0, torch.preserve_format: 1}


def scalar_type(dtype: torch.dtype, where: str) -> int:
    """The file's code for a dtype.

    Raises:
        UnsupportedError: programs cannot hold this dtype.
    """
    if dtype not in SCALAR_TYPES:
        raise UnsupportedError(
            f"[{where}] expected one of {', '.join(str(d)[6:] for d in SCALAR_TYPES)} but got "
            f"{str(dtype)[6:]}; convert the tensor to one of those"
        )
    return SCALAR_TYPES[dtype]


def literal(value: Any, where: str) -> Literal:
    """A Python constant as a value.

    Raises:
        UnsupportedError: the constant is of a kind that programs cannot hold.
    """
    if value is None:
        return Literal("none")
    for kind, type_ in (("bool", bool), ("int", int), ("float", float), ("string", str)):
        if isinstance(value, type_):
            return Literal(kind, value)
    if isinstance(value, torch.dtype):
        return Literal("int", scalar_type(value, where))
    if isinstance(value, torch.memory_format) and value in _MEMORY_FORMATS:
        return Literal("int", _MEMORY_FORMATS[value])
    if isinstance(value, torch.layout) and value == torch.strided:
        return Literal("int", 0)
    raise UnsupportedError(
        f"[{where}] expected a number, a text, a dtype or nothing but got {value!r} "
        f"({type(value).__name__}); rewrite the model without it"
    )


def to_value(argument: Any, type_: Any, values: Mapping[Node, Any], node: Node | None) -> Any:
    """One argument, converted by its type in the schema (None: by its own)."""
    where = user_line(node) if node is not None else "output"
    if isinstance(argument, Node):
        return values[argument]
    if isinstance(type_, torch.OptionalType):
        type_ = type_.getElementType() if argument is not None else None
    if isinstance(type_, torch.ListType) and argument is not None:
        items = argument if isinstance(argument, list | tuple) else [argument]
        return _list(items, type_.getElementType(), values, node)
    if isinstance(argument, list | tuple):
        return _list(argument, None, values, node)
    if isinstance(type_, torch.FloatType) and isinstance(argument, int):
        return Literal("float", float(argument))
    return literal(argument, where)


def _list(items: Any, type_: Any, values: Mapping[Node, Any], node: Node | None) -> Value:
    if isinstance(type_, torch.OptionalType):
        return ListValue(
            "optional_tensor",
            tuple(None if item is None else values[item] for item in items),
        )
    if isinstance(type_, torch.TensorType) or (items and isinstance(items[0], Node) and not type_):
        return ListValue("tensor", tuple(values[item] for item in items))
    if isinstance(type_, torch.FloatType):
        return ListValue("float", tuple(float(item) for item in items))
    if isinstance(type_, torch.BoolType):
        return ListValue("bool", tuple(bool(item) for item in items))
    return ListValue("int", tuple(to_value(item, None, values, node) for item in items))
