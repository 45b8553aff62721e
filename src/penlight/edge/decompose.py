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

from penlight.edge.fused import functional_if_fused
from penlight.edge.meanings import MEANINGS

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
    table.update(MEANINGS)
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
    table = decomposition_table(kernels, preserve)
    if (fused := functional_if_fused(program, table)) is not None:
        return fused
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result: ExportedProgram = program.run_decompositions(table)
        return result
