"""Write docs/interoperability.md: every model of the zoo through both exporters and runtimes.

`make interop` runs this. `measure` gives one model's row, which the tests hold to the written page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

import penlight
from penlight.errors import PenlightError
from penlight.program.read import read_program
from penlight.program.schema import KernelCall
from tests.models_zoo import ZOO
from tests.zoo_model import ZooModel, relative_error

PAGE = Path(__file__).parents[2] / "docs" / "interoperability.md"

# (exporter, runtime): the four ways of a model.
WAYS = {
    "Penlight → Penlight": ("penlight", "penlight"),
    "Penlight → ExecuTorch": ("penlight", "executorch"),
    "ExecuTorch → Penlight": ("executorch", "penlight"),
    "ExecuTorch → ExecuTorch": ("executorch", "executorch"),
}
PEER_WAY = "ExecuTorch → ExecuTorch"


@dataclass(frozen=True)
class PeerFault:
    """What ExecuTorch 1.5.1 does otherwise than PyTorch.

    Its proof is the row itself: ExecuTorch's own export is refused, or fails or differs likewise in
    its own runtime.

    Attributes:
        found: for each way, what the row's differences from eager start with, in order.
    """

    model: str
    found: dict[str, tuple[str, ...]]
    reason: str


PEER_FAULTS = (
    PeerFault(
        "integer_and_bool",
        {
            "Penlight → ExecuTorch": ("output 2:",),
            "ExecuTorch → ExecuTorch": ("output 2:",),
        },
        "Its runtime computes `remainder` of integers like C's `%`: -7 % 4 gives -3, where PyTorch "
        "gives 1. Remainders of floating-point numbers are right.",
    ),
    PeerFault(
        "shifts",
        {
            "ExecuTorch → Penlight": ("cannot be exported:",),
            "ExecuTorch → ExecuTorch": ("cannot be exported:",),
        },
        "Its `to_edge` refuses `<<` and `>>` by numbers (`aten.__lshift__.Scalar` is not in its "
        "operator set), and its runtime has no kernels for them.",
    ),
    PeerFault(
        "channels_last",
        {"ExecuTorch → ExecuTorch": ("cannot be executed:",)},
        "Its exporter leaves tensors of different dim orders to one operator, which its own "
        "runtime refuses (`amax`: `tensors_have_same_dim_order`).",
    ),
    PeerFault(
        "cache",
        {
            "ExecuTorch → Penlight": ("output 2:",) * 3,
            "ExecuTorch → ExecuTorch": ("output 2:",) * 3,
        },
        "Its exporter drops the initial values of mutable buffers (a counter that starts at 5 "
        "starts at 0) unless `InitializedMutableBufferPass` names them; with that pass the file "
        "runs right in both runtimes.",
    ),
)


@dataclass
class Outcome:
    """How one way went: all differences from eager, and the largest error of the rest."""

    differences: list[str] = field(default_factory=list)
    error: float = 0.0


@dataclass
class Row:
    """One model: the kernel calls of each exporter's file, and the outcome of each way."""

    calls: dict[str, int]
    outcomes: dict[str, Outcome]


class RefusalError(Exception):
    """An exporter or a runtime gave up; the text says at which step."""


Execute = Callable[[str, Sequence[Any]], Sequence[Any]]


def penlight_export(model: ZooModel) -> bytes:
    return penlight.to_edge(model.programs(), model.constant_methods).to_executorch().buffer


def executorch_export(model: ZooModel) -> bytes:
    from executorch.exir import to_edge
    from executorch.exir.verification.verifier import SpecViolationError

    try:
        edge = to_edge(model.programs(), constant_methods=model.constant_methods)
    except SpecViolationError as error:
        text = " ".join(str(error).split("\n")[:2]).strip()
        raise RefusalError(f"cannot be exported: {text}") from error
    return bytes(edge.to_executorch().buffer)


def penlight_runtime(data: bytes) -> Execute:
    program = penlight.load(data)
    methods: dict[str, Any] = {}

    def execute(method: str, inputs: Sequence[Any]) -> Sequence[Any]:
        try:
            methods.setdefault(method, program.method(method))
            return tuple(methods[method].execute(inputs))
        except PenlightError as error:
            raise RefusalError(f"cannot be executed: {error}") from error

    return execute


def executorch_runtime(data: bytes) -> Execute:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(data)
    methods: dict[str, Any] = {}

    def execute(method: str, inputs: Sequence[Any]) -> Sequence[Any]:
        try:
            if method not in methods:
                methods[method] = program.load_method(method)
            return tuple(methods[method].execute(inputs))
        except RuntimeError as error:
            raise RefusalError(f"cannot be executed: {error}") from error

    return execute


EXPORTERS = {"penlight": penlight_export, "executorch": executorch_export}
RUNTIMES = {"penlight": penlight_runtime, "executorch": executorch_runtime}


def kernel_calls(data: bytes) -> int:
    """The kernel calls of all methods in a program."""
    with read_program(data) as file:
        return sum(
            isinstance(instruction.instr_args, KernelCall)
            for plan in file.program.execution_plan
            for chain in plan.chains
            for instruction in chain.instructions
        )


def compare(model: ZooModel, execute: Execute) -> Outcome:
    """All calls of the model in order, against eager."""
    eager, outcome = model.modules(), Outcome()
    for method, arguments in model.inputs():
        # Outputs may be of memory that the next call reuses: the comparison comes first.
        try:
            got = execute(method, tree_leaves(arguments))
        except RefusalError as refusal:
            outcome.differences.append(str(refusal))
            return outcome
        wanted = eager[method](*arguments)
        found = model.differences(got, wanted)
        outcome.differences += found
        if not found:
            errors = [
                relative_error(torch.as_tensor(value), right)
                for value, right in zip(got, tree_leaves(wanted), strict=True)
                if isinstance(right, torch.Tensor) and right.is_floating_point()
            ]
            outcome.error = max([outcome.error, *errors])
    return outcome


def measure(model: ZooModel) -> Row:
    """Export the model with both exporters, and run both files in both runtimes."""
    files: dict[str, bytes] = {}
    refusals: dict[str, str] = {}
    for name, export in EXPORTERS.items():
        try:
            files[name] = export(model)
        except RefusalError as refusal:
            refusals[name] = str(refusal)
    outcomes = {
        way: compare(model, RUNTIMES[runtime](files[exporter]))
        if exporter in files
        else Outcome([refusals[exporter]])
        for way, (exporter, runtime) in WAYS.items()
    }
    return Row({name: kernel_calls(data) for name, data in files.items()}, outcomes)


def fault_of(model: ZooModel) -> PeerFault | None:
    """The peer's fault that the model shows, if any."""
    return next((fault for fault in PEER_FAULTS if fault.model == model.name), None)


def unexplained(model: ZooModel, row: Row) -> list[str]:
    """What the row shows beyond the listed fault of the peer, and what it no longer shows."""
    fault = fault_of(model)
    wrong = []
    for way, outcome in row.outcomes.items():
        expected = fault.found.get(way, ()) if fault else ()
        found = outcome.differences
        as_listed = len(found) == len(expected) and all(map(str.startswith, found, expected))
        if not as_listed:
            wrong.append(f"{way}: expected {list(expected) or 'agreement'} but got {found}")
    if fault and not row.outcomes[PEER_WAY].differences:
        wrong.append(f"{PEER_WAY}: agrees, so nothing proves that the fault is ExecuTorch's")
    return wrong


def line(model: ZooModel, row: Row) -> str:
    """The model's line of the table."""
    fault = fault_of(model)
    cells = [f"`{model.name}`", *(str(row.calls.get(name, "–")) for name in EXPORTERS)]
    for outcome in row.outcomes.values():
        if not outcome.differences:
            cells.append("same, exactly" if not outcome.error else f"same, {outcome.error:.0e}")
        elif fault:
            cells.append(f"peer fault {PEER_FAULTS.index(fault) + 1}")
        else:
            cells.append("**WRONG**")
    return f"| {' | '.join(cells)} |\n"


def kernel_lists() -> tuple[list[str], list[str]]:
    """The kernels that only Penlight's runtime has, and those that only ExecuTorch's has."""
    from executorch.runtime import Runtime

    ours = {name for name in penlight.runtime.kernels() if not name.startswith("penlight::")}
    theirs = set(Runtime.get().operator_registry.operator_names)
    return sorted(ours - theirs), sorted(theirs - ours)


def page(rows: dict[str, str]) -> str:
    """The whole page, given the line of every model."""
    ours, theirs = (", ".join(f"`{name}`" for name in names) for names in kernel_lists())
    head = ["Model", "Kernel calls, Penlight's file", "ExecuTorch's file", *WAYS]
    faults = "".join(
        f"{number}. `{fault.model}`. {fault.reason}\n"
        for number, fault in enumerate(PEER_FAULTS, 1)
    )
    return (
        "# Interoperability with ExecuTorch\n\n"
        "Written by `make interop`, which exports every model of `tests/models_zoo.py` with "
        "Penlight and with\n`executorch==1.5.1` (`to_edge(...).to_executorch()`), runs both files "
        "in both runtimes, and compares\nevery output of every call with eager PyTorch. The tests "
        "hold this page to what they measure.\n\n"
        "A cell reads *exporter → runtime*. The number is the largest difference in a "
        "floating-point output,\nrelative to the largest value in that output; promised is 1e-5 "
        "(`half_types`: 2^-7, one unit in\nthe last place of bfloat16). Its size may vary between "
        "machines.\n\n"
        f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n{''.join(rows.values())}\n"
        "## Faults of the peer\n\n"
        "In these ExecuTorch differs from PyTorch or gives up. Each is proven by its own export "
        "failing or\ndiffering in its own runtime.\n\n"
        f"{faults}\n"
        "## Kernels that one runtime lacks\n\n"
        "A program runs where all of its kernels are. Penlight's runtime has these, and "
        "ExecuTorch's has not:\n"
        f"{ours}.\n\n"
        f"ExecuTorch's has these, for complex numbers and training, and Penlight's has not: "
        f"{theirs}.\n"
    )


def main() -> int:
    """Measure everything, write the page; 1 if something is wrong that is not the peer's fault."""
    rows, failed = {}, False
    for model in ZOO:
        row = measure(model)
        rows[model.name] = line(model, row)
        print(rows[model.name], end="", flush=True)
        for text in unexplained(model, row):
            failed = True
            print(f"  {text}", file=sys.stderr)
    PAGE.write_text(page(rows))
    return int(failed)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
