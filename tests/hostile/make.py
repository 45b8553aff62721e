"""Malformed programs, one or more for each way in which a file can lie.

    python tests/hostile/make.py FOLDER          # writes every case as a .pte file

Each case starts from a sound program that uses every table of the format and changes one thing.
`Case.reader` and `Case.runtime` say what the Python reader and the C runtime must answer.
"""

from __future__ import annotations

import copy
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sound import (
    BOOLS,
    FLAG,
    INTS,
    ONE,
    OPTIONALS,
    REALS,
    STATE,
    TENSORS,
    TEXT,
    WEIGHT,
    X,
    Y,
    sound_program,
)

from penlight.program import schema
from penlight.program.encode import _Encoder, encode_program
from penlight.program.fields import Field, Kind, fields_of
from penlight.program.read import read_program
from penlight.program.schema import (
    HEADER_OFFSET,
    AllocationDetails,
    Chain,
    DataSegment,
    DelegateCall,
    EValue,
    ExecutionPlan,
    FreeCall,
    Instruction,
    JumpFalseCall,
    KernelCall,
    MoveCall,
    NamedData,
    Operator,
    Program,
)


@dataclass(frozen=True)
class Case:
    """A malformed file. A pattern is what the error must match; None means the file is accepted."""

    name: str
    data: bytes
    reader: str | None
    runtime: str


def encoded(program: Program, sound: bytes) -> bytes:
    """The file with other tables before the sound program's segments."""
    base = struct.unpack_from("<Q", sound, HEADER_OFFSET + 16)[0]  # of the segments
    return encode_program(program, len(sound) - base) + sound[base:]


def position(data: bytes, *path: str | int) -> int:
    """Where in the file the field at `path` is stored, as in ("execution_plan", 0, "name")."""
    table: type = Program
    at = struct.unpack_from("<I", data)[0]
    target = 0
    for step in path:
        if isinstance(step, int):
            target = at + 4 + 4 * step
            at = target + struct.unpack_from("<I", data, target)[0]
            continue
        is_tag = step.endswith("_type")
        field = next(f for f in fields_of(table) if f.name == step.removesuffix("_type"))
        union = field.kind is Kind.UNION
        vtable = at - struct.unpack_from("<i", data, at)[0]
        entry = field.vtable_offset + (2 if union and not is_tag else 0)
        place = struct.unpack_from("<H", data, vtable + entry)[0]
        assert place, f"{step} is absent"
        target = at + place
        if union and not is_tag:
            table = field.members[
                data[position(data, *path[: path.index(step)], step + "_type")] - 1
            ]
        elif field.table is not None:
            table = field.table
        if field.kind is not Kind.SCALAR and not is_tag:
            at = target + struct.unpack_from("<I", data, target)[0]
    return target


def patched(data: bytes, at: int, code: str, *numbers: int) -> bytes:
    """`data` with numbers of struct format `code` written over position `at`."""
    changed = bytearray(data)
    struct.pack_into(f"<{code}", changed, at, *numbers)
    return bytes(changed)


FORWARD = ("execution_plan", 0)
TENSOR = (*FORWARD, "values", X, "val")


DAMAGED = r"expected .* but got"
OUTSIDE = ("an offset within", "an offset inside")


def byte_cases(sound: bytes) -> Iterator[Case]:
    """Wrong bytes: header, offsets, vtables, counts, tags."""

    def case(name: str, data: bytes, reader: str = DAMAGED, runtime: str = DAMAGED) -> Case:
        return Case(name, data, reader, runtime)

    yield from _header_cases(sound, case)
    yield from _root_cases(sound, case)
    yield from _vector_cases(sound, case)


def _header_cases(sound: bytes, case: Callable[..., Case]) -> Iterator[Case]:
    yield case("empty", b"", r"\[file\] expected at least 8 bytes", "identifier")
    yield case("magic", b"PK\3\4" + b"PK12" + sound[8:], r"\[file\].*identifier", "identifier")
    yield case(
        "header magic gone", sound[:8] + b"eh99" + sound[12:], r"\[segments\[0\]\]", "segment 0"
    )
    yield case("header too short", patched(sound, 12, "I", 8), r"\[header\]", "header")
    for name, at, runtime in (
        ("program size", 16, "a program size"),
        ("segment base", 24, "a segment base"),
        ("segment size", 32, "segments that end"),
    ):
        for size in (len(sound) + 1, 2**63, 2**64 - 1):
            yield case(f"{name} {size:x}", patched(sound, at, "Q", size), r"\[header\]", runtime)
    yield case("program size tiny", patched(sound, 16, "Q", 41), "", DAMAGED)
    yield case(
        "segments before the tables end", patched(sound, 24, "Q", 64), r"\[header\]", "segment base"
    )
    header = read_program(sound).header
    cuts = {4, 7, 8, 20, 39, 40, 47, 48, 60, header.program_size - 1, header.program_size}
    cuts |= {header.segment_base_offset, len(sound) - 1}
    cuts |= set(range(64, header.program_size, 97))
    for cut in sorted(cuts):
        yield case(f"cut at {cut}", sound[:cut])


def _root_cases(sound: bytes, case: Callable[..., Case]) -> Iterator[Case]:
    vtables = ("a vtable", "vtable inside")
    tables = ("a table that ends within", "table and its vtable inside")
    fields = ("to lie within its table", "a field inside its table")
    for name, offset in (("zero", 0), ("outside", len(sound)), ("huge", 2**32 - 1)):
        yield case(f"root offset {name}", patched(sound, 0, "I", offset), *OUTSIDE)
    root = struct.unpack_from("<I", sound)[0]
    distances = {"before": 2**31 - 1, "after": -(2**31), "itself": 0, "end": -4000}
    for name, distance in distances.items():
        yield case(f"vtable {name}", patched(sound, root, "i", distance), *vtables)
    vtable = root - struct.unpack_from("<i", sound, root)[0]
    for name, size in (("odd", 7), ("tiny", 2), ("huge", 65534)):
        yield case(f"vtable size {name}", patched(sound, vtable, "H", size), *vtables)
    yield case("table size tiny", patched(sound, vtable + 2, "H", 2), *tables)
    yield case("table size huge", patched(sound, vtable + 2, "H", 65535), *tables)
    yield case("field outside its table", patched(sound, vtable + 6, "H", 60000), *fields)
    yield case("field in the vtable offset", patched(sound, vtable + 6, "H", 1), *fields)


def _vector_cases(sound: bytes, case: Callable[..., Case]) -> Iterator[Case]:
    counts = ("items that fit", "a list that ends inside")
    for path in (("execution_plan",), (*FORWARD, "values"), (*TENSOR, "sizes"), (*FORWARD, "name")):
        at = position(sound, *path)
        for offset in (0, 2**31, 2**32 - 1, 2**32 - at, len(sound) - at):
            yield case(f"{path[-1]} offset {offset:x}", patched(sound, at, "I", offset), *OUTSIDE)
        vector = at + struct.unpack_from("<I", sound, at)[0]
        for count in (2**16, 2**30, 2**30 + 1, 2**31, 2**32 - 1):
            yield case(f"{path[-1]} count {count:x}", patched(sound, vector, "I", count), *counts)
    name = position(sound, *FORWARD, "name")
    end = name + struct.unpack_from("<I", sound, name)[0] + 4 + len("forward")
    yield case("name without its end", patched(sound, end, "B", 65), "zero byte", "zero byte")

    for tag in (0, 12, 255):
        at = position(sound, *FORWARD, "values", X, "val_type")
        yield case(f"value tag {tag}", patched(sound, at, "B", tag), "union tag", "type of value")
    at = position(sound, *FORWARD, "values", X, "val_type")
    for tag in (2, 6, 7, 10):
        yield case(f"tensor read as tag {tag}", patched(sound, at, "B", tag), "within its table")
    step = position(sound, *FORWARD, "chains", 0, "instructions", 0, "instr_args_type")
    for tag in (0, 6, 255):
        data = patched(sound, step, "B", tag)
        yield case(f"instruction tag {tag}", data, "union tag", "kind of instruction")


VALUE, AT_VALUE = r"values\[\d+\]", r'method "forward", value \d+'
AT_STEP = r'method "forward", instruction \d+'


def table_cases(sound: bytes) -> Iterator[Case]:
    """Well encoded tables that say something impossible."""

    def case(
        name: str, change: Callable[[Program], None], reader: str | None, runtime: str
    ) -> Case:
        program = copy.deepcopy(read_program(sound).program)
        change(program)
        return Case(name, encoded(program, sound), reader, runtime)

    def tensor(
        name: str, reader: str = VALUE, runtime: str = AT_VALUE, /, at: int = X, **new: Any
    ) -> Case:
        def change(program: Program) -> None:
            for field, content in new.items():
                setattr(program.execution_plan[0].values[at].val, field, content)

        return case(name, change, reader, runtime)

    def step(name: str, made: Any, reader: str | None, runtime: str = AT_STEP) -> Case:
        def change(program: Program) -> None:
            program.execution_plan[0].chains[0].instructions[0] = Instruction(made)

        return case(name, change, reader, runtime)

    def plan(name: str, field: str, content: Any, reader: str, runtime: str) -> Case:
        return case(name, lambda p: setattr(p.execution_plan[0], field, content), reader, runtime)

    yield case("version 1", lambda p: setattr(p, "version", 1), "version", "version 0")
    yield from _tensor_cases(tensor)
    yield from _segment_cases(case)
    yield from _index_cases(case, plan, step)
    yield from _step_cases(step)

    yield plan("null method name", "name", None, "to be present", "name")
    yield plan("empty method name", "name", "", "name", "name")
    yield plan("method name twice", "name", "delegated", "each method once", "twice")
    nameless = [Operator(None)] * 2
    yield plan("null operator name", "operators", nameless, "to be present", "operator 0")
    yield plan("no memory sizes", "non_const_buffer_sizes", [], r"\[\w+\.", "memory")
    yield plan("negative memory", "non_const_buffer_sizes", [0, -1], r"\[\w+\.", "memory 1")
    numbers = schema.TensorList([ONE])
    yield case("tensor list of numbers", _with_value(TENSORS, numbers), VALUE, AT_VALUE)
    yield case("int list of tensors", _with_value(INTS, schema.IntList([X])), VALUE, AT_VALUE)
    yield case("null text", _with_value(TEXT, schema.String(None)), "to be present", AT_VALUE)
    for slot, kind in ((INTS, "IntList"), (REALS, "DoubleList"), (BOOLS, "BoolList")):
        made = getattr(schema, kind)(None)
        yield case(f"missing items of {kind}", _with_value(slot, made), "to be present", AT_VALUE)

    yield case("jump loop", _jump_loop, None, "instructions")
    yield case(
        "unknown kernel",
        lambda p: setattr(p.execution_plan[0], "operators", [Operator("no::such", "out")] * 2),
        None,
        "no::such",
    )
    yield case("unknown delegate", _unknown_delegate, None, "NoSuchBackend")


def _index_cases(
    case: Callable[..., Case], plan: Callable[..., Case], step: Callable[..., Case]
) -> Iterator[Case]:
    """Indices of values, operators, delegates and instructions that do not exist."""
    for name, index in (("negative", -1), ("large", 13), ("huge", 2**31 - 1)):
        yield plan(f"{name} input", "inputs", [index], r"forward\.inputs", "input")
        yield plan(f"{name} output", "outputs", [index], r"forward\.outputs", "output")
        for slot, list_type in ((INTS, "IntList"), (TENSORS, "TensorList")):
            made = getattr(schema, list_type)([index])
            yield case(f"{name} index in {list_type}", _with_value(slot, made), VALUE, AT_VALUE)
        optional = schema.OptionalTensorList([index - 1])
        yield case(
            f"{name} index in optional list", _with_value(OPTIONALS, optional), VALUE, AT_VALUE
        )
        yield step(f"{name} argument", KernelCall(0, [X, index, ONE, Y, Y]), "instructions")
        yield step(f"{name} operator", KernelCall(index, [X, WEIGHT, ONE, Y, Y]), "instructions")
        yield step(f"{name} delegate", DelegateCall(index, [X, Y]), "instructions")
        yield step(f"{name} move source", MoveCall(index, ONE), "instructions")
        yield step(f"{name} move target", MoveCall(ONE, index), "instructions")
        yield step(f"{name} condition", JumpFalseCall(index, 0), "instructions")
        yield step(f"{name} jump", JumpFalseCall(FLAG, index), "instructions")
        yield step(f"{name} freed value", FreeCall(index), "instructions")


def _step_cases(step: Callable[..., Case]) -> Iterator[Case]:
    yield step("move of a number to a tensor", MoveCall(ONE, Y), "to move")
    yield step("move of a tensor to a number", MoveCall(X, ONE), "to move")
    yield step("move of text to a number", MoveCall(TEXT, ONE), "to move")
    yield step("move of a list to another kind", MoveCall(INTS, TENSORS), "to move")
    yield step("condition is text", JumpFalseCall(TEXT, 0), "Bool")
    yield step("too few arguments", KernelCall(0, [X, WEIGHT]), None)
    yield step("no arguments", KernelCall(0, []), None)
    yield step("too many arguments", KernelCall(0, [X, WEIGHT, ONE, Y, Y, Y, Y, Y]), None)
    yield step("missing arguments", KernelCall(0, None), "to be present", r"instruction|argument")
    yield step("number where a tensor belongs", KernelCall(0, [X, ONE, ONE, Y, Y]), None)
    yield step("tensor where a number belongs", KernelCall(0, [X, WEIGHT, Y, Y, Y]), None)
    yield step("text where a number belongs", KernelCall(0, [X, WEIGHT, TEXT, Y, Y]), None)
    yield step("constant as output", KernelCall(0, [X, WEIGHT, ONE, WEIGHT, WEIGHT]), None)


def _tensor_cases(tensor: Callable[..., Case]) -> Iterator[Case]:
    place = AllocationDetails
    for dtype in (8, 30, 127, -1):
        yield tensor(f"dtype {dtype}", "known ScalarType", scalar_type=dtype)
    yield tensor("dynamism 3", "known TensorShapeDynamism", shape_dynamism=3)
    yield tensor("rank 17", sizes=[1] * 17, dim_order=list(range(17)))
    yield tensor("rank 255", sizes=[1] * 255, dim_order=list(range(255)))
    yield tensor("negative size", sizes=[2, -2])
    yield tensor("smallest size", sizes=[-(2**31), -(2**31)])
    yield tensor("fewer dim_order than sizes", dim_order=[0])
    yield tensor("more dim_order than sizes", dim_order=[0, 1, 2])
    yield tensor("dim_order repeats", dim_order=[1, 1])
    yield tensor("dim_order too large", dim_order=[0, 200])
    yield tensor("missing sizes", "to be present", sizes=None)
    yield tensor("missing dim_order", "to be present", dim_order=None)
    yield tensor("storage offset", storage_offset=1)
    big = 2**31 - 1
    yield tensor("numel overflow", sizes=[big] * 4, dim_order=[0, 1, 2, 3])
    yield tensor("byte size overflow", sizes=[big, big, 2], dim_order=[0, 1, 2])
    yield tensor("wraps to zero bytes", sizes=[2**30, 2**30, 2**30], dim_order=[0, 1, 2])
    yield tensor("larger than its memory", sizes=[2, 25])
    yield tensor("memory 0", allocation_info=place.at(0, 0))
    yield tensor("memory 2", allocation_info=place.at(2, 0))
    yield tensor("memory huge", allocation_info=place.at(2**32 - 1, 0))
    for offset in (180, 192, 2**32, 2**63, 2**64 - 16):
        yield tensor(f"memory offset {offset:x}", allocation_info=place.at(1, offset))
    yield tensor("misaligned memory", allocation_info=place.at(1, 3))
    for index in (2, 2**31, 2**32 - 1):
        yield tensor(f"constant {index}", at=WEIGHT, data_buffer_idx=index)
        yield tensor(f"initial value {index}", at=STATE, data_buffer_idx=index)
    yield tensor("constant larger than the segment", at=WEIGHT, sizes=[2, 3])
    yield tensor("constant of 2 GiB", at=WEIGHT, sizes=[2**28, 2])
    extra = schema.ExtraTensorInfo
    for number in (1, 2**64 - 1):
        info = extra(mutable_data_segments_idx=number)
        yield tensor(f"mutable segment {number}", at=STATE, extra_tensor_info=info)
    info = extra(location=schema.TensorDataLocation.EXTERNAL)
    yield tensor("data elsewhere without a name", at=WEIGHT, extra_tensor_info=info)
    info = extra(location=7)
    yield tensor("unknown location", "known TensorDataLocation", at=WEIGHT, extra_tensor_info=info)


def _segment_cases(case: Callable[..., Case]) -> Iterator[Case]:
    def segment(offset: int, size: int) -> Callable[[Program], None]:
        return lambda p: p.segments.__setitem__(0, DataSegment(offset, size))

    for offset, size in ((2**40, 1), (0, 2**40), (2**64 - 1, 2), (2**64 - 8, 16), (2**63, 2**63)):
        name = f"segment at {offset:x} of {size:x}"
        yield case(name, segment(offset, size), r"segments\[0\]", "segment 0")
    for at in (16, 17, 2**63, 2**64 - 1):
        reader, runtime = r"constant|values", r"constant|value"

        def constant(program: Program, at: int = at) -> None:
            program.constant_segment.offsets[1] = at

        yield case(f"constant at {at:x}", constant, reader, runtime)

        def initial(program: Program, at: int = at) -> None:
            program.mutable_data_segments[0].offsets[1] = at

        yield case(f"initial value at {at:x}", initial, "mutable|values", "mutable|value")
    for index in (9, 2**32 - 1):

        def named(program: Program, index: int = index) -> None:
            program.named_data[0].segment_index = index

        def delegate(program: Program, index: int = index) -> None:
            program.execution_plan[1].delegates[0].processed.index = index

        def constants(program: Program, index: int = index) -> None:
            program.constant_segment.segment_index = index

        yield case(f"named data in segment {index}", named, "named_data", "named data 0")
        yield case(f"delegate in segment {index}", delegate, "delegates", "delegate 0")
        yield case(f"constants in segment {index}", constants, "constant_segment", "constant")

    def inline_delegate(program: Program) -> None:
        program.execution_plan[1].delegates[0].processed.location = schema.DataLocation.INLINE

    yield case("inline data that is not there", inline_delegate, "delegates", "delegate 0")

    def entry(number: int, **new: Any) -> Callable[[Program], None]:
        return lambda p: p.named_data.__setitem__(number, NamedData(**new))

    yield case("key twice", entry(1, key="penlight.a"), "each key once", "twice")
    yield case("null key", entry(1, key=None), "to be present", "named data 1")
    yield case("empty key", entry(1, key=""), "name", "named data 1")
    yield case("key with a zero byte", entry(1, key="a\0b"), "zero byte", "named data 1")

    def both(program: Program) -> None:
        program.constant_buffer = [schema.Buffer(bytes(16))] * 2

    yield case("constants in two places", both, "constant_buffer", "constant")

    def null_id(program: Program) -> None:
        program.execution_plan[1].delegates[0].id = None

    yield case("null delegate id", null_id, "to be present", "delegate 0")


def _with_value(index: int, content: Any) -> Callable[[Program], None]:
    return lambda p: p.execution_plan[0].values.__setitem__(index, EValue(content))


def _jump_loop(program: Program) -> None:
    plan = program.execution_plan[0]
    plan.values[FLAG] = EValue(schema.Bool(False))
    plan.chains[0].instructions[1] = Instruction(JumpFalseCall(FLAG, 1))


def _unknown_delegate(program: Program) -> None:
    program.execution_plan[1].delegates[0].id = "NoSuchBackend"


class _Sharing(_Encoder):
    """Stores a table that occurs many times in one vector only once."""

    def _child(self, field: Field, value: Any, where: str) -> int:
        if field.kind is not Kind.TABLES or len(value) < 2 or value[0] is not value[-1]:
            return super()._child(field, value, where)
        start = self._vector(bytes(4 * len(value)), len(value), 4)
        target = self.table(value[0], where)
        for at in range(start + 4, start + 4 + 4 * len(value), 4):
            struct.pack_into("<I", self.data, at, target - at)
        return start


def bomb() -> bytes:
    """24 kB of tables that unfold to 2000^3 arguments."""
    step = Instruction(KernelCall(0, [0] * 2000))
    chain = Chain(instructions=[step] * 2000)
    plan = ExecutionPlan("f", values=[EValue()], operators=[Operator("a")], chains=[chain] * 2000)
    encoder = _Sharing()
    root = encoder.table(Program(execution_plan=[plan]), "program")
    struct.pack_into("<I4s", encoder.data, 0, root, schema.FILE_IDENTIFIER)
    return bytes(encoder.data)


def cases() -> list[Case]:
    """Every malformed file."""
    sound = sound_program()
    endless = Case("tables shared without end", bomb(), "endless", "overlap")
    return [*byte_cases(sound), *table_cases(sound), endless]


def main() -> None:
    """Write all cases to the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases():
        (folder / f"{case.name.replace(' ', '_')}.pte").write_bytes(case.data)


if __name__ == "__main__":
    main()
