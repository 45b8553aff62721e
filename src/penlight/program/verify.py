"""Whether the parts of a program fit together: the checks that do not need a runtime.

`verify_program` is run on every program before it is written and after it is read, so both ends
agree on what a sound file is. It checks indices, types, sizes and places; whether a kernel exists
and takes these arguments is for the runtime; whether planned tensors overlap, for the planner.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NoReturn

from penlight.errors import ProgramError
from penlight.program import schema
from penlight.program.schema import (
    MAX_RANK,
    SCHEMA_VERSION,
    DataLocation,
    ExecutionPlan,
    Program,
    SubsegmentOffsets,
    Tensor,
    TensorDataLocation,
    TensorShapeDynamism,
)

_MAX_BYTES = 2**63 - 1


def verify_program(program: Program, segment_data_size: int) -> None:
    """Raise ProgramError unless every index, size and place in `program` is within its bounds.

    `segment_data_size` is how many bytes there are from the segment base offset to the end of the
    file, or will be.
    """
    if program.version != SCHEMA_VERSION:
        _fail("program", f"schema version {SCHEMA_VERSION}", program.version, "export it again")
    _check_segments(program, segment_data_size)
    _check_named_data(program)
    _check_unique("program", "method", [plan.name for plan in program.execution_plan])
    for plan in program.execution_plan:
        _PlanVerifier(program, plan).verify()


def tensor_nbytes(tensor: Tensor) -> int:
    """Bytes of a tensor at its stored sizes, the upper bounds if they are dynamic."""
    return math.prod(tensor.sizes) * tensor.scalar_type.item_size


def _fail(where: str, expected: str, got: object, hint: str = "the file is damaged") -> NoReturn:
    raise ProgramError(f"[{where}] expected {expected} but got {got!r:.200}; {hint}")


def _check_unique(where: str, what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name or "\0" in name:
            _fail(where, f"every {what} to have a name without zero bytes", name)
        if name in seen:
            _fail(where, f"each {what} once", name)
        seen.add(name)


def _check_segments(program: Program, available: int) -> None:
    for index, segment in enumerate(program.segments):
        if segment.offset + segment.size > available:
            _fail(
                f"segments[{index}]",
                f"to end within the {available} bytes of segment data",
                segment.offset + segment.size,
                "the file is truncated or damaged",
            )
    if program.constant_segment is not None:
        _check_offsets(program, "constant_segment", program.constant_segment)
        if len(program.constant_segment.offsets) > 1 and program.constant_buffer:
            got = len(program.constant_buffer)
            _fail("constant_buffer", "no entries beside a constant segment", got)
    for index, offsets in enumerate(program.mutable_data_segments or ()):
        _check_offsets(program, f"mutable_data_segments[{index}]", offsets)


def _check_offsets(program: Program, where: str, place: SubsegmentOffsets) -> None:
    if len(place.offsets) <= 1:
        return  # only the reserved entry: there is no data, and there may be no segment
    if place.segment_index >= len(program.segments):
        _fail(where, f"a segment index below {len(program.segments)}", place.segment_index)
    size = program.segments[place.segment_index].size
    for index, offset in enumerate(place.offsets):
        if offset > size:
            _fail(f"{where}.offsets[{index}]", f"an offset within {size} bytes", offset)


def _check_named_data(program: Program) -> None:
    entries = program.named_data or []
    _check_unique("named_data", "key", [entry.key for entry in entries])
    for entry in entries:
        if entry.segment_index >= len(program.segments):
            limit = len(program.segments)
            _fail(f"named_data {entry.key}", f"a segment index below {limit}", entry.segment_index)


class _PlanVerifier:
    """The checks of one method; `_where` names it in messages."""

    def __init__(self, program: Program, plan: ExecutionPlan) -> None:
        self._program = program
        self._plan = plan
        self._where = plan.name

    def verify(self) -> None:
        plan = self._plan
        if not plan.non_const_buffer_sizes or min(plan.non_const_buffer_sizes) < 0:
            got = plan.non_const_buffer_sizes
            _fail(f"{self._where}.non_const_buffer_sizes", "a reserved entry and no negatives", got)
        for index, value in enumerate(plan.values):
            self._check_value(f"{self._where}.values[{index}]", value.val)
        for name, indices in (("inputs", plan.inputs), ("outputs", plan.outputs)):
            self._check_indices(f"{self._where}.{name}", indices)
        for index, operator in enumerate(plan.operators):
            if not operator.name:
                _fail(f"{self._where}.operators[{index}]", "a name", operator.name)
        self._check_delegates()
        if not plan.chains:
            _fail(f"{self._where}.chains", "at least one chain", plan.chains)
        for number, chain in enumerate(plan.chains):
            for index, instruction in enumerate(chain.instructions):
                where = f"{self._where}.chains[{number}].instructions[{index}]"
                self._check_instruction(where, instruction.instr_args, len(chain.instructions))

    def _check_value(self, where: str, value: schema.KernelTypes) -> None:
        match value:
            case Tensor():
                self._check_tensor(where, value)
            case schema.IntList():
                self._check_indices(where, value.items, (schema.Int,))
            case schema.TensorList():
                self._check_indices(where, value.items, (Tensor,))
            case schema.OptionalTensorList():
                present = [item for item in value.items if item != -1]
                self._check_indices(where, present, (Tensor, schema.Null))

    def _check_indices(
        self, where: str, indices: Sequence[int], allowed: tuple[type, ...] | None = None
    ) -> None:
        for index in indices:
            kind = type(self._value(where, index))
            if allowed is not None and kind not in allowed:
                names = " or ".join(each.__name__ for each in allowed)
                _fail(where, f"item {index} to be {names}", kind.__name__)

    def _value(self, where: str, index: int) -> schema.KernelTypes:
        if not 0 <= index < len(self._plan.values):
            _fail(where, f"a value index from 0 to {len(self._plan.values) - 1}", index)
        return self._plan.values[index].val

    def _check_tensor(self, where: str, tensor: Tensor) -> None:
        rank = len(tensor.sizes)
        if rank > MAX_RANK:
            _fail(where, f"at most {MAX_RANK} dimensions", rank)
        if min(tensor.sizes, default=0) < 0:
            _fail(where, "sizes that are not negative", tensor.sizes)
        if sorted(tensor.dim_order) != list(range(rank)):
            _fail(where, f"dim_order to be a permutation of {rank} dimensions", tensor.dim_order)
        if tensor.storage_offset != 0:
            _fail(where, "storage_offset 0", tensor.storage_offset)
        nbytes = tensor_nbytes(tensor)
        if nbytes > _MAX_BYTES:
            _fail(where, "a size below 2^63 bytes", tensor.sizes)
        if tensor.shape_dynamism is TensorShapeDynamism.DYNAMIC_UNBOUND:
            nbytes = 0
        if tensor.allocation_info is not None:
            self._check_planned(where, tensor, nbytes)
        elif tensor.extra_tensor_info is not None and (
            tensor.extra_tensor_info.location is TensorDataLocation.EXTERNAL
        ):
            if not tensor.extra_tensor_info.fully_qualified_name:
                _fail(where, "a name for data in another file", None)
        elif tensor.data_buffer_idx > 0:
            self._check_constant(where, tensor, nbytes)

    def _check_planned(self, where: str, tensor: Tensor, nbytes: int) -> None:
        place, sizes = tensor.allocation_info, self._plan.non_const_buffer_sizes
        assert place is not None
        if not 1 <= place.memory_id < len(sizes):
            _fail(where, f"a memory_id from 1 to {len(sizes) - 1}", place.memory_id)
        if place.memory_offset % tensor.scalar_type.item_size:
            width = tensor.scalar_type.item_size
            _fail(where, f"an offset that is a multiple of {width}", place.memory_offset)
        size = sizes[place.memory_id]
        if place.memory_offset + nbytes > size:
            end = place.memory_offset + nbytes
            _fail(where, f"to end within the {size} bytes of buffer {place.memory_id}", end)
        if tensor.data_buffer_idx > 0:
            extra = tensor.extra_tensor_info
            number = 0 if extra is None else extra.mutable_data_segments_idx
            places = self._program.mutable_data_segments or []
            if number >= len(places):
                _fail(where, f"a mutable data segment below {len(places)}", number)
            self._check_stored(where, places[number], tensor.data_buffer_idx, nbytes)

    def _check_constant(self, where: str, tensor: Tensor, nbytes: int) -> None:
        index, inline = tensor.data_buffer_idx, self._program.constant_buffer
        if inline:
            if index >= len(inline) or len(inline[index].storage) < nbytes:
                size = len(inline[index].storage) if index < len(inline) else "no such buffer"
                _fail(where, f"{nbytes} bytes in constant_buffer[{index}]", size)
            return
        place = self._program.constant_segment or SubsegmentOffsets()
        self._check_stored(where, place, index, nbytes)

    def _check_stored(self, where: str, place: SubsegmentOffsets, index: int, nbytes: int) -> None:
        if index >= len(place.offsets):
            _fail(where, f"a data_buffer_idx below {len(place.offsets)}", index)
        available = self._program.segments[place.segment_index].size - place.offsets[index]
        if nbytes > available:
            _fail(where, f"{nbytes} bytes of data in its segment", available)

    def _check_delegates(self) -> None:
        program = self._program
        for index, delegate in enumerate(self._plan.delegates):
            where = f"{self._where}.delegates[{index}]"
            if not delegate.id:
                _fail(where, "a backend's id", delegate.id)
            segment = delegate.processed.location is DataLocation.SEGMENT
            count = len(program.segments if segment else program.backend_delegate_data)
            if delegate.processed.index >= count:
                _fail(where, f"a data index below {count}", delegate.processed.index)

    def _check_instruction(self, where: str, step: schema.InstructionArguments, count: int) -> None:
        match step:
            case schema.KernelCall():
                self._check_below(where, "operator", step.op_index, len(self._plan.operators))
                self._check_indices(where, step.args)
            case schema.DelegateCall():
                limit = len(self._plan.delegates)
                self._check_below(where, "delegate", step.delegate_index, limit)
                self._check_indices(where, step.args)
            case schema.MoveCall():
                source, target = (self._value(where, i) for i in (step.move_from, step.move_to))
                if _move_type(source) != _move_type(target):
                    _fail(where, f"to move {_move_type(target)}", _move_type(source))
            case schema.JumpFalseCall():
                condition = self._value(where, step.cond_value_index)
                if _move_type(condition) not in ("Bool", "Tensor of BOOL"):
                    _fail(where, "a Bool or a Tensor of BOOL", _move_type(condition))
                self._check_below(where, "jump", step.destination_instruction, count + 1)
            case schema.FreeCall():
                self._check_indices(where, [step.value_index], (Tensor,))

    @staticmethod
    def _check_below(where: str, what: str, index: int, limit: int) -> None:
        if not 0 <= index < limit:
            _fail(where, f"a {what} index from 0 to {limit - 1}", index)


def _move_type(value: schema.KernelTypes) -> str:
    """What must agree for one value to take another's place."""
    if isinstance(value, Tensor):
        return f"Tensor of {value.scalar_type.name}"
    return type(value).__name__
