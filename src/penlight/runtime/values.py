"""Python values to and from the runtime's: what may be passed as an input, what an output is.

=============  ==========================================================================
in the method  in Python
=============  ==========================================================================
tensor         numpy array or scalar, or CPU torch tensor, of exactly the declared dtype
int            int            (not bool)
float          float or int
bool           bool
str            str
none           None
=============  ==========================================================================

numpy has no bfloat16: such a tensor is an array of uint16 that holds its bits. As a torch tensor
it is `torch.bfloat16`. Torch is never imported here, only used if the caller has imported it. Numpy
is imported when an array is first made: language models take and give none.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from ctypes import POINTER, c_int64, c_uint8
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penlight.errors import RuntimeFailure, UnsupportedError
from penlight.runtime import abi
from penlight.runtime.abi import Tag

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

# penlight_dtype: its name, and that of the numpy type that holds it
DTYPES: dict[int, tuple[str, str]] = {
    0: ("uint8", "uint8"),
    1: ("int8", "int8"),
    2: ("int16", "int16"),
    3: ("int32", "int32"),
    4: ("int64", "int64"),
    5: ("float16", "float16"),
    6: ("float32", "float32"),
    7: ("float64", "float64"),
    11: ("bool", "bool"),
    15: ("bfloat16", "uint16"),
    27: ("uint16", "uint16"),
    28: ("uint32", "uint32"),
    29: ("uint64", "uint64"),
}
_KINDS = {
    Tag.NONE: "none",
    Tag.INT: "int",
    Tag.BOOLEAN: "bool",
    Tag.REAL: "float",
    Tag.TENSOR: "tensor",
    Tag.STRING: "str",
    Tag.INT_LIST: "list of int",
    Tag.REAL_LIST: "list of float",
    Tag.BOOL_LIST: "list of bool",
    Tag.TENSOR_LIST: "list of tensor",
    Tag.OPTIONAL_TENSOR_LIST: "list of optional tensor",
}


@dataclass(frozen=True)
class ValueInfo:
    """What a method says about one of its inputs or outputs, known before it is loaded."""

    name: str  # the parameter's name if the file records it, else "input 0", "output 1", ...
    kind: str  # "tensor", "int", "float", "bool", "str", "none" or "list of ..."
    dtype: str | None  # of a tensor: "float32", "bfloat16", ...
    shape: tuple[int, ...]  # upper bounds if dynamic
    dynamic: bool  # sizes may be smaller than `shape` says
    bounded: bool  # sizes may not be larger than `shape` says
    dim_order: tuple[int, ...]  # dimensions from outermost to innermost in memory
    nbytes: int  # at `shape`
    code: int  # penlight_dtype; -1 unless a tensor

    @property
    def numpy_dtype(self) -> np.dtype[Any] | None:
        """The dtype of the numpy array that holds it: uint16 for bfloat16, None for no tensor."""
        return _numpy_dtype(self.code) if self.code in DTYPES else None

    @property
    def dim_bounds(self) -> tuple[tuple[int, int | None], ...]:
        """The smallest and largest size of each dimension; None if there is no largest."""
        if not self.dynamic:
            return tuple((size, size) for size in self.shape)
        return tuple((0, size if self.bounded else None) for size in self.shape)

    def describe(self) -> str:
        """For messages: "float32 tensor of shape (1, 3)" or "int"."""
        if self.kind != "tensor":
            return f"{self.kind} value"
        up_to = "up to " if self.dynamic else ""
        return f"{self.dtype} tensor of shape {up_to}{self.shape}"


def value_info(record: abi.ValueInfoRecord, fallback: str) -> ValueInfo:
    """The readable form of what the runtime says about an input or output."""
    rank = record.rank if record.tag == Tag.TENSOR else 0
    return ValueInfo(
        name=record.name.decode(errors="replace") if record.name else fallback,
        kind=_KINDS.get(record.tag, "unknown"),
        dtype=DTYPES[record.dtype][0] if record.dtype in DTYPES else None,
        shape=tuple(record.sizes[:rank]),
        dynamic=record.dynamism != 0,
        bounded=record.dynamism != 2,
        dim_order=tuple(record.dim_order[:rank]),
        nbytes=record.nbytes,
        code=record.dtype,
    )


def _numpy_dtype(code: int) -> np.dtype[Any]:
    import numpy as np

    return np.dtype(DTYPES[code][1])


def _is_numpy(value: object, *kinds: str) -> bool:
    """Whether it is of one of these types of numpy's, without importing numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, tuple(getattr(numpy, kind) for kind in kinds))


def is_torch(value: object) -> bool:
    """Whether it is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


class Input:
    """One input as the runtime wants it; owns or keeps alive all memory that it refers to."""

    def __init__(self, info: ValueInfo, value: Any) -> None:
        self.value = abi.Value(tag=_TAGS.get(info.kind, Tag.NONE))
        payload = self.value.payload
        if info.kind == "tensor":
            self._keep = _TensorInput(info, value)
            payload.tensor = ctypes.pointer(self._keep.view)
        elif info.kind == "int" and is_int(value) and -(2**63) <= value < 2**63:
            payload.integer = int(value)
        elif info.kind == "float" and (is_int(value) or _is_float(value)):
            payload.real = _to_float(info, value)
        elif info.kind == "bool" and (isinstance(value, bool) or _is_numpy(value, "bool_")):
            payload.boolean = bool(value)
        elif info.kind == "str" and isinstance(value, str):
            encoded = value.encode()
            payload.string, self.value.count = encoded, len(encoded)
        elif info.kind.startswith("list"):
            raise UnsupportedError(
                f"[{info.name}] expected a tensor or a number as input but the method wants a "
                f"{info.kind}; export it with separate inputs"
            )
        elif info.kind != "none" or value is not None:
            raise _refuse(info, _spell(value), "pass one of that type")


_TAGS = {kind: tag for tag, kind in _KINDS.items()}


def is_int(value: object) -> bool:
    """Whether it is a whole number, of Python's or numpy's, and no bool."""
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or _is_numpy(value, "integer")


def _is_float(value: object) -> bool:
    return isinstance(value, float) or _is_numpy(value, "floating")


def _to_float(info: ValueInfo, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise _refuse(info, "an integer too large for a float", "pass a smaller one") from None


class _TensorInput:
    def __init__(self, info: ValueInfo, value: Any) -> None:
        array = _from_torch(info, value) if is_torch(value) else _from_numpy(info, value)
        _check_shape(info, array.shape)
        self.array = _lay_out(array, info.dim_order)
        rank = array.ndim
        self._sizes = (c_int64 * max(rank, 1))(*array.shape)
        self._order = (c_uint8 * max(rank, 1))(*info.dim_order)
        self.view = abi.TensorView(
            data=self.array.ctypes.data,
            sizes=ctypes.cast(self._sizes, POINTER(c_int64)),
            dim_order=ctypes.cast(self._order, POINTER(c_uint8)),
            dtype=info.code,
            rank=rank,
        )


def _from_numpy(info: ValueInfo, value: Any) -> Array:
    if not _is_numpy(value, "ndarray", "generic"):
        raise _refuse(info, _spell(value), "pass a numpy array or a torch tensor")
    import numpy as np

    array = np.asarray(value)
    dtype = info.numpy_dtype
    if dtype is None:
        raise _refuse(info, _spell(value), "this dtype has no form in Python")
    if array.dtype.newbyteorder("=") != dtype:
        advice = f"convert it with .astype(numpy.{dtype.name})"
        if info.dtype == "bfloat16":
            advice = "pass its bits as uint16, or a torch.bfloat16 tensor"
        raise _refuse(info, _spell(value), advice)
    return array.astype(dtype, copy=False)


def _from_torch(info: ValueInfo, value: Any) -> Array:
    torch = sys.modules["torch"]
    if str(value.dtype) != f"torch.{info.dtype}":
        raise _refuse(info, _spell(value), f"convert it with .to(torch.{info.dtype})")
    if value.device.type != "cpu" or value.layout is not torch.strided:
        raise _refuse(info, f"a tensor on {value.device} ({value.layout})", "use .cpu().to_dense()")
    try:
        plain = value.detach().resolve_neg()
        if plain.dtype == torch.bfloat16:
            plain = plain.view(torch.uint16)
        array: Array = plain.numpy()
    except (RuntimeError, TypeError) as error:
        raise _refuse(info, f"a tensor without data ({error})", "pass a real one") from None
    return array


def _check_shape(info: ValueInfo, shape: tuple[int, ...]) -> None:
    fits = len(shape) == len(info.shape) and all(
        low <= size and (high is None or size <= high)
        for size, (low, high) in zip(shape, info.dim_bounds, strict=True)
    )
    if not fits:
        raise _refuse(info, f"shape {shape}", "reshape or pad it")


def _lay_out(array: Array, dim_order: Sequence[int]) -> Array:
    """The array itself if its memory is already in the declared order, else a copy that is.

    A read-only array is copied as well: a program may write to its inputs.
    """
    ordered = array.transpose(dim_order)
    if ordered.flags.c_contiguous and array.flags.aligned and array.flags.writeable:
        return array
    import numpy as np

    return np.array(ordered, order="C", copy=True).transpose(np.argsort(dim_order))


def _refuse(info: ValueInfo, got: str, advice: str) -> RuntimeFailure:
    return RuntimeFailure(f"[{info.name}] expected a {info.describe()} but got {got}; {advice}")


def _spell(value: Any) -> str:
    if is_torch(value) or _is_numpy(value, "ndarray", "generic"):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r:.60}"


def output(value: abi.Value, *, copy: bool, as_torch: bool, owner: object) -> Any:
    """A value of the runtime as a Python one.

    With `copy` false a tensor is a view of the method's memory, which `owner` keeps alive.
    """
    payload, count = value.payload, value.count
    match value.tag:
        case Tag.NONE:
            return None
        case Tag.INT:
            return int(payload.integer)
        case Tag.BOOLEAN:
            return bool(payload.boolean)
        case Tag.REAL:
            return float(payload.real)
        case Tag.STRING:
            return ctypes.string_at(payload.string, count).decode(errors="replace")
        case Tag.REAL_LIST:
            return [float(payload.reals[i]) for i in range(count)]
        case Tag.BOOL_LIST:
            return [bool(payload.booleans[i]) for i in range(count)]
        case Tag.TENSOR:
            view = tensor_view(payload.tensor.contents, owner)
            array = view.copy(order="K") if copy else view
            return _to_torch(array, payload.tensor.contents.dtype) if as_torch else array
        case Tag.INT_LIST | Tag.TENSOR_LIST | Tag.OPTIONAL_TENSOR_LIST:
            items = [payload.values[i].contents for i in range(count)]
            return [output(i, copy=copy, as_torch=as_torch, owner=owner) for i in items]
    raise UnsupportedError(f"[output] expected a known kind of value but got {value.tag}; update")


def tensor_view(tensor: abi.TensorView, owner: object) -> Array:
    """The runtime's tensor as an array over the same memory, which `owner` keeps alive."""
    import numpy as np

    rank = tensor.rank
    if tensor.dtype not in DTYPES:
        raise UnsupportedError(
            f"[output] expected a dtype that numpy can hold but got {tensor.dtype}; "
            "convert it in the model"
        )
    dtype = _numpy_dtype(tensor.dtype)
    shape = tuple(tensor.sizes[:rank]) if rank else ()
    if math.prod(shape) == 0:
        return np.empty(shape, dtype)
    strides = tuple(tensor.strides[:rank]) if rank else ()
    extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    memory = (c_uint8 * (extent * dtype.itemsize)).from_address(tensor.data)
    memory.owner = owner
    return np.ndarray(shape, dtype, memory, strides=[s * dtype.itemsize for s in strides])


def _to_torch(array: Array, code: int) -> Any:
    torch = sys.modules["torch"]
    if DTYPES[code][0] == "bfloat16":
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)
