"""How the dataclasses of a schema say what their fields hold and how it is stored.

>>> [field.name for field in fields_of(schema.KernelCall)]
['op_index', 'args']
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Scalar:
    """How a number is stored: its flatbuffer type name, and its code in the `struct` module."""

    name: str
    code: str


_BOOL = Scalar("bool", "?")
_ENUM = Scalar("byte", "b")


class Kind(enum.Enum):
    """What a field holds."""

    SCALAR = enum.auto()
    STRING = enum.auto()
    TABLE = enum.auto()
    UNION = enum.auto()
    SCALARS = enum.auto()  # vector of numbers
    TABLES = enum.auto()  # vector of tables


@dataclass(frozen=True)
class Field:
    """One field of a table, as the writer, the reader and the generators use it."""

    name: str
    id: int  # a union's tag has `id`, its table `id + 1`
    kind: Kind
    optional: bool
    scalar: Scalar | None = None  # SCALAR, SCALARS
    enum: type[enum.IntEnum] | None = None  # SCALAR
    table: type | None = None  # TABLE, TABLES
    members: tuple[type, ...] = ()  # UNION
    is_bytes: bool = False  # SCALARS that are Python bytes
    default: int | float = 0  # SCALAR: what an absent field means

    @property
    def vtable_offset(self) -> int:
        """Where the field's entry lies in a vtable, in bytes: two sizes precede the first."""
        return 4 + 2 * self.id


@functools.cache
def fields_of(table: type) -> tuple[Field, ...]:
    """The fields of a table, a dataclass, in order."""
    hints = typing.get_type_hints(table, include_extras=True)
    result: list[Field] = []
    next_id = 0
    for member in dataclasses.fields(table):
        made = _describe(member.name, next_id, hints[member.name])
        result.append(made)
        next_id += 2 if made.kind is Kind.UNION else 1
    return tuple(result)


def _describe(name: str, field_id: int, hint: Any) -> Field:
    optional = False
    if isinstance(hint, types.UnionType):
        members = tuple(t for t in typing.get_args(hint) if t is not type(None))
        if len(members) > 1:
            return Field(name, field_id, Kind.UNION, False, members=members)
        optional, hint = True, members[0]
    if hint is str:
        return Field(name, field_id, Kind.STRING, optional)
    if hint is bytes:
        return Field(name, field_id, Kind.SCALARS, optional, Scalar("ubyte", "B"), is_bytes=True)
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        scalar = _scalar(item)
        if scalar is not None:
            return Field(name, field_id, Kind.SCALARS, optional, scalar)
        return Field(name, field_id, Kind.TABLES, optional, table=item)
    if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
        return Field(name, field_id, Kind.SCALAR, optional, _ENUM, enum=hint)
    scalar = _scalar(hint)
    if scalar is not None:
        return Field(name, field_id, Kind.SCALAR, optional, scalar)
    return Field(name, field_id, Kind.TABLE, optional, table=hint)


def _scalar(hint: Any) -> Scalar | None:
    if hint is bool:
        return _BOOL
    if typing.get_origin(hint) is Annotated:
        found = typing.get_args(hint)[1]
        assert isinstance(found, Scalar)
        return found
    return None
