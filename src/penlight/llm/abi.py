"""The C interface ``penlight/penlight_llm.h`` as ctypes sees it, one to one."""

from __future__ import annotations

import ctypes
import enum
import functools
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any

from penlight.runtime import abi

__all__ = [
    "Info",
    "OnPrefill",
    "OnToken",
    "Options",
    "Request",
    "Result",
    "Sampling",
    "Speculation",
    "Stop",
]


class Stop(enum.IntEnum):
    """penlight_llm_stop: why an answer ended."""

    NONE = 0
    EOS = 1
    STRING = 2
    LENGTH = 3
    CONTEXT = 4
    CANCELLED = 5
    CALLBACK = 6


class Speculation(enum.IntEnum):
    """penlight_llm_speculation: when tokens are drafted and checked together."""

    AUTO = 0
    OFF = 1
    ALWAYS = 2


class Options(ctypes.Structure):
    """penlight_llm_options."""

    _fields_ = [("max_context", c_uint32), ("prefill_chunk", c_uint32)]


class Info(ctypes.Structure):
    """penlight_llm_info."""

    _fields_ = [
        ("vocabulary_size", c_uint32),
        ("max_context", c_uint32),
        ("prefill_chunk", c_uint32),
        ("bos_id", c_int32),
        ("eos_ids", POINTER(c_int32)),
        ("eos_count", c_size_t),
        ("context_used", c_uint32),
        ("load_seconds", c_double),
        ("draft_length", c_uint32),
    ]


class Sampling(ctypes.Structure):
    """penlight_llm_sampling."""

    _fields_ = [
        ("temperature", c_float),
        ("top_k", c_uint32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("typical_p", c_float),
        ("repetition_penalty", c_float),
        ("frequency_penalty", c_float),
        ("presence_penalty", c_float),
        ("penalty_window", c_uint32),
        ("seed", c_uint64),
    ]


# The text is bytes with a size, not terminated: hence a plain pointer.
OnToken = CFUNCTYPE(c_bool, c_void_p, c_int32, c_float, c_void_p, c_size_t)
OnPrefill = CFUNCTYPE(c_bool, c_void_p, c_size_t, c_size_t)


class Request(ctypes.Structure):
    """penlight_llm_request."""

    _fields_ = [
        ("tokens", POINTER(c_int32)),
        ("token_count", c_size_t),
        ("sampling", Sampling),
        ("max_new_tokens", c_uint32),
        ("stop_ids", POINTER(c_int32)),
        ("stop_id_count", c_size_t),
        ("ignore_eos", c_bool),
        ("stop_strings", POINTER(c_char_p)),
        ("stop_string_count", c_size_t),
        ("log_probabilities", c_bool),
        ("on_token", OnToken),
        ("on_prefill", OnPrefill),
        ("user", c_void_p),
        ("speculation", c_uint32),
    ]


class Result(ctypes.Structure):
    """penlight_llm_result."""

    _fields_ = [
        ("stop", ctypes.c_int),
        ("prompt_tokens", c_size_t),
        ("reused_tokens", c_size_t),
        ("generated_tokens", c_size_t),
        ("prefill_seconds", c_double),
        ("first_token_seconds", c_double),
        ("decode_seconds", c_double),
        ("context_used", c_size_t),
        ("drafted_tokens", c_size_t),
        ("accepted_tokens", c_size_t),
    ]


_ERROR = POINTER(abi.Error)
_CALLS: dict[str, list[Any]] = {
    "llm_open": [c_void_p, c_char_p, POINTER(Options), POINTER(c_void_p)],
    "llm_from_program": [c_void_p, POINTER(Options), POINTER(c_void_p)],
    "llm_generate": [c_void_p, POINTER(Request), POINTER(Result)],
    "llm_score": [c_void_p, POINTER(c_int32), c_size_t, POINTER(c_float), POINTER(c_int32)],
    "llm_forward": [c_void_p, POINTER(c_int32), c_size_t, POINTER(POINTER(c_float))],
    "llm_save_session": [c_void_p, c_char_p],
    "llm_load_session": [c_void_p, c_char_p],
}
_PLAIN: dict[str, tuple[Any, list[Any]]] = {
    "llm_close": (None, [c_void_p]),
    "llm_get_info": (None, [c_void_p, POINTER(Info)]),
    "llm_default_sampling": (Sampling, [c_void_p]),
    "llm_method": (c_void_p, [c_void_p, c_size_t]),
    "llm_cancel": (None, [c_void_p]),
    "llm_tokens": (POINTER(c_int32), [c_void_p, POINTER(c_size_t)]),
    "llm_truncate": (None, [c_void_p, c_size_t]),
}


@functools.cache
def _typed() -> None:
    library = abi.library()
    for name, arguments in _CALLS.items():
        function = getattr(library, f"penlight_{name}")
        function.restype, function.argtypes = ctypes.c_int, [*arguments, _ERROR]
    for name, (result, arguments) in _PLAIN.items():
        function = getattr(library, f"penlight_{name}")
        function.restype, function.argtypes = result, arguments


def call(name: str, *arguments: Any) -> None:
    """Call ``penlight_llm_<name>`` and raise what its error says, if it says one."""
    _typed()
    abi.call(f"llm_{name}", *arguments)


def ask(name: str, *arguments: Any) -> Any:
    """Call ``penlight_llm_<name>``, which cannot fail, and give its result."""
    _typed()
    return abi.ask(f"llm_{name}", *arguments)
