"""The executable form of a method: a flat list of instructions on values.

It is what memory planning and emission work on. Values have identity: the same `TensorValue` in two
instructions is the same slot of the method's value table. Several tensors may share one `Storage`
(a view and its base), and it is storages that get memory.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch


class Place(enum.Enum):
    """Where a storage's bytes live."""

    ARENA = "arena"  # planned, shared over time with other storages
    STATE = "state"  # planned, kept between calls
    CONSTANT = "constant"  # in the file
    CALLER = "caller"  # given by the caller when the method runs


@dataclass(eq=False)
class Storage:
    """Memory for one tensor and its views.

    Attributes:
        nbytes: size at the upper bound of dynamic shapes.
        name: fully qualified name of a parameter, buffer or constant.
        data: the bytes of a constant or of the initial state; may be fake if supplied later.
        offset: bytes from the start of its arena, once planned.
    """

    nbytes: int
    place: Place = Place.ARENA
    name: str | None = None
    data: torch.Tensor | None = None
    offset: int | None = None
    label: str = ""


@dataclass(eq=False)
class TensorValue:
    """A tensor slot: element type, sizes (upper bounds if dynamic), layout, storage."""

    dtype: torch.dtype
    sizes: tuple[int, ...]
    storage: Storage
    dynamic: bool = False
    dim_order: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.dim_order:
            self.dim_order = tuple(range(len(self.sizes)))


@dataclass(eq=False)
class Symbol:
    """A number that is computed while the method runs (or given by the caller)."""

    initial: int | float | bool = 0


@dataclass(frozen=True)
class Literal:
    """A number, text or nothing, known at export. `kind` keeps 1, 1.0 and True apart."""

    kind: str  # none, int, bool, float, string
    value: Any = None


@dataclass(frozen=True)
class ListValue:
    """A list argument; `items` are values (or plain numbers for floats and bools)."""

    kind: str  # int, float, bool, tensor, optional_tensor
    items: tuple[Any, ...]


Value = TensorValue | Symbol | Literal | ListValue


@dataclass(eq=False)
class Call:
    """Run a kernel. `source` is the user's line, for messages."""

    name: str
    overload: str
    args: list[Value]
    source: str = ""


@dataclass(eq=False)
class DelegateCall:
    """Run a lowered part of the graph."""

    lowered: Any
    args: list[Value]


@dataclass(eq=False)
class JumpFalse:
    """Go to instruction `target` if `condition` is false."""

    condition: Value
    target: int = -1


Instruction = Call | DelegateCall | JumpFalse


@dataclass(eq=False)
class LinearMethod:
    """One method, ready to be planned and emitted."""

    name: str
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    states: list[TensorValue] = field(default_factory=list)
    input_names: list[str] = field(default_factory=list)
    output_names: list[str] = field(default_factory=list)
    arena_sizes: list[int] = field(default_factory=lambda: [0])  # index 0 is reserved
    encoded_inputs: str = ""
    encoded_outputs: str = ""


def operands(instruction: Instruction) -> list[Value]:
    """The values that an instruction reads or writes."""
    return [instruction.condition] if isinstance(instruction, JumpFalse) else instruction.args


def tensors(values: list[Value]) -> Iterator[TensorValue]:
    """All tensors among values, those inside lists included."""
    for value in values:
        if isinstance(value, TensorValue):
            yield value
        elif isinstance(value, ListValue):
            yield from (item for item in value.items if isinstance(item, TensorValue))
