"""What a program file holds, as plain data: the one source of the tables, the JSON and the page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from penlight.program.read import ProgramFile
from penlight.program.schema import (
    BoolList,
    DelegateCall,
    DoubleList,
    ExecutionPlan,
    Instruction,
    Int,
    IntList,
    JumpFalseCall,
    KernelCall,
    KernelTypes,
    MoveCall,
    Null,
    OptionalTensorList,
    ScalarType,
    String,
    Tensor,
    TensorList,
    TensorShapeDynamism,
)

__all__ = ["MethodReport", "Report", "report_on"]

DTYPES = {
    ScalarType.BYTE: "uint8",
    ScalarType.CHAR: "int8",
    ScalarType.SHORT: "int16",
    ScalarType.INT: "int32",
    ScalarType.LONG: "int64",
    ScalarType.HALF: "float16",
    ScalarType.FLOAT: "float32",
    ScalarType.DOUBLE: "float64",
}


@dataclass
class ValueReport:
    """A value of a method. Sizes are upper bounds if `dynamic`; `nbytes` follows from them."""

    value: int  # index in the method's value table
    kind: str  # "tensor", "int", ...
    spelled: str  # "float32 1x3x224x224", or the number itself
    role: str = ""  # of a tensor: constant, activation, state, input; else ""
    name: str = ""
    dtype: str = ""
    sizes: list[int] = field(default_factory=list)
    dynamic: bool = False
    nbytes: int = 0


@dataclass
class InstructionReport:
    """One step: what it runs, and the tensors it reads and writes, as value indices."""

    name: str  # "aten::add.out", "delegate reference", "move", ...
    reads: list[int]
    writes: list[int]


@dataclass
class Block:
    """Planned memory in use: `values` lie at `offset` from instruction `first` to `last`."""

    arena: int
    offset: int
    nbytes: int
    first: int
    last: int
    values: list[int]
    is_state: bool = False


@dataclass
class ArenaReport:
    """One planned buffer. `peak` is the largest number of bytes in use at one instruction."""

    arena: int
    nbytes: int
    peak: int
    peak_at: int  # the instruction of the peak
    state: int  # bytes that stay from call to call


@dataclass
class MethodReport:
    """One method of the program."""

    name: str
    inputs: list[ValueReport]
    outputs: list[ValueReport]
    operators: dict[str, int]  # calls by name, most frequent first
    delegates: list[str]
    arenas: list[ArenaReport]
    tensors: list[ValueReport]
    instructions: list[InstructionReport]
    blocks: list[Block]

    @property
    def planned(self) -> int:
        """Bytes of planned memory."""
        return sum(arena.nbytes for arena in self.arenas)


@dataclass
class SegmentReport:
    """A part of the file after its tables."""

    index: int
    offset: int  # bytes from the start of the file
    nbytes: int
    holds: str


@dataclass
class NamedDataReport:
    """An entry of the file's named data, with the start of it if it is text."""

    key: str
    nbytes: int
    preview: str


@dataclass
class Report:
    """A whole program file."""

    file: str
    nbytes: int
    tables: int  # bytes of header and tables
    methods: list[MethodReport]
    segments: list[SegmentReport]
    named_data: list[NamedDataReport]


def report_on(name: str, file: ProgramFile) -> Report:
    """Describe `file`, which is called `name`."""
    return Report(
        file=name,
        nbytes=file.nbytes,
        tables=file.header.program_size,
        methods=[_method(plan) for plan in file.program.execution_plan],
        segments=_segments(file),
        named_data=[
            NamedDataReport(key, len(view), _preview(view)) for key, view in file.named_data.items()
        ],
    )


def _method(plan: ExecutionPlan) -> MethodReport:
    values = [slot.val for slot in plan.values]
    chain = plan.chains[0] if plan.chains else None
    steps = list(_steps(plan, chain.instructions if chain else []))
    blocks = _blocks(plan, values, steps)
    state = {value for block in blocks if block.is_state for value in block.values}
    inputs = set(plan.inputs)
    described = [_value(index, value, state, inputs) for index, value in enumerate(values)]
    return MethodReport(
        name=plan.name,
        inputs=[described[i] for i in plan.inputs],
        outputs=[described[i] for i in plan.outputs],
        operators=dict(Counter(step.name for step in steps).most_common()),
        delegates=[delegate.id for delegate in plan.delegates],
        arenas=_arenas(plan, blocks, len(steps)),
        tensors=[v for v in described if v.kind == "tensor"],
        instructions=steps,
        blocks=blocks,
    )


def _value(index: int, value: KernelTypes, state: set[int], inputs: set[int]) -> ValueReport:
    if not isinstance(value, Tensor):
        return ValueReport(index, _kind(value), _spell_plain(value))
    dtype = DTYPES.get(value.scalar_type, value.scalar_type.name.lower())
    dynamic = value.shape_dynamism is not TensorShapeDynamism.STATIC
    sizes = "x".join(f"{size}" for size in value.sizes) or "scalar"
    if index in inputs:
        role = "input"
    elif index in state:
        role = "state"
    else:
        role = "activation" if value.allocation_info or not value.data_buffer_idx else "constant"
    extra = value.extra_tensor_info
    return ValueReport(
        value=index,
        kind="tensor",
        spelled=f"{dtype} {'up to ' if dynamic else ''}{sizes}",
        role=role,
        name=(extra and extra.fully_qualified_name) or "",
        dtype=dtype,
        sizes=list(value.sizes),
        dynamic=dynamic,
        nbytes=math.prod(value.sizes) * value.scalar_type.item_size,
    )


def _kind(value: KernelTypes) -> str:
    return "none" if isinstance(value, Null) else type(value).__name__.lower()


def _spell_plain(value: KernelTypes) -> str:
    match value:
        case Null():
            return "none"
        case Int():
            return str(value.int_val)
        case String():
            return repr(value.string_val)
        case IntList() | DoubleList() | BoolList() | TensorList() | OptionalTensorList():
            return f"{_kind(value)} of {len(value.items)}"
    return str(getattr(value, "bool_val", getattr(value, "double_val", "")))


def _steps(plan: ExecutionPlan, instructions: list[Instruction]) -> Iterator[InstructionReport]:
    values = [slot.val for slot in plan.values]
    written = set(plan.inputs)

    def tensors(index: int) -> list[int]:
        value = values[index]
        if isinstance(value, Tensor):
            return [index]
        if isinstance(value, TensorList | OptionalTensorList):
            return [i for i in value.items if i >= 0 and isinstance(values[i], Tensor)]
        return []

    for instruction in instructions:
        call = instruction.instr_args
        reads: list[int] = []
        writes: list[int] = []
        match call:
            case KernelCall():
                operator = plan.operators[call.op_index]
                name = f"{operator.name}.{operator.overload}".rstrip(".")
                # The last argument is the result: an out tensor, or the list of them.
                writes = tensors(call.args[-1]) if call.args else []
                reads = [i for arg in call.args[:-1] for i in tensors(arg) if i not in writes]
            case DelegateCall():
                name = f"delegate {plan.delegates[call.delegate_index].id}"
                arguments = [i for arg in call.args for i in tensors(arg)]
                # Inputs and outputs are not told apart in the file: outputs are what is new.
                known = [i in written or _is_constant(values[i]) for i in arguments]
                reads = [i for i, old in zip(arguments, known, strict=True) if old]
                writes = [i for i, old in zip(arguments, known, strict=True) if not old]
            case MoveCall():
                name, reads, writes = "move", tensors(call.move_from), tensors(call.move_to)
            case JumpFalseCall():
                name, reads = "jump if false", tensors(call.cond_value_index)
            case _:
                name = "free"
        written.update(writes)
        yield InstructionReport(name, list(dict.fromkeys(reads)), writes)


def _is_constant(value: KernelTypes) -> bool:
    return isinstance(value, Tensor) and value.data_buffer_idx > 0


def _blocks(
    plan: ExecutionPlan, values: list[KernelTypes], steps: list[InstructionReport]
) -> list[Block]:
    """Who lies where and when: one block for values that share memory at the same time."""
    end = max(len(steps) - 1, 0)
    touched: dict[int, list[int]] = {i: [0] for i in plan.inputs}
    filled = {_place(values[i]) for i in plan.inputs}
    early: set[int] = set()  # read before anything wrote there: state
    for number, step in enumerate(steps):
        early.update(i for i in step.reads if i not in touched and _place(values[i]) not in filled)
        filled.update(_place(values[i]) for i in step.writes)
        for i in (*step.reads, *step.writes):
            touched.setdefault(i, []).append(number)
    for i in plan.outputs:
        touched.setdefault(i, []).append(end)
    found: list[Block] = []
    for i, when in touched.items():
        value = values[i]
        if not isinstance(value, Tensor) or value.allocation_info is None:
            continue
        place = value.allocation_info
        size = math.prod(value.sizes) * value.scalar_type.item_size
        is_state = value.data_buffer_idx > 0 or i in early
        first, last = (0, end) if is_state else (when[0], when[-1])
        found.append(Block(place.memory_id, place.memory_offset, size, first, last, [i], is_state))
    return _merge(found)


def _place(value: KernelTypes) -> tuple[int, int] | None:
    """Arena and offset; a value may be written as one tensor and read as another one there."""
    place = value.allocation_info if isinstance(value, Tensor) else None
    return (place.memory_id, place.memory_offset) if place else None


def _merge(blocks: list[Block]) -> list[Block]:
    """Join blocks at one offset whose times overlap: a view, or an operator that works in place."""
    merged: dict[tuple[int, int], list[Block]] = {}
    for block in sorted(blocks, key=lambda b: b.first):
        row = merged.setdefault((block.arena, block.offset), [])
        if row and block.first <= row[-1].last:
            row[-1].last = max(row[-1].last, block.last)
            row[-1].nbytes = max(row[-1].nbytes, block.nbytes)
            row[-1].values += block.values
            row[-1].is_state |= block.is_state
        else:
            row.append(block)
    return sorted((b for row in merged.values() for b in row), key=lambda b: (b.arena, b.first))


def live_bytes(blocks: list[Block], steps: int) -> list[int]:
    """Bytes in use at each instruction."""
    change = [0] * (steps + 2)
    for block in blocks:
        change[block.first] += block.nbytes
        change[block.last + 1] -= block.nbytes
    live, total = [], 0
    for number in range(max(steps, 1)):
        total += change[number]
        live.append(total)
    return live


def _arenas(plan: ExecutionPlan, blocks: list[Block], steps: int) -> list[ArenaReport]:
    reports = []
    for arena, nbytes in list(enumerate(plan.non_const_buffer_sizes))[1:]:
        inside = [block for block in blocks if block.arena == arena]
        live = live_bytes(inside, steps)
        peak = max(live)
        state = sum(block.nbytes for block in inside if block.is_state)
        reports.append(ArenaReport(arena, nbytes, peak, live.index(peak), state))
    return reports


def _segments(file: ProgramFile) -> list[SegmentReport]:
    holds: dict[int, list[str]] = {}
    program = file.program
    if program.constant_segment and program.constant_segment.offsets:
        count = len(program.constant_segment.offsets) - 1
        holds.setdefault(program.constant_segment.segment_index, []).append(f"{count} constants")
    for place in program.mutable_data_segments or []:
        text = f"initial values of {max(len(place.offsets) - 1, 0)} state tensors"
        holds.setdefault(place.segment_index, []).append(text)
    for entry in program.named_data or []:
        holds.setdefault(entry.segment_index, []).append(f"named data {entry.key}")
    for plan in program.execution_plan:
        for delegate in plan.delegates:
            if delegate.processed.location.name == "SEGMENT":
                text = f"delegate {delegate.id} of {plan.name}"
                holds.setdefault(delegate.processed.index, []).append(text)
    base = file.header.segment_base_offset
    return [
        SegmentReport(i, base + s.offset, s.size, ", ".join(holds.get(i, ["unused"])))
        for i, s in enumerate(program.segments)
    ]


def _preview(view: memoryview, limit: int = 60) -> str:
    """The start of `view` if it is printable text, else nothing."""
    text = bytes(view[: 4 * limit]).decode("utf-8", "replace").rstrip("�")
    line = " ".join(text.split())
    if "�" in line or not line.isprintable():
        return ""
    return line if len(line) <= limit and len(view) <= 4 * limit else line[: limit - 1] + "…"
