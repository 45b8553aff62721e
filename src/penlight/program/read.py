"""Reading a program file without trusting it::

    with read_program("model.pte") as file:
        for plan in file.program.execution_plan: ...
        card = bytes(file.named_data["penlight.model"])

The file is mapped, and only its tables are decoded, into the dataclasses of `schema`. Every offset
is checked before it is followed, and the work is bounded by the size of the tables, however their
offsets are tangled. Needs neither the runtime nor torch.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from penlight.closing import Closing
from penlight.errors import ProgramError
from penlight.program.fields import Field, Kind, fields_of
from penlight.program.schema import (
    FILE_IDENTIFIER,
    HEADER_LENGTH,
    HEADER_MAGIC,
    HEADER_MINIMUM_LENGTH,
    HEADER_OFFSET,
    Program,
    SubsegmentOffsets,
)
from penlight.program.verify import verify_program

# Tables may be shared, so decoded bytes may exceed stored ones, but not without end.
_BUDGET_FACTOR = 16
_BUDGET_BASE = 1 << 20


@dataclass(frozen=True)
class Header:
    """The extended header. All zero but `program_size` if the file has none."""

    program_size: int  # bytes of the header and tables, from the start of the file
    segment_base_offset: int  # where segments start; 0 if there are none
    segment_data_size: int  # bytes of all segments; 0 if unknown or none


@dataclass
class ProgramFile(Closing):
    """A verified program and the bytes it came from.

    Views given by `segment` and `named_data` are of the mapped file: valid until `close`, which
    leaves the mapping alone as long as any of them is in use.
    """

    program: Program
    header: Header
    nbytes: int
    _data: memoryview = field(repr=False)
    _mapping: mmap.mmap | None = field(default=None, repr=False)

    def segment(self, index: int) -> memoryview:
        """The bytes of segment `index`. Raises ProgramError if there is no such segment."""
        segments = self.program.segments
        if not 0 <= index < len(segments):
            _fail("segments", f"an index below {len(segments)}", index)
        start = self.header.segment_base_offset + segments[index].offset
        return self._data[start : start + segments[index].size]

    def constant(self, data_buffer_idx: int, nbytes: int) -> memoryview:
        """The `nbytes` bytes of a constant. Raises ProgramError if there are not so many."""
        if self.program.constant_buffer:
            stored = memoryview(self.program.constant_buffer[data_buffer_idx].storage)
        else:
            place = self.program.constant_segment or SubsegmentOffsets()
            if not 0 < data_buffer_idx < len(place.offsets):
                _fail("constants", f"an index from 1 to {len(place.offsets) - 1}", data_buffer_idx)
            stored = self.segment(place.segment_index)[place.offsets[data_buffer_idx] :]
        if len(stored) < nbytes:
            _fail(f"constant {data_buffer_idx}", f"{nbytes} bytes", len(stored))
        return stored[:nbytes]

    @property
    def named_data(self) -> Mapping[str, memoryview]:
        """The named data by key."""
        entries = self.program.named_data or []
        return {entry.key: self.segment(entry.segment_index) for entry in entries}

    def close(self) -> None:
        """Unmap the file."""
        with contextlib.suppress(BufferError):  # someone still holds a view; its owner frees it
            self._data.release()
            if self._mapping is not None:
                self._mapping.close()


def read_program(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview, *, verify: bool = True
) -> ProgramFile:
    """Read the tables of a program file; segments are mapped and not read.

    With `verify` false, only the encoding is checked and not what it says (see `verify`).
    Raises ProgramError if the file is malformed in any way, and OSError if it cannot be opened.
    """
    mapping: mmap.mmap | None = None
    if isinstance(source, (str, os.PathLike)):
        with Path(source).open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                _fail("file", "a program", "an empty file", "export it again")
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data = memoryview(mapping)
    else:
        data = memoryview(source).cast("B")
    try:
        header = _read_header(data)
        with data[: header.program_size] as tables:
            program = _Decoder(tables).root()
        base = header.segment_base_offset
        if verify:
            available = header.segment_data_size or len(data) - base
            verify_program(program, available if base else 0)
    except BaseException:
        data.release()
        if mapping is not None:
            mapping.close()
        raise
    return ProgramFile(program, header, len(data), data, mapping)


def _fail(where: str, expected: str, got: object, hint: str = "the file is damaged") -> NoReturn:
    shown = got if isinstance(got, str) else repr(got)
    raise ProgramError(f"[{where}] expected {expected} but got {shown:.200}; {hint}")


def _read_header(data: memoryview) -> Header:
    if len(data) < HEADER_OFFSET:
        _fail("file", f"at least {HEADER_OFFSET} bytes", len(data), "the file is truncated")
    identifier = bytes(data[4:8])
    if identifier != FILE_IDENTIFIER:
        hint = "this is not a program, or one of another version"
        _fail("file", f"the identifier {FILE_IDENTIFIER!r}", identifier, hint)
    start = HEADER_OFFSET
    if bytes(data[start : start + 4]) != HEADER_MAGIC:
        return Header(len(data), 0, 0)
    if len(data) < start + HEADER_LENGTH:
        _fail("header", f"{start + HEADER_LENGTH} bytes", len(data), "the file is truncated")
    length, size, base, segments = struct.unpack_from("<IQQQ", data, start + 4)
    if length < HEADER_MINIMUM_LENGTH:
        _fail("header", f"a length of at least {HEADER_MINIMUM_LENGTH}", length)
    if length < HEADER_LENGTH:
        segments = 0
    if not start + length <= size <= len(data):
        hint = "the file is truncated or damaged"
        _fail("header", f"a program size of at most {len(data)} bytes", size, hint)
    if base and not size <= base <= len(data):
        hint = "the file is truncated or damaged"
        _fail("header", f"segments to start between {size} and {len(data)}", base, hint)
    if base + segments > len(data) or (segments and not base):
        hint = "the file is truncated or damaged"
        _fail("header", f"segments to end by {len(data)}", base + segments, hint)
    return Header(size, base, segments)


class _Decoder:
    """Follows offsets through the tables. Positions count from the start of the file."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._size = len(data)
        self._budget = _BUDGET_BASE + _BUDGET_FACTOR * len(data)

    def root(self) -> Program:
        program = self._table(Program, self._follow(0, "program"), "program")
        assert isinstance(program, Program)
        return program

    def _spend(self, amount: int, where: str) -> None:
        self._budget -= amount
        if self._budget < 0:
            _fail(where, "no more items than the file can hold", "an endless supply")

    def _unpack(self, code: str, position: int, where: str) -> Any:
        try:
            return struct.unpack_from(f"<{code}", self._data, position)[0]
        except struct.error:
            _fail(where, f"to lie within {self._size} bytes of tables", position)

    def _follow(self, position: int, where: str) -> int:
        offset = self._unpack("I", position, where)
        target = position + int(offset)
        if offset == 0 or target > self._size - 4:
            _fail(where, f"an offset within {self._size} bytes of tables", offset)
        return target

    def _vtable(self, table: int, where: str) -> tuple[int, tuple[int, ...]]:
        """The size of a table and, for each field, its place in it (0: absent)."""
        start = table - int(self._unpack("i", table, where))
        if not 0 <= start <= self._size - 4:
            _fail(where, f"a vtable within {self._size} bytes of tables", start)
        length = int(self._unpack("H", start, where))
        table_size = int(self._unpack("H", start + 2, where))
        if length < 4 or length % 2 or start + length > self._size:
            _fail(where, "a vtable of even length within the tables", length)
        if table_size < 4 or table + table_size > self._size:
            _fail(where, "a table that ends within the tables", table_size)
        return table_size, struct.unpack_from(f"<{length // 2 - 2}H", self._data, start + 4)

    def _table(self, kind: type, position: int, where: str) -> Any:
        table_size, entries = self._vtable(position, where)
        self._spend(table_size, where)
        values: dict[str, Any] = {}
        for item in fields_of(kind):
            inside = f"{where}.{item.name}"
            place = self._place(entries, item.id, table_size, item, inside)
            if item.kind is Kind.UNION:
                second = self._place(entries, item.id + 1, table_size, None, inside)
                values[item.name] = self._union(item, position, place, second, inside)
            elif place:
                values[item.name] = self._field(item, position + place, inside)
            elif item.optional:
                values[item.name] = None
            elif item.kind is Kind.SCALAR:
                values[item.name] = self._number(item, 0, inside)
            elif kind is Program and item.kind is Kind.TABLES:
                values[item.name] = []
            else:
                _fail(inside, "to be present", "nothing")
        return kind(**values)

    def _place(
        self, entries: tuple[int, ...], index: int, size: int, item: Field | None, where: str
    ) -> int:
        place = entries[index] if index < len(entries) else 0
        width = 4
        if item is not None and item.kind is Kind.UNION:
            width = 1
        elif item is not None and item.kind is Kind.SCALAR:
            assert item.scalar is not None
            width = struct.calcsize(f"<{item.scalar.code}")
        if place and (place < 4 or place + width > size):
            _fail(where, f"to lie within its table of {size} bytes", place)
        return place

    def _union(self, item: Field, table: int, tag: int, value: int, where: str) -> Any:
        number = self._data[table + tag] if tag else 0
        if not 1 <= number <= len(item.members):
            _fail(where, f"a union tag from 1 to {len(item.members)}", number)
        if not value:
            _fail(where, "to be present", "nothing")
        return self._table(item.members[number - 1], self._follow(table + value, where), where)

    def _field(self, item: Field, position: int, where: str) -> Any:
        if item.kind is Kind.SCALAR:
            assert item.scalar is not None
            return self._number(item, self._unpack(item.scalar.code, position, where), where)
        target = self._follow(position, where)
        if item.kind is Kind.STRING:
            return self._string(target, where)
        if item.kind is Kind.SCALARS:
            return self._scalars(item, target, where)
        assert item.table is not None
        if item.kind is Kind.TABLE:
            return self._table(item.table, target, where)
        count = self._count(target, 4, where)
        self._spend(4 * count, where)
        table, start = item.table, target + 4
        return [
            self._table(table, self._follow(start + 4 * i, f"{where}[{i}]"), f"{where}[{i}]")
            for i in range(count)
        ]

    def _number(self, item: Field, number: Any, where: str) -> Any:
        if item.enum is None:
            return bool(number) if item.scalar and item.scalar.code == "?" else number
        try:
            return item.enum(number)
        except ValueError:
            _fail(where, f"a known {item.enum.__name__}", number, "made by a newer version?")

    def _count(self, position: int, width: int, where: str) -> int:
        count = int(self._unpack("I", position, where))
        if count * width > self._size - position - 4:
            _fail(where, f"items that fit {self._size} bytes of tables", count)
        return count

    def _scalars(self, item: Field, position: int, where: str) -> Any:
        assert item.scalar is not None
        width = struct.calcsize(f"<{item.scalar.code}")
        count = self._count(position, width, where)
        self._spend(count * width, where)
        start = position + 4
        if item.is_bytes:
            return bytes(self._data[start : start + count])
        if item.scalar.code == "?" and max(self._data[start : start + count], default=0) > 1:
            _fail(where, "truth values of 0 or 1", bytes(self._data[start : start + count]))
        return list(struct.unpack_from(f"<{count}{item.scalar.code}", self._data, start))

    def _string(self, position: int, where: str) -> str:
        count = self._count(position, 1, where)
        self._spend(count, where)
        end = position + 4 + count
        if end >= self._size or self._data[end] != 0:
            _fail(where, "a text that ends in a zero byte", "none")
        try:
            return str(self._data[position + 4 : end], "utf-8")
        except UnicodeDecodeError as error:
            _fail(where, "UTF-8 text", str(error))
