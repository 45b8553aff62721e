"""The GGUF container: metadata and the places of tensors, with every number checked.

Layout (little endian): magic, version u32, tensor count u64, metadata count u64; metadata as key,
type u32, value; for each tensor name, rank u32, sizes u64 (fastest first), kind u32, offset u64;
then, aligned, the data. Strings are a u64 of bytes and UTF-8. See ggml's docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from penlight.checkpoints.source import FileTensor, SourceFile
from penlight.errors import CheckpointError

_SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "B", 10: "<Q", 11: "<q"}
_SCALARS |= {12: "<d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9
_MOST_DEPTH = 4  # of arrays in arrays
_MOST_RANK = 4
_WINDOW = 1 << 20  # bytes read at once

# GGML's numbers of the kinds that can be read.
KINDS = {
    0: "float32",
    1: "float16",
    2: "q4_0",
    3: "q4_1",
    6: "q5_0",
    7: "q5_1",
    8: "q8_0",
    10: "q2_k",
    11: "q3_k",
    12: "q4_k",
    13: "q5_k",
    14: "q6_k",
    28: "float64",
    30: "bfloat16",
}


@dataclass(frozen=True)
class GGUFFile:
    """metadata: values by key; arrays are lists (of str) or numpy arrays. tensors: by name."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, FileTensor]


def read_gguf(file: SourceFile) -> GGUFFile:
    """Reads all but the data; raises CheckpointError for whatever is not a sound GGUF file."""
    cursor = _Cursor(file)
    if (magic := cursor.take(4, "the magic")) != b"GGUF":
        raise cursor.bad("the magic b'GGUF'", magic, "use a GGUF file")
    version = cursor.number("<I", "the version")
    if version not in (2, 3):
        hint = "convert the model again with a current llama.cpp, little endian"
        raise cursor.bad("version 2 or 3", version, hint)
    tensor_count = cursor.count("tensors", 24)
    metadata_count = cursor.count("metadata entries", 13)
    metadata: dict[str, Any] = {}
    for _ in range(metadata_count):
        key = cursor.name("a metadata key")
        if key in metadata:
            raise cursor.bad("each metadata key once", f"{key!r} twice")
        metadata[key] = cursor.value(cursor.number("<I", key), key, 0)
    infos: dict[str, tuple[list[int], str, int]] = {}
    for _ in range(tensor_count):
        name = cursor.name("a tensor's name")
        if name in infos:
            raise cursor.bad("each tensor once", f"{name!r} twice")
        infos[name] = _tensor_info(cursor, name)
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise cursor.bad("general.alignment to be a power of two", alignment)
    data = -(-cursor.at // alignment) * alignment
    tensors = {}
    for name, (shape, kind, offset) in infos.items():
        if offset % alignment:
            raise cursor.bad(f"{name} at a multiple of {alignment}", offset)
        tensors[name] = FileTensor(name, shape, kind, file, data + offset)
    return GGUFFile(metadata, tensors)


def _tensor_info(cursor: _Cursor, name: str) -> tuple[list[int], str, int]:
    rank = cursor.number("<I", name)
    if not 1 <= rank <= _MOST_RANK:
        raise cursor.bad(f"{name} of rank 1 to {_MOST_RANK}", rank)
    shape = [cursor.number("<Q", name) for _ in range(rank)][::-1]
    if not all(0 < size <= cursor.file.size * 16 for size in shape):  # 16: above any packing
        raise cursor.bad(f"{name} of a size that the file can hold", shape)
    kind = cursor.number("<I", name)
    if kind not in KINDS:
        known = ", ".join(KINDS.values())
        hint = "quantise the model as one of these"
        raise cursor.bad(f"{name} of a known kind ({known})", f"kind {kind}", hint)
    return shape, KINDS[kind], cursor.number("<Q", name)


class _Cursor:
    """Reads a file from its start, never past its end."""

    def __init__(self, file: SourceFile) -> None:
        self.file, self.at = file, 0
        self._window, self._window_at = b"", 0

    def take(self, nbytes: int, what: str) -> bytes:
        if nbytes > self.file.size - self.at:
            hint = "the file is truncated or corrupt: download it again"
            left = f"{self.file.size - self.at} at {self.at}"
            raise self.bad(f"{nbytes} bytes of {what}", left, hint)
        start = self.at - self._window_at
        if start + nbytes > len(self._window):
            size = min(max(nbytes, _WINDOW), self.file.size - self.at)
            self._window, self._window_at = self.file.read(self.at, size).tobytes(), self.at
            start = 0
        self.at += nbytes
        return self._window[start : start + nbytes]

    def number(self, layout: str, what: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))[0]

    def count(self, what: str, least_bytes: int) -> int:
        """A u64 of things of least_bytes each; more than the rest of the file holds is an error."""
        count: int = self.number("<Q", f"the number of {what}")
        most = (self.file.size - self.at) // least_bytes
        if count > most:
            hint = "the file is truncated or corrupt: download it again"
            raise self.bad(f"at most {most} {what}", count, hint)
        return count

    def string(self, what: str) -> str:
        text = self.take(self.number("<Q", what), what)
        try:
            return text.decode()
        except UnicodeDecodeError as error:
            raise self.bad(f"{what} in UTF-8", error) from None

    def name(self, what: str) -> str:
        """A text that errors may quote as it is."""
        text = self.string(what)
        if not text.isprintable():
            raise self.bad(f"{what} of printable characters", repr(text))
        return text

    def value(self, kind: int, key: str, depth: int) -> Any:
        if kind == _STRING:
            return self.string(key)
        if kind == _ARRAY:
            return self._array(key, depth)
        if kind not in _SCALARS:
            raise self.bad(f"{key} of a type from 0 to 12", kind)
        value = self.number(_SCALARS[kind], key)
        return bool(value) if kind == _BOOL else value

    def _array(self, key: str, depth: int) -> Any:
        kind = self.number("<I", key)
        if kind in _SCALARS:
            layout = np.dtype(_SCALARS[kind])
            count = self.count(f"elements of {key}", layout.itemsize)
            return np.frombuffer(self.take(count * layout.itemsize, key), layout)
        if depth >= _MOST_DEPTH:
            raise self.bad(f"{key} of at most {_MOST_DEPTH} arrays in each other", "more")
        if kind not in (_STRING, _ARRAY):
            raise self.bad(f"elements of {key} of a type from 0 to 12", kind)
        count = self.count(f"elements of {key}", 8 if kind == _STRING else 12)
        return [self.value(kind, key, depth + 1) for _ in range(count)]

    def bad(self, expected: str, got: object, hint: str = "the file is corrupt") -> CheckpointError:
        return CheckpointError(
            f"[{self.file.path}] expected {expected} but got {str(got)[:80]}; {hint}"
        )
