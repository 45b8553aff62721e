"""A program's tables as flatbuffer bytes, written front to back.

Every table is preceded by its vtable (equal vtables are stored once) and followed by what it
refers to, so all offsets point forward as the format requires, and the place of every byte is
known when it is written. Within a table, fields are sorted by width, widest first, which leaves no
gaps. Layout: the FlatBuffers binary format, https://flatbuffers.dev/internals/.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from penlight.errors import ProgramError
from penlight.program.fields import Field, Kind, fields_of
from penlight.program.schema import (
    FILE_IDENTIFIER,
    HEADER_LENGTH,
    HEADER_MAGIC,
    HEADER_OFFSET,
    Program,
)

PAGE = 4096
_TABLES_START = 48  # after the root offset, the identifier and the header; a multiple of 16
_LIMIT = 2**31 - 1  # offsets between tables are 32 bits wide
_OFFSET = struct.Struct("<I")


def align(offset: int, alignment: int) -> int:
    """The smallest multiple of `alignment` (a power of two) that is not below `offset`."""
    return (offset + alignment - 1) & -alignment


def encode_program(program: Program, segment_data_size: int) -> bytes:
    """The bytes of a file up to where its segments begin: header, tables and padding to a page.

    `segment_data_size` is the length in bytes of everything that follows; 0 means no segments.
    Raises ProgramError if a number does not fit its field or the tables exceed 2 GiB.
    """
    encoder = _Encoder()
    root = encoder.table(program, "program")
    data = encoder.data
    program_size = len(data)
    base = align(program_size, PAGE) if segment_data_size else 0
    struct.pack_into("<I4s", data, 0, root, FILE_IDENTIFIER)
    struct.pack_into(
        "<4sIQQQ", data, HEADER_OFFSET,
        HEADER_MAGIC, HEADER_LENGTH, program_size, base, segment_data_size,
    )  # fmt: skip
    data.extend(bytes(max(base - program_size, 0)))
    return bytes(data)


@dataclass(frozen=True)
class _Slot:
    """A field that is present in one shape of table: how its value is found and where it lies."""

    field: Field
    position: int  # bytes from the table's start
    is_tag: bool = False  # the tag of a union, not its table
    is_offset: bool = False  # refers to something that is written later


@dataclass(frozen=True)
class _Shape:
    """The layout shared by all tables of one class that have the same fields present."""

    vtable: bytes
    packer: struct.Struct
    slots: tuple[_Slot, ...]
    wide: bool  # holds eight-byte fields


def _make_shape(table: type, present: tuple[bool, ...]) -> _Shape:
    wanted: list[tuple[int, str, Field, bool, bool]] = []  # width, code, field, is_tag, is_offset
    for field, here in zip(fields_of(table), present, strict=True):
        if not here:
            continue
        if field.kind is Kind.SCALAR:
            assert field.scalar is not None
            code = field.scalar.code
            wanted.append((struct.calcsize(f"<{code}"), code, field, False, False))
        else:
            wanted.append((4, "I", field, False, True))
            if field.kind is Kind.UNION:
                wanted.append((1, "B", field, True, False))
    wanted.sort(key=lambda entry: -entry[0])
    count = max((f.id + (2 if f.kind is Kind.UNION else 1) for _, _, f, _, _ in wanted), default=0)
    entries = [0] * count
    slots: list[_Slot] = []
    position = 4  # the offset to the vtable comes first
    for width, _, field, is_tag, is_offset in wanted:
        index = field.id + (1 if field.kind is Kind.UNION and not is_tag else 0)
        entries[index] = position
        slots.append(_Slot(field, position, is_tag, is_offset))
        position += width
    vtable = struct.pack(f"<{count + 2}H", 4 + 2 * count, position, *entries)
    packer = struct.Struct("<i" + "".join(code for _, code, *_ in wanted))
    return _Shape(vtable, packer, tuple(slots), any(width == 8 for width, *_ in wanted))


class _Encoder:
    def __init__(self) -> None:
        self.data = bytearray(_TABLES_START)
        self._vtables: dict[bytes, int] = {}
        self._shapes: dict[tuple[type, tuple[bool, ...]], _Shape] = {}

    def table(self, value: Any, where: str) -> int:
        """Write a table and all that it refers to; gives its position."""
        shape = self._shape_of(value)
        data = self.data
        vtable = self._vtables.get(shape.vtable)
        if vtable is None:
            vtable = self._pad(2)
            self._vtables[shape.vtable] = vtable
            data += shape.vtable
        start = self._pad(8, 4) if shape.wide else self._pad(4)
        if start + shape.packer.size > _LIMIT:
            raise ProgramError(
                f"[{where}] expected the tables of a program to fit 2 GiB but they do not; "
                "store large data in segments"
            )
        numbers = [start - vtable]
        for slot in shape.slots:
            numbers.append(0 if slot.is_offset else self._number(value, slot))
        try:
            data += shape.packer.pack(*numbers)
        except struct.error as error:
            raise ProgramError(
                f"[{where}] expected numbers that fit their fields but got {value!r} ({error}); "
                "see schema.fbs for the widths"
            ) from None
        for slot in shape.slots:
            if slot.is_offset:
                child = getattr(value, slot.field.name)
                here = start + slot.position
                target = self._child(slot.field, child, f"{where}.{slot.field.name}")
                _OFFSET.pack_into(data, here, target - here)
        return start

    def _shape_of(self, value: Any) -> _Shape:
        table: type = type(value)
        present = tuple(
            bool(getattr(value, field.name))
            if field.kind is Kind.SCALAR
            else getattr(value, field.name) is not None
            for field in fields_of(table)
        )
        shape = self._shapes.get((table, present))
        if shape is None:
            shape = self._shapes[table, present] = _make_shape(table, present)
        return shape

    @staticmethod
    def _number(value: Any, slot: _Slot) -> Any:
        member = getattr(value, slot.field.name)
        return slot.field.members.index(type(member)) + 1 if slot.is_tag else member

    def _child(self, field: Field, value: Any, where: str) -> int:
        if field.kind is Kind.STRING:
            return self._vector(value.encode() + b"\0", len(value.encode()), 1)
        if field.kind is Kind.SCALARS:
            assert field.scalar is not None
            if field.is_bytes:
                return self._vector(value, len(value), 1)
            code = field.scalar.code
            try:
                packed = struct.pack(f"<{len(value)}{code}", *value)
            except struct.error as error:
                raise ProgramError(
                    f"[{where}] expected numbers of type {field.scalar.name} but got "
                    f"{value!r:.200} ({error}); see schema.fbs for the widths"
                ) from None
            return self._vector(packed, len(value), struct.calcsize(f"<{code}"))
        if field.kind is Kind.TABLES:
            start = self._vector(bytes(4 * len(value)), len(value), 4)
            for index, item in enumerate(value):
                here = start + 4 + 4 * index
                target = self.table(item, f"{where}[{index}]")
                _OFFSET.pack_into(self.data, here, target - here)
            return start
        return self.table(value, where)

    def _vector(self, payload: bytes, count: int, width: int) -> int:
        """Write a length and the items, the items aligned to their width."""
        start = self._pad(8, 4) if width == 8 else self._pad(4)
        self.data += _OFFSET.pack(count)
        self.data += payload
        return start

    def _pad(self, alignment: int, remainder: int = 0) -> int:
        """Advance to the next position that is `remainder` modulo `alignment`."""
        self.data += bytes((remainder - len(self.data)) % alignment)
        return len(self.data)
