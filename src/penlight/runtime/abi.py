"""The C interface of the runtime, ``penlight.h`` and ``penlight_profile.h``, as ctypes sees it.

Structures and functions mirror the headers one to one; `check` turns its return codes into
exceptions. The library is opened on first use, from where `penlight.paths.library_path` says.
"""

from __future__ import annotations

import ctypes
import enum
import functools
from ctypes import (
    POINTER,
    c_bool,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

from penlight.errors import PenlightError, ProgramError, RuntimeFailure, UnsupportedError
from penlight.paths import library_path

MAX_RANK = 16


class Status(enum.IntEnum):
    """penlight_status."""

    OK = 0
    INVALID_ARGUMENT = 1
    INVALID_PROGRAM = 2
    NOT_FOUND = 3
    UNSUPPORTED = 4
    OUT_OF_MEMORY = 5
    IO = 6
    EXECUTION_FAILED = 7
    CANCELLED = 8


class Tag(enum.IntEnum):
    """penlight_tag."""

    NONE = 0
    INT = 1
    BOOLEAN = 2
    REAL = 3
    TENSOR = 4
    STRING = 5
    INT_LIST = 6
    REAL_LIST = 7
    BOOL_LIST = 8
    TENSOR_LIST = 9
    OPTIONAL_TENSOR_LIST = 10


class Error(ctypes.Structure):
    """penlight_error."""

    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 512)]


class TensorView(ctypes.Structure):
    """penlight_tensor."""

    _fields_ = [
        ("data", c_void_p),
        ("capacity", c_size_t),
        ("sizes", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("dim_order", POINTER(c_uint8)),
        ("max_sizes", POINTER(c_int64)),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("dynamism", c_uint8),
        ("is_constant", c_uint8),
    ]


class Value(ctypes.Structure):
    """penlight_value."""


class ValuePayload(ctypes.Union):
    """The union `as` of penlight_value."""

    _fields_ = [
        ("integer", c_int64),
        ("boolean", ctypes.c_bool),
        ("real", ctypes.c_double),
        ("tensor", POINTER(TensorView)),
        ("string", c_char_p),
        ("values", POINTER(POINTER(Value))),
        ("reals", POINTER(ctypes.c_double)),
        ("booleans", POINTER(c_uint8)),
    ]


# "as" is a word of Python's own, hence another name here.
Value._fields_ = [("tag", ctypes.c_int), ("count", c_uint32), ("payload", ValuePayload)]


class Options(ctypes.Structure):
    """penlight_runtime_options."""

    _fields_ = [
        ("threads", c_uint32),
        ("kernels", c_void_p),
        ("kernel_count", c_size_t),
        ("delegates", c_void_p),
        ("delegate_count", c_size_t),
        ("allocator", c_void_p),
    ]


class ValueInfoRecord(ctypes.Structure):
    """penlight_value_info."""

    _fields_ = [
        ("tag", ctypes.c_int),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("sizes", c_int64 * MAX_RANK),
        ("dim_order", c_uint8 * MAX_RANK),
        ("dynamism", ctypes.c_int),
        ("nbytes", c_size_t),
        ("name", c_char_p),
    ]


class MemoryRecord(ctypes.Structure):
    """penlight_memory_info."""

    _fields_ = [("planned", c_size_t), ("scratch", c_size_t), ("structures", c_size_t)]


class ProfileRecord(ctypes.Structure):
    """penlight_profile_record."""

    _fields_ = [
        ("name", c_char_p),
        ("kind", ctypes.c_int),
        ("chain", c_uint32),
        ("instruction", c_uint32),
        ("runs", c_uint64),
        ("nanoseconds", c_uint64),
        ("constant_bytes", c_uint64),
        ("state_bytes", c_uint64),
        ("read_bytes", c_uint64),
        ("written_bytes", c_uint64),
        ("multiply_adds", c_uint64),
    ]


class ProbeRecord(ctypes.Structure):
    """penlight_probe."""

    _fields_ = [
        ("threads", c_uint32),
        ("read_bytes_per_second", c_double),
        ("multiply_adds_per_second", c_double),
    ]


_ERROR = POINTER(Error)
_HANDLE = c_void_p
_OUT_HANDLE = POINTER(c_void_p)

# Functions that return a status take a penlight_error* last, which `call` supplies.
_CALLS: dict[str, list[Any]] = {
    "runtime_create": [POINTER(Options), _OUT_HANDLE],
    "runtime_set_threads": [_HANDLE, c_uint32],
    "program_open": [_HANDLE, c_char_p, _OUT_HANDLE],
    "program_open_memory": [_HANDLE, c_void_p, c_size_t, _OUT_HANDLE],
    "program_named_data": [_HANDLE, c_char_p, POINTER(c_void_p), POINTER(c_size_t)],
    "program_method_counts": [_HANDLE, c_char_p, POINTER(c_size_t), POINTER(c_size_t)],
    "program_input_info": [_HANDLE, c_char_p, c_size_t, POINTER(ValueInfoRecord)],
    "program_output_info": [_HANDLE, c_char_p, c_size_t, POINTER(ValueInfoRecord)],
    "program_method_memory": [_HANDLE, c_char_p, POINTER(MemoryRecord)],
    "method_load": [_HANDLE, c_char_p, c_void_p, _OUT_HANDLE],
    "method_reset": [_HANDLE],
    "method_set_input": [_HANDLE, c_size_t, POINTER(Value)],
    "method_execute": [_HANDLE],
    "method_output": [_HANDLE, c_size_t, POINTER(POINTER(Value))],
    "method_state": [_HANDLE, c_size_t, POINTER(POINTER(TensorView))],
    "method_set_profiling": [_HANDLE, c_bool],
    "method_profile": [_HANDLE, c_size_t, POINTER(ProfileRecord)],
    "runtime_probe": [_HANDLE, c_size_t, POINTER(ProbeRecord)],
}
_PLAIN: dict[str, tuple[Any, list[Any]]] = {
    "version": (c_char_p, []),
    "runtime_free": (None, [_HANDLE]),
    "runtime_threads": (c_uint32, [_HANDLE]),
    "runtime_isa": (c_char_p, [_HANDLE]),
    "runtime_kernel_count": (c_size_t, [_HANDLE]),
    "runtime_kernel_name": (c_char_p, [_HANDLE, c_size_t]),
    "runtime_kernel_signature": (c_char_p, [_HANDLE, c_size_t]),
    "runtime_delegate_count": (c_size_t, [_HANDLE]),
    "runtime_delegate_id": (c_char_p, [_HANDLE, c_size_t]),
    "program_close": (None, [_HANDLE]),
    "program_method_count": (c_size_t, [_HANDLE]),
    "program_method_name": (c_char_p, [_HANDLE, c_size_t]),
    "program_named_data_count": (c_size_t, [_HANDLE]),
    "program_named_data_key": (c_char_p, [_HANDLE, c_size_t]),
    "method_free": (None, [_HANDLE]),
    "method_state_count": (c_size_t, [_HANDLE]),
    "method_profile_count": (c_size_t, [_HANDLE]),
}

_EXCEPTIONS: dict[int, type[PenlightError]] = {
    Status.INVALID_PROGRAM: ProgramError,
    Status.UNSUPPORTED: UnsupportedError,
}


@functools.cache
def library() -> ctypes.CDLL:
    """The opened library, every function typed. Raises RuntimeFailure if there is none."""
    path = library_path()
    try:
        opened = ctypes.CDLL(str(path))
        for name, arguments in _CALLS.items():
            function = getattr(opened, f"penlight_{name}")
            function.restype, function.argtypes = ctypes.c_int, [*arguments, _ERROR]
        for name, (result, arguments) in _PLAIN.items():
            function = getattr(opened, f"penlight_{name}")
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise RuntimeFailure(
            f"[library] expected the Penlight runtime at {path} but it cannot be used: {error}; "
            "reinstall penlight, or correct PENLIGHT_LIBRARY"
        ) from None
    return opened


def call(name: str, *arguments: Any) -> None:
    """Call ``penlight_<name>`` and raise what its error says, if it says one."""
    error = Error()
    status = getattr(library(), f"penlight_{name}")(*arguments, ctypes.byref(error))
    if status != Status.OK:
        message = error.message.decode(errors="replace")
        raise _EXCEPTIONS.get(status, RuntimeFailure)(message or f"[{name}] failed: {status}")


def ask(name: str, *arguments: Any) -> Any:
    """Call ``penlight_<name>``, which cannot fail, and give its result."""
    return getattr(library(), f"penlight_{name}")(*arguments)


def text(name: str, *arguments: Any) -> str:
    """The result of ``penlight_<name>`` as text; empty if there is none."""
    found = ask(name, *arguments)
    return found.decode(errors="replace") if found else ""
