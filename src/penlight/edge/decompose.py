"""Decomposition to core ATen: which operators are opened up, and which are kept whole.

PyTorch's own table ends in the core ATen operators. It is corrected in two ways: an operator for
which the runtime has a kernel and which is worth more whole (a linear layer) is kept, and a core
operator without a kernel is opened up where PyTorch knows how.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch.export import ExportedProgram

aten = torch.ops.aten

# Operators that one kernel runs better than their parts, with the kernel that this takes.
_KEEP: dict[Any, str] = {
    aten.linear.default: "aten::linear.out",
    aten.upsample_nearest2d.vec: "aten::upsample_nearest2d.vec_out",
    aten.upsample_bilinear2d.vec: "aten::upsample_bilinear2d.vec_out",
    aten.pixel_shuffle.default: "aten::pixel_shuffle.out",
    aten.glu.default: "aten::glu.out",
    aten.stack.default: "aten::stack.out",
    aten.hardtanh.default: "aten::hardtanh.out",
    aten.leaky_relu.default: "aten::leaky_relu.out",
    aten.elu.default: "aten::elu.out",
    aten.masked_fill.Scalar: "aten::masked_fill.Scalar_out",
    aten.narrow_copy.default: "aten::narrow_copy.out",
}

# Core operators that have no kernel of their own, and what they mean.
_OPEN: dict[Any, Callable[..., Any]] = {}


def _open(*overloads: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for overload in overloads:
            _OPEN[overload] = function
        return function

    return register


@_open(aten.adaptive_avg_pool1d.default)
def _adaptive_avg_pool1d(x: torch.Tensor, size: list[int]) -> torch.Tensor:
    return aten._adaptive_avg_pool2d(x.unsqueeze(-2), [1, *size]).squeeze(-2)  # type: ignore[no-any-return]


@_open(aten.avg_pool1d.default)
def _avg_pool1d(
    x: torch.Tensor,
    kernel: list[int],
    stride: list[int] | None = None,
    padding: Iterable[int] = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> torch.Tensor:
    pooled = aten.avg_pool2d(
        x.unsqueeze(-2),
        [1, *kernel],
        [1, *(stride or kernel)],
        [0, *padding],
        ceil_mode,
        count_include_pad,
    )
    return pooled.squeeze(-2)  # type: ignore[no-any-return]


@_open(aten.unbind.int)
def _unbind(x: torch.Tensor, dim: int = 0) -> list[torch.Tensor]:
    return [x.select(dim, index) for index in range(x.shape[dim])]


@_open(aten.square.default)
def _square(x: torch.Tensor) -> torch.Tensor:
    return x * x


@_open(aten.rsub.Scalar)
def _rsub(x: torch.Tensor, other: Any, alpha: Any = 1) -> torch.Tensor:
    return aten.add.Scalar(aten.mul.Scalar(x, -alpha), other)  # type: ignore[no-any-return]


@_open(aten.fill.Scalar)
def _fill(x: torch.Tensor, value: Any) -> torch.Tensor:
    return aten.full_like(x, value)  # type: ignore[no-any-return]


@_open(aten.scalar_tensor.default)
def _scalar_tensor(value: Any, **options: Any) -> torch.Tensor:
    return aten.full([], value, **options)  # type: ignore[no-any-return]


@_open(aten.linalg_vector_norm.default)
def _vector_norm(
    x: torch.Tensor,
    order: float = 2,
    dim: list[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    result = dtype or x.dtype
    wide = torch.float32 if result in (torch.float16, torch.bfloat16) else result
    size = x.to(wide).abs()
    axes = list(range(x.dim())) if dim is None else dim
    if order in (float("inf"), float("-inf")):
        norm = size.amax(axes, keepdim) if order > 0 else size.amin(axes, keepdim)
    elif order == 0:
        norm = (size != 0).to(wide).sum(axes, keepdim)
    elif order == 1:
        norm = size.sum(axes, keepdim)
    elif order == 2:
        norm = (size * size).sum(axes, keepdim).sqrt()
    else:
        norm = size.pow(order).sum(axes, keepdim).pow(1 / order)
    return norm.to(result)


@_open(aten.bucketize.Tensor)
def _bucketize(
    x: torch.Tensor, boundaries: torch.Tensor, *, out_int32: bool = False, right: bool = False
) -> torch.Tensor:
    column = x.unsqueeze(-1)
    above = boundaries > column if right else boundaries >= column
    below = above.logical_not()  # NaN lies above all boundaries
    return below.sum(-1, dtype=torch.int32 if out_int32 else torch.int64)


def _renamed(old: Any, new: Any) -> None:
    """`old` is another spelling of `new`, with the same arguments."""
    _OPEN[old] = lambda *args, **kwargs: new(*args, **kwargs)


for _kind, _tensor in (("Scalar", "Tensor_Scalar"), ("Tensor", "Tensor")):
    _renamed(getattr(aten.__lshift__, _kind), getattr(aten.bitwise_left_shift, _tensor))
    _renamed(getattr(aten.__rshift__, _kind), getattr(aten.bitwise_right_shift, _tensor))
    _renamed(getattr(aten.__and__, _kind), getattr(aten.bitwise_and, _kind))
    _renamed(getattr(aten.__or__, _kind), getattr(aten.bitwise_or, _kind))
    _renamed(getattr(aten.__xor__, _kind), getattr(aten.bitwise_xor, _kind))


@functools.cache
def _torch_table() -> dict[Any, Callable[..., Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table: Any = torch.export.default_decompositions()
        return dict(table.items())


def decomposition_table(
    kernels: Collection[str], preserve: Iterable[Any] = ()
) -> dict[Any, Callable[..., Any]]:
    """Operator to its decomposition, for ``ExportedProgram.run_decompositions``.

    Args:
        kernels: names of the runtime's kernels; they decide which operators are kept whole.
        preserve: further operators to keep whole.
    """
    table = dict(_torch_table())
    table.update(_OPEN)
    for op, kernel in _KEEP.items():
        if kernel in kernels:
            table.pop(op, None)
    for op in preserve:
        table.pop(op, None)
    return table


def decompose(
    program: ExportedProgram, kernels: Collection[str], preserve: Iterable[Any] = ()
) -> ExportedProgram:
    """The program in core ATen operators; functional, dead code removed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: ExportedProgram = program.run_decompositions(decomposition_table(kernels, preserve))
        return result
