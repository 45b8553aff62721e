"""Reads the index of a safetensors file: eight bytes of length, a JSON object, then the data."""

from __future__ import annotations

import json
from typing import Any

from penlight.checkpoints.source import FileTensor, SourceFile
from penlight.errors import CheckpointError

_MOST_HEADER = 100_000_000  # the format's own limit
_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
_OTHER_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1}
_OTHER_BYTES |= {"BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}


def read_safetensors(file: SourceFile) -> dict[str, FileTensor]:
    """The float tensors of a file by their names there; raises CheckpointError if it is malformed.

    Integer tensors, which no model here has as weights, are left out.
    """
    length = int.from_bytes(file.read(0, 8).tobytes(), "little")
    if not 2 <= length <= min(_MOST_HEADER, file.size - 8):
        raise _bad(file, f"a header of 2 to {min(_MOST_HEADER, file.size - 8)} bytes", length)
    try:
        header = json.loads(file.read(8, length).tobytes(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _bad(file, "a JSON header", error) from None
    if not isinstance(header, dict):
        raise _bad(file, "a JSON object as header", type(header).__name__)
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        if not name.isprintable():
            raise _bad(file, "names of printable characters", repr(name)[:80])
        if tensor := _tensor(file, name, entry, 8 + length):
            tensors[name] = tensor
    return tensors


def _tensor(file: SourceFile, name: str, entry: Any, data: int) -> FileTensor | None:
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise _bad(file, f"dtype, shape and data_offsets of {name}", repr(entry)[:80]) from None
    if not isinstance(shape, list) or len(shape) > 8 or not all(map(_is_size, shape)):
        raise _bad(file, f"a shape of {name}", repr(shape)[:80])
    if not (_is_size(first) and _is_size(last)):
        raise _bad(file, f"offsets of {name}", repr(entry["data_offsets"])[:80])
    if dtype in _OTHER_BYTES:
        return None
    if dtype not in _DTYPES:
        raise _bad(file, f"{name} to be one of {', '.join(_DTYPES)}", repr(dtype)[:20])
    tensor = FileTensor(name, shape or [1], _DTYPES[dtype], file, data + first)
    if last - first != tensor.nbytes:
        raise _bad(file, f"{tensor.nbytes} bytes for {name} {shape}", last - first)
    return tensor


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("two entries of the same name")
    return values


def _bad(file: SourceFile, expected: str, got: object) -> CheckpointError:
    return CheckpointError(
        f"[{file.path}] expected {expected} but got {got}; "
        "the file is truncated or corrupt: download it again"
    )
