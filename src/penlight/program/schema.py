"""The tables of a program file, as dataclasses: the one schema.

Field order is the order of the flatbuffer fields, so these classes define the binary format, and
their names are ExecuTorch's. The writer (`write`), the reader (`read`), the schema text
(``schema.fbs``) and the C++ constants (``runtime/src/schema.h``) all come from them; after a change
run::

    python -m penlight.program.schema

Scalars carry their stored width through the aliases `U8` ... `F64`; an `IntEnum` is stored in one
signed byte; a union of dataclasses is a flatbuffer union whose tags count from 1 in written order.
`format.md` explains what the fields mean. Source of the layout: ExecuTorch's ``program.fbs``
(file identifier ET12, schema version 0).
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from penlight.program.fields import Scalar

FILE_IDENTIFIER = b"ET12"
SCHEMA_VERSION = 0
HEADER_MAGIC = b"eh00"
HEADER_OFFSET = 8  # bytes from the start of the file to the extended header
HEADER_LENGTH = 32  # magic, length, program size, segment base offset, segment data size
HEADER_MINIMUM_LENGTH = 24  # older files lack the segment data size
MAX_RANK = 16  # PENLIGHT_MAX_RANK in penlight.h

I8 = Annotated[int, Scalar("byte", "b")]
U8 = Annotated[int, Scalar("ubyte", "B")]
I32 = Annotated[int, Scalar("int", "i")]
U32 = Annotated[int, Scalar("uint", "I")]
I64 = Annotated[int, Scalar("long", "q")]
U64 = Annotated[int, Scalar("ulong", "Q")]
F64 = Annotated[float, Scalar("double", "d")]


class ScalarType(enum.IntEnum):
    """Element types; the codes are those of PyTorch's ``c10::ScalarType``."""

    BYTE = 0
    CHAR = 1
    SHORT = 2
    INT = 3
    LONG = 4
    HALF = 5
    FLOAT = 6
    DOUBLE = 7
    BOOL = 11
    QINT8 = 12
    QUINT8 = 13
    QINT32 = 14
    BFLOAT16 = 15
    QUINT4X2 = 16
    QUINT2X4 = 17
    BITS16 = 22
    FLOAT8E5M2 = 23
    FLOAT8E4M3FN = 24
    FLOAT8E5M2FNUZ = 25
    FLOAT8E4M3FNUZ = 26
    UINT16 = 27
    UINT32 = 28
    UINT64 = 29

    @property
    def item_size(self) -> int:
        """Bytes of one element."""
        return _ITEM_SIZES[self]


_ITEM_SIZES: dict[ScalarType, int] = {
    **dict.fromkeys(ScalarType, 1),
    **dict.fromkeys((ScalarType.SHORT, ScalarType.HALF, ScalarType.BFLOAT16, ScalarType.BITS16), 2),
    ScalarType.UINT16: 2,
    **dict.fromkeys((ScalarType.INT, ScalarType.FLOAT, ScalarType.QINT32, ScalarType.UINT32), 4),
    **dict.fromkeys((ScalarType.LONG, ScalarType.DOUBLE, ScalarType.UINT64), 8),
}


class TensorShapeDynamism(enum.IntEnum):
    """Whether a tensor's stored sizes are exact, upper bounds, or without meaning."""

    STATIC = 0
    DYNAMIC_BOUND = 1
    DYNAMIC_UNBOUND = 2


class TensorDataLocation(enum.IntEnum):
    """Whether a tensor's data lies in a segment of this file or in another file."""

    SEGMENT = 0
    EXTERNAL = 1


class DeviceType(enum.IntEnum):
    """The kind of device that holds a tensor or a planned buffer."""

    CPU = 0
    CUDA = 1


class DataLocation(enum.IntEnum):
    """Whether delegate data lies inside the flatbuffer or in a segment."""

    INLINE = 0
    SEGMENT = 1


@dataclass
class ContainerMetadata:
    """How PyTorch's pytree flattened the inputs and outputs; kept for tools, unused at run time."""

    encoded_inp_str: str = ""
    encoded_out_str: str = ""


@dataclass
class Null:
    """No value: an optional argument that was left out."""


@dataclass
class AllocationDetails:
    """Where a tensor lies in the planned memory: a buffer and a byte offset in two halves."""

    memory_id: U32 = 0
    memory_offset_low: U32 = 0
    memory_offset_high: U32 = 0

    @property
    def memory_offset(self) -> int:
        """Bytes from the start of the planned buffer."""
        return self.memory_offset_low | self.memory_offset_high << 32

    @classmethod
    def at(cls, memory_id: int, memory_offset: int) -> AllocationDetails:
        """The place `memory_offset` bytes into planned buffer `memory_id` (1 or more)."""
        return cls(memory_id, memory_offset & 0xFFFFFFFF, memory_offset >> 32)


@dataclass
class ExtraTensorInfo:
    """What only few tensors need: a name, data in another file, another device."""

    mutable_data_segments_idx: U64 = 0
    fully_qualified_name: str | None = None
    location: TensorDataLocation = TensorDataLocation.SEGMENT
    device_type: DeviceType = DeviceType.CPU
    device_index: I8 = 0


@dataclass
class Tensor:
    """A tensor's type, shape and place. Strides follow from sizes and dim_order.

    ================  ===============  ====================================================
    data_buffer_idx   allocation_info  meaning
    ================  ===============  ====================================================
    > 0               None             constant, in `Program.constant_segment`
    0                 set              planned memory (activations, state that starts as zeros)
    0                 None             memory is given when the method runs (inputs)
    > 0               set              planned memory with an initial value, in
                                       `Program.mutable_data_segments`
    ================  ===============  ====================================================
    """

    scalar_type: ScalarType = ScalarType.FLOAT
    storage_offset: I32 = 0
    sizes: list[I32] = field(default_factory=list)
    dim_order: list[U8] = field(default_factory=list)
    requires_grad: bool = False
    data_buffer_idx: U32 = 0
    allocation_info: AllocationDetails | None = None
    layout: I8 = 0
    shape_dynamism: TensorShapeDynamism = TensorShapeDynamism.STATIC
    extra_tensor_info: ExtraTensorInfo | None = None


@dataclass
class Int:
    """An integer; symbolic sizes are computed into one."""

    int_val: I64 = 0


@dataclass
class Bool:
    """A truth value."""

    bool_val: bool = False


@dataclass
class Double:
    """A floating point number."""

    double_val: F64 = 0.0


@dataclass
class String:
    """Text, UTF-8 in the file."""

    string_val: str = ""


@dataclass
class IntList:
    """Integers, each held by its own value: the items are indices of `Int` values."""

    items: list[I64] = field(default_factory=list)


@dataclass
class DoubleList:
    """Floating point numbers, stored directly."""

    items: list[F64] = field(default_factory=list)


@dataclass
class BoolList:
    """Truth values, stored directly."""

    items: list[bool] = field(default_factory=list)


@dataclass
class TensorList:
    """Tensors: the items are indices of `Tensor` values."""

    items: list[I32] = field(default_factory=list)


@dataclass
class OptionalTensorList:
    """Tensors or nothing: the items are indices of `Tensor` or `Null` values, or -1 for nothing."""

    items: list[I32] = field(default_factory=list)


KernelTypes = (
    Null
    | Int
    | Bool
    | Double
    | Tensor
    | String
    | IntList
    | DoubleList
    | BoolList
    | TensorList
    | OptionalTensorList
)


@dataclass
class EValue:
    """One slot of a method's value table."""

    val: KernelTypes = field(default_factory=Null)


@dataclass
class Operator:
    """A kernel's name: `name` "aten::add", `overload` "out"."""

    name: str = ""
    overload: str = ""


@dataclass
class KernelCall:
    """Run operator `op_index` on the values `args`: its arguments, its outs, its result again."""

    op_index: I32 = 0
    args: list[I32] = field(default_factory=list)


@dataclass
class DelegateCall:
    """Run delegate `delegate_index` on the values `args`: its inputs, then its outputs."""

    delegate_index: I32 = 0
    args: list[I32] = field(default_factory=list)


@dataclass
class MoveCall:
    """Let value `move_to` be what value `move_from` is."""

    move_from: I32 = 0
    move_to: I32 = 0


@dataclass
class JumpFalseCall:
    """Go to instruction `destination_instruction` if value `cond_value_index` is false."""

    cond_value_index: I32 = 0
    destination_instruction: I32 = 0


@dataclass
class FreeCall:
    """The memory of value `value_index` is not needed any more."""

    value_index: I32 = 0


InstructionArguments = KernelCall | DelegateCall | MoveCall | JumpFalseCall | FreeCall


@dataclass
class Instruction:
    """One step of a chain."""

    instr_args: InstructionArguments = field(default_factory=KernelCall)


@dataclass
class Frame:
    """One line of the Python stack that led to an instruction."""

    filename: str = ""
    lineno: I32 = 0
    name: str = ""
    context: str = ""


@dataclass
class FrameList:
    """The Python stack that led to an instruction, outermost frame first."""

    items: list[Frame] = field(default_factory=list)


@dataclass
class BackendDelegateDataReference:
    """Where a delegate's processed bytes are: `Program.backend_delegate_data` or `.segments`."""

    location: DataLocation = DataLocation.INLINE
    index: U32 = 0


@dataclass
class CompileSpec:
    """One option that was given to a backend when it lowered its graph."""

    key: str = ""
    value: bytes = b""


@dataclass
class BackendDelegate:
    """A part of the graph that a backend runs."""

    id: str = ""
    processed: BackendDelegateDataReference = field(default_factory=BackendDelegateDataReference)
    compile_specs: list[CompileSpec] = field(default_factory=list)


@dataclass
class Chain:
    """Instructions that run in order. A method has one chain."""

    inputs: list[I32] = field(default_factory=list)
    outputs: list[I32] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    stacktrace: list[FrameList] | None = None


@dataclass
class NonConstBufferDevice:
    """The device that holds one planned buffer."""

    buffer_idx: I32 = 0
    device_type: DeviceType = DeviceType.CPU
    device_index: I8 = 0


@dataclass
class ExecutionPlan:
    """One method. `non_const_buffer_sizes[0]` is reserved; buffer `memory_id` has that size."""

    name: str = ""
    container_meta_type: ContainerMetadata | None = field(default_factory=ContainerMetadata)
    values: list[EValue] = field(default_factory=list)
    inputs: list[I32] = field(default_factory=list)
    outputs: list[I32] = field(default_factory=list)
    chains: list[Chain] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)
    delegates: list[BackendDelegate] = field(default_factory=list)
    non_const_buffer_sizes: list[I64] = field(default_factory=lambda: [0])
    non_const_buffer_device: list[NonConstBufferDevice] | None = None


@dataclass
class Buffer:
    """Constant data inside the flatbuffer: read from old files, never written."""

    storage: bytes = b""


@dataclass
class BackendDelegateInlineData:
    """Delegate data inside the flatbuffer: read, never written."""

    data: bytes = b""


@dataclass
class DataSegment:
    """A range of bytes after the flatbuffer; `offset` counts from the segment base offset."""

    offset: U64 = 0
    size: U64 = 0


@dataclass
class SubsegmentOffsets:
    """Where each tensor's data starts within a segment; `offsets[0]` is reserved."""

    segment_index: U32 = 0
    offsets: list[U64] = field(default_factory=list)


@dataclass
class NamedData:
    """A segment that is found by a key."""

    key: str = ""
    segment_index: U32 = 0


@dataclass
class Program:
    """The root table."""

    version: U32 = SCHEMA_VERSION
    execution_plan: list[ExecutionPlan] = field(default_factory=list)
    constant_buffer: list[Buffer] = field(default_factory=list)
    backend_delegate_data: list[BackendDelegateInlineData] = field(default_factory=list)
    segments: list[DataSegment] = field(default_factory=list)
    constant_segment: SubsegmentOffsets | None = None
    mutable_data_segments: list[SubsegmentOffsets] | None = None
    named_data: list[NamedData] | None = None


UNIONS: dict[str, tuple[type, ...]] = {
    "KernelTypes": typing.get_args(KernelTypes),
    "InstructionArguments": typing.get_args(InstructionArguments),
}
ENUMS: tuple[type[enum.IntEnum], ...] = (
    ScalarType,
    TensorShapeDynamism,
    TensorDataLocation,
    DeviceType,
    DataLocation,
)


def tables() -> tuple[type, ...]:
    """Every table of the format, in the order of this file."""
    known = [t for t in globals().values() if isinstance(t, type) and dataclasses.is_dataclass(t)]
    return tuple(t for t in known if t.__module__ == __name__)


def main() -> None:
    """Rewrite the files that are made from this module."""
    from penlight.program._generate import cpp_text, fbs_text

    here = Path(__file__).resolve().parent
    (here / "schema.fbs").write_text(fbs_text(), encoding="utf-8")
    header = here.parents[2] / "runtime" / "src" / "schema.h"
    header.write_text(cpp_text(), encoding="utf-8")


if __name__ == "__main__":
    # Run as a script this file is a second module object; use the imported one, so that the
    # classes are the same everywhere.
    from penlight.program import schema

    schema.main()
