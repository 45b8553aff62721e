"""Writing a program file: data is added as sources, and made only while it is written::

    builder = ProgramBuilder()
    index = builder.add_constant(Blob(weights))             # 1, 2, ...: Tensor.data_buffer_idx
    builder.add_plan(ExecutionPlan(name="forward", ...))
    builder.add_named_data("penlight.model", Blob(card))
    builder.save("model.pte")

The layout is computed from the sources' sizes first, so the file is written once, front to back,
with no more than one chunk of one source and one piece of the file in memory. `format.md` draws the
layout.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from penlight.errors import ProgramError
from penlight.program.encode import PAGE, align, encode_program
from penlight.program.schema import (
    BackendDelegateDataReference,
    DataLocation,
    DataSegment,
    ExecutionPlan,
    NamedData,
    Program,
    SubsegmentOffsets,
)
from penlight.program.verify import verify_program

_MINIMUM_ALIGNMENT = 16  # what ExecuTorch's runtime expects of constants
_CHUNK = 1 << 20  # bytes: how much of a Blob is handed over at a time
# Bytes that are written at a time, at multiples of as many. Linux keeps what was written at once in
# pages as large, up to 2 MiB, and maps them so: weights are then read much faster than from 4 KiB.
_PIECE = 4 << 20
_CONSTANTS = 0  # index of the constant segment; delegates follow from 1

Progress = Callable[[int, int], None]
"""Called with (bytes written, bytes in all) after every chunk."""


class DataSource(Protocol):
    """Bytes that are made when they are written, never earlier."""

    @property
    def nbytes(self) -> int:
        """How many bytes `chunks` will give in all; known before any is made."""
        ...

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The bytes in order. Each chunk may be reused by the source once the next is asked for."""
        ...


class Blob:
    """A DataSource over memory that already exists: bytes, a memoryview or a numpy array.

    An array gives its elements in row-major order, as they are in memory (little-endian).
    """

    def __init__(self, data: bytes | bytearray | memoryview | npt.NDArray[np.generic]) -> None:
        if isinstance(data, np.ndarray):
            flat = np.ascontiguousarray(data).reshape(-1)
            self._view = flat.view(np.uint8).data if flat.size else memoryview(b"")
        else:
            view = memoryview(data)
            self._view = view.cast("B") if view.nbytes else memoryview(b"")

    @property
    def nbytes(self) -> int:
        """The size of the data in bytes."""
        return self._view.nbytes

    def chunks(self) -> Iterator[memoryview]:
        """Views of at most 1 MiB, in order; nothing is copied."""
        for start in range(0, self.nbytes, _CHUNK):
            yield self._view[start : start + _CHUNK]


@dataclass
class _Entry:
    """One source and where it lies within its segment."""

    name: str  # for error messages
    source: DataSource
    offset: int
    nbytes: int  # as it was when the layout was computed


@dataclass
class _Segment:
    """Sources that are stored one after the other, each at its alignment."""

    entries: list[_Entry] = field(default_factory=list)
    size: int = 0

    def add(self, name: str, source: DataSource, alignment: int) -> int:
        """Append a source; gives its offset in the segment."""
        nbytes = source.nbytes
        if nbytes < 0:
            raise ProgramError(f"[{name}] expected a size but got {nbytes} bytes; fix the source")
        offset = align(self.size, alignment)
        self.entries.append(_Entry(name, source, offset, nbytes))
        self.size = offset + nbytes
        return offset


class ProgramBuilder:
    """Collects the parts of a program and writes the file.

    Indices that are handed out may be used in plans at once. A source is asked for its bytes once
    for every `write`. Not safe for use by several threads.
    """

    def __init__(self) -> None:
        self._plans: list[ExecutionPlan] = []
        self._constants = _Segment()
        self._constant_offsets = [0]  # index 0 means "no data"
        self._constant_keys: dict[str, tuple[int, int]] = {}  # key -> (index, nbytes)
        self._mutable = _Segment()
        self._mutable_offsets = [0]
        self._delegates: list[_Segment] = []
        self._named: dict[str, _Segment] = {}

    def add_constant(
        self, source: DataSource, *, alignment: int = 64, key: str | None = None
    ) -> int:
        """Add data that is read in place; gives its `Tensor.data_buffer_idx`, 1 or more.

        A `key` that was seen before gives the earlier index, and `source` is not used.
        `alignment` is a power of two in bytes, from 1 to 4096; at least 16 is used.
        Raises ProgramError if the same key comes with another size.
        """
        _check_alignment(alignment)
        index = len(self._constant_offsets)
        name = f"constant {key or index}"
        if key is not None:
            known = self._constant_keys.setdefault(key, (index, source.nbytes))
            if known[1] != source.nbytes:
                raise ProgramError(
                    f"[{name}] expected {known[1]} bytes as when it was first added but got "
                    f"{source.nbytes}; use another key for other data"
                )
            if known[0] != index:
                return known[0]
        alignment = max(alignment, _MINIMUM_ALIGNMENT)
        self._constant_offsets.append(self._constants.add(name, source, alignment))
        return index

    def add_mutable_initial(self, source: DataSource, *, alignment: int = 64) -> int:
        """Add the initial value of state; gives its `Tensor.data_buffer_idx`, 1 or more.

        It is copied to planned memory when a method is loaded and lies in
        `mutable_data_segments[0]`.
        """
        _check_alignment(alignment)
        index = len(self._mutable_offsets)
        alignment = max(alignment, _MINIMUM_ALIGNMENT)
        offset = self._mutable.add(f"initial value {index}", source, alignment)
        self._mutable_offsets.append(offset)
        return index

    def add_delegate_data(self, source: DataSource) -> BackendDelegateDataReference:
        """Add the bytes that a backend made; they get a segment of their own."""
        segment = _Segment()
        segment.add(f"delegate data {len(self._delegates)}", source, 1)
        self._delegates.append(segment)
        index = _CONSTANTS + len(self._delegates)
        return BackendDelegateDataReference(location=DataLocation.SEGMENT, index=index)

    def add_named_data(self, key: str, source: DataSource, *, alignment: int = 64) -> None:
        """Add bytes that are found by `key`. Raises ProgramError if the key is empty or taken.

        They get a segment of their own, so every alignment up to a page holds.
        """
        _check_alignment(alignment)
        if not key or key in self._named:
            raise ProgramError(
                f"[named data] expected a new key that is not empty but got {key!r}; "
                "add each key once"
            )
        segment = _Segment()
        segment.add(f"named data {key}", source, alignment)
        self._named[key] = segment

    def add_plan(self, plan: ExecutionPlan) -> None:
        """Add a method. Raises ProgramError if its name is empty or taken."""
        if not plan.name or any(other.name == plan.name for other in self._plans):
            raise ProgramError(
                f"[method] expected a new name that is not empty but got {plan.name!r}; "
                "name each method differently"
            )
        self._plans.append(plan)

    def write(self, file: BinaryIO, progress: Progress | None = None) -> None:
        """Write the program to `file`, front to back; `file` need not be seekable.

        Raises ProgramError if the parts do not fit together (before anything is written) or a
        source gives more or fewer bytes than it said.
        """
        program, segments = self._layout()
        end = program.segments[-1].offset + program.segments[-1].size
        verify_program(program, end)
        head = encode_program(program, end)
        writer = _Writer(file, len(head) + end, progress)
        writer.put(head)
        for place, segment in zip(program.segments, segments, strict=True):
            for entry in segment.entries:
                writer.pad_to(len(head) + place.offset + entry.offset)
                writer.put_source(entry)
        writer.pad_to(len(head) + end)  # an empty last segment still has its place
        writer.flush()

    def to_bytes(self) -> bytes:
        """The whole file. Raises as `write` does."""
        buffer = io.BytesIO()
        self.write(buffer)
        return buffer.getvalue()

    def save(self, path: str | os.PathLike[str], progress: Progress | None = None) -> None:
        """Write the file so that `path` is either complete or untouched.

        The bytes go to a temporary name beside it, which is renamed when they are on disk, and
        removed if anything fails. Raises as `write` does, and OSError.
        """
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                self.write(file, progress)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _layout(self) -> tuple[Program, list[_Segment]]:
        """The root table, and the segments in the order of its `segments`."""
        segments = [self._constants, *self._delegates]
        program = Program(
            execution_plan=self._plans,
            constant_segment=SubsegmentOffsets(_CONSTANTS, self._constant_offsets),
        )
        if self._mutable.entries:
            place = SubsegmentOffsets(len(segments), self._mutable_offsets)
            program.mutable_data_segments = [place]
            segments.append(self._mutable)
        if self._named:
            program.named_data = [
                NamedData(key, len(segments) + number) for number, key in enumerate(self._named)
            ]
            segments += self._named.values()
        end = 0
        for segment in segments:
            offset = align(end, PAGE)
            program.segments.append(DataSegment(offset, segment.size))
            end = offset + segment.size
        return program, segments


class _Writer:
    """Sequential output that knows its position."""

    def __init__(self, file: BinaryIO, total: int, progress: Progress | None) -> None:
        self._file = file
        self._total = total
        self._progress = progress
        self._position = 0
        self._piece = bytearray()  # what is not written yet, less than _PIECE

    def put(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        size = view.nbytes
        view = view.cast("B") if size else memoryview(b"")
        while view:
            room = _PIECE - len(self._piece)
            self._piece += view[:room]
            view = view[room:]
            if len(self._piece) == _PIECE:
                self.flush()
        self._position += size
        if self._progress is not None:
            self._progress(self._position, self._total)

    def flush(self) -> None:
        size = len(self._piece)
        written = self._file.write(self._piece)
        if written != size:
            raise ProgramError(
                f"[write] expected the file to take {size} bytes but it took {written}; "
                "open it buffered"
            )
        self._piece = bytearray()

    def pad_to(self, position: int) -> None:
        if position > self._position:
            self.put(bytes(position - self._position))

    def put_source(self, entry: _Entry) -> None:
        given = 0
        for chunk in entry.source.chunks():
            given += memoryview(chunk).nbytes
            if given > entry.nbytes:
                break
            self.put(chunk)
        if given != entry.nbytes:
            amount = f"at least {given}" if given > entry.nbytes else str(given)
            raise ProgramError(
                f"[{entry.name}] expected {entry.nbytes} bytes but its source gave {amount}; "
                "make nbytes and chunks() agree"
            )


def _check_alignment(alignment: int) -> None:
    if alignment < 1 or alignment > PAGE or alignment & (alignment - 1):
        raise ProgramError(
            f"[alignment] expected a power of two from 1 to {PAGE} but got {alignment}; "
            "64 suits all kernels"
        )
