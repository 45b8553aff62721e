"""Values written on the command line: ``1.0``, ``[1,2,3]``, ``@photo.npy``, ``random:``.

Each text is read as what the method's input is declared to be, so that ``1`` becomes a float32
tensor of shape 1 or a Python int, as needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from penlight.cli._terminal import spell_shape
from penlight.errors import RuntimeFailure, UnsupportedError
from penlight.runtime import ValueInfo

FILLS = ("random:", "zeros:", "ones:")


def parse_value(text: str, wanted: ValueInfo, generator: np.random.Generator) -> Any:
    """The value that `text` spells: an array for a tensor, else an int, float, bool or str.

    Raises RuntimeFailure, naming the input, if the text cannot be that.
    """
    if wanted.kind != "tensor":
        return _plain(text, wanted)
    for fill in FILLS:
        if text.startswith(fill):
            shape = _fill_shape(text[len(fill) :], wanted)
            return _to_held(_filled(fill, shape, _meant_dtype(wanted), generator), wanted)
    array = _load(text[1:], wanted) if text.startswith("@") else _literal(text, wanted)
    return _to_held(_fit(array, wanted), wanted)


def readable(array: np.ndarray[Any, Any], dtype: str | None) -> np.ndarray[Any, Any]:
    """An output's numbers: numpy has no bfloat16, so its bits come in uint16."""
    if dtype != "bfloat16" or array.dtype != np.uint16:
        return array
    return (array.astype(np.uint32) << 16).view(np.float32)


def _meant_dtype(wanted: ValueInfo) -> np.dtype[Any]:
    """The dtype to think in: float32 for bfloat16."""
    if wanted.dtype == "bfloat16":
        return np.dtype(np.float32)
    dtype = wanted.numpy_dtype
    if dtype is None:
        raise UnsupportedError(
            f"[{wanted.name}] expected a dtype that numpy can hold but got {wanted.dtype}; "
            "convert it in the model"
        )
    return dtype


def _to_held(array: np.ndarray[Any, Any], wanted: ValueInfo) -> np.ndarray[Any, Any]:
    """`array` as the runtime takes it: bfloat16 as its bits, rounded to nearest even."""
    if wanted.dtype != "bfloat16":
        return array
    bits = array.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def _refuse(wanted: ValueInfo, got: str, advice: str) -> RuntimeFailure:
    return RuntimeFailure(f"[{wanted.name}] expected a {wanted.describe()} but got {got}; {advice}")


def _plain(text: str, wanted: ValueInfo) -> Any:
    if wanted.kind == "str":
        return text
    if wanted.kind == "none" and text.lower() == "none":
        return None
    readers: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": _bool}
    read = readers.get(wanted.kind)
    if read is None:
        raise UnsupportedError(
            f"[{wanted.name}] expected a tensor or a number as input but the method wants a "
            f"{wanted.kind}; run it from Python"
        )
    try:
        return read(text)
    except ValueError:
        raise _refuse(wanted, repr(text), f"give one {wanted.kind}") from None


def _bool(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def _fill_shape(text: str, wanted: ValueInfo) -> tuple[int, ...]:
    """The shape after ``random:``; the declared one if there is none."""
    if not text:
        return wanted.shape
    try:
        shape = tuple(int(size) for size in text.split("x"))
    except ValueError:
        raise _refuse(wanted, f"the shape {text!r}", "write it like 1x3x224x224") from None
    _check_shape(shape, wanted)
    return shape


def _filled(
    fill: str, shape: tuple[int, ...], dtype: np.dtype[Any], generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    if fill != "random:":
        return np.full(shape, fill == "ones:", dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return generator.integers(0, 10, shape).astype(dtype)
    return generator.standard_normal(shape).astype(dtype)


def _load(text: str, wanted: ValueInfo) -> np.ndarray[Any, Any]:
    """``@array.npy``, ``@arrays.npz:name`` or, for an archive of one array, ``@arrays.npz``."""
    name, _, key = text.partition(".npz:")
    path = Path(name + ".npz" if key else text)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            if not key and len(loaded.files) == 1:
                key = loaded.files[0]
            if key not in loaded.files:
                held = ", ".join(loaded.files) or "nothing"
                raise _refuse(
                    wanted, f"an archive that holds {held}", f"choose one with @{path}:NAME"
                )
            chosen: np.ndarray[Any, Any] = loaded[key]
            return chosen
    except OSError as error:
        reason = (error.strerror or "no numpy file").lower()
        raise _refuse(wanted, f"{path}: {reason}", "check the path") from None
    except (ValueError, EOFError, KeyError, MemoryError) as error:
        raise _refuse(wanted, f"{path}: {error}", "give a file that numpy.save wrote") from None


def _literal(text: str, wanted: ValueInfo) -> np.ndarray[Any, Any]:
    lowered = text.lower()
    try:
        value = json.loads(lowered) if lowered[:1] in ("[", "t", "f") else _number(lowered)
        array = np.asarray(value)
    except (ValueError, RecursionError):
        array = np.asarray(text)
    if array.dtype.kind not in "biuf" and array.size:
        raise _refuse(
            wanted,
            repr(text[:60]),
            "write a number, a list like [[1,2],[3,4]], @x.npy or random:",
        )
    return array


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _fit(array: np.ndarray[Any, Any], wanted: ValueInfo) -> np.ndarray[Any, Any]:
    """`array` in the declared dtype and shape, if nothing is lost by that."""
    dtype = _meant_dtype(wanted)
    if wanted.dtype == "bfloat16" and array.dtype == np.uint16:
        return readable(_shaped(array, wanted), "bfloat16")
    if array.dtype != dtype:
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(dtype)
        whole = dtype.kind in "biu"
        if array.dtype.kind not in "biuf" or (whole and not np.array_equal(cast, array)):
            raise _refuse(wanted, f"{array.dtype.name} values", "give values of that type")
        array = cast
    return _shaped(array, wanted)


def _shaped(array: np.ndarray[Any, Any], wanted: ValueInfo) -> np.ndarray[Any, Any]:
    """`array` in the declared shape: missing leading dimensions of size 1 are added."""
    missing = len(wanted.shape) - array.ndim
    if missing > 0 and wanted.dynamic:
        array = array.reshape((1,) * missing + array.shape)
    elif not wanted.dynamic and array.size == math.prod(wanted.shape) and missing >= 0:
        array = array.reshape(wanted.shape)
    _check_shape(array.shape, wanted)
    return np.ascontiguousarray(array)


def _check_shape(shape: tuple[int, ...], wanted: ValueInfo) -> None:
    fits = len(shape) == len(wanted.shape) and all(
        low <= size and (high is None or size <= high)
        for size, (low, high) in zip(shape, wanted.dim_bounds, strict=False)
    )
    if not fits:
        advice = "use random: or zeros: to fill the declared shape"
        raise _refuse(wanted, f"shape {spell_shape(shape)}", advice)
